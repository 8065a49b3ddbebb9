//! Recovery: what a crashed run left is rolled forward if its commit is decided, and rolled back if not.

use std::collections::{BTreeSet, HashSet};

use chrono::NaiveDate;
use dataset::SnapshotId;

use crate::commit::retire;
use crate::commit::roll_forward::roll_forward;
use crate::error::Result;
use crate::layout;
use crate::store::failpoint;
use crate::store::lease;
use crate::store::leftovers::{self, abandoned_runs};
use crate::table::intent::{Intent, is_over};
use crate::table::layout_version;
use crate::table::manifest::Manifest;
use crate::table::state::{Table, TableState, kept_manifest};

/// Whether [`recover`] would have anything to do.
async fn needs_recovery(table: &Table<'_>, state: &TableState) -> Result<bool> {
    let mut retired = state.latest.retired.iter();
    let overdue = retired.any(|retired| retire::is_overdue(table, retired));
    if state.is_behind || overdue {
        return Ok(true);
    }
    let intents = Intent::objects(table.lake, table.dataset).await?;
    Ok(!intents.is_empty()
        || !abandoned(table).await?.is_empty()
        || table
            .lake
            .has_temporary_files(&layout::folders_of_documents(table.dataset))
            .await?)
}

async fn abandoned(table: &Table<'_>) -> Result<BTreeSet<String>> {
    let (lake, lease_time) = (table.lake, table.lease_time());
    abandoned_runs(lake, table.dataset, lease_time, table.now).await
}

/// Deletes what a dead run has staged and quarantined. One that has written its intent is left to the fate of its commit.
pub(crate) async fn discard_run(table: &Table<'_>, run_id: &str) -> Result<()> {
    // In this order: a run that was only silent writes down what it begins, and then looks for its lease.
    let Some(_lease) = lease::take_over(table.lake, table.dataset, run_id).await? else {
        return Ok(());
    };
    if Intent::has(table.lake, table.dataset, run_id).await? {
        return Ok(());
    }
    let state = table.read().await?;
    let mut quarantined = Vec::new();
    for object in table.lake.list(&layout::quarantines(table.dataset)).await? {
        if let Some((snapshot, run)) = layout::run_of_quarantined(table.dataset, &object.path)
            && run == run_id
            && !kept_files(table, &state, &snapshot)
                .await?
                .contains(&object.path)
        {
            quarantined.push(object.path);
        }
    }
    table.lake.delete(&quarantined).await?;
    leftovers::discard(table.lake, table.dataset, run_id).await
}

/// What the table holds, after what dead runs left was rolled forward or back. `since` is that of [`Table::read_pointer`].
pub(crate) async fn recovered(table: &Table<'_>, since: Option<NaiveDate>) -> Result<TableState> {
    layout_version::check(table.lake, table.dataset).await?;
    let state = table.read_pointer(since).await?;
    if !needs_recovery(table, &state).await? {
        return Ok(state);
    }
    let lock = table.lock().await?;
    let state = table.read_again(state, None).await?;
    recover(table, state, lock.is_alone).await?;
    table.read_pointer(since).await
}

/// Rolls forward what died after its commit, rolls back what died before it, and deletes the files of snapshots that
/// were retired long enough ago. Returns files that could not be deleted.
pub(crate) async fn recover(
    table: &Table<'_>,
    state: TableState,
    is_alone: bool,
) -> Result<Vec<String>> {
    let intents = Intent::list_and_set_aside(table.lake, table.dataset).await?;
    let state = roll_forward(table, state, &intents).await?;
    for intent in intents {
        if is_alone || is_over(&intent, &state.latest, table.now) {
            roll_back(table, &intent, &state).await?;
        }
    }
    let old_intents = layout::old_intents(table.dataset);
    table.lake.delete_empty_folder(&old_intents).await?;
    for run_id in abandoned(table).await? {
        discard_run(table, &run_id).await?;
    }
    // Under the lock nobody else writes the documents of commits; a run report is only a report.
    let folders = layout::folders_of_documents(table.dataset);
    table.lake.delete_temporary_files(&folders).await?;
    retire::delete_retired(table, state).await
}

/// Takes back what a commit has put into the lake and the commit record does not hold: what it has not published, and
/// what an append that it has published replaced.
pub(crate) async fn roll_back(
    table: &Table<'_>,
    intent: &Intent,
    state: &TableState,
) -> Result<()> {
    let manifest = &intent.manifest;
    let snapshot = &manifest.snapshot;
    let mut kept = kept_files(table, state, snapshot).await?;
    // Runs of one snapshot give their files the same names.
    for other in Intent::list(table.lake, table.dataset).await? {
        if other.manifest.run_id != manifest.run_id {
            kept.extend(other.manifest.files.into_iter().map(|file| file.path));
        }
    }
    let is_stale = |path: &String| !kept.contains(path);
    let files = manifest.files.iter().map(|file| file.path.clone());
    let files: Vec<String> = files.filter(is_stale).collect();
    table.lake.delete_files(&files).await?;
    let current = kept_manifest(&state.latest, snapshot);
    let mut documents = manifest.quarantine_files.clone();
    if let Some(published) = &intent.appends_to
        && current != Some(published)
    {
        let replaced = Manifest::read_at(table.lake, published).await?;
        documents.extend(
            replaced
                .into_iter()
                .flat_map(|replaced| replaced.quarantine_files),
        );
        documents.push(published.clone());
    }
    documents.retain(is_stale);
    if current != Some(&manifest.path()) {
        documents.push(manifest.path());
    }
    table.lake.delete(&documents).await?;
    failpoint::reached("rolled-back");
    intent.delete(table.lake).await
}

/// Deletes files under a current snapshot's names that a run with other settings left.
pub(crate) async fn delete_unlisted(
    table: &Table<'_>,
    state: &TableState,
    manifest: &Manifest,
) -> Result<()> {
    if kept_manifest(&state.latest, &manifest.snapshot) != Some(&manifest.path()) {
        return Ok(());
    }
    let folder = layout::date_folder(table.dataset, manifest.identity().generated_date());
    let listed: HashSet<&str> = manifest
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    let found = table.lake.list(&folder).await?.into_iter();
    let unlisted: Vec<String> = found
        .map(|object| object.path)
        .filter(|path| {
            layout::snapshot_of_part(path).as_ref() == Some(&manifest.snapshot)
                && !listed.contains(path.as_str())
        })
        .collect();
    table.lake.delete_files(&unlisted).await
}

/// Files of the snapshot that are part of the table, or kept after they were, and of its quarantined records.
async fn kept_files(
    table: &Table<'_>,
    state: &TableState,
    snapshot: &SnapshotId,
) -> Result<HashSet<String>> {
    let mut kept: HashSet<String> = state.log.paths()?.map(str::to_owned).collect();
    // Another run may have deleted them already, before this one wrote them again.
    let retired = state.latest.retired(snapshot);
    if retired.is_some_and(|retired| retire::is_overdue(table, retired)) {
        return Ok(kept);
    }
    if let Some(path) = kept_manifest(&state.latest, snapshot)
        && let Some(manifest) = Manifest::read_at(table.lake, path).await?
    {
        kept.extend(manifest.quarantine_files);
        kept.extend(manifest.files.into_iter().map(|file| file.path));
    }
    Ok(kept)
}
