//! What all segments of a run share: dataset, format, limits, and the buffers that jobs hand on to each other.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use dataset::{Dataset, Snapshot};
use transformer::{BatchLimits, GroupSource, RecordDecoder};
use writer::{FileFormat, KeyHasher, KeySpool, RowGroupEncoder};

use crate::error::PipelineError;
use crate::plan::PlannedBlob;

/// Inflated bytes that a blob may have whatever its compressed size: small blobs may be as repetitive as they like.
const INFLATE_FREE: u64 = 16 << 20;

/// What a segment's job decodes and encodes with: kept from job to job, for the memory that it has.
#[derive(Debug)]
pub(crate) struct SegmentBuffers {
    pub(crate) records: RecordDecoder,
    pub(crate) keys: KeyHasher,
    pub(crate) encoder: RowGroupEncoder,
}

/// Buffers that no job uses. There are as many as there were jobs at a time.
#[derive(Debug, Default)]
pub(crate) struct BufferPool(Mutex<Vec<SegmentBuffers>>);

impl BufferPool {
    fn take(&self) -> Option<SegmentBuffers> {
        self.0.lock().ok()?.pop()
    }

    /// Keeps buffers for the next job. Those of a job that failed are not used again.
    pub(crate) fn give_back(&self, buffers: SegmentBuffers) {
        if let Ok(mut free) = self.0.lock() {
            free.push(buffers);
        }
    }
}

/// What all segments of a run share.
#[derive(Debug)]
pub(crate) struct SegmentContext {
    pub(crate) dataset: Dataset,
    pub(crate) snapshot: Snapshot,
    pub(crate) format: Arc<FileFormat>,
    pub(crate) limits: BatchLimits,
    pub(crate) inflate_limits: InflateLimits,
    /// The device group of records that neither name one nor are in a blob that does.
    pub(crate) fallback_group: Option<i64>,
    /// Where the hashes of unique keys go.
    pub(crate) keys: Arc<KeySpool>,
    /// Where row groups go that wait for their part.
    pub(crate) spool_directory: PathBuf,
    pub(crate) buffers: BufferPool,
}

impl SegmentContext {
    /// Where the device groups of a blob's rows come from.
    pub(crate) fn group_source(&self, blob: &PlannedBlob) -> GroupSource {
        match blob.rbac_group_id {
            Some(group) => GroupSource::BlobPath(group),
            None => GroupSource::Records {
                fallback: self.fallback_group,
            },
        }
    }

    /// Buffers for one job: used ones, or new ones.
    pub(crate) fn take_buffers(&self) -> Result<SegmentBuffers, PipelineError> {
        if let Some(buffers) = self.buffers.take() {
            return Ok(buffers);
        }
        Ok(SegmentBuffers {
            records: RecordDecoder::new(&self.dataset, &self.snapshot),
            keys: KeyHasher::new(&self.dataset.unique_key),
            encoder: RowGroupEncoder::new(&self.format)?,
        })
    }
}

/// How far a blob may inflate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InflateLimits {
    /// In bytes: `work.max_blob_inflated`.
    pub(crate) bytes: u64,
    /// Times the compressed size: `work.max_inflate_ratio`.
    pub(crate) ratio: u64,
}

impl InflateLimits {
    /// The bytes that a blob may inflate to, and the setting that says so.
    pub(crate) fn of(self, compressed: u64) -> (u64, &'static str) {
        let by_ratio = compressed.saturating_mul(self.ratio).max(INFLATE_FREE);
        if by_ratio < self.bytes {
            (by_ratio, "work.max_inflate_ratio")
        } else {
            (self.bytes, "work.max_blob_inflated")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_limit_of_inflation_counts_and_small_blobs_are_free() {
        let limits = InflateLimits {
            bytes: 1 << 30,
            ratio: 100,
        };
        assert_eq!(limits.of(10), (INFLATE_FREE, "work.max_inflate_ratio"));
        assert_eq!(limits.of(1 << 20), (100 << 20, "work.max_inflate_ratio"));
        assert_eq!(limits.of(1 << 30), (1 << 30, "work.max_blob_inflated"));
        assert_eq!(limits.of(u64::MAX), (1 << 30, "work.max_blob_inflated"));
        let tight = InflateLimits {
            bytes: 1 << 10,
            ..limits
        };
        assert_eq!(tight.of(10), (1 << 10, "work.max_blob_inflated"));
    }
}
