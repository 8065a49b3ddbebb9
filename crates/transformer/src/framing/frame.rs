//! One record as it stands in a blob, not yet looked into, and what keeps records from being found.

use thiserror::Error;

/// How much of a record beyond the limit is kept.
pub(super) const KEPT_OF_TOO_LONG: usize = 4096;

/// The text of one record, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its bytes: a line without its newline, or an element of an array; of one that is too long, the first 4 KiB.
    pub bytes: &'a [u8],
    /// Number of the line that it begins in, from 1.
    pub line: u64,
    /// Offset of its first byte in the inflated stream; a byte order mark is not part of the first one.
    pub offset: u64,
    /// Whether it is longer than the limit.
    pub too_long: bool,
}

/// A JSON array that cannot be split into its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct FramingError {
    /// Number of the line, from 1.
    pub line: u64,
    /// What is wrong there.
    pub what: &'static str,
}
