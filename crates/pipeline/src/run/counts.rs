//! Adds up what the parts of a snapshot counted.

use std::collections::BTreeMap;

use crate::report::{BlobReport, DriftReport, QuarantineReport};
use crate::work::staged_part::{Drift, StagedPart, add_each};

/// The counts of all parts of a snapshot, as the gate and the report look at them.
#[derive(Debug, Default, PartialEq, Eq)]
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
    /// Of each column of the schema, in its order: rows without a value.
    pub(super) column_nulls: Vec<u64>,
    /// By reason.
    pub(super) quarantined: Vec<QuarantineReport>,
    /// By blob path.
    pub(super) blobs: Vec<BlobReport>,
}

impl Counts {
    pub(super) fn of(staged: &[StagedPart]) -> Self {
        let mut counts = Self::default();
        let mut drift = Drift::default();
        let mut quarantined: BTreeMap<&str, QuarantineReport> = BTreeMap::new();
        for part in staged {
            counts.blobs.extend(part.blobs.iter().cloned());
            drift.add_all(&part.drift);
            add_each(&mut counts.column_nulls, &part.column_nulls);
            for (reason, found) in &part.quarantined {
                let reported = quarantined.entry(reason);
                let reported = reported.or_insert_with(|| QuarantineReport {
                    reason: reason.clone(),
                    records: 0,
                    example: Some(found.example.clone()),
                });
                reported.records += found.records;
            }
            for file in &part.files {
                counts.files += 1;
                counts.rows_written += file.data.rows;
                counts.bytes_written += file.data.bytes;
            }
        }
        counts.blobs.sort_by(|a, b| a.blob.cmp(&b.blob));
        for blob in &counts.blobs {
            counts.records_read += blob.records_read;
            counts.records_quarantined += blob.records_quarantined;
            counts.rows_rescued += blob.rows_rescued;
            counts.bytes_read += blob.bytes;
        }
        counts.drift = drift.into();
        counts.quarantined = quarantined.into_values().collect();
        counts
    }
}
