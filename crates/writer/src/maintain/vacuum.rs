//! Files that nothing holds any more: found by what does hold files, shown first, deleted when asked.
//!
//! | found | held while |
//! |---|---|
//! | file under the table's folder | it is part of the table, of a retired snapshot that is kept, or of a commit under way |
//! | file of a day past `lake.keep` | nothing: its snapshot leaves the table first |
//! | intent of a commit | the commit is not over |
//! | staged file on local disk, temporary file | its run lives |
//! | manifest | its snapshot is current or kept, or being committed |
//! | quarantine file | its snapshot's manifest names it, or its run lives; of a snapshot that was not published, for 30 days unless its run died |
//! | document of older snapshots | the pointer names it, or it is younger than a day |
//! | run report | it is younger than 90 days |

use std::collections::{BTreeSet, HashSet};

use dataset::SnapshotId;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use crate::commit::recover::{discard_run, recover};
use crate::commit::retire::is_overdue;
use crate::commit::roll_forward::roll_forward;
use crate::commit::traces;
use crate::error::Result;
use crate::layout;
use crate::maintain::expire::{expire, expired, shorten_promises};
use crate::store::lake::Lake;
use crate::store::lease;
use crate::store::leftovers::abandoned_runs;
use crate::store::object::ObjectInfo;
use crate::table::current_snapshot::CurrentSnapshot;
use crate::table::intent::{Intent, is_over};
use crate::table::latest::{Latest, RetiredSnapshot};
use crate::table::manifest;
use crate::table::older::{self, Older};
use crate::table::state::{Table, TableState};

/// Manifests that are read side by side: a store answers each after tens of milliseconds.
const READS_AT_ONCE: usize = 16;

/// What a vacuum found, and deleted if it was asked to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VacuumReport {
    /// Whether it was deleted.
    pub applied: bool,
    /// What nothing holds, sorted by path.
    pub found: Vec<Orphan>,
}

/// An object that nothing holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Orphan {
    /// Path from the lake's root.
    pub path: String,
    /// Size.
    pub bytes: u64,
    /// Why it is there.
    pub kind: OrphanKind,
}

/// What is asked of a vacuum beyond the table's settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VacuumOptions {
    /// Delete what is found.
    pub apply: bool,
    /// Keep replaced snapshots only as long as the table's settings say now, even if they were promised for longer.
    pub shorten: bool,
}

/// Why an orphan is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OrphanKind {
    /// A file of the table that no snapshot lists.
    Unlisted,
    /// A file of a replaced snapshot that was kept long enough.
    Retired,
    /// A file of a day that is past `lake.keep`.
    Expired,
    /// What a run staged before it died.
    Staged,
    /// A run report that is too old to be asked for.
    Report,
    /// A control document of a snapshot that is gone, or of a commit that died.
    Control,
}

/// Finds what nothing holds any more, and deletes it if `apply`.
///
/// # Errors
/// [`crate::Error::HasDeltaLog`]; what the store answers.
pub async fn vacuum(table: &Table<'_>, options: VacuumOptions) -> Result<VacuumReport> {
    let (lake, dataset, apply) = (table.lake, table.dataset, options.apply);
    // Without `apply` nothing is created, a lock file neither.
    let mut lock = None;
    if apply {
        lock = Some(table.lock().await?);
        // The intent of a dead commit may be all that tells what is current.
        let intents = Intent::list(lake, dataset).await?;
        roll_forward(table, table.read().await?, &intents).await?;
    }
    // What may go before what holds it, one after the other: a commit writes its intent before its files and manifest appear.
    let files = lake.list(&layout::table(dataset)).await?;
    let control = lake.list(&layout::control(dataset)).await?;
    let intents = Intent::list(lake, dataset).await?;
    let mut state = table.read().await?;
    if options.shorten {
        match apply {
            true => {
                let shorten = |latest: &mut Latest| shorten_promises(table, latest);
                state = table.change_pointer(state, None, shorten).await?;
            }
            false => _ = shorten_promises(table, &mut state.latest),
        }
    }
    let alone = lock
        .as_ref()
        .map_or(table.settings.single_writer, |lock| lock.is_alone);
    let (over, under_way): (Vec<_>, Vec<_>) = intents
        .into_iter()
        .partition(|intent| alone || is_over(intent, &state.latest, table.now));
    let over: HashSet<String> = over.iter().flat_map(Intent::paths).collect();
    let lease_time = table.lease_time();
    let mut abandoned_runs = abandoned_runs(lake, dataset, lease_time, table.now).await?;
    abandoned_runs.retain(|run| {
        under_way
            .iter()
            .all(|intent| intent.manifest.run_id != *run)
    });
    let held = Held::read(table, &state, &under_way, &control).await?;
    let mut found = held.orphaned_files(dataset, files);
    for object in control {
        found.extend(
            held.orphaned_document(table, object, &over, &abandoned_runs)
                .await?,
        );
    }
    found.sort();
    if apply {
        // Their files go as those of replaced snapshots do: queries under way read on.
        expire(table, state).await?;
        let (table_files, documents): (Vec<_>, Vec<_>) = found
            .iter()
            .filter(|orphan| orphan.kind != OrphanKind::Expired)
            .map(|orphan| orphan.path.clone())
            .partition(|path| path.starts_with(&format!("{}/", layout::table(dataset))));
        lake.delete_files(&table_files).await?;
        let over: Vec<String> = over.into_iter().collect();
        lake.delete(&over).await?;
        for run_id in &abandoned_runs {
            discard_run(table, run_id).await?;
        }
        lake.delete(&documents).await?;
        recover(table, table.read().await?, alone).await?;
    }
    Ok(VacuumReport {
        applied: apply,
        found,
    })
}

/// What a table and the commits under way hold.
struct Held {
    /// Files of the table and of quarantined records.
    files: HashSet<String>,
    /// Files of snapshots that were kept long enough.
    retired_files: HashSet<String>,
    /// Files of days that are past their time.
    expired_files: HashSet<String>,
    manifests: HashSet<String>,
    /// Snapshots that are current or kept.
    snapshots: HashSet<SnapshotId>,
    /// Where the pointer has older ones.
    older: Option<Older>,
}

impl Held {
    /// `control` is what the control folder has.
    async fn read(
        table: &Table<'_>,
        state: &TableState,
        under_way: &[Intent],
        control: &[ObjectInfo],
    ) -> Result<Self> {
        let expired: HashSet<&SnapshotId> = expired(table, &state.latest)
            .into_iter()
            .map(|expired| &expired.snapshot)
            .collect();
        let mut held = Self {
            files: state.log.paths()?.map(str::to_owned).collect(),
            retired_files: HashSet::new(),
            expired_files: HashSet::new(),
            manifests: HashSet::new(),
            snapshots: HashSet::new(),
            older: state.latest.older.clone(),
        };
        held.files.retain(|path| {
            let snapshot = layout::snapshot_of_part(path);
            snapshot.is_none_or(|snapshot| !expired.contains(&snapshot))
        });
        let quarantined = control
            .iter()
            .filter_map(|object| layout::run_of_quarantined(table.dataset, &object.path));
        let quarantined: HashSet<SnapshotId> = quarantined.map(|(snapshot, _)| snapshot).collect();
        let has_log = state.log.version.is_some();
        // The log has the files of current snapshots: most manifests need not be read.
        let is_told =
            |current: &CurrentSnapshot| has_log && !quarantined.contains(&current.snapshot);
        let overdue = |retired: &&RetiredSnapshot| is_overdue(table, retired);
        let (overdue, kept): (Vec<_>, Vec<_>) = state.latest.retired.iter().partition(overdue);
        let current = state.latest.snapshots.iter();
        let (expired, current): (Vec<_>, Vec<_>) =
            current.partition(|current| expired.contains(&current.snapshot));
        let mut wanted = Vec::new();
        for snapshot in current {
            held.hold(snapshot);
            wanted.extend((!is_told(snapshot)).then(|| (Fate::Held, snapshot.manifest.clone())));
        }
        for retired in kept {
            held.hold(&retired.was);
            wanted.push((Fate::Held, retired.was.manifest.clone()));
        }
        for retired in overdue {
            wanted.push((Fate::Retired, retired.was.manifest.clone()));
        }
        for expired in expired {
            held.hold(expired);
            wanted.push((Fate::Expired, expired.manifest.clone()));
        }
        let lake = table.lake;
        let reads = wanted
            .into_iter()
            .map(|(fate, manifest)| async move { Ok((fate, files_of(lake, &manifest).await?)) });
        let mut reads = stream::iter(reads).buffer_unordered(READS_AT_ONCE);
        while let Some((fate, files)) = reads.try_next().await? {
            match fate {
                Fate::Held => held.files.extend(files),
                Fate::Retired => held.retired_files.extend(files),
                Fate::Expired => held.expired_files.extend(files),
            }
        }
        for intent in under_way {
            let manifest = &intent.manifest;
            held.manifests.insert(manifest.path());
            let files = manifest.files.iter().map(|file| &file.path);
            let files = files.chain(&manifest.quarantine_files);
            held.files.extend(files.cloned());
        }
        Ok(held)
    }

    fn hold(&mut self, snapshot: &CurrentSnapshot) {
        self.snapshots.insert(snapshot.snapshot.clone());
        self.manifests.insert(snapshot.manifest.clone());
    }

    /// Files of the table's folder that nothing holds.
    fn orphaned_files(&self, dataset: &str, files: Vec<ObjectInfo>) -> Vec<Orphan> {
        let log = format!("{}/", layout::delta_log(dataset));
        let files = files
            .into_iter()
            .filter(|file| !file.path.starts_with(&log) && !self.files.contains(&file.path));
        let orphans = files.map(|file| {
            let kind = if self.expired_files.contains(&file.path) {
                OrphanKind::Expired
            } else if self.retired_files.contains(&file.path) {
                OrphanKind::Retired
            } else {
                OrphanKind::Unlisted
            };
            orphan(file, kind)
        });
        orphans.collect()
    }

    /// An object of the control folder, if nothing holds it.
    async fn orphaned_document(
        &self,
        table: &Table<'_>,
        object: ObjectInfo,
        over: &HashSet<String>,
        abandoned_runs: &BTreeSet<String>,
    ) -> Result<Option<Orphan>> {
        let (lake, dataset) = (table.lake, table.dataset);
        if self.files.contains(&object.path) {
            return Ok(None);
        }
        if self.expired_files.contains(&object.path) {
            return Ok(Some(orphan(object, OrphanKind::Control)));
        }
        if older::is_unnamed(dataset, &object.path, self.older.as_ref(), table.now) {
            return Ok(Some(orphan(object, OrphanKind::Control)));
        }
        if traces::is_old_report(dataset, &object.path, table.now) {
            return Ok(Some(orphan(object, OrphanKind::Report)));
        }
        let kind = match layout::run_of_quarantined(dataset, &object.path) {
            Some((snapshot, run)) => {
                let lease_time = table.lease_time();
                let is_refused = !self.snapshots.contains(&snapshot);
                let is_stale = abandoned_runs.contains(run)
                    || (is_refused && traces::is_old_quarantine(dataset, &object.path, table.now))
                    || (self.snapshots.contains(&snapshot)
                        && lease::is_dead(lake, dataset, run, lease_time, table.now).await?);
                is_stale.then_some(OrphanKind::Control)
            }
            None => abandoned(dataset, &object, over, &self.manifests, abandoned_runs),
        };
        Ok(kind.map(|kind| orphan(object, kind)))
    }
}

/// Whether the files of a snapshot stay.
enum Fate {
    Held,
    Retired,
    Expired,
}

/// The table's files of a snapshot, and those of its quarantined records.
async fn files_of(lake: &Lake, manifest: &str) -> Result<Vec<String>> {
    let (mut files, quarantined) = manifest::paths_at(lake, manifest).await?;
    files.extend(quarantined);
    Ok(files)
}

/// Why a control document is there, if nothing holds it.
fn abandoned(
    dataset: &str,
    object: &ObjectInfo,
    over: &HashSet<String>,
    kept: &HashSet<String>,
    abandoned_runs: &BTreeSet<String>,
) -> Option<OrphanKind> {
    let path = object.path.as_str();
    let manifests = format!("{}/", layout::manifests(dataset));
    if path.starts_with(&manifests) && path.ends_with(".json") {
        return (!kept.contains(path)).then_some(OrphanKind::Control);
    }
    if over.contains(path) {
        return Some(OrphanKind::Control);
    }
    let run = layout::run_of_staged(dataset, path)?;
    abandoned_runs.contains(run).then_some(OrphanKind::Staged)
}

fn orphan(object: ObjectInfo, kind: OrphanKind) -> Orphan {
    Orphan {
        path: object.path,
        bytes: object.bytes,
        kind,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::commit::request::manifest_of;
    use crate::fixtures::{
        committed, lakes, now, paths, snapshot, stage, staged, table, table_at, table_keeping,
    };

    fn applied(apply: bool) -> VacuumOptions {
        VacuumOptions {
            apply,
            shorten: false,
        }
    }

    #[tokio::test]
    async fn only_what_nothing_holds_is_found_and_only_deleted_when_asked() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            committed(&lake, &snapshot(25, 10), "run 1", 5).await;
            let before = paths(&lake, "devices").await;
            let stray = stage(&lake, &snapshot(26, 10), "dead", 1, 0, 0..5)
                .await
                .unwrap();
            stray
                .upload
                .complete(&lake, &stray.data.path, &stray.data.sha256)
                .await
                .unwrap();
            for apply in [false, true] {
                let report = vacuum(&table(&lake), applied(apply)).await.unwrap();
                assert_eq!(report.found.len(), 1, "{report:?}");
                assert_eq!(report.found[0].path, stray.data.path);
                assert_eq!(report.found[0].kind, OrphanKind::Unlisted);
                assert_eq!(report.applied, apply);
            }
            assert_eq!(paths(&lake, "devices").await, before);
            let report = vacuum(&table(&lake), applied(true)).await.unwrap();
            assert_eq!(report.found, []);
        }
    }

    #[tokio::test]
    async fn a_kept_snapshot_is_held_until_its_time_is_over() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            let keeping = table_keeping(&lake, Duration::from_secs(60));
            for (hour, run_id) in [(10, "run 1"), (11, "run 2")] {
                let request = staged(&lake, &snapshot(26, hour), run_id, 5).await;
                crate::publish(&keeping, &request).await.unwrap();
            }
            let report = vacuum(&keeping, applied(true)).await.unwrap();
            assert_eq!(report.found, []);
            let later = Table {
                now: now() + Duration::from_secs(60),
                ..keeping
            };
            let report = vacuum(&later, applied(true)).await.unwrap();
            let kinds: Vec<_> = report.found.iter().map(|orphan| orphan.kind).collect();
            assert_eq!(
                kinds,
                [
                    OrphanKind::Control,
                    OrphanKind::Retired,
                    OrphanKind::Retired
                ]
            );
            assert_eq!(
                paths(&lake, "devices/generated_date=2022-07-26")
                    .await
                    .len(),
                2
            );
        }
    }

    #[tokio::test]
    async fn what_a_dead_run_has_quarantined_of_a_snapshot_is_found() {
        let (_folder, [lake, ..]) = lakes();
        committed(&lake, &snapshot(25, 10), "run", 5).await;
        let (dead, alive) = ("20251226T110000Z-0a1b2c3d", "20251226T110000Z-4e5f6a7b");
        let long_dead = "20251126T110000Z-0a1b2c3d";
        let put = async |snapshot: &dataset::Snapshot, run: &str| {
            let path = layout::quarantine_file("devices", &snapshot.id(), run, "part-00000-0000");
            lake.put(&path, "{}".into()).await.unwrap();
            path
        };
        let stale = put(&snapshot(25, 10), dead).await;
        let living = put(&snapshot(25, 10), alive).await;
        let unpublished = put(&snapshot(26, 10), dead).await;
        let long_unpublished = put(&snapshot(26, 10), long_dead).await;
        let _guard = crate::begin_run(&lake, "devices", alive, table(&lake).lease_time())
            .await
            .unwrap();
        let report = vacuum(&table(&lake), applied(true)).await.unwrap();
        let found: Vec<&str> = report.found.iter().map(|orphan| &*orphan.path).collect();
        assert_eq!(found, [&stale, &long_unpublished]);
        assert_eq!(lake.get(&stale).await.unwrap(), None);
        for path in [living, unpublished] {
            assert!(lake.get(&path).await.unwrap().is_some(), "{path}");
        }
    }

    #[tokio::test]
    async fn what_the_intent_of_a_living_commit_lists_is_held() {
        let (_folder, [_, lake, ..]) = lakes();
        let request = staged(&lake, &snapshot(26, 10), "alive", 5).await;
        let intent = Intent::new(manifest_of(&table(&lake), &request), false);
        intent.write(&lake).await.unwrap();
        for file in &request.files {
            file.upload
                .complete(&lake, &file.data.path, &file.data.sha256)
                .await
                .unwrap();
        }
        let report = vacuum(&table(&lake), applied(true)).await.unwrap();
        assert_eq!(report.found, []);
        let much_later = now() + Duration::from_secs(2 * 3600);
        let report = vacuum(&table_at(&lake, much_later), applied(true))
            .await
            .unwrap();
        assert_eq!(report.found.len(), 3, "{report:?}");
        assert!(paths(&lake, "devices").await.is_empty());
    }
}
