//! Adds up what the parts of a snapshot counted.

use std::collections::BTreeMap;

use transformer::DriftKind;

use crate::report::{self, BlobReport, DriftReport, QuarantineReport};
use crate::work::staged_part::StagedPart;

/// The counts of all parts of a snapshot, as the gate and the report look at them.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) files: u64,
    pub(super) records_read: u64,
    pub(super) rows_written: u64,
    pub(super) records_quarantined: u64,
    pub(super) rows_rescued: u64,
    pub(super) bytes_read: u64,
    pub(super) bytes_written: u64,
    /// By wire path.
    pub(super) drift: Vec<DriftReport>,
    /// By reason.
    pub(super) quarantined: Vec<QuarantineReport>,
    /// By blob path.
    pub(super) blobs: Vec<BlobReport>,
}

impl Counts {
    pub(super) fn of(staged: &[StagedPart]) -> Self {
        let mut counts = Self::default();
        let mut drift: BTreeMap<_, u64> = BTreeMap::new();
        let mut quarantined: BTreeMap<&str, QuarantineReport> = BTreeMap::new();
        for part in staged {
            counts.blobs.extend(part.blobs.iter().cloned());
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
                counts.files += 1;
                counts.rows_written += file.rows;
                counts.bytes_written += file.bytes;
            }
        }
        counts.blobs.sort_by(|a, b| a.blob.cmp(&b.blob));
        for blob in &counts.blobs {
            counts.records_read += blob.records_read;
            counts.records_quarantined += blob.records_quarantined;
            counts.rows_rescued += blob.rows_rescued;
            counts.bytes_read += blob.bytes;
        }
        let drift = drift
            .into_iter()
            .map(|((wire_path, kind), records)| DriftReport {
                wire_path: wire_path.clone(),
                kind,
                records,
            });
        counts.drift = drift.collect();
        counts.quarantined = quarantined.into_values().collect();
        counts
    }
}

impl From<DriftKind> for report::DriftKind {
    fn from(kind: DriftKind) -> Self {
        match kind {
            DriftKind::Unnamed => Self::Unnamed,
            DriftKind::Misfit => Self::Misfit,
            DriftKind::Spelling => Self::Spelling,
        }
    }
}
