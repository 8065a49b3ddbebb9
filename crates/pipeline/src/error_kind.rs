//! What kind an error is: whether the same run can succeed later, or somebody has to mend something first.
//!
//! A scheduler decides by it; exit codes follow it. What to do in words is [`PipelineError::advice`](crate::PipelineError::advice).

use extractor::ExtractorError;
use serde::{Deserialize, Serialize};

/// What a scheduler can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The same run can succeed later: throttled, no connection, a service or store that is away, another run that came first, a
    /// signal.
    RetryLater,
    /// Something has to be mended first: rights, a full disk, a damaged file, a lake of a later version.
    Mend,
    /// The command line, the pipeline file or the environment has to be changed first.
    Configuration,
    /// The gate, or the lake's state, does not let the snapshot pass.
    Refused,
    /// It is not known whether the commit stands: the next run finds out.
    Undecided,
    /// A defect of this program.
    Defect,
}

/// The client has tried again already, for minutes, where that could help.
pub(crate) fn kind_of_source(error: &ExtractorError) -> ErrorKind {
    match error {
        ExtractorError::InvalidSetting { .. }
        | ExtractorError::InsecureUrl { .. }
        | ExtractorError::NoFilesMatch { .. } => ErrorKind::Configuration,
        ExtractorError::Unavailable { .. }
        | ExtractorError::Connection { .. }
        | ExtractorError::Timeout { .. }
        | ExtractorError::RateBudgetExhausted { .. }
        | ExtractorError::SnapshotReplaced { .. }
        | ExtractorError::UrlExpired { .. }
        | ExtractorError::BlobMissing { .. }
        | ExtractorError::BlobChanged { .. }
        | ExtractorError::BlobEmpty { .. }
        | ExtractorError::LengthMismatch { .. }
        | ExtractorError::TooSlow { .. }
        | ExtractorError::ChecksumMismatch { .. } => ErrorKind::RetryLater,
        ExtractorError::SignInRefused { .. }
        | ExtractorError::Unauthorized { .. }
        | ExtractorError::Forbidden { .. }
        | ExtractorError::BadRequest { .. }
        | ExtractorError::UnexpectedAnswer { .. }
        | ExtractorError::Redirected { .. }
        | ExtractorError::ListingMalformed { .. }
        | ExtractorError::SignedUrlMalformed { .. }
        | ExtractorError::AnswerTooLarge { .. }
        | ExtractorError::BlobTooLarge { .. }
        | ExtractorError::ListingTooLong { .. }
        | ExtractorError::HostNotAllowed { .. }
        | ExtractorError::BlobRefused { .. }
        | ExtractorError::Spool { .. }
        | ExtractorError::LocalFile { .. } => ErrorKind::Mend,
    }
}

/// The store's client has tried again already, too.
pub(crate) fn kind_of_lake(error: &writer::Error) -> ErrorKind {
    match error {
        writer::Error::Configuration { .. }
        | writer::Error::HasDeltaLog { .. }
        | writer::Error::ColumnType { .. }
        | writer::Error::PartitionColumns { .. }
        | writer::Error::NoConditionalPut { .. }
        | writer::Error::FileSystemLacks { .. } => ErrorKind::Configuration,
        writer::Error::Store { .. } | writer::Error::Stopped { .. } => ErrorKind::RetryLater,
        writer::Error::Undecided { .. } => ErrorKind::Undecided,
        writer::Error::Denied { .. }
        | writer::Error::DeleteDenied { .. }
        | writer::Error::NotFound { .. }
        | writer::Error::Rejected { .. }
        | writer::Error::Disk { .. }
        | writer::Error::PutRefused { .. }
        | writer::Error::Malformed { .. }
        | writer::Error::Newer { .. }
        | writer::Error::ForeignWrite { .. }
        | writer::Error::DeltaLog { .. } => ErrorKind::Mend,
        writer::Error::Parquet { .. }
        | writer::Error::Invariant { .. }
        | writer::Error::KeyColumn { .. }
        | writer::Error::Task { .. } => ErrorKind::Defect,
    }
}
