//! A record that cannot be a row: where it came from, why, and its text, so that nothing is lost.

use std::fmt;

/// Why a line is quarantined. Columns are byte positions in the line, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The line is longer than the limit; only its beginning is kept.
    LineTooLong {
        /// The limit, bytes.
        limit: usize,
    },
    /// The line is not UTF-8.
    InvalidUtf8 {
        /// The first byte that is not.
        column: usize,
    },
    /// The line is not JSON.
    InvalidJson {
        /// Where it stops being JSON.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// Arrays and objects are nested too deeply.
    TooDeep {
        /// Where the limit is passed.
        column: usize,
    },
    /// The line is JSON, but not an object.
    NotAnObject,
    /// A column of the unique key that is not nullable is missing, null, empty or of another type.
    MissingKey {
        /// The column.
        column: String,
    },
    /// A column that is not nullable is missing, null or of another type.
    MissingValue {
        /// The column.
        column: String,
    },
    /// Neither the blob path nor the record names a device group.
    MissingPartition {
        /// What the record has in its place, as JSON.
        found: Option<String>,
    },
}

impl Reason {
    /// A code that stays the same from version to version.
    pub fn code(&self) -> &'static str {
        match self {
            Self::LineTooLong { .. } => "line_too_long",
            Self::InvalidUtf8 { .. } => "invalid_utf8",
            Self::InvalidJson { .. } => "invalid_json",
            Self::TooDeep { .. } => "nested_too_deeply",
            Self::NotAnObject => "not_an_object",
            Self::MissingKey { .. } => "missing_key",
            Self::MissingValue { .. } => "missing_value",
            Self::MissingPartition { .. } => "missing_partition",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineTooLong { limit } => write!(f, "line is longer than {limit} bytes"),
            Self::InvalidUtf8 { column } => write!(f, "invalid UTF-8 at column {column}"),
            Self::InvalidJson { column, message } => write!(f, "{message} at column {column}"),
            Self::TooDeep { column } => {
                write!(f, "nested deeper than 127 levels at column {column}")
            }
            Self::NotAnObject => f.write_str("the line is not a JSON object"),
            Self::MissingKey { column } => {
                write!(f, "`{column}` is missing, null, empty or no fit")
            }
            Self::MissingValue { column } => {
                write!(
                    f,
                    "`{column}`, which is not nullable, is missing, null or no fit"
                )
            }
            Self::MissingPartition { found: None } => {
                f.write_str("neither the blob path nor the record names a device group")
            }
            Self::MissingPartition { found: Some(found) } => write!(
                f,
                "the blob path names no device group, and the record's is no whole number: {found}"
            ),
        }
    }
}

/// A line that was quarantined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedRecord {
    /// Line number in the blob, from 1.
    pub line: u64,
    /// Offset of the line in the inflated blob, bytes.
    pub offset: u64,
    /// Why.
    pub reason: Reason,
    /// The line as it came; of one that is too long, the beginning.
    pub raw: Vec<u8>,
}
