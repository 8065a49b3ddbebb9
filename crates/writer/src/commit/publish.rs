//! The one act that makes staged files the lake's state. With `format = "delta"` the commit is an entry of the
//! table's log, and `latest` follows it; with `format = "parquet"` it is the swap of `latest`.
//!
//! | step | readers of the log see | readers of `latest` see | readers of a glob see | a crash after it leaves |
//! |---|---|---|---|---|
//! | 0 lock (local disk), decide | old | old | old | open uploads |
//! | 1 write down what is begun | old | old | old | that, and open uploads |
//! | 2 complete the uploads | old | old | old, some or all new | new files that are written down |
//! | 3 **write the log entry** (delta) | new | old | old and new | a `latest` that is behind |
//! | 4 write the manifest | new | old | old and new | likewise |
//! | 5 **swap `latest`**, which lists the replaced snapshot as retired | new | new | old and new | retired files |
//! | 6 strike off what was begun | new | new | old and new | likewise |
//! | 7 delete retired files (after `retire_after`), their manifest, their listing | new | new | new | nothing |
//!
//! With `format = "parquet"` there is no step 3. Whoever comes next finishes what died after 3 (or 5 without a log)
//! and undoes what died before: [`standing`], which every run asks first, and every commit. The same snapshot gives
//! the same file names and bytes, so a second run of it overwrites what the first left.
//!
//! On local disk a lock keeps commits apart, and what is found written down under it is dead. On S3 and Azure there
//! is no lock: a log entry is put only where there is none, `latest` only over the one that was read, and who loses
//! either decides again. There a commit counts as dead when its snapshot is current or overtaken, when it began an
//! hour ago, or when the lake has a single writer. A run that was taken for dead before step 1 finds no lease after it, and
//! commits nothing ([`lease::may_commit`]).

use crate::commit::recover::delete_unlisted;
use crate::commit::recover::recover;
use crate::commit::recover::roll_back;
use crate::commit::request::CommitOutcome;
use crate::commit::request::CommitRequest;
use crate::commit::request::manifest_of;
use crate::commit::standing::refusal;
use crate::commit::uploads::abort;
use crate::commit::uploads::complete_uploads;
use crate::store::leftovers;
use chrono::{DateTime, Utc};
use dataset::Dataset;

use crate::commit::decide::{Decided, Entry, Request, decide, info};
use crate::commit::invariants;
use crate::delta::log::EntryOfSnapshot;
use crate::error::{Error, Result};
use crate::store::failpoint;
use crate::store::lake::Lake;
use crate::store::lease;
use crate::table::intent::Intent;
use crate::table::latest::CurrentSnapshot;
use crate::table::manifest::Manifest;
use crate::table::settings::TableFormat;
use crate::table::state::{Table, TableState};

/// Makes the staged files the current snapshot of their organisation and date.
///
/// # Errors
/// [`crate::Error::Invariant`] if the request contradicts itself: nothing was touched, the uploads are open.
/// [`crate::Error::ColumnType`] if the table has a column with another type: the uploads were aborted. After an error of the store the
/// uploads that were not completed have been aborted, and the lake's state is as before unless the entry or the
/// swap itself failed without an answer; what is left is finished or undone by the next run.
pub async fn commit(lake: &Lake, request: &CommitRequest) -> Result<CommitOutcome> {
    let manifest = manifest_of(request);
    invariants::check(&manifest)?;
    let (dataset, now) = (&request.snapshot.dataset, request.committed_at);
    let lock = lake.lock_commits(dataset).await?;
    let table = Table::new(lake, dataset, request.table);
    let state = table.read(now).await?;
    invariants::id_belongs_to_this_organisation(&manifest, &state.latest)?;
    if let Some(outcome) = refusal(&state.latest, request) {
        abort(lake, dataset, &request.run_id, &request.files).await?;
        return Ok(outcome);
    }

    if request.table.format == TableFormat::Delta
        && let Err(error) = table.log.check_columns(&state.log, &request.dataset)
    {
        abort_quietly(lake, request).await;
        return Err(error);
    }

    let commit = Commit {
        alone: lock.is_some() || request.table.single_writer,
        intent: Intent::new(manifest, request.backfill),
        table,
        request,
    };
    let outcome = commit.run(state).await?;
    if let Err(error) = leftovers::clear(lake, dataset, &request.run_id).await {
        tracing::warn!(%error, "what the run staged could not be deleted");
    }
    drop(lock);
    Ok(outcome)
}

/// A commit that was not refused.
struct Commit<'a> {
    table: Table<'a>,
    request: &'a CommitRequest,
    intent: Intent,
    /// Whether no other commit can be under way.
    alone: bool,
}

impl Commit<'_> {
    async fn run(self, state: TableState) -> Result<CommitOutcome> {
        let (lake, now) = (self.table.lake, self.request.committed_at);
        self.intent.write(lake).await?;
        failpoint::reached("begun");
        let (dataset, run_id) = (self.table.dataset, &self.request.run_id);
        if !lease::may_commit(lake, dataset, run_id, self.table.settings.lease_time()).await? {
            abort_quietly(lake, self.request).await;
            let state = self.table.read(now).await?;
            roll_back(&self.table, &self.intent, &state).await?;
            return Ok(CommitOutcome::TakenForDead);
        }
        if let Err(error) = complete_uploads(lake, &self.request.files).await {
            abort_quietly(lake, self.request).await;
            return self.give_up(error).await;
        }
        failpoint::reached("uploads-completed");
        let decided = decide(&self.table, &self, Some(&self.intent), state, now).await?;
        let (state, replaced) = match decided {
            Decided::Recorded(state, replaced) => (state, replaced),
            // By now another run of the snapshot may have files of the same names.
            Decided::Withdrawn => return Ok(CommitOutcome::TakenForDead),
            Decided::Refused(state, outcome) => {
                roll_back(&self.table, &self.intent, &state).await?;
                return Ok(outcome);
            }
            Decided::Contended(state, contention) => {
                roll_back(&self.table, &self.intent, &state).await?;
                return Ok(CommitOutcome::Conflict {
                    attempts: contention.refusals(),
                    message: contention.last().to_owned(),
                });
            }
        };
        let (not_deleted, unfinished) = match self.finish(state, now).await {
            Ok(not_deleted) => (not_deleted, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        Ok(CommitOutcome::Committed {
            manifest: Box::new(self.intent.manifest),
            replaced,
            not_deleted,
            unfinished,
        })
    }

    /// After an upload that could not be completed: another commit may have come first, and deleted or voided it.
    async fn give_up(&self, error: Error) -> Result<CommitOutcome> {
        let state = self.table.read(self.request.committed_at).await?;
        let refused = refusal(&state.latest, self.request);
        if self.alone || refused.is_some() {
            roll_back(&self.table, &self.intent, &state).await?;
        }
        refused.ok_or(error)
    }

    /// Steps 4 to 7.
    async fn finish(&self, mut state: TableState, now: DateTime<Utc>) -> Result<Vec<String>> {
        let (table, manifest) = (&self.table, &self.intent.manifest);
        if table.settings.format == TableFormat::Delta {
            table.log.maintain(state.log.version).await;
            manifest.write(table.lake).await?;
            failpoint::reached("manifest");
            state = table.read_again(state.log, Some(manifest), now).await?;
        }
        let state = table.update_pointer(state, Some(manifest), now).await?;
        failpoint::reached("latest");
        delete_unlisted(table, &state, manifest).await?;
        self.intent.delete(table.lake).await?;
        failpoint::reached("struck-off");
        let state = table.read_again(state.log, Some(manifest), now).await?;
        recover(table, state, self.alone, now).await
    }
}

impl Request for Commit<'_> {
    type Refusal = CommitOutcome;

    fn manifest(&self) -> &Manifest {
        &self.intent.manifest
    }

    fn refused(&self, state: &TableState) -> Option<CommitOutcome> {
        refusal(&state.latest, self.request)
    }

    async fn is_recorded(
        &self,
        table: &Table<'_>,
        state: &TableState,
        before: Option<u64>,
    ) -> Result<bool> {
        let run_id = &self.request.run_id;
        if table.settings.format == TableFormat::Delta {
            return table.log.was_written_by(run_id, before).await;
        }
        let (snapshot, date) = (
            &self.request.snapshot,
            self.request.snapshot.generated_date(),
        );
        let current = state.latest.current(&snapshot.org_id, date);
        Ok(current.is_some_and(|current| {
            current.snapshot == self.intent.manifest.snapshot && current.run_id == *run_id
        }))
    }

    fn current(&self, _replaced: Option<&CurrentSnapshot>) -> CurrentSnapshot {
        CurrentSnapshot::from(&self.intent.manifest)
    }

    fn columns(&self) -> Option<&Dataset> {
        Some(&self.request.dataset)
    }

    async fn entry(
        &self,
        table: &Table<'_>,
        state: &TableState,
        replaced: Option<&CurrentSnapshot>,
    ) -> Result<Entry<'_>> {
        let manifest = &self.intent.manifest;
        let app_id = format!("{}/{}", manifest.dataset, manifest.org_id);
        let number = manifest.generated_time.timestamp();
        let last = table.log.transaction(&state.log, &app_id).await?;
        let mut info = info(manifest);
        let rolled_back =
            replaced.and_then(|replaced| replaced.still_displaced(&manifest.snapshot));
        let retirement = table.retirement(self.request.committed_at);
        let kept_until = replaced.map(|_| retirement.kept_until);
        EntryOfSnapshot::write(&mut info, rolled_back.as_ref(), kept_until);
        Ok(Entry {
            add: manifest.files.iter().collect(),
            remove: replaced.map(|replaced| replaced.snapshot.clone()),
            // It tells how far the organisation's data goes: a past day does not take it back.
            transaction: last
                .is_none_or(|last| last < number)
                .then_some((app_id, number)),
            operation: "WRITE",
            info,
        })
    }
}

async fn abort_quietly(lake: &Lake, request: &CommitRequest) {
    // Reported as a warning: the error that led here is the one to return.
    if let Err(error) = abort(
        lake,
        &request.snapshot.dataset,
        &request.run_id,
        &request.files,
    )
    .await
    {
        tracing::warn!(%error, "could not abort all uploads");
    }
}

#[cfg(test)]
mod tests;
