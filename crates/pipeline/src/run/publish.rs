//! One run: plan -> work -> gate -> commit, and the report of it.

use std::collections::BTreeMap;
use std::time::Instant;

use chrono::{DateTime, Utc};
use dataset::Snapshot;
use extractor::ExtractorError;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use writer::{BlobCounts, CommitOutcome, CommitRequest, Lake, Latest, Standing, layout};

use crate::error::PipelineError;
use crate::events::{Event, Observer};
use crate::gate::{self, Counted, Last, Refusal};
use crate::part::StagedPart;
use crate::plan::Plan;
use crate::quarantine_file;
use crate::report::{DriftReport, Outcome, QuarantineReport, REPORT_VERSION, RunReport};
use crate::settings::{OnNewSnapshot, Settings, SourceKind};
use crate::source::{self, Listed};
use crate::work::{Work, Workshop};

/// Snapshots that a run gives up because the service replaced them, before it gives up itself. The service makes a few a day.
const MAX_RESTARTS: u64 = 3;

/// What a run is asked for beyond its pipeline.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// Whether a snapshot that is older than the lake's may be put in the place of its date.
    pub backfill: bool,
}

/// A run that is over.
#[derive(Debug)]
pub struct Run {
    /// What happened.
    pub report: RunReport,
    /// Why nothing was published, if nothing was.
    pub error: Option<PipelineError>,
}

/// What a run would do: calls the API or looks for files, and writes nothing.
pub async fn plan(settings: &Settings, observer: &Observer) -> Result<Plan, PipelineError> {
    observer(Event::Listing {
        dataset: settings.dataset.name.clone(),
    });
    Ok(planned(settings, source::list(settings, observer).await?)?.0)
}

fn planned(
    settings: &Settings,
    listed: Listed,
) -> Result<(Plan, extractor::BlobSource), PipelineError> {
    let (target, segment) = (
        settings.work.target_file_size.bytes(),
        settings.work.segment_size.bytes(),
    );
    let plan = Plan::new(listed.snapshot, listed.blobs, target, segment)?;
    Ok((plan, listed.source))
}

/// Publishes the source's snapshot, whole or not at all. A run that is told to stop ends before the commit or after it, never
/// in it.
pub async fn run(
    settings: &Settings,
    options: RunOptions,
    observer: Observer,
    cancel: CancellationToken,
) -> Run {
    let (begun, started_at) = (Instant::now(), Utc::now());
    let mut report = empty_report(settings, started_at);
    let (lake, ended) = match Lake::open(&settings.lake.root, &settings.lake.options) {
        Ok(lake) => {
            let lake = lake.until(cancel.clone());
            let ended =
                publish_newest(settings, options, &lake, &mut report, &observer, &cancel).await;
            (Some(lake), ended)
        }
        Err(error) => (None, Err(error.into())),
    };
    let error = match ended {
        Ok(outcome) => {
            report.outcome = outcome;
            None
        }
        Err(error) => {
            report.outcome = match &error {
                PipelineError::Refused(_) => Outcome::Refused,
                PipelineError::Write(writer::Error::Undecided { .. }) => Outcome::Undecided,
                _ => Outcome::Failed,
            };
            report.error = Some(error.to_string());
            Some(error)
        }
    };
    report.elapsed_seconds = begun.elapsed().as_secs_f64();
    if let Some(lake) = lake.filter(|_| leaves_a_report(&report, error.as_ref())) {
        write_report(&lake, &report).await;
    }
    observer(Event::Finished {
        report: Box::new(report.clone()),
    });
    Run { report, error }
}

/// A run that found nothing to do writes nothing, one that never got as far as its lake has no place to write to, and a store that
/// just failed is not asked again.
fn leaves_a_report(report: &RunReport, error: Option<&PipelineError>) -> bool {
    let is_hopeless = |error: &PipelineError| error.is_configuration() || error.is_of_the_store();
    report.outcome != Outcome::Unchanged && !error.is_some_and(is_hopeless)
}

async fn write_report(lake: &Lake, report: &RunReport) {
    let path = layout::run_report(&report.dataset, &report.run_id);
    let written = match serde_json::to_vec_pretty(report) {
        Ok(content) => lake.put(&path, content.into()).await,
        Err(error) => return tracing::warn!(%error, "the run report could not be written"),
    };
    if let Err(error) = written {
        tracing::warn!(%error, "the run report could not be written to the lake");
    }
}

/// Publishes, and starts again with the new snapshot when the service replaces the one under way.
async fn publish_newest(
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
        listed = source::list(settings, observer) => listed?,
    };
    let (mut plan, source) = planned(settings, listed)?;
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
    let workshop = Workshop::new(settings, &plan, lake.clone(), source, report.run_id.clone())?;
    let Work {
        parts: mut staged,
        restarted,
    } = workshop.work(&mut plan, observer, cancel).await?;
    report.parts_restarted += restarted;
    count(report, &staged);
    let passed = async {
        let duplicates = workshop.duplicates(&mut staged).await?;
        report.duplicate_keys = duplicates.rows;
        report.duplicate_key_examples = duplicates.examples.clone();
        let counted = Counted {
            blobs: &report.blob_counts,
            staged_rows: report.rows_written,
            quarantined: &report.quarantined,
            duplicates: &duplicates,
        };
        let last = last_committed(lake, &snapshot).await?;
        // A past day's size says nothing about today's.
        let last = last.filter(|_| !options.backfill);
        gate::check(&settings.gate, &plan, counted, last.as_ref())?;
        match cancel.is_cancelled() {
            true => Err(PipelineError::Cancelled),
            false => Ok(()),
        }
    };
    if let Err(error) = passed.await {
        workshop.throw_away(&staged).await;
        // What the gate refuses can be looked at.
        if !matches!(error, PipelineError::Refused(_)) {
            workshop.discard_quarantine().await;
        }
        return Err(error);
    }

    observer(Event::Committing {
        files: report.files,
    });
    commit(settings, options, &workshop, &plan, staged, report).await
}

async fn last_committed(lake: &Lake, snapshot: &Snapshot) -> Result<Option<Last>, PipelineError> {
    let latest = Latest::read(lake, &snapshot.dataset).await?;
    let last = latest.newest(&snapshot.org_id);
    Ok(last.map(|last| Last {
        snapshot: last.snapshot.clone(),
        rows: last.rows,
    }))
}

async fn commit(
    settings: &Settings,
    options: RunOptions,
    workshop: &Workshop,
    plan: &Plan,
    staged: Vec<StagedPart>,
    report: &mut RunReport,
) -> Result<Outcome, PipelineError> {
    let lake = &workshop.lake;
    let (dataset, id) = (&plan.snapshot.dataset, plan.snapshot.id());
    let quarantine_files: Vec<String> = staged
        .iter()
        .flat_map(|part| part.quarantine_files.clone())
        .collect();
    let request = CommitRequest {
        snapshot: plan.snapshot.clone(),
        dataset: settings.dataset.clone(),
        run_id: report.run_id.clone(),
        program_version: crate::PROGRAM_VERSION.to_owned(),
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
    workshop.discard_quarantine().await;
    ended
}

/// An identity for a run, sorting by time.
pub(crate) fn new_run_id(started_at: DateTime<Utc>) -> String {
    let random = Uuid::new_v4().simple().to_string();
    format!("{}-{}", started_at.format("%Y%m%dT%H%M%SZ"), &random[..8])
}

fn empty_report(settings: &Settings, started_at: DateTime<Utc>) -> RunReport {
    RunReport {
        version: REPORT_VERSION,
        run_id: new_run_id(started_at),
        program_version: crate::PROGRAM_VERSION.to_owned(),
        dataset: settings.dataset.name.clone(),
        snapshot: None,
        org_id: None,
        generated_time: None,
        outcome: Outcome::Failed,
        error: None,
        unfinished: None,
        replaced: None,
        started_at,
        elapsed_seconds: 0.0,
        duplicate_keys: 0,
        duplicate_key_examples: Vec::new(),
        parts_restarted: 0,
        restarts: 0,
        blobs: 0,
        parts: 0,
        files: 0,
        records_read: 0,
        rows_written: 0,
        records_quarantined: 0,
        rows_rescued: 0,
        bytes_read: 0,
        bytes_written: 0,
        drift: Vec::new(),
        quarantined: Vec::new(),
        blob_counts: Vec::new(),
    }
}

/// Forgets all that was counted of a snapshot that was given up.
fn start_again(settings: &Settings, report: &mut RunReport) {
    *report = RunReport {
        run_id: report.run_id.clone(),
        restarts: report.restarts + 1,
        ..empty_report(settings, report.started_at)
    };
}

/// Adds up what the parts counted.
fn count(report: &mut RunReport, staged: &[StagedPart]) {
    let mut drift: BTreeMap<_, u64> = BTreeMap::new();
    let mut quarantined: BTreeMap<&str, QuarantineReport> = BTreeMap::new();
    for part in staged {
        report.blob_counts.extend(part.blobs.iter().cloned());
        for ((path, kind), records) in &part.drift {
            *drift.entry((path, (*kind).into())).or_default() += records;
        }
        for (reason, found) in &part.quarantined {
            let reported = quarantined.entry(reason);
            let reported = reported.or_insert_with(|| QuarantineReport {
                reason: (*reason).to_owned(),
                records: 0,
                example: Some(found.example.clone()),
            });
            reported.records += found.records;
        }
        for file in &part.files {
            report.files += 1;
            report.rows_written += file.rows;
            report.bytes_written += file.bytes;
        }
    }
    report.blob_counts.sort_by(|a, b| a.blob.cmp(&b.blob));
    for blob in &report.blob_counts {
        report.records_read += blob.records_read;
        report.records_quarantined += blob.records_quarantined;
        report.rows_rescued += blob.rows_rescued;
        report.bytes_read += blob.bytes;
    }
    let drift = drift
        .into_iter()
        .map(|((wire_path, kind), records)| DriftReport {
            wire_path: wire_path.clone(),
            kind,
            records,
        });
    report.drift = drift.collect();
    report.quarantined = quarantined.into_values().collect();
}
