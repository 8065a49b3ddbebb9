//! What runs have staged: known by run, so that what a dead run left can be told from what a living one needs.
//!
//! | lake | below the run's folder | a run is dead when |
//! |---|---|---|
//! | local disk | staged files | nobody holds the lock beside the folder |
//! | S3 | a note of each open upload | the lake has a single writer, or the run's id is a day old |
//! | Azure | nothing: uncommitted blocks expire after a week | |

use std::collections::BTreeSet;
use std::path::PathBuf;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::layout;
use crate::local_disk::{FileLock, LocalDisk};
use crate::manifest::{parse, to_json};
use crate::store::{Lake, Store, blocking};

/// The longest that a run may take before its uploads are taken for abandoned.
const RUN_LASTS: TimeDelta = TimeDelta::hours(24);
const VERSION: u32 = 1;

/// A run that stages files. What it staged is safe from being tidied away while this lives.
#[derive(Debug)]
pub struct RunGuard {
    lock: Option<(FileLock, PathBuf)>,
}

impl Drop for RunGuard {
    fn drop(&mut self) {
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

/// Says that a run begins to stage files. Its id begins with the time, as `20260503T100100Z`.
///
/// # Errors
/// What the disk answers.
pub async fn begin_run(lake: &Lake, dataset: &str, run_id: &str) -> Result<RunGuard> {
    let lock = match &lake.store {
        Store::Local(disk) => {
            let path = layout::run_lock(dataset, run_id);
            let lock = blocking(disk, "lock", &path, LocalDisk::lock).await?;
            Some((lock, disk.file(&path)))
        }
        Store::Remote(_) => None,
    };
    Ok(RunGuard { lock })
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
    lake.put(&note_path, to_json(&note, &note_path)?.into())
        .await
}

/// Runs that died with something staged.
pub(crate) async fn abandoned_runs(
    lake: &Lake,
    dataset: &str,
    single_writer: bool,
    now: DateTime<Utc>,
) -> Result<BTreeSet<String>> {
    let staged = lake.list(&layout::staging_folder(dataset)).await?;
    let runs: BTreeSet<&str> = staged
        .iter()
        .filter_map(|object| layout::run_of_staged(dataset, &object.path))
        .collect();
    let mut abandoned = BTreeSet::new();
    for run in runs {
        if is_dead(lake, dataset, run, single_writer, now).await? {
            abandoned.insert(run.to_owned());
        }
    }
    Ok(abandoned)
}

/// Whether a run is over, or died.
pub(crate) async fn is_dead(
    lake: &Lake,
    dataset: &str,
    run: &str,
    single_writer: bool,
    now: DateTime<Utc>,
) -> Result<bool> {
    Ok(match &lake.store {
        Store::Local(disk) => {
            let lock = layout::run_lock(dataset, run);
            blocking(disk, "lock", &lock, LocalDisk::is_unlocked).await?
        }
        Store::Remote(_) => {
            single_writer || began(run).is_some_and(|began| now - began > RUN_LASTS)
        }
    })
}

fn began(run_id: &str) -> Option<DateTime<Utc>> {
    let (time, _) = run_id.split_once('-')?;
    let time = NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%SZ").ok()?;
    Some(time.and_utc())
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
    clear(lake, dataset, run_id).await?;
    lake.delete(&[layout::run_lock(dataset, run_id)]).await
}

/// Deletes what a run staged.
pub(crate) async fn clear(lake: &Lake, dataset: &str, run_id: &str) -> Result<()> {
    let folder = layout::staging(dataset, run_id);
    match &lake.store {
        Store::Local(disk) => blocking(disk, "delete", &folder, LocalDisk::delete_folder).await,
        Store::Remote(_) => {
            let notes = lake.list(&folder).await?.into_iter();
            let notes: Vec<String> = notes.map(|object| object.path).collect();
            lake.delete(&notes).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{lakes, now, paths, snapshot, stage};

    #[tokio::test]
    async fn what_a_living_run_staged_is_not_abandoned_and_goes_when_it_died() {
        let (_folder, [disk, memory, ..]) = lakes();
        let run = "20260101T000000Z-1";
        for lake in [&disk, &memory] {
            let guard = begin_run(lake, "devices", run).await.unwrap();
            stage(lake, &snapshot(26, 10), run, 1, 0, 0..5)
                .await
                .unwrap();
            let abandoned = abandoned_runs(lake, "devices", false, now()).await.unwrap();
            assert!(abandoned.is_empty(), "{abandoned:?}");
            if let Some(folder) = lake.local_path(&layout::staging("devices", run)) {
                std::fs::write(folder.join(".1-0.tmp"), "half a docu").unwrap();
            }
            drop(guard);
            let later = now() + TimeDelta::hours(25);
            let abandoned = abandoned_runs(lake, "devices", false, later).await.unwrap();
            assert_eq!(abandoned.into_iter().collect::<Vec<_>>(), [run]);
            discard(lake, "devices", run).await.unwrap();
            assert!(paths(lake, "_lake/devices/staging").await.is_empty());
        }
    }
}
