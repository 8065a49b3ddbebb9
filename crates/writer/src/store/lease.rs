//! What runs have staged: known by run, so that what a dead run left can be distinguished from what a living one needs.
//!
//! | lake | below the run's folder | a run is dead when |
//! |---|---|---|
//! | local disk | staged files | nobody holds the lock beside the folder |
//! | S3 | a note of each open upload | it has not renewed its lease beside the folder, or has none |
//! | Azure | nothing: uncommitted blocks expire after a week | likewise |
//!
//! A lake with a single writer has no leases (`dead_after` is `None`), and needs no locks where a file system has none: whatever is
//! there is of a dead run. A run that was taken for dead and only
//! slept finds its uploads aborted, and its lease gone when it asks for it before it commits ([`may_commit`]).

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::task::JoinHandle;

use crate::error::Result;
use crate::layout;
use crate::store::backend::{Store, blocking};
use crate::store::lake::Lake;
use crate::store::local_disk::{FileLock, LocalDisk};

/// Renewals of a lease in the time after which its run is taken for dead.
const RENEWALS: u32 = 10;
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// A lease says nothing but when it was written.
const LEASE: Bytes = Bytes::from_static(b"{}\n");

/// A run that stages files, or one that takes the place of a dead run. No other run deletes what it staged while this is held.
#[derive(Debug)]
pub struct RunGuard {
    lock: Option<(FileLock, LocalDisk, String)>,
    renewal: Option<JoinHandle<()>>,
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        if let Some(renewal) = self.renewal.take() {
            renewal.abort();
        }
        if let Some((_held, disk, path)) = self.lock.take() {
            // A lock file that stays is taken for that of a dead run, and deleted.
            let _ = disk.delete_unsynced(&path);
        }
    }
}

/// Says that a run begins to stage files, until the guard is dropped. It counts as dead if its lease is not renewed for
/// `dead_after`; `None`: nobody else writes to this lake, and there are no leases.
///
/// # Errors
/// [`crate::Error::FileSystemLacks`] if two runs could overwrite each other on this disk; what else the disk or the store answers.
pub async fn begin_run(
    lake: &Lake,
    dataset: &str,
    run_id: &str,
    dead_after: Option<Duration>,
) -> Result<RunGuard> {
    let path = layout::run_lock(dataset, run_id);
    let (mut lock, mut renewal) = (None, None);
    match (&lake.store, dead_after) {
        (Store::Local(disk), _) => {
            let single_writer = dead_after.is_none();
            let held = blocking(disk, "lock", &path, move |disk, path| {
                disk.lock(path, single_writer)
            });
            let held = held.await?;
            lock = Some((held, disk.clone(), path.clone()));
            if !single_writer {
                let folder = layout::staging(dataset, run_id);
                if let Err(error) = blocking(disk, "write", &folder, LocalDisk::probe).await {
                    drop(RunGuard { lock, renewal });
                    return Err(error);
                }
            }
        }
        (Store::Remote(_), None) => {}
        (Store::Remote(_), Some(dead_after)) => {
            put_lease(lake, dataset, run_id).await?;
            let pause = (dead_after / RENEWALS).max(SHORTEST_PAUSE);
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
/// On local disk a run that is just starting has a lock file and no lock yet: the run that took it for dead holds the lock
/// until the file is deleted, and the first one, which waits for it, starts again.
pub(crate) async fn take_over(
    lake: &Lake,
    dataset: &str,
    run_id: &str,
) -> Result<Option<RunGuard>> {
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
    Ok(held.map(|held| guard(Some((held, disk.clone(), path.clone())))))
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
    dead_after: Option<Duration>,
) -> Result<bool> {
    match (&lake.store, dead_after) {
        (Store::Remote(_), Some(_)) => lake.exists(&layout::run_lock(dataset, run_id)).await,
        _ => Ok(true),
    }
}

/// Whether a run has ended, well or not, or is taken to have.
pub(crate) async fn is_dead(
    lake: &Lake,
    dataset: &str,
    run_id: &str,
    dead_after: Option<Duration>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let path = layout::run_lock(dataset, run_id);
    match (&lake.store, dead_after) {
        (Store::Local(disk), _) => {
            let single_writer = dead_after.is_none();
            blocking(disk, "lock", &path, move |disk, path| {
                disk.is_unlocked(path, single_writer)
            })
            .await
        }
        (Store::Remote(_), None) => Ok(true),
        // Stores refuse requests of clocks that are a quarter of an hour off: this clock and the store's are near.
        (Store::Remote(remote), Some(dead_after)) => {
            Ok(remote.modified(&path).await?.is_none_or(|renewed| {
                let silent = now.signed_duration_since(renewed).to_std();
                silent.is_ok_and(|silent| silent > dead_after)
            }))
        }
    }
}

/// Tries before a run does any work what it will need of a store: the right to delete, and unless this lake has a single writer
/// that no object is overwritten that a condition protects. Local disk is tried by [`begin_run`].
///
/// # Errors
/// [`crate::Error::DeleteDenied`]; [`crate::Error::NoConditionalPut`] if two runs could overwrite each other; what else the store
/// answers.
pub async fn probe_store(
    lake: &Lake,
    dataset: &str,
    run_id: &str,
    single_writer: bool,
) -> Result<()> {
    let path = layout::probe(dataset, run_id);
    lake.probe(&path, single_writer).await
}
