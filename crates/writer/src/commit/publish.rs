//! The one act that makes staged files the lake's state. With `format = "delta"` the commit is an entry of the
//! table's log, and `latest` follows it; with `format = "parquet"` it is the swap of `latest`.
//!
//! | step | readers of the log see | readers of `latest` see | readers of a glob see | a crash after it leaves |
//! |---|---|---|---|---|
//! | 0 lock (local disk), decide | old | old | old | open uploads |
//! | 1 write the intent | old | old | old | that, and open uploads |
//! | 2 complete the uploads | old | old | old, some or all new | new files that the intent lists |
//! | 3 **write the log entry** (delta) | new | old | old and new | a `latest` that is behind |
//! | 4 write the manifest | new | old | old and new | likewise |
//! | 5 **swap `latest`**, which lists the replaced snapshot as retired | new | new | old and new | retired files |
//! | 6 delete the intent | new | new | old and new | likewise |
//! | 7 delete retired files (after `retire_after`), their manifest, their listing | new | new | new | nothing |
//!
//! With `format = "parquet"` there is no step 3. The next command finishes what died after 3 (or 5 without a log)
//! and undoes what died before: [`standing`](crate::standing), which every run asks first, and every commit. The same snapshot
//! gives the same file names and bytes, so a second run of it overwrites what the first left.
//!
//! On local disk a lock keeps commits apart, and an intent that is found under it is of a dead run. On S3 and Azure there
//! is no lock: a log entry is put only where there is none, `latest` only over the one that was read, and who loses
//! either decides again. There a commit counts as dead when its snapshot is current or overtaken, when its intent is an
//! hour old, or when the lake has a single writer. A run that was taken for dead before step 1 finds no lease after it, and
//! commits nothing ([`may_commit`](crate::store::lease::may_commit)).

use dataset::Dataset;

use crate::commit::decide::{Entry, Request, info};
use crate::commit::invariants;
use crate::commit::request::{PublishOutcome, PublishRequest, manifest_of};
use crate::commit::staged::{Ended, abort_quietly, commit_staged};
use crate::commit::standing::refusal;
use crate::commit::uploads::abort;
use crate::delta::log::EntryOfSnapshot;
use crate::error::Result;
use crate::table::current_snapshot::CurrentSnapshot;
use crate::table::intent::Intent;
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
pub async fn publish(table: &Table<'_>, request: &PublishRequest) -> Result<PublishOutcome> {
    let manifest = manifest_of(table, request);
    invariants::is_of_the_table(&manifest, table.dataset)?;
    invariants::check(&manifest)?;
    let run_id = &request.run_id;
    let lock = table.lock().await?;
    let date = request.snapshot.generated_date();
    let mut state = table.read_pointer(Some(date)).await?;
    let retire_after = table.settings.retire_after;
    if !state.log.knows_enough(&request.dataset, retire_after)? {
        state = table.read().await?;
    }
    invariants::id_belongs_to_this_organisation(&manifest, &state.latest)?;
    if let Some(outcome) = refusal(&state.latest, request) {
        abort(table.lake, table.dataset, run_id, &request.files).await?;
        return Ok(outcome);
    }
    if table.settings.format == TableFormat::Delta
        && let Err(error) = table.log.check_columns(&state.log, &request.dataset)
    {
        abort_quietly(table, run_id, &request.files).await;
        return Err(error);
    }
    let publish = Publish {
        intent: Intent::new(manifest, request.backfill),
        request,
    };
    let (intent, files) = (&publish.intent, &request.files);
    let ended = commit_staged(table, &publish, intent, files, state, &lock).await?;
    Ok(match ended {
        Ended::Committed { replaced, followed } => PublishOutcome::Committed {
            manifest: Box::new(publish.intent.manifest),
            replaced,
            followed,
        },
        Ended::Refused(outcome) => outcome,
        Ended::TakenForDead => PublishOutcome::TakenForDead,
        Ended::Contended(contention) => PublishOutcome::Conflict {
            attempts: contention.refusals(),
            message: contention.last().to_owned(),
        },
    })
}

/// A snapshot to publish, and the intent that says so.
struct Publish<'a> {
    request: &'a PublishRequest,
    intent: Intent,
}

impl Request for Publish<'_> {
    type Refusal = PublishOutcome;

    fn manifest(&self) -> &Manifest {
        &self.intent.manifest
    }

    fn refused(&self, state: &TableState) -> Option<PublishOutcome> {
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
        let retirement = table.retirement();
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

#[cfg(test)]
mod tests;
