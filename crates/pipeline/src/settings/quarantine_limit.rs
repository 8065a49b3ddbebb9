//! How many records of a snapshot may be quarantined: a number, `100`, or a share, `1%`.

use std::fmt;
use std::str::FromStr;

/// The most records that may be quarantined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum QuarantineLimit {
    /// This number, however many records there are.
    Records(u64),
    /// This percentage of the records, 0 to 100.
    Percent(f64),
}

/// A text that is neither a number of records nor a share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a number of records such as 100, or a share such as 1%")]
pub struct QuarantineLimitError;

impl FromStr for QuarantineLimit {
    type Err = QuarantineLimitError;

    fn from_str(text: &str) -> Result<Self, QuarantineLimitError> {
        let is_plain = |number: &str| number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        match text.strip_suffix('%').map(str::trim_end) {
            None => text.parse().ok().map(Self::Records),
            Some(number) if is_plain(number) => number
                .parse()
                .ok()
                .filter(|percent| (0.0..=100.0).contains(percent))
                .map(Self::Percent),
            Some(_) => None,
        }
        .ok_or(QuarantineLimitError)
    }
}

impl fmt::Display for QuarantineLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Records(records) => write!(f, "{records}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_limit_reads_back_as_what_it_was(records: u64, percent in 0.0..=100.0_f64) {
            for limit in [QuarantineLimit::Records(records), QuarantineLimit::Percent(percent)] {
                prop_assert_eq!(limit.to_string().parse(), Ok(limit));
            }
        }

        #[test]
        fn no_text_makes_the_limit_panic_or_leave_its_range(text in "[-+]?[0-9.einfa]{0,6} ?%?") {
            if let Ok(QuarantineLimit::Percent(percent)) = text.parse() {
                prop_assert!((0.0..=100.0).contains(&percent));
            }
        }
    }

    #[test]
    fn numbers_and_percentages_are_read_and_nothing_else() {
        for (text, limit) in [
            ("0", QuarantineLimit::Records(0)),
            ("100", QuarantineLimit::Records(100)),
            ("1%", QuarantineLimit::Percent(1.0)),
            ("0.05 %", QuarantineLimit::Percent(0.05)),
            ("100%", QuarantineLimit::Percent(100.0)),
        ] {
            assert_eq!(text.parse(), Ok(limit), "{text}");
        }
        for text in [
            "", "%", "-1", "0.01", "101%", "-1%", "1e1%", "nan%", "inf%", "1%%", "many", "1 0",
        ] {
            let parsed: Result<QuarantineLimit, _> = text.parse();
            assert_eq!(parsed, Err(QuarantineLimitError), "{text}");
        }
    }
}
