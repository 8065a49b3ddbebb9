//! Snapshots taken out of a table, in one entry of its log. They are then retired as replaced ones are: readers under way read on, and a
//! rollback brings one back while it is kept. Deletes no file.

use dataset::SnapshotId;
use serde_json::{Map, json};

use crate::commit::recover::recovered;
use crate::delta::log::LogEntry;
use crate::error::Result;
use crate::layout;
use crate::store::contention::Contention;
use crate::store::remote::ConditionalPut;
use crate::table::current_snapshot::CurrentSnapshot;
use crate::table::latest::Latest;
use crate::table::state::{Table, TableState};

/// Takes one current snapshot out of a table. `None`: it is not current.
///
/// # Errors
/// [`crate::Error::HasDeltaLog`]; [`crate::Error::PutRefused`] if others keep committing first; what the store answers.
pub async fn drop_snapshot(
    table: &Table<'_>,
    snapshot: &SnapshotId,
) -> Result<Option<CurrentSnapshot>> {
    recovered(table, None).await?;
    let _lock = table.lock().await?;
    let state = table.read().await?;
    let Some(dropped) = state.latest.with_id(snapshot).cloned() else {
        return Ok(None);
    };
    let which = |latest: &Latest| {
        let is_there = latest.is_current(snapshot);
        is_there.then(|| snapshot.clone()).into_iter().collect()
    };
    remove(table, state, "dropped", which).await?;
    Ok(Some(dropped))
}

/// Takes snapshots out of a table. `which` is asked again where another commit came first; `why` names them in the log.
///
/// # Errors
/// [`crate::Error::PutRefused`] if others keep committing first; what the store answers.
pub(crate) async fn remove(
    table: &Table<'_>,
    mut state: TableState,
    why: &str,
    which: impl Fn(&Latest) -> Vec<SnapshotId>,
) -> Result<()> {
    let mut contention = Contention::new();
    loop {
        let remove = which(&state.latest);
        if remove.is_empty() {
            return Ok(());
        }
        if state.log.version.is_some()
            && let ConditionalPut::Refused(refusal) =
                remove_from_log(table, &mut state, why, remove.clone()).await?
        {
            if !contention.refused(refusal).await {
                return Err(contention.error(layout::delta_log(table.dataset)));
            }
            state = table.read().await?;
            continue;
        }
        let state = table.read_again(state, None).await?;
        let retire = |latest: &mut Latest| {
            let is_kept = |current: &CurrentSnapshot| !remove.contains(&current.snapshot);
            let is_changed = !latest.snapshots.iter().all(is_kept);
            latest.keep_current(is_kept, table.retirement());
            is_changed
        };
        return table.change_pointer(state, None, retire).await.map(drop);
    }
}

async fn remove_from_log(
    table: &Table<'_>,
    state: &mut TableState,
    why: &str,
    remove: Vec<SnapshotId>,
) -> Result<ConditionalPut> {
    let mut info = Map::new();
    info.insert(why.to_owned(), json!(remove));
    let entry = LogEntry {
        columns: None,
        retire_after: table.settings.retire_after,
        of: None,
        add: Vec::new(),
        remove,
        removed: Vec::new(),
        transaction: None,
        operation: "DELETE",
        info,
        committed_at: table.now,
    };
    table.log.commit(&mut state.log, entry).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::commit::rollback::{RollbackOutcome, rollback};
    use crate::fixtures::{committed, lakes, snapshot, table_keeping};
    use crate::{PublishOutcome, SnapshotState, Standing, snapshots, standing};

    #[tokio::test]
    async fn a_dropped_snapshot_leaves_the_table_and_can_come_back() {
        let (_folder, lakes) = lakes();
        for lake in lakes {
            let keeping = table_keeping(&lake, Duration::from_secs(3600));
            let (good, wrong) = (snapshot(26, 10), snapshot(30, 10));
            for (day, run) in [(&good, "good"), (&wrong, "wrong")] {
                let outcome = committed(&lake, day, run, 5).await;
                assert!(matches!(outcome, PublishOutcome::Committed { .. }));
            }
            let next = snapshot(27, 10);
            let kept_out = standing(&keeping, &next).await.unwrap();
            assert!(matches!(kept_out, Standing::OlderThan(_)), "{kept_out:?}");
            let dropped = drop_snapshot(&keeping, &wrong.id()).await.unwrap();
            assert_eq!(dropped.unwrap().snapshot, wrong.id());
            assert_eq!(drop_snapshot(&keeping, &wrong.id()).await.unwrap(), None);
            assert_eq!(standing(&keeping, &next).await.unwrap(), Standing::New);
            let kept = snapshots(&keeping).await.unwrap();
            assert_eq!(kept.len(), 2);
            assert_eq!(kept[0].state, SnapshotState::Current);
            assert!(matches!(kept[1].state, SnapshotState::Retired { .. }));
            let read = keeping.read().await.unwrap();
            assert!(!read.is_behind);
            if read.log.version.is_some() {
                assert_eq!(read.log.paths_by_snapshot().unwrap().len(), 1);
            }
            let back = rollback(&keeping, &wrong.id(), "back").await.unwrap();
            assert!(
                matches!(back, RollbackOutcome::RolledBack { .. }),
                "{back:?}"
            );
        }
    }
}
