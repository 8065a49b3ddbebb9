//! Why a run did not publish its snapshot, and what its user can do about it.

use dataset::{SnapshotId, SnapshotTimeError};
use extractor::ExtractorError;
use thiserror::Error;
use transformer::TransformError;

use crate::error_kind::{ErrorKind, kind_of_lake, kind_of_source};
use crate::refusal::Refusal;

/// Why a plan, a run or a verification ended without its result. The lake is as before.
#[derive(Debug, Error)]
pub enum PipelineError {
    /// The API or its blobs could not be had.
    #[error(transparent)]
    Extract(#[from] ExtractorError),
    /// A blob arrived whole and cannot be read to its end.
    #[error("blob {blob}: {source}")]
    Transform {
        /// Blob path.
        blob: String,
        /// What is wrong.
        source: TransformError,
    },
    /// A file on disk cannot be read to its end.
    #[error("file of blob {blob}: {source}")]
    UnreadableFile {
        /// Blob path.
        blob: String,
        /// What is wrong.
        source: TransformError,
    },
    /// A blob inflates to more than is allowed.
    #[error("blob {blob} inflates to more than {limit} bytes, {rule}")]
    BlobTooLarge {
        /// Blob path.
        blob: String,
        /// The limit, bytes.
        limit: u64,
        /// Where the limit comes from.
        rule: &'static str,
    },
    /// The lake could not be read or written.
    #[error(transparent)]
    Write(#[from] writer::Error),
    /// The gate, or the lake's state, does not let the snapshot pass.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// The settings were loaded for the lake alone.
    #[error("the settings were loaded for a command that does not read the source")]
    SourceUnresolved,
    /// A blob is of another export than the dataset.
    #[error("blob {blob} is of the export `{found}`, dataset `{dataset}` is `{expected}`")]
    OtherExport {
        /// Blob path.
        blob: String,
        /// The export in its path.
        found: String,
        /// Name of the dataset.
        dataset: String,
        /// The dataset's export.
        expected: String,
    },
    /// Neither blob paths nor settings say when the snapshot was generated.
    #[error("blob {blob} does not say when its snapshot was generated")]
    UnknownTime {
        /// Blob path.
        blob: String,
    },
    /// The listing or a blob path says a time at which no snapshot can have been generated.
    #[error("{origin}: {source}")]
    ImpossibleTime {
        /// What says so.
        origin: String,
        /// The time.
        source: SnapshotTimeError,
    },
    /// Neither blob paths nor settings say which organisation the snapshot is of.
    #[error("blob {blob} does not say which organisation it is of")]
    UnknownOrganisation {
        /// Blob path.
        blob: String,
    },
    /// The source holds several snapshots and none was chosen.
    #[error("the blobs are of {} snapshots: {}", .found.len(), list(.found))]
    SeveralSnapshots {
        /// The snapshots, oldest first.
        found: Vec<SnapshotId>,
    },
    /// One listing has blobs of several times or organisations; they are never mixed.
    #[error("the listing mixes blobs of several snapshots")]
    MixedListing,
    /// The chosen snapshot is not in the source.
    #[error("snapshot {wanted} is not among the blobs; found: {}", list(.found))]
    SnapshotNotFound {
        /// The choice.
        wanted: SnapshotId,
        /// What there is.
        found: Vec<SnapshotId>,
    },
    /// The lake has no such snapshot.
    #[error("the lake has no snapshot {snapshot} of `{dataset}`")]
    NotPublished {
        /// Name of the dataset.
        dataset: String,
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// The lake has no snapshot of the dataset.
    #[error("the lake has no snapshot of `{dataset}` yet")]
    NothingPublished {
        /// Name of the dataset.
        dataset: String,
    },
    /// There is nothing of the dataset where the lake is said to be.
    #[error("there is nothing of `{dataset}` in {lake}")]
    NothingHere {
        /// Name of the dataset.
        dataset: String,
        /// Where the lake is said to be.
        lake: String,
    },
    /// The lake has no snapshot of that date.
    #[error("the lake has no snapshot of `{dataset}` of {date}")]
    NoSuchDate {
        /// Name of the dataset.
        dataset: String,
        /// The date.
        date: chrono::NaiveDate,
    },
    /// The snapshot is not in the lake, or is no longer kept.
    #[error("the lake does not keep snapshot {snapshot} of `{dataset}`")]
    NotKept {
        /// Name of the dataset.
        dataset: String,
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// Files of a kept snapshot are missing.
    #[error("{} files of snapshot {snapshot} are gone, the first is `{}`", .missing.len(), .missing.first().map_or("", String::as_str))]
    FilesGone {
        /// The snapshot.
        snapshot: SnapshotId,
        /// Paths from the lake's root.
        missing: Vec<String>,
    },
    /// The table has no Delta log for a reader that needs one.
    #[error("table `{dataset}` has no Delta log")]
    NoDeltaLog {
        /// Name of the dataset.
        dataset: String,
    },
    /// The log no longer has a snapshot for a reader that needs it.
    #[error("the Delta log of `{dataset}` no longer has snapshot {snapshot}")]
    NotInDeltaLog {
        /// Name of the dataset.
        dataset: String,
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// What is to be read has no files.
    #[error("that selection of `{dataset}` has no rows: there is no file to read")]
    NothingToRead {
        /// Name of the dataset.
        dataset: String,
    },
    /// A quarantine file cannot be read.
    #[error("quarantine file `{path}` is malformed: {message}")]
    QuarantineFile {
        /// Path from the lake's root.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// Rows of the dataset as it is now would not fit the published files.
    #[error("snapshot {snapshot} was published with other columns: {difference}")]
    OtherColumns {
        /// The snapshot.
        snapshot: SnapshotId,
        /// One difference.
        difference: String,
    },
    /// The snapshot was replaced, or rows were added to it, while a replay worked on it.
    #[error("snapshot {snapshot} changed while its records were replayed")]
    SnapshotChanged {
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// One blob path is listed twice.
    #[error("blob {blob} is listed twice")]
    ListedTwice {
        /// Blob path.
        blob: String,
    },
    /// The store kept refusing the write that decides: other runs kept committing, or it has another reason.
    #[error("the store refused the write that decides {attempts} times, last with: {message}")]
    Conflict {
        /// Writes that it refused.
        attempts: u32,
        /// The store's words of the last refusal.
        message: String,
    },
    /// Another run took this one for dead.
    #[error("another run took this one for dead: it was silent for longer than lake.dead_after")]
    TakenForDead,
    /// The spool could not be read back, or the CPU pool could not be made.
    #[error("{what}: {source}")]
    Machine {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A task ended without an answer: a defect of this program.
    #[error("a task of the program failed: {0}")]
    Defect(String),
    /// The run was asked to stop.
    #[error("stopped before the commit")]
    Cancelled,
}

fn list(snapshots: &[SnapshotId]) -> String {
    let names: Vec<&str> = snapshots.iter().map(SnapshotId::as_str).collect();
    names.join(", ")
}

impl PipelineError {
    /// Whether the lake's store failed to answer, or refused for good: nothing more is asked of it.
    pub(crate) fn is_of_the_store(&self) -> bool {
        let Self::Write(error) = self else {
            return false;
        };
        matches!(
            error,
            writer::Error::Undecided { .. }
                | writer::Error::PutRefused { .. }
                | writer::Error::Stopped { .. }
                | writer::Error::Store { .. }
                | writer::Error::Rejected { .. }
                | writer::Error::Disk { .. }
                | writer::Error::Denied { .. }
                | writer::Error::DeleteDenied { .. }
                | writer::Error::NotFound { .. }
        )
    }

    /// What can be done about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Extract(error) => kind_of_source(error),
            Self::Write(error) => kind_of_lake(error),
            Self::Refused(_) => ErrorKind::Refused,
            Self::NoDeltaLog { .. }
            | Self::SourceUnresolved
            | Self::OtherExport { .. }
            | Self::UnknownTime { .. }
            | Self::UnknownOrganisation { .. }
            | Self::SeveralSnapshots { .. }
            | Self::OtherColumns { .. }
            | Self::SnapshotNotFound { .. } => ErrorKind::Configuration,
            Self::SnapshotChanged { .. }
            | Self::MixedListing
            | Self::Conflict { .. }
            | Self::TakenForDead
            | Self::Cancelled => ErrorKind::RetryLater,
            Self::Transform { .. }
            | Self::UnreadableFile { .. }
            | Self::ImpossibleTime { .. }
            | Self::BlobTooLarge { .. }
            | Self::NotPublished { .. }
            | Self::NothingPublished { .. }
            | Self::NothingHere { .. }
            | Self::NoSuchDate { .. }
            | Self::NotKept { .. }
            | Self::FilesGone { .. }
            | Self::NotInDeltaLog { .. }
            | Self::NothingToRead { .. }
            | Self::QuarantineFile { .. }
            | Self::ListedTwice { .. }
            | Self::Machine { .. } => ErrorKind::Mend,
            Self::Defect(_) => ErrorKind::Defect,
        }
    }

    /// A panic that was caught. Only texts that stand in the program are told: others may hold data or secrets.
    pub(crate) fn of_panic(panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        Self::Defect(format!("panic: {}", text.unwrap_or("(text withheld)")))
    }

    /// What the user can do, where there is something to say that the message does not.
    pub fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::Refused(refusal) => return refusal.advice(),
            Self::Extract(error) => return source_advice(error),
            Self::Write(error) => return lake_advice(error),
            Self::Transform { .. } => {
                "the blob arrived as the blob store holds it: run again later, and if it stays broken, report its path to the service's support"
            }
            Self::UnreadableFile { .. } => {
                "the file stays as it is: replace it by a whole one, or leave it out of `source.files`"
            }
            Self::BlobTooLarge { .. } => {
                "if the blob is no gzip bomb, raise `work.max_blob_inflated` if that is the limit; else report its path to the service's support"
            }
            Self::OtherExport { .. } => "set `dataset`, or narrow `source.files`",
            Self::UnknownTime { .. } => "set source.generated_time, such as 2022-07-26T10:01:00Z",
            Self::ImpossibleTime { .. } => {
                "nothing was written; check the blobs' paths, or report the listing to the service's support"
            }
            Self::UnknownOrganisation { .. } => {
                "set source.org_id to the Defender organisation's GUID"
            }
            Self::SeveralSnapshots { .. } => {
                "choose one with source.snapshot, or narrow `source.files`; load several oldest first, one run each"
            }
            Self::SnapshotNotFound { .. } => "check source.snapshot",
            Self::MixedListing => "run again: the service may have been replacing its snapshot",
            Self::NoDeltaLog { .. } => {
                "use another reader, or set lake.format = \"delta\": the next run gives the table a log"
            }
            Self::NotInDeltaLog { .. } => {
                "use `defender-lake snippet duckdb`, `spark-files` or `polars`: they read the snapshot's own files"
            }
            Self::NothingHere { .. } => {
                "check `dataset`, and `lake.root` from the folder in which you are; the first `defender-lake run` makes the lake"
            }
            Self::NoSuchDate { .. } | Self::NotKept { .. } => {
                "`defender-lake snapshots` lists what there is; lake.retire_after says how long replaced snapshots are kept"
            }
            Self::NothingPublished { .. } | Self::NotPublished { .. } => {
                "publish it with `defender-lake run`"
            }
            Self::OtherColumns { .. } => {
                "a replay can take wire paths and the group of records that name none from a corrected schema or setting; names and types of columns have to stay"
            }
            Self::SnapshotChanged { .. } => "run the replay again",
            Self::Conflict { .. } => {
                "run again when fewer runs write to this table; if none does, the store refuses for another reason: see its words"
            }
            Self::TakenForDead => {
                "run again; set lake.dead_after to more if this machine has to pause"
            }
            Self::Defect(_) => "this is a defect of defender-lake: please report it with the log",
            _ => return None,
        })
    }
}

/// What the user can do about the API, its blobs or files.
fn source_advice(error: &ExtractorError) -> Option<&'static str> {
    Some(match error {
        ExtractorError::ListingTooLong { .. } => {
            "no export is known to be a tenth as long: look whether something else than the export API answers at source.api; if not, report it"
        }
        ExtractorError::HostNotAllowed { .. } => "source.blob_hosts is the list of further hosts",
        ExtractorError::SnapshotReplaced { .. } => "run again: the new snapshot will be taken",
        ExtractorError::RateBudgetExhausted { .. } => {
            "wait, or raise source.max_wait; the service counts calls by application and tenant"
        }
        _ => return None,
    })
}

/// What the user can do about the lake.
fn lake_advice(error: &writer::Error) -> Option<&'static str> {
    Some(match error {
        writer::Error::NoConditionalPut { .. } => {
            "use a store with conditional puts, or set lake.single_writer = true if no two runs ever write to this lake at once"
        }
        writer::Error::DeleteDenied { .. } => {
            "a run deletes its own notes, what dead runs left, and replaced files: grant s3:DeleteObject, or in Azure a role or SAS with the right to delete, below lake.root; to read the lake (verify, snapshots, snippets) needs no such right"
        }
        writer::Error::FileSystemLacks { .. } => {
            "set lake.single_writer = true if no two runs ever write to this lake at once, or keep the lake on a disk that has them"
        }
        writer::Error::ColumnType { .. } => {
            "give the column a new name in the schema, or write to a new lake"
        }
        writer::Error::HasDeltaLog { .. } => "set lake.format = \"delta\", or write to a new lake",
        writer::Error::Denied { .. } => {
            "check the keys and rights in lake.options or the environment"
        }
        writer::Error::Disk { .. } => {
            "free space on the lake's disk, or make it writable; what is left of this run is cleaned up by the next one"
        }
        writer::Error::Rejected { .. } => {
            "the store answered, and will not take this request later either: see its words, and check lake.root and lake.options"
        }
        writer::Error::Newer { .. } => "use the program version that wrote it, or a later one",
        writer::Error::PutRefused { .. } => {
            "if no other run writes to this table, the store refuses for another reason than a race: look for a policy or a gateway that keeps objects from being replaced"
        }
        writer::Error::Undecided { .. } => {
            "run again: the next run finds out, and finishes or undoes the commit"
        }
        writer::Error::ForeignWrite { .. } => {
            "go back to the version before that entry with the program that wrote it (Spark: RESTORE TABLE ... TO VERSION AS OF n; deltalake: DeltaTable(...).restore(n)); OPTIMIZE and Z-ordering change no rows, and are taken over"
        }
        writer::Error::Stopped { .. } => "what is left of this run is cleaned up by the next one",
        _ => return None,
    })
}
