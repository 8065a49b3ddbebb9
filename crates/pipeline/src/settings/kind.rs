//! What the value of a key may be, and the words for it in errors and documentation.

use std::borrow::Cow;

use super::size::ByteSize;

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Any text that is not empty.
    Text,
    /// Text that is never printed.
    Secret,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An `http` or `https` address; `http` for loopback hosts only.
    Address,
    /// A list of texts.
    TextList,
    /// `"all"`, or a list of names and files that is not empty.
    Datasets,
    /// `true` or `false`.
    Bool,
    /// A whole number in this range.
    Integer {
        /// The least that is accepted.
        least: i64,
        /// The most that is accepted.
        most: i64,
    },
    /// A number from 0 to 1.
    Share,
    /// A number of records or a share of them: `100` or `"1%"`.
    QuarantineLimit,
    /// A number of bytes in this range: `"64MiB"` or a whole number.
    Size {
        /// The least that is accepted.
        least: u64,
        /// The most that is accepted.
        most: u64,
    },
    /// A length of time: `"15m"`.
    Duration,
    /// A length of time of a day or more: `"400d"`.
    Days,
    /// A UTC time: `"2022-07-26T10:01:00Z"`, quoted or not.
    Time,
    /// An organisation id.
    OrgId,
    /// A snapshot id.
    SnapshotId,
}

impl Kind {
    /// What was expected, in words, for an error.
    pub fn expected(self) -> Cow<'static, str> {
        match self {
            Self::Text | Self::Secret => "a string that is not empty".into(),
            Self::Choice(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                format!("one of {}", quoted.join(", ")).into()
            }
            Self::Address => "an address such as \"https://api.securitycenter.microsoft.com\", \
                              without user, query and fragment"
                .into(),
            Self::TextList => "a list of strings such as [\"a\", \"b\"]".into(),
            Self::Datasets => {
                "\"all\", or a list of names such as [\"info_gathering\"], each once".into()
            }
            Self::Bool => "true or false".into(),
            Self::Integer { least, most } if most == i64::MAX => {
                format!("a whole number of at least {least}").into()
            }
            Self::Integer { least, most } => {
                format!("a whole number from {least} to {most}").into()
            }
            Self::Share => "a number from 0 to 1, or a share such as \"50%\"".into(),
            Self::QuarantineLimit => {
                "a whole number of records such as 100, or a share such as \"1%\"".into()
            }
            Self::Size { least, most } => format!(
                "a size from {} to {}, such as \"64MiB\" or a whole number of bytes",
                ByteSize(least),
                ByteSize(most)
            )
            .into(),
            Self::Duration => "a length of time such as \"90s\", \"15m\" or \"1h 30m\"".into(),
            Self::Days => "a length of time of at least a day, such as \"400d\"".into(),
            Self::Time => {
                "a time with its zone, of the years 2000 to 9999, such as 2022-07-26T10:01:00Z"
                    .into()
            }
            Self::OrgId => "a GUID such as \"47d41a0c-188d-46d3-bbea-a93dbc0bfcaa\"".into(),
            Self::SnapshotId => "a snapshot id such as \"20220726T100100Z-47d41a0c\"".into(),
        }
    }

    /// Whether values are written as text, so that `--set key=12` means the text `12`.
    pub(super) fn is_text(self) -> bool {
        !matches!(
            self,
            Self::TextList
                | Self::Datasets
                | Self::Bool
                | Self::Integer { .. }
                | Self::Share
                | Self::QuarantineLimit
                | Self::Size { .. }
        )
    }
}
