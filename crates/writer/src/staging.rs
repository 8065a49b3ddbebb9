//! What runs have staged: known by run, so that what a dead run left can be told from what a living one needs.
//!
//! | lake | below the run's folder | a run is dead when |
//! |---|---|---|
//! | local disk | staged files | nobody holds the lock beside the folder |
//! | S3 | a note of each open upload | it has not renewed its lease beside the folder, or has none |
//! | Azure | nothing: uncommitted blocks expire after a week | likewise |
//!
//! A lake with a single writer has no leases: whatever is there is of a dead run. A run that was taken for dead and only
//! slept finds its uploads aborted, and its lease gone when it asks for it before it commits ([`may_commit`]).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::document::parse;
use crate::error::Result;
use crate::layout;
use crate::local_disk::{FileLock, LocalDisk};
use crate::store::{Lake, Store, blocking};
use crate::table::TableSettings;

/// Renewals of a lease in the time after which its run is taken for dead.
const RENEWALS: u32 = 10;
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// A lease says nothing but when it was written.
const LEASE: Bytes = Bytes::from_static(b"{}\n");
const VERSION: u32 = 1;

/// A run that stages files, or who takes the place of one that died. Nobody else tidies away what it staged while this lives.
#[derive(Debug)]
pub struct RunGuard {
    lock: Option<(FileLock, PathBuf)>,
    renewal: Option<JoinHandle<()>>,
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        if let Some(renewal) = self.renewal.take() {
            renewal.abort();
        }
        if let Some((_held, path)) = self.lock.take() {
            // A lock file that stays is taken for that of a dead run, and deleted.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A note of an upload that is open.
#[derive(Debug, Serialize, Deserialize)]
struct UploadNote {
    version: u32,
    path: String,
    upload_id: String,
}

/// Says that a run begins to stage files, until the guard is dropped.
///
/// # Errors
/// What the disk or the store answers.
pub async fn begin_run(
    lake: &Lake,
    dataset: &str,
    run_id: &str,
    settings: TableSettings,
) -> Result<RunGuard> {
    let path = layout::run_lock(dataset, run_id);
    let (mut lock, mut renewal) = (None, None);
    match &lake.store {
        Store::Local(disk) => {
            let held = blocking(disk, "lock", &path, LocalDisk::lock).await?;
            lock = Some((held, disk.file(&path)));
        }
        Store::Remote(_) if settings.single_writer => {}
        Store::Remote(_) => {
            put_lease(lake, dataset, run_id).await?;
            let pause = (settings.dead_after / RENEWALS).max(SHORTEST_PAUSE);
            renewal = Some(tokio::spawn(renew(lake.clone(), path, pause)));
        }
    }
    Ok(RunGuard { lock, renewal })
}

pub(crate) async fn put_lease(lake: &Lake, dataset: &str, run_id: &str) -> Result<()> {
    lake.put(&layout::run_lock(dataset, run_id), LEASE).await
}

/// Writes a lease again and again while it is there: one that was taken away stays away.
async fn renew(lake: Lake, path: String, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let renewed = async {
            match lake.get_versioned(&path).await? {
                (Some(_), seen) => lake.compare_and_swap(&path, &seen, LEASE).await.map(Some),
                (None, _) => Ok(None),
            }
        };
        match renewed.await {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => tracing::warn!(%error, "the lease of this run was not renewed"),
        }
    }
}

/// Takes the place of a dead run until what it left is thrown away. `None`: it lives after all.
///
/// On local disk a run that is just beginning has a lock file and no lock yet: whoever took it for dead holds the lock
/// until the file is deleted, and the run, which waits for it, begins again.
pub(crate) async fn seize(lake: &Lake, dataset: &str, run_id: &str) -> Result<Option<RunGuard>> {
    let guard = |lock| RunGuard {
        lock,
        renewal: None,
    };
    let Store::Local(disk) = &lake.store else {
        revoke(lake, dataset, run_id).await?;
        return Ok(Some(guard(None)));
    };
    let path = layout::run_lock(dataset, run_id);
    let held = blocking(disk, "lock", &path, LocalDisk::try_lock).await?;
    Ok(held.map(|held| guard(Some((held, disk.file(&path))))))
}

/// Takes away a run's lease.
pub(crate) async fn revoke(lake: &Lake, dataset: &str, run_id: &str) -> Result<()> {
    lake.delete(&[layout::run_lock(dataset, run_id)]).await
}

/// Whether nobody has taken the run for dead. To be asked after its commit was written down: who takes away the lease
/// later sees that, and leaves alone what the commit needs.
pub(crate) async fn may_commit(
    lake: &Lake,
    dataset: &str,
    run_id: &str,
    settings: TableSettings,
) -> Result<bool> {
    match &lake.store {
        Store::Remote(_) if !settings.single_writer => {
            lake.exists(&layout::run_lock(dataset, run_id)).await
        }
        _ => Ok(true),
    }
}

/// Writes down an open upload, in place of the staged file that there would be on local disk.
pub(crate) async fn note_upload(
    lake: &Lake,
    staging_path: &str,
    path: &str,
    upload_id: &str,
) -> Result<()> {
    let note_path = format!("{staging_path}.json");
    let note = UploadNote {
        version: VERSION,
        path: path.to_owned(),
        upload_id: upload_id.to_owned(),
    };
    lake.put_json(&note_path, &note).await
}

/// Runs that died with something staged.
pub(crate) async fn abandoned_runs(
    lake: &Lake,
    dataset: &str,
    settings: TableSettings,
    now: DateTime<Utc>,
) -> Result<BTreeSet<String>> {
    let staged = lake.list(&layout::staging_folder(dataset)).await?;
    let runs: BTreeSet<&str> = staged
        .iter()
        .filter_map(|object| layout::run_of_staged(dataset, &object.path))
        .collect();
    let mut abandoned = BTreeSet::new();
    for run in runs {
        if is_dead(lake, dataset, run, settings, now).await? {
            abandoned.insert(run.to_owned());
        }
    }
    Ok(abandoned)
}

/// Whether a run has ended, well or not, or is taken to have.
pub(crate) async fn is_dead(
    lake: &Lake,
    dataset: &str,
    run_id: &str,
    settings: TableSettings,
    now: DateTime<Utc>,
) -> Result<bool> {
    let path = layout::run_lock(dataset, run_id);
    match &lake.store {
        Store::Local(disk) => blocking(disk, "lock", &path, LocalDisk::is_unlocked).await,
        Store::Remote(_) if settings.single_writer => Ok(true),
        // Stores refuse requests of clocks that are a quarter of an hour off: this clock and the store's are near.
        Store::Remote(remote) => Ok(remote.modified(&path).await?.is_none_or(|renewed| {
            let silent = now.signed_duration_since(renewed).to_std();
            silent.is_ok_and(|silent| silent > settings.dead_after)
        })),
    }
}

/// Aborts what a run left open and deletes what it staged.
pub(crate) async fn discard(lake: &Lake, dataset: &str, run_id: &str) -> Result<()> {
    if let Store::Remote(remote) = &lake.store {
        for object in lake.list(&layout::staging(dataset, run_id)).await? {
            let Some(content) = lake.get(&object.path).await? else {
                continue;
            };
            let note: UploadNote = parse(&content, &object.path, VERSION)?;
            remote.abort_upload(&note.path, &note.upload_id).await?;
        }
    }
    clear(lake, dataset, run_id).await
}

/// Deletes what a run staged, and its lease: it is over.
pub(crate) async fn clear(lake: &Lake, dataset: &str, run_id: &str) -> Result<()> {
    let folder = layout::staging(dataset, run_id);
    match &lake.store {
        Store::Local(disk) => blocking(disk, "delete", &folder, LocalDisk::delete_folder).await,
        Store::Remote(_) => {
            let notes = lake.list(&folder).await?.into_iter();
            let notes: Vec<String> = notes.map(|object| object.path).collect();
            lake.delete(&notes).await?;
            revoke(lake, dataset, run_id).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{lakes, paths, settings_of, snapshot, stage};

    const RUN: &str = "20260101T000000Z-1";

    fn short(lake: &Lake) -> TableSettings {
        TableSettings {
            dead_after: Duration::from_millis(500),
            ..settings_of(lake)
        }
    }

    async fn abandoned(lake: &Lake, settings: TableSettings) -> Vec<String> {
        let runs = abandoned_runs(lake, "devices", settings, Utc::now()).await;
        runs.unwrap().into_iter().collect()
    }

    #[tokio::test]
    async fn what_a_living_run_staged_is_not_abandoned_and_goes_when_it_died() {
        let (_folder, [disk, memory, ..]) = lakes();
        for lake in [&disk, &memory] {
            let settings = short(lake);
            let guard = begin_run(lake, "devices", RUN, settings).await.unwrap();
            stage(lake, &snapshot(26, 10), RUN, 1, 0, 0..5)
                .await
                .unwrap();
            if let Some(folder) = lake.local_path(&layout::staging("devices", RUN)) {
                std::fs::write(folder.join(".1-0.tmp"), "half a docu").unwrap();
            }
            // Longer than a run may be silent: it is renewed.
            tokio::time::sleep(settings.dead_after * 2).await;
            assert!(abandoned(lake, settings).await.is_empty());
            drop(guard);
            tokio::time::sleep(settings.dead_after * 2).await;
            assert_eq!(abandoned(lake, settings).await, [RUN]);
            discard(lake, "devices", RUN).await.unwrap();
            revoke(lake, "devices", RUN).await.unwrap();
            assert!(paths(lake, "_lake/devices/staging").await.is_empty());
        }
    }

    #[tokio::test]
    async fn a_lease_that_was_taken_away_does_not_come_back() {
        let (_folder, [_, lake, ..]) = lakes();
        let settings = short(&lake);
        let _guard = begin_run(&lake, "devices", RUN, settings).await.unwrap();
        let may_commit = async || may_commit(&lake, "devices", RUN, settings).await.unwrap();
        assert!(may_commit().await);
        revoke(&lake, "devices", RUN).await.unwrap();
        tokio::time::sleep(settings.dead_after / 2).await;
        assert!(!may_commit().await);
    }
}
