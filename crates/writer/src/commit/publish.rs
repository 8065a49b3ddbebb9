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
//! commits nothing ([`run_lease::may_commit`]).

use crate::commit::record::info;
use crate::commit::record::undecided;
use crate::commit::recover::delete_unlisted;
use crate::commit::recover::recover;
use crate::commit::recover::roll_back;
use crate::commit::request::CommitOutcome;
use crate::commit::request::CommitRequest;
use crate::commit::request::manifest_of;
use crate::commit::standing::refusal;
use crate::commit::uploads::abort;
use crate::commit::uploads::complete_uploads;
use crate::stage::leftovers;
use chrono::{DateTime, Utc};

use crate::commit::invariants;
use crate::delta::log::{EntryOfSnapshot, LogEntry};
use crate::error::{Error, Result};
use crate::stage::run_lease;
use crate::store::contention::Contention;
use crate::store::failpoint;
use crate::store::lake::Lake;
use crate::store::remote::ConditionalPut;
use crate::table::intent::Intent;
use crate::table::latest::{CurrentSnapshot, Latest};
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
    invariants::check(request)?;
    let (dataset, now) = (&request.snapshot.dataset, request.committed_at);
    let lock = lake.lock_commits(dataset).await?;
    let table = Table::new(lake, dataset, request.table);
    let state = table.read(now).await?;
    invariants::id_belongs_to_this_organisation(request, &state.latest)?;
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
        begun: Intent::new(manifest_of(request), request.backfill),
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
    begun: Intent,
    /// Whether no other commit can be under way.
    alone: bool,
}

/// What became of the commit record.
enum Recorded {
    /// It has the snapshot, in the place of another. Of the state, what the log said is true; the pointer may be older.
    Won(TableState, Option<CurrentSnapshot>),
    /// It is settled without this commit.
    Lost(TableState, CommitOutcome),
    /// Another run has undone it.
    StruckOff,
}

impl Commit<'_> {
    async fn run(self, state: TableState) -> Result<CommitOutcome> {
        let (lake, now) = (self.table.lake, self.request.committed_at);
        self.begun.write(lake).await?;
        failpoint::reached("begun");
        let (dataset, run_id) = (self.table.dataset, &self.request.run_id);
        if !run_lease::may_commit(lake, dataset, run_id, self.table.settings).await? {
            abort_quietly(lake, self.request).await;
            let state = self.table.read(now).await?;
            roll_back(&self.table, &self.begun, &state).await?;
            return Ok(CommitOutcome::TakenForDead);
        }
        if let Err(error) = complete_uploads(lake, &self.request.files).await {
            abort_quietly(lake, self.request).await;
            return self.give_up(error).await;
        }
        failpoint::reached("uploads-completed");
        let recorded = match self.request.table.format {
            TableFormat::Delta => self.record_in_log(state).await?,
            TableFormat::Parquet => self.record_in_latest(state).await?,
        };
        let (state, replaced) = match recorded {
            Recorded::Won(state, replaced) => (state, replaced),
            // By now another run of the snapshot may have files of the same names.
            Recorded::StruckOff => return Ok(CommitOutcome::TakenForDead),
            Recorded::Lost(state, outcome) => {
                roll_back(&self.table, &self.begun, &state).await?;
                return Ok(outcome);
            }
        };
        let (not_deleted, unfinished) = match self.finish(state, now).await {
            Ok(not_deleted) => (not_deleted, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        Ok(CommitOutcome::Committed {
            manifest: Box::new(self.begun.manifest),
            replaced,
            not_deleted,
            unfinished,
        })
    }

    /// After an upload that could not be completed: another commit may have come first, and deleted or voided it.
    async fn give_up(&self, error: Error) -> Result<CommitOutcome> {
        let state = self.table.read(self.request.committed_at).await?;
        let refused = refusal(&state.latest, self.request);
        let overtaken = matches!(refused, Some(CommitOutcome::OlderThanCurrent(_)));
        if self.alone || overtaken || refused.is_some() {
            roll_back(&self.table, &self.begun, &state).await?;
        }
        refused.ok_or(error)
    }

    async fn record_in_log(&self, mut state: TableState) -> Result<Recorded> {
        let (table, request) = (&self.table, self.request);
        let mut contention = Contention::new();
        loop {
            if !self.begun.is_there(table.lake).await? {
                // Another run deletes these files: they must not become part of the table.
                return Ok(Recorded::StruckOff);
            }
            let replaced = self.replaced_in(&state.latest);
            let written = self.write_entry(&mut state, replaced.as_ref()).await?;
            let why = match written {
                ConditionalPut::Done => {
                    failpoint::reached("log-entry");
                    return Ok(Recorded::Won(state, replaced));
                }
                ConditionalPut::Refused(why) => why,
            };
            let goes_on = contention.refused(why).await;
            let before = state.log.version;
            state = table.read(request.committed_at).await?;
            // The store took the entry and its answer was lost.
            if table
                .log
                .was_written_by(&request.run_id, before)
                .await?
                .is_some()
            {
                return Ok(Recorded::Won(state, replaced));
            }
            if let Some(refused) = refusal(&state.latest, request) {
                return Ok(Recorded::Lost(state, refused));
            }
            if !goes_on {
                return Ok(Recorded::Lost(state, conflict(&contention)));
            }
        }
    }

    async fn write_entry(
        &self,
        state: &mut TableState,
        replaced: Option<&CurrentSnapshot>,
    ) -> Result<ConditionalPut> {
        let (table, request, manifest) = (&self.table, self.request, &self.begun.manifest);
        let mut earlier = Vec::new();
        if state.log.version.is_none() {
            // The log's first entry takes over what a table without a log held.
            for current in &state.latest.snapshots {
                if replaced.is_none_or(|replaced| replaced.snapshot != current.snapshot) {
                    let read = Manifest::read_at(table.lake, &current.manifest);
                    earlier.extend(read.await?);
                }
            }
        }
        let earlier_files = earlier.iter().flat_map(|manifest| &manifest.files);
        let app_id = format!("{}/{}", manifest.dataset, manifest.org_id);
        let number = manifest.generated_time.timestamp();
        let last = table.log.transaction(&state.log, &app_id).await?;
        let mut info = info(manifest);
        let rolled_back =
            replaced.and_then(|replaced| replaced.still_displaced(&manifest.snapshot));
        let kept_until = replaced.map(|_| table.retirement(request.committed_at).kept_until);
        EntryOfSnapshot::write(&mut info, rolled_back.as_ref(), kept_until);
        let entry = LogEntry {
            columns: Some(&request.dataset),
            add: earlier_files.chain(&manifest.files).collect(),
            remove: replaced
                .iter()
                .map(|replaced| replaced.snapshot.clone())
                .collect(),
            // It tells how far the organisation's data goes: a past day does not take it back.
            transaction: last
                .is_none_or(|last| last < number)
                .then_some((app_id, number)),
            operation: "WRITE",
            info,
            committed_at: request.committed_at,
        };
        let written = table.log.commit(&mut state.log, entry).await;
        written.map_err(|error| undecided(manifest, error))
    }

    async fn record_in_latest(&self, mut state: TableState) -> Result<Recorded> {
        let (table, request, manifest) = (&self.table, self.request, &self.begun.manifest);
        manifest.write(table.lake).await?;
        failpoint::reached("manifest");
        let mut contention = Contention::new();
        loop {
            if !self.begun.is_there(table.lake).await? {
                return Ok(Recorded::StruckOff);
            }
            let replaced = self.replaced_in(&state.latest);
            let retirement = table.retirement(request.committed_at);
            state
                .latest
                .put(CurrentSnapshot::from(manifest), retirement);
            let alone = request.table.single_writer;
            let swapped = state.latest.swap(table.lake, &state.seen, alone).await;
            let why = match swapped.map_err(|error| undecided(manifest, error))? {
                ConditionalPut::Done => {
                    state.is_behind = false;
                    return Ok(Recorded::Won(state, replaced));
                }
                ConditionalPut::Refused(why) => why,
            };
            let goes_on = contention.refused(why).await;
            state = table.read(request.committed_at).await?;
            match refusal(&state.latest, request) {
                // The store took the swap and its answer was lost.
                Some(CommitOutcome::Unchanged(current)) if current.run_id == request.run_id => {
                    return Ok(Recorded::Won(state, replaced));
                }
                Some(refused) => return Ok(Recorded::Lost(state, refused)),
                None if goes_on => {}
                None => return Ok(Recorded::Lost(state, conflict(&contention))),
            }
        }
    }

    /// Steps 4 to 7.
    async fn finish(&self, mut state: TableState, now: DateTime<Utc>) -> Result<Vec<String>> {
        let (table, manifest) = (&self.table, &self.begun.manifest);
        if table.settings.format == TableFormat::Delta {
            table.log.maintain(state.log.version).await;
            manifest.write(table.lake).await?;
            failpoint::reached("manifest");
            state = table.read_again(state.log, Some(manifest), now).await?;
        }
        let state = table.update_pointer(state, Some(manifest), now).await?;
        failpoint::reached("latest");
        delete_unlisted(table, &state, manifest).await?;
        self.begun.delete(table.lake).await?;
        failpoint::reached("struck-off");
        let state = table.read_again(state.log, Some(manifest), now).await?;
        recover(&table, state, self.alone, now).await
    }

    fn replaced_in(&self, latest: &Latest) -> Option<CurrentSnapshot> {
        let snapshot = &self.request.snapshot;
        latest
            .current(&snapshot.org_id, snapshot.generated_date())
            .cloned()
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

fn conflict(contention: &Contention) -> CommitOutcome {
    CommitOutcome::Conflict {
        attempts: contention.refusals(),
        message: contention.last().to_owned(),
    }
}

#[cfg(test)]
mod tests;
