//! A commit of staged files, as a publish and an append make it: intent, uploads, the write that decides, and what follows.

use crate::commit::decide::{Decided, Request, decide};
use crate::commit::followers::{Decision, Followed, follow};
use crate::commit::recover::roll_back;
use crate::commit::uploads::{abort, complete_uploads};
use crate::error::{Error, Result};
use crate::stage::staged_file::StagedFile;
use crate::store::contention::Contention;
use crate::store::{failpoint, lease, leftovers};
use crate::table::current_snapshot::CurrentSnapshot;
use crate::table::intent::Intent;
use crate::table::layout_version;
use crate::table::state::{CommitLock, Table, TableState};

/// How it ended.
pub(crate) enum Ended<R> {
    /// The table has it.
    Committed {
        /// The snapshot that was current in its place.
        replaced: Option<CurrentSnapshot>,
        followed: Followed,
    },
    /// The table does not take it, as it is now. What was staged is gone.
    Refused(R),
    /// Another run took this one for dead. Nothing was committed.
    TakenForDead,
    /// The store refused the write that decides again and again. Nothing was committed.
    Contended(Contention),
}

/// Makes the commit. `state` is the table's, which does not refuse it.
///
/// # Errors
/// Those of [`decide`]; what completing an upload gave: uploads that were not completed have been aborted. What is left is finished or
/// undone by the next run.
pub(crate) async fn commit_staged<R: Request>(
    table: &Table<'_>,
    request: &R,
    intent: &Intent,
    files: &[StagedFile],
    state: TableState,
    lock: &CommitLock,
) -> Result<Ended<R::Refusal>> {
    let (lake, run_id) = (table.lake, &intent.manifest.run_id);
    let single_writer = table.settings.single_writer;
    layout_version::write(lake, table.dataset, single_writer, &lock.layout).await?;
    intent.write(lake).await?;
    failpoint::reached("intent");
    let lease_time = table.lease_time();
    if !lease::may_commit(lake, table.dataset, run_id, lease_time).await? {
        abort_quietly(table, run_id, files).await;
        roll_back(table, intent, &table.read().await?).await?;
        return Ok(Ended::TakenForDead);
    }
    if let Err(error) = complete_uploads(lake, files).await {
        // Another commit may have come first, and deleted or voided an upload.
        abort_quietly(table, run_id, files).await;
        let state = table.read().await?;
        let refused = request.refused(&state);
        if lock.is_alone || refused.is_some() {
            roll_back(table, intent, &state).await?;
        }
        return refused.map(Ended::Refused).ok_or(error);
    }
    failpoint::reached("uploads-completed");
    let decided = decide(table, request, Some(intent), state).await;
    if let Err(error) = &decided
        && lock.is_alone
        && !matches!(error, Error::Undecided { .. })
    {
        // It was not written. What a glob sees must not count twice until the next run.
        roll_back_quietly(table, intent).await;
    }
    let ended = match decided? {
        Decided::Recorded(state, replaced) => {
            let decision = Decision {
                current: request.current(replaced.as_ref()),
                intent: Some(intent),
                is_alone: lock.is_alone,
            };
            // Before dead runs are looked for, of which it would be one where there are no leases.
            clear_quietly(table, run_id).await;
            let followed = follow(table, &decision, state).await;
            Ended::Committed { replaced, followed }
        }
        Decided::Withdrawn => {
            let state = table.read().await?;
            match request.refused(&state) {
                // Neither this run nor another one of the snapshot can win: what was completed since it was taken for dead goes.
                Some(refusal) => {
                    roll_back(table, intent, &state).await?;
                    Ended::Refused(refusal)
                }
                // By now another run of the snapshot may have files of the same names.
                None => Ended::TakenForDead,
            }
        }
        Decided::Refused(state, refusal) => {
            let state = table.whole(state).await?;
            roll_back(table, intent, &state).await?;
            Ended::Refused(refusal)
        }
        Decided::Contended(state, contention) => {
            let state = table.whole(state).await?;
            roll_back(table, intent, &state).await?;
            Ended::Contended(contention)
        }
    };
    if !matches!(ended, Ended::Committed { .. }) {
        clear_quietly(table, run_id).await;
    }
    Ok(ended)
}

/// Deletes what is left of what the run staged. That it could not is a warning: the next run does it.
async fn clear_quietly(table: &Table<'_>, run_id: &str) {
    if let Err(error) = leftovers::clear(table.lake, table.dataset, run_id).await {
        tracing::warn!(%error, "what the run staged could not be deleted");
    }
}

/// Takes back what a commit that was not written has published. That it could not is a warning: the next run does it.
async fn roll_back_quietly(table: &Table<'_>, intent: &Intent) {
    let rolled_back = async { roll_back(table, intent, &table.read().await?).await };
    if let Err(error) = rolled_back.await {
        tracing::warn!(%error, "what the commit has published could not be taken back");
    }
}

/// Aborts uploads. That one could not be is a warning: there is an error or a refusal to report already.
pub(crate) async fn abort_quietly(table: &Table<'_>, run_id: &str, files: &[StagedFile]) {
    if let Err(error) = abort(table.lake, table.dataset, run_id, files).await {
        tracing::warn!(%error, "could not abort all uploads");
    }
}
