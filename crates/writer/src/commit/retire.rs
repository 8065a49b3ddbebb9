//! The end of a retired snapshot: once it was kept for as long as was promised, its files are deleted, then its manifest, and last its
//! place in the pointer.

use std::collections::HashSet;

use dataset::SnapshotId;

use crate::error::Result;
use crate::layout;
use crate::store::failpoint;
use crate::store::remote::ConditionalPut;
use crate::table::current_snapshot::CurrentSnapshot;
use crate::table::latest::RetiredSnapshot;
use crate::table::manifest;
use crate::table::state::{Table, TableState};

const POINTER_ATTEMPTS: u32 = 3;

pub(crate) fn is_overdue(table: &Table<'_>, retired: &RetiredSnapshot) -> bool {
    table.now >= retired.kept_until(table.settings.retire_after)
}

/// Deletes the files of overdue snapshots, their manifests after them, and takes them off the pointer last.
pub(crate) async fn delete_retired(
    table: &Table<'_>,
    mut state: TableState,
) -> Result<Vec<String>> {
    let is_unknown = |retired: &RetiredSnapshot| {
        is_overdue(table, retired) && !state.latest.has_all_since(retired.was.generated_date)
    };
    if state.latest.retired.iter().any(is_unknown) {
        state = table.whole(state).await?;
    }
    let (mut not_deleted, mut deleted) = (Vec::new(), Vec::new());
    for retired in &state.latest.retired {
        if !is_overdue(table, retired) {
            continue;
        }
        let paths = files_of_retired(table, &state, &retired.was).await?;
        match delete_snapshot(table, &paths, &retired.was).await {
            Ok(()) => deleted.push(retired.was.snapshot.clone()),
            Err(error) => {
                tracing::warn!(%error, "could not delete the files of a replaced snapshot");
                not_deleted.extend(paths);
            }
        }
    }
    if deleted.is_empty() {
        return Ok(not_deleted);
    }
    if let Err(error) = remove_from_pointer(table, &deleted, state).await {
        tracing::warn!(%error, "deleted snapshots are still listed as retired");
    }
    Ok(not_deleted)
}

/// Takes deleted snapshots off the pointer. Where others keep replacing it, one of them does it.
async fn remove_from_pointer(
    table: &Table<'_>,
    deleted: &[SnapshotId],
    mut state: TableState,
) -> Result<()> {
    for _ in 0..POINTER_ATTEMPTS {
        state = table.read_again(state, None).await?;
        let listed = state.latest.retired.len();
        state
            .latest
            .retired
            .retain(|retired| !deleted.contains(&retired.was.snapshot));
        if state.latest.retired.len() == listed || state.swap(table).await? == ConditionalPut::Done
        {
            break;
        }
    }
    Ok(())
}

async fn files_of_retired(
    table: &Table<'_>,
    state: &TableState,
    was: &CurrentSnapshot,
) -> Result<Vec<String>> {
    let (files, _) = manifest::paths_at(table.lake, &was.manifest).await?;
    // The pointer follows the log: where the files that it has were not read, it has none of a snapshot that is not current.
    if state.latest.is_current(&was.snapshot) {
        return Ok(Vec::new());
    }
    let in_log: HashSet<&str> = match state.log.has_files() {
        true => state.log.paths()?.collect(),
        false => HashSet::new(),
    };
    let date = layout::date_folder(table.dataset, was.generated_date) + "/";
    let in_table = |path: &String| {
        path.starts_with(&date)
            && layout::snapshot_of_part(path).as_ref() == Some(&was.snapshot)
            && !in_log.contains(path.as_str())
    };
    Ok(files.into_iter().filter(in_table).collect())
}

async fn delete_snapshot(table: &Table<'_>, paths: &[String], was: &CurrentSnapshot) -> Result<()> {
    if let [first, rest @ ..] = paths {
        table.lake.delete_files(std::slice::from_ref(first)).await?;
        failpoint::reached("file-deleted");
        table.lake.delete_files(rest).await?;
    }
    failpoint::reached("files-deleted");
    table.lake.delete(std::slice::from_ref(&was.manifest)).await
}
