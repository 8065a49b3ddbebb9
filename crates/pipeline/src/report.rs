//! The run report: what happened in a run, as JSON, with every count that the gate looked at. Holds no secret.

use std::fmt;

use chrono::{DateTime, Utc};
use dataset::{BlobPath, OrgId, SnapshotId};
use serde::{Deserialize, Serialize};
use writer::DuplicateKey;

use crate::error_kind::ErrorKind;

/// Version of the report's form.
pub const REPORT_VERSION: u32 = 1;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The snapshot is published.
    Committed,
    /// The lake held the snapshot already; nothing was written.
    Unchanged,
    /// The gate, or the lake's state, refused the snapshot; the lake is as before.
    Refused,
    /// Something went wrong; the lake is as before.
    Failed,
    /// No answer came to the write that decides: the next run finds out whether the snapshot is published.
    Undecided,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Committed => "committed",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Undecided => "undecided",
        })
    }
}

/// What happened in one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunReport {
    /// Version of this form: [`REPORT_VERSION`].
    pub version: u32,
    /// Identity of the run, sorting by time.
    pub run_id: String,
    /// Version of the program that ran.
    pub program_version: String,
    /// Name of the dataset.
    pub dataset: String,
    /// The snapshot, once known.
    pub snapshot: Option<SnapshotId>,
    /// The snapshot's organisation.
    pub org_id: Option<OrgId>,
    /// The snapshot's generated time, UTC.
    pub generated_time: Option<DateTime<Utc>>,
    /// How the run ended.
    pub outcome: Outcome,
    /// What went wrong or was refused, in words.
    pub error: Option<String>,
    /// What can be done about it.
    #[serde(default)]
    pub error_kind: Option<ErrorKind>,
    /// What to do, in words.
    #[serde(default)]
    pub advice: Option<String>,
    /// Why what follows the commit could not be finished: `latest.json` may be old. The snapshot is published all the same,
    /// and the next run finishes it.
    #[serde(default)]
    pub unfinished: Option<String>,
    /// What else could not be done after the commit, in words. No reader needs it, and the next run does it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The snapshot of the same organisation and date that was replaced.
    pub replaced: Option<SnapshotId>,
    /// When the run began, UTC.
    pub started_at: DateTime<Utc>,
    /// Wall time of the run, seconds.
    pub elapsed_seconds: f64,
    /// Blobs in the listing.
    pub blobs: u64,
    /// Parts that were made; none if not all were.
    pub parts: u64,
    /// Parquet files written.
    pub files: u64,
    /// Records in all blobs: `rows_written + records_quarantined`.
    pub records_read: u64,
    /// Rows in the Parquet files.
    pub rows_written: u64,
    /// Records quarantined.
    pub records_quarantined: u64,
    /// Rows with something in `_rescued_data`.
    pub rows_rescued: u64,
    /// Compressed bytes read.
    pub bytes_read: u64,
    /// Parquet bytes written.
    pub bytes_written: u64,
    /// What was rescued, by wire path.
    pub drift: Vec<DriftReport>,
    /// Why records were quarantined, by reason.
    pub quarantined: Vec<QuarantineReport>,
    /// Rows whose unique key another row of the snapshot has, such as a device in two groups.
    #[serde(default)]
    pub duplicate_keys: u64,
    /// A few of the keys that come more than once.
    #[serde(default)]
    pub duplicate_key_examples: Vec<DuplicateKeyReport>,
    /// Times that a part was made again, because its blobs changed or arrived broken.
    #[serde(default)]
    pub parts_restarted: u64,
    /// Times that the run started again, because the service replaced the snapshot.
    #[serde(default)]
    pub restarts: u64,
    /// The counts of each blob, by blob path.
    pub blob_counts: Vec<BlobReport>,
}

/// How often values of one wire path were rescued, or read in another way than the schema has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftReport {
    /// The path, keys joined with dots.
    pub wire_path: String,
    /// Why.
    pub kind: DriftKind,
    /// In how many records.
    pub records: u64,
}

/// Why a value was rescued, or is worth to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// The schema does not name the path.
    Unnamed,
    /// The value does not fit the column's type.
    Misfit,
    /// The schema has the key in another case; or another spelling of it has a value in the same record.
    Spelling,
    /// Part of the value is no text, and was read as U+FFFD; the original is kept in base64.
    Damaged,
    /// A text that stands for null, and is read so: empty where the type is another, or `Unknown` for a bool.
    Blank,
}

/// How many records were quarantined for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineReport {
    /// The reason's code, such as `invalid_json`.
    pub reason: String,
    /// Number of records.
    pub records: u64,
    /// The first of them that was met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<QuarantineExample>,
}

/// Where a quarantined record is, and why it is no row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineExample {
    /// Blob path.
    pub blob: String,
    /// Line in the inflated blob, from 1.
    pub line: u64,
    /// The reason in words.
    pub message: String,
}

/// Where a unique key is that comes more than once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicateKeyReport {
    /// Rows that have it.
    pub rows: u64,
    /// The blobs that have it; a few, if many have.
    pub blobs: Vec<String>,
}

impl From<DuplicateKey> for DuplicateKeyReport {
    fn from(found: DuplicateKey) -> Self {
        Self {
            rows: found.rows,
            blobs: found.origins,
        }
    }
}

/// The counts of one blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobReport {
    /// Blob path.
    pub blob: BlobPath,
    /// Compressed bytes.
    pub bytes: u64,
    /// Records in it: `rows_written + records_quarantined`.
    pub records_read: u64,
    /// Rows that came of it.
    pub rows_written: u64,
    /// Records quarantined.
    pub records_quarantined: u64,
    /// Rows with something in `_rescued_data`.
    pub rows_rescued: u64,
}
