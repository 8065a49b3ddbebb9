//! What the CPU job of a segment makes for its part, in order.

use transformer::{BlobCounts, QuarantinedRecord};
use writer::{EncodedRowGroup, KeyHashes, SpooledRowGroup};

use crate::plan::SizedBlob;

/// What a segment's job makes, in order.
#[derive(Debug)]
pub(crate) enum SegmentOutput {
    /// A row group of a device group's file.
    RowGroup {
        rbac_group_id: i64,
        row_group: EncodedRowGroup,
    },
    /// One that waits on disk.
    SpooledRowGroup {
        rbac_group_id: i64,
        row_group: SpooledRowGroup,
    },
    /// Records of a blob that were quarantined.
    Quarantined {
        blob: String,
        records: Vec<QuarantinedRecord>,
    },
    /// A blob was read to its end.
    BlobDone {
        blob: SizedBlob,
        counts: BlobCounts,
        keys: KeyHashes,
    },
}
