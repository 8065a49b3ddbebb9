//! Rows added to a published snapshot: records that were quarantined and pass now join the snapshot that they are of.
//!
//! | step | readers of the record see | readers of a glob see | a crash after it leaves |
//! |---|---|---|---|
//! | 0 lock (local disk), check that the snapshot is as it was read | as published | the old files | open uploads |
//! | 1 write the intent | as published | likewise | that, and open uploads |
//! | 2 complete the uploads | as published | old and added files | added files that the intent lists |
//! | 3 **publish**: a log entry that adds the files, or the swap of `latest` | with the rows | likewise | a `latest` that is behind |
//! | 4 write the new manifest beside the published one, swap `latest` | with the rows | likewise | the old manifest, stale files |
//! | 5 delete these, and files that no manifest lists | with the rows | likewise | an intent of which nothing is left to do |
//! | 6 delete the intent, recover what others left | with the rows | likewise | nothing |
//!
//! Without a log the manifest is written before the swap. The new manifest names the quarantine files of what is still
//! quarantined, so that rows and records change places in one act: appending again adds nothing. What a crash leaves is
//! finished or undone as after a commit's.

use std::collections::{BTreeMap, HashSet};

use dataset::Dataset;

use crate::commit::decide::{Entry, Request, info};
use crate::commit::followers::Followed;
use crate::commit::invariants;
use crate::commit::request::sorted;
use crate::commit::staged::{Ended, commit_staged};
use crate::commit::uploads::abort;
use crate::delta::log::EntryOfSnapshot;
use crate::error::Result;
use crate::stage::staged_file::StagedFile;
use crate::table::current_snapshot::CurrentSnapshot;
use crate::table::intent::Intent;
use crate::table::latest::Latest;
use crate::table::manifest::{BlobCounts, Manifest};
use crate::table::state::{Table, TableState};

/// What is to be added to a snapshot.
#[derive(Debug, Clone)]
pub struct AppendRequest {
    /// The snapshot as it was read: rows are added to no other state of it.
    pub published: Manifest,
    /// [`dataset::Dataset::fingerprint`] of the schema that the rows were decoded with.
    pub schema_fingerprint: String,
    /// The run that adds them.
    pub run_id: String,
    /// Version of the program.
    pub program_version: String,
    /// The staged files of the rows, with numbers that the snapshot does not have.
    pub files: Vec<StagedFile>,
    /// Every blob of the snapshot, its counts after the append.
    pub blobs: Vec<BlobCounts>,
    /// Rows whose unique key another row has, after the append.
    pub duplicate_keys: u64,
    /// Of each column: rows without a value, of the added rows.
    pub column_nulls: BTreeMap<String, u64>,
    /// The files of what is still quarantined, in place of the published ones.
    pub quarantine_files: Vec<String>,
}

/// Files to append to a snapshot, and the intent that says so.
struct Append<'a> {
    request: &'a AppendRequest,
    intent: Intent,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendOutcome {
    /// The rows are part of the snapshot.
    Appended {
        /// The snapshot as it is now.
        manifest: Box<Manifest>,
        /// What became of what follows. The append stands all the same.
        followed: Followed,
    },
    /// The snapshot was replaced or appended to since it was read, or another run took this one for dead. The staged files were
    /// thrown away.
    Outdated,
    /// The store kept refusing the write that decides: others kept committing first, or it has another reason. Nothing was
    /// appended.
    Conflict {
        /// Writes that it refused.
        attempts: u32,
        /// The store's words of the last refusal, without secrets.
        message: String,
    },
}

/// Adds staged files to a published snapshot.
///
/// # Errors
/// [`crate::Error::Invariant`] if the request contradicts itself: nothing was touched, the uploads are open. After an error of the
/// store the uploads have been aborted, and the snapshot is as before unless the deciding write itself failed without an answer.
pub async fn append(table: &Table<'_>, request: &AppendRequest) -> Result<AppendOutcome> {
    let manifest = appended(table, request);
    invariants::is_of_the_table(&manifest, table.dataset)?;
    invariants::check_append(&request.published, &manifest)?;
    let lock = table.lock().await?;
    let state = table.read().await?;
    if !is_current(&state.latest, &request.published) {
        abort(table.lake, table.dataset, &request.run_id, &request.files).await?;
        return Ok(AppendOutcome::Outdated);
    }
    let append = Append {
        request,
        intent: Intent::appending(&request.published, manifest),
    };
    let (intent, files) = (&append.intent, &request.files);
    let ended = commit_staged(table, &append, intent, files, state, &lock).await?;
    Ok(match ended {
        Ended::Committed { followed, .. } => AppendOutcome::Appended {
            manifest: Box::new(append.intent.manifest),
            followed,
        },
        Ended::Refused(()) | Ended::TakenForDead => AppendOutcome::Outdated,
        Ended::Contended(contention) => AppendOutcome::Conflict {
            attempts: contention.refusals(),
            message: contention.last().to_owned(),
        },
    })
}

fn appended(table: &Table<'_>, request: &AppendRequest) -> Manifest {
    let mut files = request.published.files.clone();
    files.extend(request.files.iter().map(|file| file.data.clone()));
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut column_nulls = request.published.column_nulls.clone();
    if !column_nulls.is_empty() {
        for (column, nulls) in &request.column_nulls {
            *column_nulls.entry(column.clone()).or_default() += nulls;
        }
    }
    Manifest {
        schema_fingerprint: request.schema_fingerprint.clone(),
        run_id: request.run_id.clone(),
        program_version: request.program_version.clone(),
        committed_at: table.now,
        rows: files.iter().map(|file| file.rows).sum(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        records_quarantined: request.blobs.iter().map(|blob| blob.quarantined).sum(),
        duplicate_keys: request.duplicate_keys,
        column_nulls,
        amendment: request.published.amendment + 1,
        quarantine_files: sorted(request.quarantine_files.clone()),
        files,
        blobs: request.blobs.clone(),
        ..request.published.clone()
    }
}

fn is_current(latest: &Latest, manifest: &Manifest) -> bool {
    let date = manifest.identity().generated_date();
    latest
        .current(&manifest.org_id, date)
        .is_some_and(|current| {
            current.manifest == manifest.path() && current.run_id == manifest.run_id
        })
}

impl Request for Append<'_> {
    type Refusal = ();

    fn manifest(&self) -> &Manifest {
        &self.intent.manifest
    }

    fn refused(&self, state: &TableState) -> Option<()> {
        (!is_current(&state.latest, &self.request.published)).then_some(())
    }

    async fn is_recorded(
        &self,
        _table: &Table<'_>,
        state: &TableState,
        _before: Option<u64>,
    ) -> Result<bool> {
        Ok(is_current(&state.latest, &self.intent.manifest))
    }

    fn current(&self, _replaced: Option<&CurrentSnapshot>) -> CurrentSnapshot {
        CurrentSnapshot::from(&self.intent.manifest)
    }

    fn columns(&self) -> Option<&Dataset> {
        None
    }

    async fn entry(
        &self,
        _table: &Table<'_>,
        _state: &TableState,
        replaced: Option<&CurrentSnapshot>,
    ) -> Result<Entry<'_>> {
        let manifest = &self.intent.manifest;
        let mut info = info(manifest);
        let rolled_back = replaced.and_then(|current| current.rolled_back.as_ref());
        EntryOfSnapshot::write(&mut info, rolled_back, None);
        let paths: HashSet<&String> = self
            .request
            .files
            .iter()
            .map(|file| &file.data.path)
            .collect();
        let files = manifest.files.iter();
        Ok(Entry {
            add: files.filter(|file| paths.contains(&file.path)).collect(),
            remove: None,
            transaction: None,
            operation: "WRITE",
            info,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lake;
    use crate::commit::uploads::complete_uploads;
    use crate::fixtures::{committed, dataset, lakes, paths, snapshot, stage, table};
    use crate::layout;
    use crate::read_manifest;
    use crate::store::lease;

    /// An append to the one snapshot of `lake` by two rows of group 1.
    async fn request(lake: &Lake, run_id: &str) -> AppendRequest {
        request_of(lake, run_id, 7, 2).await
    }

    /// An append by a file of that number and some rows.
    async fn request_of(lake: &Lake, run_id: &str, number: u32, rows: u64) -> AppendRequest {
        let snapshot = snapshot(26, 10);
        let published = read_manifest(lake, "devices", &snapshot.id())
            .await
            .unwrap()
            .unwrap();
        let devices = 1_000_000..1_000_000 + rows;
        let file = stage(lake, &snapshot, run_id, 1, number, devices)
            .await
            .unwrap();
        let mut blobs = published.blobs.clone();
        blobs[0].rows += rows;
        blobs[0].quarantined -= rows;
        AppendRequest {
            schema_fingerprint: dataset().fingerprint(),
            run_id: run_id.to_owned(),
            program_version: "0.0.0".to_owned(),
            files: vec![file],
            blobs,
            duplicate_keys: 0,
            column_nulls: BTreeMap::new(),
            quarantine_files: Vec::new(),
            published,
        }
    }

    #[tokio::test]
    async fn rows_join_the_snapshot_exactly_once() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            committed(&lake, &snapshot(26, 10), "run", 20).await;
            let first = request(&lake, "replay").await;
            let second = request(&lake, "late").await;
            let before = first.published.clone();
            let AppendOutcome::Appended { manifest, .. } =
                append(&table(&lake), &first).await.unwrap()
            else {
                panic!("not appended");
            };
            assert_eq!((manifest.rows, manifest.amendment), (before.rows + 2, 1));
            assert_eq!(manifest.records_quarantined, 0);
            let read = read_manifest(&lake, "devices", &before.snapshot).await;
            assert_eq!(read.unwrap().as_ref(), Some(&*manifest));
            let proven = crate::fixtures::verify(&lake, &manifest).await;
            assert!(proven.is_proven(), "{:?}", proven.problems);
            assert_eq!(lake.get(&before.path()).await.unwrap(), None);

            assert_eq!(
                append(&table(&lake), &second).await.unwrap(),
                AppendOutcome::Outdated
            );
            let read = read_manifest(&lake, "devices", &before.snapshot).await;
            assert_eq!(read.unwrap().as_ref(), Some(&*manifest));
            assert_eq!(lake.list("_lake/devices/staging").await.unwrap(), []);
        }
    }

    #[tokio::test]
    async fn a_later_snapshot_replaces_an_appended_one_with_all_its_files() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            committed(&lake, &snapshot(26, 10), "run", 20).await;
            let rows = request(&lake, "replay").await;
            let late = request(&lake, "late").await;
            append(&table(&lake), &rows).await.unwrap();
            committed(&lake, &snapshot(26, 11), "next", 20).await;
            let files = lake.list("devices").await.unwrap();
            let id = snapshot(26, 11).id();
            let mut parts = files.iter().filter(|file| file.path.ends_with(".parquet"));
            assert!(parts.all(|file| file.path.contains(id.as_str())));
            assert_eq!(lake.list("_lake/devices/snapshots").await.unwrap().len(), 1);
            assert_eq!(
                append(&table(&lake), &late).await.unwrap(),
                AppendOutcome::Outdated
            );
            assert_eq!(lake.list("devices").await.unwrap(), files);
        }
    }

    #[tokio::test]
    async fn records_change_places_with_rows_and_stale_files_go() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            committed(&lake, &snapshot(26, 10), "run", 20).await;
            let folder = layout::quarantine("devices", &snapshot(26, 10).id());
            let (first, second) = (
                format!("{folder}/replay-part-00007-0000.jsonl"),
                format!("{folder}/again-part-00008-0000.jsonl"),
            );
            let mut request = request_of(&lake, "replay", 7, 1).await;
            lake.put(&first, "{}".into()).await.unwrap();
            request.quarantine_files = vec![first.clone()];
            append(&table(&lake), &request).await.unwrap();

            let mut again = request_of(&lake, "again", 8, 1).await;
            lake.put(&second, "{}".into()).await.unwrap();
            again.quarantine_files = vec![second.clone()];
            append(&table(&lake), &again).await.unwrap();
            assert_eq!(paths(&lake, &folder).await, [second]);
            assert_eq!(paths(&lake, "_lake/devices/snapshots").await.len(), 1);
        }
    }

    #[tokio::test]
    async fn a_run_that_was_taken_for_dead_appends_nothing() {
        let (_folder, [_, lake, ..]) = lakes();
        committed(&lake, &snapshot(26, 10), "run", 20).await;
        let request = request(&lake, "silent").await;
        lease::revoke(&lake, "devices", "silent").await.unwrap();
        let before = paths(&lake, "devices").await;
        assert_eq!(
            append(&table(&lake), &request).await.unwrap(),
            AppendOutcome::Outdated
        );
        assert_eq!(paths(&lake, "devices").await, before);
        assert!(paths(&lake, "_lake/devices/intents").await.is_empty());
    }

    #[tokio::test]
    async fn what_a_crash_left_is_overwritten() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            committed(&lake, &snapshot(26, 10), "run", 20).await;
            let crashed = request(&lake, "crashed").await;
            complete_uploads(&lake, &crashed.files).await.unwrap();
            appended(&table(&lake), &crashed)
                .write(&lake)
                .await
                .unwrap();

            let again = request(&lake, "again").await;
            let AppendOutcome::Appended { manifest, .. } =
                append(&table(&lake), &again).await.unwrap()
            else {
                panic!("not appended");
            };
            let proven = crate::fixtures::verify(&lake, &manifest).await;
            assert!(proven.is_proven(), "{:?}", proven.problems);
        }
    }

    #[tokio::test]
    async fn a_dead_append_is_not_taken_for_the_published_one() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            committed(&lake, &snapshot(26, 10), "run", 20).await;
            let dead = request(&lake, "dead").await;
            Intent::new(appended(&table(&lake), &dead), false)
                .write(&lake)
                .await
                .unwrap();
            complete_uploads(&lake, &dead.files).await.unwrap();

            let mut alive = request(&lake, "living").await;
            let file = stage(
                &lake,
                &snapshot(26, 10),
                "living",
                1,
                8,
                1_000_005..1_000_007,
            )
            .await;
            alive.files = vec![file.unwrap()];
            let AppendOutcome::Appended { manifest, .. } =
                append(&table(&lake), &alive).await.unwrap()
            else {
                panic!("not appended");
            };
            assert_eq!(manifest.run_id, "living");
            let read = read_manifest(&lake, "devices", &manifest.snapshot).await;
            assert_eq!(read.unwrap().as_ref(), Some(&*manifest));
            let proven = crate::fixtures::verify(&lake, &manifest).await;
            assert!(proven.is_proven(), "{:?}", proven.problems);
        }
    }

    #[tokio::test]
    async fn counts_that_do_not_add_up_are_refused_untouched() {
        let (_folder, [lake, ..]) = lakes();
        committed(&lake, &snapshot(26, 10), "run", 20).await;
        let request = request(&lake, "replay").await;
        let refused = |change: fn(&mut AppendRequest)| {
            let mut request = request.clone();
            change(&mut request);
            let lake = lake.clone();
            async move {
                append(&table(&lake), &request)
                    .await
                    .unwrap_err()
                    .to_string()
            }
        };
        for error in [
            refused(|request| request.blobs[0].rows += 1).await,
            refused(|request| request.blobs.clear()).await,
            refused(|request| request.files.clear()).await,
            refused(|request| request.files.push(request.files[0].clone())).await,
            refused(|request| request.files[0].data.path.push('x')).await,
        ] {
            assert!(error.contains("20220726T100100Z-47d41a0c"), "{error}");
        }
        let read = read_manifest(&lake, "devices", &snapshot(26, 10).id()).await;
        assert_eq!(read.unwrap(), Some(request.published));
    }
}
