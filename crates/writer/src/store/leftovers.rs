//! What runs have staged: notes of open uploads, the runs that died with something staged, and the deletion of it.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layout;
use crate::store::backend::{Store, blocking};
use crate::store::document::parse;
use crate::store::lake::Lake;
use crate::store::lease::{is_dead, revoke};
use crate::store::local_disk::LocalDisk;

const VERSION: u32 = 1;

/// A note of an upload that is open.
#[derive(Debug, Serialize, Deserialize)]
struct UploadNote {
    version: u32,
    path: String,
    upload_id: String,
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
    dead_after: Option<Duration>,
    now: DateTime<Utc>,
) -> Result<BTreeSet<String>> {
    let staged = lake.list(&layout::staging_folder(dataset)).await?;
    let runs: BTreeSet<&str> = staged
        .iter()
        .filter_map(|object| layout::run_of_staged(dataset, &object.path))
        .collect();
    let mut abandoned = BTreeSet::new();
    for run in runs {
        if is_dead(lake, dataset, run, dead_after, now).await? {
            abandoned.insert(run.to_owned());
        }
    }
    Ok(abandoned)
}

/// Aborts what a run left open and deletes what it staged.
pub(crate) async fn discard(lake: &Lake, dataset: &str, run_id: &str) -> Result<()> {
    if let Store::Remote(remote) = &lake.store {
        for object in lake.list(&layout::staging(dataset, run_id)).await? {
            let Some(content) = lake.get(&object.path).await? else {
                continue;
            };
            let note = match parse::<UploadNote>(&content, &object.path, VERSION) {
                Ok(note) if layout::is_part_of_table(dataset, &note.path) => note,
                Ok(_) | Err(Error::Malformed { .. }) => {
                    let path = object.path;
                    tracing::warn!(
                        path,
                        "this is no note of an upload to the table: it is deleted"
                    );
                    continue;
                }
                Err(error) => return Err(error),
            };
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
    use crate::fixtures::{lakes, paths, snapshot, stage};
    use crate::store::lease::{begin_run, may_commit, revoke};

    const RUN: &str = "20260101T000000Z-1";

    const SHORT: Duration = Duration::from_millis(500);

    async fn abandoned(lake: &Lake) -> Vec<String> {
        let runs = abandoned_runs(lake, "devices", Some(SHORT), Utc::now()).await;
        runs.unwrap().into_iter().collect()
    }

    #[tokio::test]
    async fn what_a_living_run_staged_goes_only_when_it_died() {
        let (_folder, [disk, memory, ..]) = lakes();
        for lake in [&disk, &memory] {
            let guard = begin_run(lake, "devices", RUN, Some(SHORT)).await.unwrap();
            stage(lake, &snapshot(26, 10), RUN, 1, 0, 0..5)
                .await
                .unwrap();
            if let Some(folder) = lake.local_path(&layout::staging("devices", RUN)) {
                std::fs::write(folder.join(".1-0.tmp"), "half a docu").unwrap();
            }
            // Longer than a run may be silent: it is renewed.
            tokio::time::sleep(SHORT * 2).await;
            assert!(abandoned(lake).await.is_empty());
            drop(guard);
            tokio::time::sleep(SHORT * 2).await;
            assert_eq!(abandoned(lake).await, [RUN]);
            discard(lake, "devices", RUN).await.unwrap();
            revoke(lake, "devices", RUN).await.unwrap();
            assert!(paths(lake, "_lake/devices/staging").await.is_empty());
        }
    }

    #[tokio::test]
    async fn a_lease_that_was_taken_away_does_not_come_back() {
        let (_folder, [_, lake, ..]) = lakes();
        let _guard = begin_run(&lake, "devices", RUN, Some(SHORT)).await.unwrap();
        let may_commit = async || {
            may_commit(&lake, "devices", RUN, Some(SHORT))
                .await
                .unwrap()
        };
        assert!(may_commit().await);
        revoke(&lake, "devices", RUN).await.unwrap();
        tokio::time::sleep(SHORT / 2).await;
        assert!(!may_commit().await);
    }
}
