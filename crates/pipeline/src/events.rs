//! What happens in a job, as it happens: one stream that progress bars and log lines read alike.
//!
//! Events carry counts and identities, never secrets; the run report is made from the outcome and not from events.

use std::sync::Arc;
use std::time::Duration;

use dataset::SnapshotId;
use serde::Serialize;

use crate::report::RunReport;

/// A run, or the making of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Job {
    /// Its identity, sorting by time: of a run that of its report.
    pub run_id: String,
    /// Name of the dataset.
    pub dataset: String,
}

/// One thing that happened in a job.
#[derive(Debug, Clone, Serialize)]
pub struct JobEvent {
    /// The job.
    #[serde(flatten)]
    pub job: Arc<Job>,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run asks for the listing (API) or looks for files.
    Listing,
    /// The work is known.
    Planned {
        /// The snapshot that will be published.
        snapshot: SnapshotId,
        /// Number of blobs.
        blobs: u64,
        /// Compressed bytes of all blobs, where they are known before they are read.
        bytes: Option<u64>,
    },
    /// The lake holds this snapshot already: nothing will be done.
    Unchanged {
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// Compressed bytes arrived, or were discarded to be fetched again.
    BytesRead {
        /// Change since the last such event.
        bytes: i64,
    },
    /// Records were decoded.
    RecordsRead {
        /// Records since the last such event, quarantined ones included.
        records: u64,
    },
    /// A blob was read to its end.
    BlobDone {
        /// Blob path.
        blob: String,
        /// Records in it.
        records: u64,
        /// Records quarantined.
        quarantined: u64,
    },
    /// A part is staged: uploaded, not yet visible.
    PartStaged {
        /// Number of the part.
        part: u32,
        /// Its rows.
        rows: u64,
        /// Its Parquet bytes.
        bytes: u64,
    },
    /// A part will be made again from nothing: a blob of it changed or arrived broken. What was reported of it is to be taken back.
    PartRestarted {
        /// Number of the part.
        part: u32,
        /// What happened to it.
        reason: String,
        /// Compressed bytes that were reported.
        bytes: i64,
        /// Records that were reported.
        records: u64,
        /// Blobs that were reported as read.
        blobs: u64,
    },
    /// The service replaced the snapshot, and the run starts again with the new one.
    SnapshotReplaced {
        /// The snapshot that was given up.
        snapshot: Option<SnapshotId>,
        /// What was learned of the new one.
        reason: String,
    },
    /// The run waits before it asks for a listing. Downloads under way go on.
    Waiting {
        /// What for.
        reason: &'static str,
        /// How long.
        wait: Duration,
    },
    /// The wait is over.
    WaitOver,
    /// All parts are staged and the gate is open.
    Committing {
        /// Number of files that become visible.
        files: u64,
    },
    /// The run is over.
    Finished {
        /// What happened.
        report: Box<RunReport>,
    },
}

/// Receives the events of any number of jobs. Called from many threads; must be quick and must not block.
pub type Observer = Arc<dyn Fn(JobEvent) + Send + Sync>;

/// Receives the events of one job.
pub(crate) type JobObserver = Arc<dyn Fn(Event) + Send + Sync>;

impl Job {
    /// An observer of this job alone.
    pub(crate) fn observed_by(self, observer: &Observer) -> JobObserver {
        let (job, observer) = (Arc::new(self), Arc::clone(observer));
        Arc::new(move |event| {
            observer(JobEvent {
                job: Arc::clone(&job),
                event,
            });
        })
    }
}
