//! The report of a run: filled from what the stages give, and written to the lake.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use transformer::DriftKind;
use writer::{Lake, layout};

use crate::error::PipelineError;
use crate::report::{self, DriftReport, Outcome, QuarantineReport, REPORT_VERSION, RunReport};
use crate::run::run_id::new_run_id;
use crate::settings::Settings;
use crate::version::PROGRAM_VERSION;
use crate::work::staged_part::StagedPart;

pub(super) fn empty_report(settings: &Settings, started_at: DateTime<Utc>) -> RunReport {
    RunReport {
        version: REPORT_VERSION,
        run_id: new_run_id(started_at),
        program_version: PROGRAM_VERSION.to_owned(),
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
pub(super) fn start_again(settings: &Settings, report: &mut RunReport) {
    *report = RunReport {
        run_id: report.run_id.clone(),
        restarts: report.restarts + 1,
        ..empty_report(settings, report.started_at)
    };
}

/// Adds up what the parts counted.
pub(super) fn count(report: &mut RunReport, staged: &[StagedPart]) {
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

impl From<DriftKind> for report::DriftKind {
    fn from(kind: DriftKind) -> Self {
        match kind {
            DriftKind::Unnamed => Self::Unnamed,
            DriftKind::Misfit => Self::Misfit,
        }
    }
}

/// A run that found nothing to do writes nothing, one that never got as far as its lake has no place to write to, and a store that
/// just failed is not asked again.
pub(super) fn leaves_a_report(report: &RunReport, error: Option<&PipelineError>) -> bool {
    let is_hopeless = |error: &PipelineError| error.is_configuration() || error.is_of_the_store();
    report.outcome != Outcome::Unchanged && !error.is_some_and(is_hopeless)
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
