//! How publishing a snapshot ended, and what its stages counted until then: the values that the run report is made of.

use dataset::{Snapshot, SnapshotId};
use writer::Followed;

use writer::Duplicates;

use crate::error::PipelineError;
use crate::report::Outcome;
use crate::run::counts::Counts;

/// The outcome of publishing. What belongs to a stage that was not reached is empty.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) snapshot: Option<Snapshot>,
    /// Blobs of the plan.
    pub(super) blobs: u64,
    /// Parts that were made of them.
    pub(super) parts: u64,
    /// Times that a part was made again.
    pub(super) parts_restarted: u64,
    pub(super) counts: Counts,
    pub(super) duplicates: Duplicates,
    /// What the gate let pass and the user should know.
    pub(super) warnings: Vec<String>,
    /// Times that the run started again with a new snapshot.
    pub(super) restarts: u64,
    pub(super) result: Result<Committed, PipelineError>,
}

/// How a run ended that did not fail.
#[derive(Debug)]
pub(super) struct Committed {
    /// [`Outcome::Committed`] or [`Outcome::Unchanged`].
    pub(super) outcome: Outcome,
    /// The snapshot that was replaced.
    pub(super) replaced: Option<SnapshotId>,
    /// What became of what follows the commit.
    pub(super) followed: Followed,
}

impl Committed {
    /// The lake has the snapshot already.
    pub(super) fn unchanged() -> Self {
        Self {
            outcome: Outcome::Unchanged,
            replaced: None,
            followed: Followed::default(),
        }
    }

    /// The lake keeps the snapshot out, since a user rolled back to `current`: the next one that is newer than `displaced` comes in.
    pub(super) fn rolled_back(current: &SnapshotId, displaced: &SnapshotId) -> Self {
        let warning = format!(
            "the lake was rolled back from snapshot {displaced} to {current}: the next one of the service is published as usual, \
             and this one by --backfill, or by `defender-lake rollback` while its files are kept"
        );
        Self {
            followed: Followed {
                warnings: vec![warning],
                ..Followed::default()
            },
            ..Self::unchanged()
        }
    }
}

impl Published {
    /// An end about which nothing else is known.
    pub(super) fn ended(result: Result<Committed, PipelineError>) -> Self {
        Self {
            snapshot: None,
            blobs: 0,
            parts: 0,
            parts_restarted: 0,
            counts: Counts::default(),
            duplicates: Duplicates::default(),
            warnings: Vec::new(),
            restarts: 0,
            result,
        }
    }

    pub(super) fn failed(error: impl Into<PipelineError>) -> Self {
        Self::ended(Err(error.into()))
    }
}
