//! Where and why a text is not JSON, in words for whoever reads a quarantined record.

use std::fmt;

use crate::quarantine::Reason;

/// Where and why a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JsonError {
    pub(crate) kind: JsonErrorKind,
    /// Byte offset in the scanned text.
    pub(crate) at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JsonErrorKind {
    UnexpectedEnd,
    ExpectedValue,
    ExpectedKey,
    ExpectedColon,
    ExpectedCommaOrEnd,
    ControlCharacter,
    InvalidEscape,
    LoneSurrogate,
    InvalidNumber,
    NumberOutOfRange,
    TrailingCharacters,
    TooDeep,
}

impl fmt::Display for JsonErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnexpectedEnd => "the text ends too early",
            Self::ExpectedValue => "expected a value",
            Self::ExpectedKey => "expected a key in double quotes",
            Self::ExpectedColon => "expected `:`",
            Self::ExpectedCommaOrEnd => "expected `,` or the end of the object or array",
            Self::ControlCharacter => "control character in a string",
            Self::InvalidEscape => "invalid escape in a string",
            Self::LoneSurrogate => "half of a surrogate pair in a string",
            Self::InvalidNumber => "invalid number",
            Self::NumberOutOfRange => "number out of range",
            Self::TrailingCharacters => "characters after the end of the value",
            Self::TooDeep => "nested deeper than 127 levels",
        })
    }
}

impl From<JsonError> for Reason {
    fn from(error: JsonError) -> Self {
        let column = error.at + 1;
        match error.kind {
            JsonErrorKind::TooDeep => Self::TooDeep { column },
            kind => Self::InvalidJson {
                column,
                message: kind.to_string(),
            },
        }
    }
}
