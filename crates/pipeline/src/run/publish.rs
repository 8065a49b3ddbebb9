//! Publishes one snapshot: plan -> work -> gate -> commit.

use std::collections::BTreeMap;

use dataset::Snapshot;
use extractor::{BlobSource, ExtractorError};
use tokio_util::sync::CancellationToken;
use writer::{
    BlobCounts, Duplicates, Lake, Latest, Manifest, PublishOutcome, PublishRequest, RunGuard,
    Standing,
};

use crate::error::PipelineError;
use crate::events::{Event, JobObserver};
use crate::gate::checks::{self, Counted, LastCommitted};
use crate::gate::lost_columns::{Nulls, by_column, lost_columns};
use crate::plan::Plan;
use crate::refusal::Refusal;
use crate::report::{BlobReport, Outcome};
use crate::resources::Resources;
use crate::run::counts::Counts;
use crate::run::published::{Committed, Published};
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

/// Compressed bytes that one CPU job takes at a time: enough that jobs cost nothing, and few enough that all threads have one.
const SEGMENT_BYTES: u64 = 4 << 20;

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
    checks::is_not_to_come(&listed.snapshot, listed.asked_at)?;
    let target = settings.work.target_file_size.bytes();
    let plan = Plan::new(listed.snapshot, listed.blobs, target, SEGMENT_BYTES)?;
    Ok((plan, listed.source))
}

/// The inputs of a run, the same for every snapshot that it tries.
#[derive(Clone, Copy)]
pub(super) struct RunRequest<'a> {
    pub(super) resources: &'a Resources,
    pub(super) settings: &'a Settings,
    pub(super) options: RunOptions,
    pub(super) run_id: &'a str,
    pub(super) lake: &'a Lake,
    pub(super) observer: &'a JobObserver,
    pub(super) cancel: &'a CancellationToken,
}

/// Publishes what was listed, and starts again with the new snapshot when the service replaces the one under way.
pub(super) async fn publish_newest(
    run: RunRequest<'_>,
    listed: Result<Listed, PipelineError>,
) -> Published {
    let source = &run.settings.source;
    let max_restarts = match &source.from {
        // A run that is for one snapshot has nothing to start again with.
        SourceKind::Api(api)
            if api.on_new_snapshot == OnNewSnapshot::Restart && source.snapshot.is_none() =>
        {
            MAX_RESTARTS
        }
        _ => 0,
    };
    let mut restarts = 0;
    let mut listed = listed;
    loop {
        let published = publish(run, listed).await;
        match &published.result {
            Err(PipelineError::Extract(error @ ExtractorError::SnapshotReplaced { .. }))
                if restarts < max_restarts =>
            {
                tracing::warn!(%error, "starting again with the new snapshot");
                (run.observer)(Event::SnapshotReplaced {
                    snapshot: published.snapshot.as_ref().map(Snapshot::id),
                    reason: error.to_string(),
                });
                restarts += 1;
                listed = list(run.resources, run.settings, run.observer, run.cancel).await;
            }
            result => {
                if let (Err(PipelineError::Refused(_)), Some(snapshot)) =
                    (result, &published.snapshot)
                {
                    delete_old_quarantine(run, snapshot).await;
                }
                return Published {
                    restarts,
                    ..published
                };
            }
        }
    }
}

/// Deletes what earlier runs that were refused have quarantined. There is an error to report already.
async fn delete_old_quarantine(run: RunRequest<'_>, refused: &Snapshot) {
    let table = run.settings.table(run.lake);
    if let Err(error) = writer::delete_old_quarantine(&table, &refused.id()).await {
        tracing::warn!(%error, "old quarantine files could not be deleted");
    }
}

async fn publish(run: RunRequest<'_>, listed: Result<Listed, PipelineError>) -> Published {
    match listed.and_then(|listed| make_plan(run.settings, listed)) {
        Ok((plan, source)) => Published {
            snapshot: Some(plan.snapshot().clone()),
            ..publish_plan(run, plan, source).await
        },
        Err(error) => Published::failed(error),
    }
}

/// Asks the source, unless the run is asked to stop.
pub(super) async fn list(
    resources: &Resources,
    settings: &Settings,
    observer: &JobObserver,
    cancel: &CancellationToken,
) -> Result<Listed, PipelineError> {
    observer(Event::Listing);
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(PipelineError::Cancelled),
        listed = list_source(resources, settings, observer) => listed,
    }
}

async fn publish_plan(run: RunRequest<'_>, plan: Plan, source: BlobSource) -> Published {
    match unchanged(run, plan.snapshot()).await {
        Ok(None) => {}
        Ok(Some(unchanged)) => return Published::ended(Ok(unchanged)),
        Err(error) => return Published::failed(error),
    }
    let blobs = plan.blobs().len() as u64;
    (run.observer)(Event::Planned {
        snapshot: plan.snapshot().id(),
        blobs,
        bytes: plan.bytes(),
    });
    let published = match work_on(run, plan, source).await {
        Ok((_lease, context, work)) => publish_work(run, &context, work).await,
        Err(error) => Published::failed(error),
    };
    Published { blobs, ..published }
}

/// How the run ends if the lake has the snapshot already, or keeps it out.
async fn unchanged(
    run: RunRequest<'_>,
    snapshot: &Snapshot,
) -> Result<Option<Committed>, PipelineError> {
    let RunRequest {
        settings,
        options,
        lake,
        ..
    } = run;
    match writer::standing(&settings.table(lake), snapshot).await? {
        Standing::Unchanged(_) => {
            (run.observer)(Event::Unchanged {
                snapshot: snapshot.id(),
            });
            return Ok(Some(Committed::unchanged()));
        }
        Standing::OlderThan(current) if !options.backfill => {
            let current = current.snapshot;
            return Err(Refusal::OlderThanCurrent { current }.into());
        }
        Standing::RolledBack { current, displaced } if !options.backfill => {
            let rolled_back = Committed::rolled_back(&current.snapshot, &displaced);
            for warning in &rolled_back.followed.warnings {
                tracing::warn!("{warning}");
            }
            return Ok(Some(rolled_back));
        }
        Standing::New
        | Standing::Replaces(_)
        | Standing::OlderThan(_)
        | Standing::RolledBack { .. } => {}
    }
    Ok(None)
}

/// Stages all parts. Others take the run for alive until the lease is dropped.
pub(super) async fn work_on(
    run: RunRequest<'_>,
    plan: Plan,
    source: BlobSource,
) -> Result<(RunGuard, RunContext, CompletedWork), PipelineError> {
    let (lake, dataset) = (run.lake, &plan.snapshot().dataset);
    let single_writer = run.settings.lake.single_writer;
    writer::probe_store(lake, dataset, run.run_id, single_writer).await?;
    let lease_time = run.settings.table(lake).lease_time();
    let lease = writer::begin_run(lake, dataset, run.run_id, lease_time).await?;
    let run_id = run.run_id.to_owned();
    let (settings, snapshot) = (run.settings, plan.snapshot());
    let context = RunContext::new(run.resources, settings, snapshot, lake.clone(), run_id)?;
    let scheduler = PartScheduler::new(run.settings, &context, source);
    let work = scheduler.work(plan, run.observer, run.cancel).await?;
    Ok((lease, context, work))
}

/// Asks the gate, and commits.
pub(super) async fn publish_work(
    run: RunRequest<'_>,
    context: &RunContext,
    mut work: CompletedWork,
) -> Published {
    let counts = Counts::of(&work.parts);
    let (parts, parts_restarted) = (work.parts.len() as u64, work.restarted);
    let keys = work.parts.iter_mut().flat_map(StagedPart::take_keys);
    let mut warnings = Vec::new();
    let (duplicates, passed) = match context.find_duplicates(keys.collect()).await {
        Ok(duplicates) => {
            let passed = pass_gate(run, &work.plan, &counts, &duplicates, &mut warnings).await;
            (duplicates, passed)
        }
        Err(error) => (Duplicates::default(), Err(error)),
    };
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let result = match passed {
        Ok(()) => {
            (run.observer)(Event::Committing {
                files: counts.files,
            });
            commit(run, context, work, &counts, &duplicates).await
        }
        Err(error) => {
            context.discard(&work.parts).await;
            // What the gate refuses can be looked at.
            if !matches!(error, PipelineError::Refused(_)) {
                context.discard_quarantine().await;
            }
            Err(error)
        }
    };
    Published {
        parts,
        parts_restarted,
        counts,
        duplicates,
        warnings,
        ..Published::ended(result)
    }
}

/// Asks the gate; `warnings` gets what it lets pass and the user should know.
async fn pass_gate(
    run: RunRequest<'_>,
    plan: &Plan,
    counts: &Counts,
    duplicates: &Duplicates,
    warnings: &mut Vec<String>,
) -> Result<(), PipelineError> {
    let last = match run.options.backfill {
        // What today's snapshot holds says nothing about a past day's.
        true => None,
        false => last_committed(run.lake, plan.snapshot()).await?,
    };
    let dataset = &run.settings.dataset;
    let nulls = by_column(dataset, &counts.column_nulls);
    let now = Nulls {
        rows: counts.rows_written,
        of: &nulls,
    };
    let before = last.as_ref().map(|last| Nulls {
        rows: last.rows,
        of: &last.column_nulls,
    });
    let lost_columns = lost_columns(dataset, now, before, &counts.drift);
    warnings.extend(lost_columns.iter().map(|lost| format!("column {lost}")));
    let counted = Counted {
        blobs: &counts.blobs,
        staged_rows: counts.rows_written,
        quarantined: &counts.quarantined,
        duplicates,
        lost_columns: &lost_columns,
    };
    checks::check(&run.settings.gate, plan, counted, last.as_ref())?;
    match run.cancel.is_cancelled() {
        true => Err(PipelineError::Cancelled),
        false => Ok(()),
    }
}

async fn last_committed(
    lake: &Lake,
    snapshot: &Snapshot,
) -> Result<Option<LastCommitted>, PipelineError> {
    let newest = Latest::read_newest(lake, &snapshot.dataset, &snapshot.org_id).await?;
    let Some(last) = newest else {
        return Ok(None);
    };
    let manifest = match Manifest::read_at(lake, &last.manifest).await {
        // `verify` tells of it. It must not keep the next snapshot out.
        Err(error @ writer::Error::Malformed { .. }) => {
            tracing::warn!(%error, "columns are not compared with those of the last snapshot");
            None
        }
        manifest => manifest?,
    };
    Ok(Some(LastCommitted {
        snapshot: last.snapshot.clone(),
        rows: last.rows,
        column_nulls: manifest.map_or_else(BTreeMap::new, |manifest| manifest.column_nulls),
    }))
}

async fn commit(
    run: RunRequest<'_>,
    context: &RunContext,
    work: CompletedWork,
    counts: &Counts,
    duplicates: &Duplicates,
) -> Result<Committed, PipelineError> {
    let (lake, settings) = (run.lake, run.settings);
    let CompletedWork {
        plan,
        parts: staged,
        ..
    } = work;
    let (dataset, id) = (&plan.snapshot().dataset, plan.snapshot().id());
    let quarantine_files: Vec<String> = staged
        .iter()
        .flat_map(|part| part.quarantine_files.clone())
        .collect();
    let request = PublishRequest {
        snapshot: plan.snapshot().clone(),
        dataset: settings.dataset.clone(),
        run_id: run.run_id.to_owned(),
        program_version: PROGRAM_VERSION.to_owned(),
        files: staged.into_iter().flat_map(|part| part.files).collect(),
        blobs: counts.blobs.iter().map(blob_counts).collect(),
        duplicate_keys: duplicates.rows,
        column_nulls: by_column(&settings.dataset, &counts.column_nulls),
        quarantine_files: quarantine_files.clone(),
        backfill: run.options.backfill,
    };
    let ended = match writer::publish(&settings.table(lake), &request).await? {
        PublishOutcome::Committed {
            replaced,
            mut followed,
            ..
        } => {
            if let Err(error) =
                quarantine_file::keep_only(lake, dataset, &id, &quarantine_files).await
            {
                let warning = format!("stale quarantine files could not be deleted: {error}");
                followed.warnings.push(warning);
            }
            for warning in &followed.warnings {
                tracing::warn!("{warning}");
            }
            return Ok(Committed {
                outcome: Outcome::Committed,
                replaced: replaced.map(|replaced| replaced.snapshot),
                followed,
            });
        }
        PublishOutcome::Unchanged(_) => Ok(Committed::unchanged()),
        PublishOutcome::OlderThanCurrent(current) => Err(Refusal::OlderThanCurrent {
            current: current.snapshot,
        }
        .into()),
        PublishOutcome::RolledBack { current, displaced } => {
            Ok(Committed::rolled_back(&current.snapshot, &displaced))
        }
        PublishOutcome::Conflict { attempts, message } => {
            Err(PipelineError::Conflict { attempts, message })
        }
        PublishOutcome::TakenForDead => Err(PipelineError::TakenForDead),
    };
    context.discard_quarantine().await;
    ended
}

fn blob_counts(blob: &BlobReport) -> BlobCounts {
    BlobCounts {
        path: blob.blob.to_string(),
        bytes: blob.bytes,
        records: blob.records_read,
        rows: blob.rows_written,
        quarantined: blob.records_quarantined,
    }
}
