//! How a snapshot stands to what the lake holds of its organisation.

use dataset::{Snapshot, SnapshotId};

use crate::commit::recover::recovered;
use crate::commit::request::{PublishOutcome, PublishRequest};
use crate::error::Result;
use crate::table::current_snapshot::CurrentSnapshot;
use crate::table::latest::Latest;
use crate::table::state::Table;

/// How a snapshot stands to what the lake holds of its organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The organisation has no snapshot of that date, and none of a later time.
    New,
    /// This very snapshot is current.
    Unchanged(CurrentSnapshot),
    /// It is later than the current one of its date and would take its place.
    Replaces(CurrentSnapshot),
    /// The organisation has a snapshot of a later time: that of the same date where there is one, else its newest.
    OlderThan(CurrentSnapshot),
    /// A rollback displaced it, or a later one of its date, for the one that is current.
    RolledBack {
        /// The current one.
        current: CurrentSnapshot,
        /// The latest one that was displaced.
        displaced: SnapshotId,
    },
}

/// How `snapshot` stands to the table now. A commit decides again.
///
/// Finishes first what a run that died had committed, and undoes what it had not; writes nothing where there is
/// nothing of the kind.
///
/// # Errors
/// [`crate::Error::HasDeltaLog`]; what reading or writing the control documents gives.
pub async fn standing(table: &Table<'_>, snapshot: &Snapshot) -> Result<Standing> {
    let state = recovered(table, Some(snapshot.generated_date())).await?;
    Ok(decide(&state.latest, snapshot))
}

/// Finishes what runs that died had committed, and undoes what they had not, as [`standing`] does.
///
/// # Errors
/// Those of [`standing`].
pub async fn recover(table: &Table<'_>) -> Result<()> {
    recovered(table, None).await.map(drop)
}

fn decide(latest: &Latest, snapshot: &Snapshot) -> Standing {
    let current = latest.current(&snapshot.org_id, snapshot.generated_date());
    let newest = latest.newest(&snapshot.org_id);
    let is_later = |other: &&CurrentSnapshot| other.generated_time > snapshot.generated_time;
    match current {
        Some(current) if current.snapshot == snapshot.id() => Standing::Unchanged(current.clone()),
        current => match (
            current.filter(is_later).or(newest.filter(is_later)),
            current,
        ) {
            (Some(later), _) => Standing::OlderThan(later.clone()),
            (None, Some(current)) => match &current.rolled_back {
                Some(displaced) if *displaced >= snapshot.id() => Standing::RolledBack {
                    current: current.clone(),
                    displaced: displaced.clone(),
                },
                _ => Standing::Replaces(current.clone()),
            },
            (None, None) => Standing::New,
        },
    }
}

/// The outcome that ends a commit before it publishes anything.
pub(crate) fn refusal(latest: &Latest, request: &PublishRequest) -> Option<PublishOutcome> {
    match decide(latest, &request.snapshot) {
        Standing::Unchanged(current) => Some(PublishOutcome::Unchanged(current)),
        Standing::OlderThan(current) if !request.backfill => {
            Some(PublishOutcome::OlderThanCurrent(current))
        }
        Standing::RolledBack { current, displaced } if !request.backfill => {
            Some(PublishOutcome::RolledBack { current, displaced })
        }
        _ => None,
    }
}
