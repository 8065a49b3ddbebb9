//! What all segments of a run share: dataset, format, limits, and the buffers that jobs hand on to each other.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use dataset::{BlobPath, Dataset, Snapshot};
use transformer::{BatchLimits, Compression, GroupSource, RecordDecoder};
use writer::{FileFormat, KeyHasher, KeySpool, RowGroupEncoder, SmallFileSpool};

use crate::error::PipelineError;

/// Inflated bytes that a blob may have whatever its compressed size: small blobs may be as repetitive as they like.
const INFLATE_FREE: u64 = 16 << 20;
/// The most that a larger blob may inflate to, times its compressed size. Only what deflate makes of one byte repeated is beyond.
const MAX_INFLATE_RATIO: u64 = 1000;

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
    /// How blobs are compressed; none if each has to be looked at.
    pub(crate) compression: Option<Compression>,
    /// The device group of records that neither name one nor are in a blob that does.
    pub(crate) fallback_group: Option<i64>,
    /// Where the hashes of unique keys go.
    pub(crate) keys: Arc<KeySpool>,
    /// Where files wait for the commit that are too small for an upload in parts.
    pub(crate) small_files: Arc<SmallFileSpool>,
    /// Where row groups go that wait for their part.
    pub(crate) spool_directory: PathBuf,
    pub(crate) buffers: BufferPool,
}

impl SegmentContext {
    /// Where the device groups of a blob's rows come from.
    pub(crate) fn group_source(&self, path: &BlobPath) -> GroupSource {
        match path.rbac_group_id() {
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

/// The bytes that a blob of `compressed` bytes may inflate to, where `most` are allowed at most, and the rule that says so.
pub(crate) fn inflate_limit(most: u64, compressed: u64) -> (u64, &'static str) {
    let by_ratio = compressed
        .saturating_mul(MAX_INFLATE_RATIO)
        .max(INFLATE_FREE);
    if by_ratio < most {
        (by_ratio, "which only a gzip bomb does")
    } else {
        (most, "the limit that `work.max_blob_inflated` sets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_limit_of_inflation_counts_and_small_blobs_are_free() {
        let limit = |most, compressed| {
            let (bytes, rule) = inflate_limit(most, compressed);
            (bytes, rule.contains("work.max_blob_inflated"))
        };
        assert_eq!(limit(1 << 30, 10), (INFLATE_FREE, false));
        assert_eq!(limit(1 << 30, 1 << 20), (1000 << 20, false));
        assert_eq!(limit(1 << 30, 1 << 30), (1 << 30, true));
        assert_eq!(limit(1 << 30, u64::MAX), (1 << 30, true));
        assert_eq!(limit(1 << 10, 10), (1 << 10, true));
    }
}
