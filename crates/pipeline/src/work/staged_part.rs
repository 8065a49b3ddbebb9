//! The result of working on a part: staged files and everything that was counted. Uploaded, not yet visible.

use std::collections::{BTreeMap, HashMap};

use transformer::{BlobCounts, DriftKind, QuarantinedRecord};
use writer::{KeyHashes, StagedFile};

use crate::plan::PlannedBlob;
use crate::report::{BlobReport, QuarantineExample};

/// A part whose files are staged.
#[derive(Debug, Default)]
pub(crate) struct StagedPart {
    pub(crate) files: Vec<StagedFile>,
    pub(crate) blobs: Vec<BlobReport>,
    pub(crate) drift: HashMap<(String, DriftKind), u64>,
    /// By the reason's code.
    pub(crate) quarantined: BTreeMap<&'static str, Quarantined>,
    pub(crate) quarantine_files: Vec<String>,
    /// Hashes of the unique keys, for each of `blobs`.
    keys: Vec<KeyHashes>,
}

/// Records that were quarantined for one reason.
#[derive(Debug)]
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
            .map(|(reason, quarantined)| ((*reason).to_owned(), quarantined.records))
            .collect()
    }

    pub(crate) fn count_quarantined(&mut self, blob: &str, record: &QuarantinedRecord) {
        let quarantined = self.quarantined.entry(record.reason.code());
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
        let blobs = self.blobs.iter().map(|blob| blob.blob.clone());
        blobs.zip(std::mem::take(&mut self.keys))
    }

    pub(crate) fn add_blob(&mut self, blob: &PlannedBlob, counts: BlobCounts, keys: KeyHashes) {
        self.keys.push(keys);
        for (key, records) in counts.drift {
            *self.drift.entry(key).or_default() += records;
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
