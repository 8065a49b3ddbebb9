//! What a table holds and keeps: current snapshots, retired ones, and one of these made current again.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::delta::log::DeltaLog;
use crate::error::Result;
use crate::layout;
use crate::store::lake::Lake;
use crate::table::current_snapshot::CurrentSnapshot;
use crate::table::intent::Intent;
use crate::table::manifest::Manifest;
use crate::table::state::Table;

/// A snapshot in the lake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptSnapshot {
    /// What it is.
    #[serde(flatten)]
    pub snapshot: CurrentSnapshot,
    /// Whether readers see it.
    #[serde(flatten)]
    pub state: SnapshotState,
}

/// Whether readers see a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SnapshotState {
    /// They do.
    Current,
    /// Another took its place; its files are there.
    Retired {
        /// When it was replaced.
        retired_at: DateTime<Utc>,
        /// When the next commit or `vacuum` may delete its files.
        kept_until: DateTime<Utc>,
    },
    /// A commit of it is under way, or died.
    Unfinished,
}

/// All snapshots of a table, oldest first. Writes nothing.
///
/// # Errors
/// [`crate::Error::HasDeltaLog`]; what reading the control documents gives.
pub async fn snapshots(table: &Table<'_>) -> Result<Vec<KeptSnapshot>> {
    let latest = table.read_pointer(None).await?.latest;
    let mut kept: Vec<KeptSnapshot> = Vec::new();
    kept.extend(latest.snapshots.iter().map(|current| KeptSnapshot {
        snapshot: current.clone(),
        state: SnapshotState::Current,
    }));
    kept.extend(latest.retired.iter().map(|retired| KeptSnapshot {
        snapshot: retired.was.clone(),
        state: SnapshotState::Retired {
            retired_at: retired.retired_at,
            kept_until: retired.kept_until(table.settings.retire_after),
        },
    }));
    for intent in Intent::list(table.lake, table.dataset).await? {
        let snapshot = CurrentSnapshot::from(&intent.manifest);
        if !latest.is_current(&snapshot.snapshot) {
            kept.push(KeptSnapshot {
                snapshot,
                state: SnapshotState::Unfinished,
            });
        }
    }
    kept.sort_by(|a, b| a.snapshot.snapshot.cmp(&b.snapshot.snapshot));
    Ok(kept)
}

/// Version of the table's log at which exactly the manifest's files are the table's part of its snapshot's organisation and
/// date. `None`: the table has no log, or the log can no longer be read at such a version.
///
/// # Errors
/// What reading the log gives.
pub async fn log_version(lake: &Lake, manifest: &Manifest) -> Result<Option<u64>> {
    let (dataset, snapshot) = (&manifest.dataset, &manifest.snapshot);
    let log = DeltaLog::new(lake, dataset, true);
    let mut state = log.read(None).await?;
    let listed: BTreeSet<&str> = manifest.files.iter().map(|file| &*file.path).collect();
    state.assign(snapshot, &listed);
    if state.partitions_of(snapshot)?.keys().eq(&listed) {
        return Ok(state.version);
    }
    let Some(last) = state.version else {
        return Ok(None);
    };
    let entries = log.entries_of([snapshot], last).await?;
    let Some(version) = entries.get(snapshot).map(|entry| entry.version) else {
        return Ok(None);
    };
    let Some(paths) = log.paths_at(version).await? else {
        return Ok(None);
    };
    let of_it = |path: &&str| layout::snapshot_of_part(path).as_ref() == Some(snapshot);
    let in_log: BTreeSet<&str> = paths.iter().map(String::as_str).filter(of_it).collect();
    Ok((in_log == listed).then_some(version))
}
