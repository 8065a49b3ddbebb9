//! Publishes one snapshot: plan -> work -> gate -> commit.

use chrono::Utc;
use dataset::Snapshot;
use extractor::{BlobSource, ExtractorError};
use tokio_util::sync::CancellationToken;
use writer::{BlobCounts, CommitOutcome, CommitRequest, Lake, Latest, Standing};

use crate::error::PipelineError;
use crate::events::{Event, Observer};
use crate::gate::checks::{self, Counted, LastCommitted};
use crate::gate::refusal::Refusal;
use crate::plan::Plan;
use crate::report::{Outcome, RunReport};
use crate::run::report::{count, start_again};
use crate::settings::{OnNewSnapshot, Settings, SourceKind};
use crate::source::list::list_source;
use crate::source::listed::Listed;
use crate::version::PROGRAM_VERSION;
use crate::work::quarantine_file;
use crate::work::run_context::RunContext;
use crate::work::scheduler::{CompletedWork, PartScheduler};
use crate::work::staged_part::StagedPart;

/// Snapshots that a run gives up because the service replaced them, before it gives up itself. The service makes a few a day.
const MAX_RESTARTS: u64 = 3;

/// What a run is asked for beyond its pipeline.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// Whether a snapshot that is older than the lake's may be put in the place of its date.
    pub backfill: bool,
}

/// What is to be done with what a source gives.
pub(super) fn make_plan(
    settings: &Settings,
    listed: Listed,
) -> Result<(Plan, BlobSource), PipelineError> {
    let (target, segment) = (
        settings.work.target_file_size.bytes(),
        settings.work.segment_size.bytes(),
    );
    let plan = Plan::new(listed.snapshot, listed.blobs, target, segment)?;
    Ok((plan, listed.source))
}

/// Publishes, and starts again with the new snapshot when the service replaces the one under way.
pub(super) async fn publish_newest(
    settings: &Settings,
    options: RunOptions,
    lake: &Lake,
    report: &mut RunReport,
    observer: &Observer,
    cancel: &CancellationToken,
) -> Result<Outcome, PipelineError> {
    let restarts = match &settings.source.from {
        // A run that is for one snapshot has nothing to start again with.
        SourceKind::Api(api)
            if api.on_new_snapshot == OnNewSnapshot::Restart
                && settings.source.snapshot.is_none() =>
        {
            MAX_RESTARTS
        }
        _ => 0,
    };
    loop {
        match publish(settings, options, lake, report, observer, cancel).await {
            Err(PipelineError::Extract(error @ ExtractorError::SnapshotReplaced { .. }))
                if report.restarts < restarts =>
            {
                tracing::warn!(%error, "starting again with the new snapshot");
                observer(Event::SnapshotReplaced {
                    snapshot: report.snapshot.clone(),
                    reason: error.to_string(),
                });
                start_again(settings, report);
            }
            ended => return ended,
        }
    }
}

async fn publish(
    settings: &Settings,
    options: RunOptions,
    lake: &Lake,
    report: &mut RunReport,
    observer: &Observer,
    cancel: &CancellationToken,
) -> Result<Outcome, PipelineError> {
    observer(Event::Listing {
        dataset: settings.dataset.name.clone(),
    });
    let listed = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(PipelineError::Cancelled),
        listed = list_source(settings, observer) => listed?,
    };
    let (plan, source) = make_plan(settings, listed)?;
    let snapshot = plan.snapshot.clone();
    report.snapshot = Some(snapshot.id());
    report.org_id = Some(snapshot.org_id.clone());
    report.generated_time = Some(snapshot.generated_time);

    match writer::standing(lake, &snapshot, settings.lake.table(), Utc::now()).await? {
        Standing::Unchanged(_) => {
            observer(Event::Unchanged {
                snapshot: snapshot.id(),
            });
            return Ok(Outcome::Unchanged);
        }
        Standing::OlderThan(current) if !options.backfill => {
            let current = current.snapshot;
            return Err(Refusal::OlderThanCurrent { current }.into());
        }
        Standing::RolledBack { current, displaced } if !options.backfill => {
            let current = current.snapshot;
            return Err(Refusal::RolledBack { current, displaced }.into());
        }
        Standing::New
        | Standing::Replaces(_)
        | Standing::OlderThan(_)
        | Standing::RolledBack { .. } => {}
    }
    report.blobs = plan.blobs().count() as u64;
    report.parts = plan.parts.len() as u64;
    observer(Event::Planned {
        snapshot: snapshot.id(),
        blobs: report.blobs,
        parts: report.parts,
        bytes: plan.bytes(),
    });

    if !settings.lake.single_writer {
        writer::probe_conditional_put(lake, &snapshot.dataset, &report.run_id).await?;
    }
    let _staging = writer::begin_run(
        lake,
        &snapshot.dataset,
        &report.run_id,
        settings.lake.table(),
    )
    .await?;
    let run_id = report.run_id.clone();
    let context = RunContext::new(settings, &snapshot, lake.clone(), run_id)?;
    let scheduler = PartScheduler::new(settings, &context, source);
    let CompletedWork {
        plan,
        parts: mut staged,
        restarted,
    } = scheduler.work(plan, observer, cancel).await?;
    report.parts_restarted += restarted;
    count(report, &staged);
    let passed = pass_gate(settings, options, &context, &plan, &mut staged, report).await;
    let passed = match cancel.is_cancelled() {
        true => passed.and(Err(PipelineError::Cancelled)),
        false => passed,
    };
    if let Err(error) = passed {
        context.discard(&staged).await;
        // What the gate refuses can be looked at.
        if !matches!(error, PipelineError::Refused(_)) {
            context.discard_quarantine().await;
        }
        return Err(error);
    }

    observer(Event::Committing {
        files: report.files,
    });
    commit(settings, options, &context, &plan, staged, report).await
}

/// Counts keys that come more than once, and asks the gate.
async fn pass_gate(
    settings: &Settings,
    options: RunOptions,
    context: &RunContext,
    plan: &Plan,
    staged: &mut [StagedPart],
    report: &mut RunReport,
) -> Result<(), PipelineError> {
    let keys = staged.iter_mut().flat_map(StagedPart::take_keys);
    let duplicates = context.find_duplicates(keys.collect()).await?;
    report.duplicate_keys = duplicates.rows;
    report.duplicate_key_examples = duplicates.examples.clone();
    let counted = Counted {
        blobs: &report.blob_counts,
        staged_rows: report.rows_written,
        quarantined: &report.quarantined,
        duplicates: &duplicates,
    };
    let last = last_committed(&context.lake, &plan.snapshot).await?;
    // A past day's size says nothing about today's.
    let last = last.filter(|_| !options.backfill);
    checks::check(&settings.gate, plan, counted, last.as_ref())?;
    Ok(())
}

async fn last_committed(
    lake: &Lake,
    snapshot: &Snapshot,
) -> Result<Option<LastCommitted>, PipelineError> {
    let latest = Latest::read(lake, &snapshot.dataset).await?;
    let last = latest.newest(&snapshot.org_id);
    Ok(last.map(|last| LastCommitted {
        snapshot: last.snapshot.clone(),
        rows: last.rows,
    }))
}

async fn commit(
    settings: &Settings,
    options: RunOptions,
    context: &RunContext,
    plan: &Plan,
    staged: Vec<StagedPart>,
    report: &mut RunReport,
) -> Result<Outcome, PipelineError> {
    let lake = &context.lake;
    let (dataset, id) = (&plan.snapshot.dataset, plan.snapshot.id());
    let quarantine_files: Vec<String> = staged
        .iter()
        .flat_map(|part| part.quarantine_files.clone())
        .collect();
    let request = CommitRequest {
        snapshot: plan.snapshot.clone(),
        dataset: settings.dataset.clone(),
        run_id: report.run_id.clone(),
        program_version: PROGRAM_VERSION.to_owned(),
        committed_at: Utc::now(),
        files: staged.into_iter().flat_map(|part| part.files).collect(),
        blobs: report
            .blob_counts
            .iter()
            .map(|blob| BlobCounts {
                path: blob.blob.clone(),
                bytes: blob.bytes,
                records: blob.records_read,
                rows: blob.rows_written,
                quarantined: blob.records_quarantined,
            })
            .collect(),
        duplicate_keys: report.duplicate_keys,
        quarantine_files: quarantine_files.clone(),
        backfill: options.backfill,
        table: settings.lake.table(),
    };
    let ended = match writer::commit(lake, &request).await? {
        CommitOutcome::Committed {
            replaced,
            not_deleted,
            unfinished,
            ..
        } => {
            report.unfinished = unfinished;
            report.replaced = replaced.map(|replaced| replaced.snapshot);
            if !not_deleted.is_empty() {
                tracing::warn!(
                    files = not_deleted.len(),
                    "replaced files could not be deleted and stay behind"
                );
            }
            if let Err(error) =
                quarantine_file::keep_only(lake, dataset, &id, &quarantine_files).await
            {
                tracing::warn!(%error, "stale quarantine files could not be deleted");
            }
            return Ok(Outcome::Committed);
        }
        CommitOutcome::Unchanged(_) => Ok(Outcome::Unchanged),
        CommitOutcome::OlderThanCurrent(current) => Err(Refusal::OlderThanCurrent {
            current: current.snapshot,
        }
        .into()),
        CommitOutcome::RolledBack { current, displaced } => {
            let current = current.snapshot;
            Err(Refusal::RolledBack { current, displaced }.into())
        }
        CommitOutcome::Conflict { attempts, message } => {
            Err(PipelineError::Conflict { attempts, message })
        }
        CommitOutcome::TakenForDead => Err(PipelineError::TakenForDead),
    };
    context.discard_quarantine().await;
    ended
}
