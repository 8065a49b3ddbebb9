//! The followers that readers of the pointer wait for, written after a commit or, where that died, from its intent. Deletes nothing.

use crate::error::Result;
use crate::store::failpoint;
use crate::table::current_snapshot::CurrentSnapshot;
use crate::table::intent::Intent;
use crate::table::manifest::Manifest;
use crate::table::settings::TableFormat;
use crate::table::state::{Table, TableState};

/// Writes the manifest, which without a log is there already, and the pointer. `state` is the one that the deciding write was made
/// for.
pub(crate) async fn write_for_readers(
    table: &Table<'_>,
    current: &CurrentSnapshot,
    manifest: Option<&Manifest>,
    mut state: TableState,
) -> Result<TableState> {
    if table.settings.format == TableFormat::Delta {
        table.log.maintain(state.log.version).await;
        if let Some(manifest) = manifest {
            manifest.write(table.lake).await?;
            failpoint::reached("manifest");
        }
        state = table.read_again(state, manifest).await?;
    }
    let state = table.update_pointer(state, Some(current), manifest).await?;
    failpoint::reached("latest");
    Ok(state)
}

/// Writes what commits that died left to be written: the table has them, and their intents tell what readers miss.
///
/// The state that it gives is whole if there are any.
pub(crate) async fn roll_forward(
    table: &Table<'_>,
    mut state: TableState,
    intents: &[Intent],
) -> Result<TableState> {
    if !intents.is_empty() {
        state = table.whole(state).await?;
    }
    for intent in intents {
        let path = intent.manifest.path();
        let is_published = |current: &CurrentSnapshot| current.manifest == path;
        if state.latest.snapshots.iter().any(is_published) && !table.lake.exists(&path).await? {
            intent.manifest.write(table.lake).await?;
        }
    }
    table.update_pointer(state, None, None).await
}
