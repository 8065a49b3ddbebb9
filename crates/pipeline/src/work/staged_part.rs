//! The result of working on a part: staged files and everything that was counted. Uploaded, not yet visible.
//!
//! A record that another process can commit: it names all that the gate and the commit need.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use transformer::{BlobCounts, QuarantinedRecord};
use writer::{KeyHashes, StagedFile};

use crate::plan::SizedBlob;
use crate::report::{BlobReport, DriftKind, DriftReport, QuarantineExample};

/// A part whose files are staged.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct StagedPart {
    pub(crate) files: Vec<StagedFile>,
    pub(crate) blobs: Vec<BlobReport>,
    pub(crate) drift: Drift,
    /// Of each column of the schema, in its order: rows without a value.
    pub(crate) column_nulls: Vec<u64>,
    /// By the reason's code.
    pub(crate) quarantined: BTreeMap<String, Quarantined>,
    pub(crate) quarantine_files: Vec<String>,
    /// Hashes of the unique keys, for each of `blobs`.
    keys: Vec<KeyHashes>,
}

/// How many records a wire path was rescued in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<DriftReport>", into = "Vec<DriftReport>")]
pub(crate) struct Drift(BTreeMap<(String, DriftKind), u64>);

/// Records that were quarantined for one reason.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Quarantined {
    pub(crate) records: u64,
    /// The first of them.
    pub(crate) example: QuarantineExample,
}

impl StagedPart {
    /// Number of quarantined records, by the reason's code.
    pub(crate) fn reasons(&self) -> BTreeMap<String, u64> {
        let reasons = self.quarantined.iter();
        reasons
            .map(|(reason, quarantined)| (reason.clone(), quarantined.records))
            .collect()
    }

    pub(crate) fn count_quarantined(&mut self, blob: &str, record: &QuarantinedRecord) {
        let quarantined = self.quarantined.entry(record.reason.code().to_owned());
        let quarantined = quarantined.or_insert_with(|| Quarantined {
            records: 0,
            example: QuarantineExample {
                blob: blob.to_owned(),
                line: record.line,
                message: record.reason.to_string(),
            },
        });
        quarantined.records += 1;
    }

    /// The blobs and the hashes of their unique keys, which are not kept.
    pub(crate) fn take_keys(&mut self) -> impl Iterator<Item = (String, KeyHashes)> {
        let blobs = self.blobs.iter().map(|blob| blob.blob.to_string());
        blobs.zip(std::mem::take(&mut self.keys))
    }

    pub(crate) fn add_blob(&mut self, blob: &SizedBlob, counts: BlobCounts, keys: KeyHashes) {
        self.keys.push(keys);
        add_each(&mut self.column_nulls, &counts.column_nulls);
        for ((path, kind), records) in counts.drift {
            self.drift.add(path.to_string(), kind.into(), records);
        }
        self.blobs.push(BlobReport {
            blob: blob.path.clone(),
            bytes: blob.bytes,
            records_read: counts.records,
            rows_written: counts.rows,
            records_quarantined: counts.quarantined,
            rows_rescued: counts.rows_rescued,
        });
    }
}

/// Adds numbers to those at the same place.
pub(crate) fn add_each(sums: &mut Vec<u64>, numbers: &[u64]) {
    if sums.len() < numbers.len() {
        sums.resize(numbers.len(), 0);
    }
    for (sum, number) in sums.iter_mut().zip(numbers) {
        *sum += number;
    }
}

impl Drift {
    fn add(&mut self, wire_path: String, kind: DriftKind, records: u64) {
        *self.0.entry((wire_path, kind)).or_default() += records;
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        for ((wire_path, kind), records) in &other.0 {
            self.add(wire_path.clone(), *kind, *records);
        }
    }
}

impl From<Vec<DriftReport>> for Drift {
    fn from(reports: Vec<DriftReport>) -> Self {
        let mut drift = Self::default();
        for report in reports {
            drift.add(report.wire_path, report.kind, report.records);
        }
        drift
    }
}

impl From<Drift> for Vec<DriftReport> {
    fn from(drift: Drift) -> Self {
        let reports = drift.0.into_iter();
        reports
            .map(|((wire_path, kind), records)| DriftReport {
                wire_path,
                kind,
                records,
            })
            .collect()
    }
}

impl From<transformer::DriftKind> for DriftKind {
    fn from(kind: transformer::DriftKind) -> Self {
        match kind {
            transformer::DriftKind::Unnamed => Self::Unnamed,
            transformer::DriftKind::Misfit => Self::Misfit,
            transformer::DriftKind::Spelling => Self::Spelling,
            transformer::DriftKind::Damaged => Self::Damaged,
            transformer::DriftKind::Blank => Self::Blank,
        }
    }
}
