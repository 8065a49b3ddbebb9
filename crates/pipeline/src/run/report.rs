//! The report of a run: made of what publishing came to, and written to the lake.

use std::time::Instant;

use chrono::{DateTime, Utc};
use dataset::Snapshot;
use writer::{Followed, Lake, layout};

use crate::error::PipelineError;
use crate::error_kind::ErrorKind;
use crate::report::{Outcome, REPORT_VERSION, RunReport};
use crate::run::published::Published;
use crate::settings::Settings;
use crate::version::PROGRAM_VERSION;

/// Which run it is, and when it started.
pub(super) struct RunStart {
    pub(super) run_id: String,
    pub(super) at: DateTime<Utc>,
    pub(super) clock: Instant,
}

/// The report, and the error that it tells of.
pub(super) fn run_report(
    settings: &Settings,
    start: RunStart,
    published: Published,
) -> (RunReport, Option<PipelineError>) {
    let Published {
        snapshot,
        counts,
        duplicates,
        result,
        mut warnings,
        ..
    } = published;
    let (outcome, replaced, followed, error) = match result {
        Ok(ended) => (ended.outcome, ended.replaced, ended.followed, None),
        Err(error) => (outcome_of(&error), None, Followed::default(), Some(error)),
    };
    warnings.extend(followed.warnings);
    let report = RunReport {
        version: REPORT_VERSION,
        run_id: start.run_id,
        program_version: PROGRAM_VERSION.to_owned(),
        dataset: settings.dataset.name.clone(),
        snapshot: snapshot.as_ref().map(Snapshot::id),
        generated_time: snapshot.as_ref().map(|snapshot| snapshot.generated_time),
        org_id: snapshot.map(|snapshot| snapshot.org_id),
        outcome,
        error: error.as_ref().map(PipelineError::to_string),
        error_kind: error.as_ref().map(PipelineError::kind),
        advice: error
            .as_ref()
            .and_then(PipelineError::advice)
            .map(str::to_owned),
        unfinished: followed.unfinished,
        warnings,
        replaced,
        started_at: start.at,
        elapsed_seconds: start.clock.elapsed().as_secs_f64(),
        blobs: published.blobs,
        parts: published.parts,
        files: counts.files,
        records_read: counts.records_read,
        rows_written: counts.rows_written,
        records_quarantined: counts.records_quarantined,
        rows_rescued: counts.rows_rescued,
        bytes_read: counts.bytes_read,
        bytes_written: counts.bytes_written,
        drift: counts.drift,
        quarantined: counts.quarantined,
        duplicate_keys: duplicates.rows,
        duplicate_key_examples: duplicates.examples.into_iter().map(Into::into).collect(),
        parts_restarted: published.parts_restarted,
        restarts: published.restarts,
        blob_counts: counts.blobs,
    };
    (report, error)
}

fn outcome_of(error: &PipelineError) -> Outcome {
    match error {
        PipelineError::Refused(_) => Outcome::Refused,
        error if error.kind() == ErrorKind::Undecided => Outcome::Undecided,
        _ => Outcome::Failed,
    }
}

/// A run that never got as far as its lake has no place to write to, and a store that just failed is not asked again. One that
/// found nothing new leaves a report: else nobody could tell it from one that did not run.
pub(super) fn leaves_a_report(error: Option<&PipelineError>) -> bool {
    let is_hopeless =
        |error: &PipelineError| error.kind() == ErrorKind::Configuration || error.is_of_the_store();
    !error.is_some_and(is_hopeless)
}

pub(super) async fn write_report(lake: &Lake, report: &RunReport) {
    let path = layout::run_report(&report.dataset, &report.run_id);
    let written = match serde_json::to_vec_pretty(report) {
        Ok(content) => lake.put(&path, content.into()).await,
        Err(error) => return tracing::warn!(%error, "the run report could not be written"),
    };
    if let Err(error) = written {
        tracing::warn!(%error, "the run report could not be written to the lake");
    }
}
