//! The CPU's share of the work: the blobs of one segment, decoded and encoded into row groups, in one synchronous job.
//!
//! Gives what it makes to a bounded channel, piece by piece, and blocks while that is full: memory is bounded by the channel
//! and one row group, whatever the size of the blobs.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use dataset::{Dataset, Snapshot};
use extractor::Spool;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use transformer::{
    BatchLimits, BlobCounts, DecodedBatch, GroupSource, QuarantinedRecord, RecordDecoder,
    TransformError, decode_blob,
};
use writer::{EncodedRowGroup, FileFormat, RowGroupEncoder};

use crate::error::PipelineError;
use crate::events::{Event, Observer};
use crate::plan::PlannedBlob;
use crate::unique_key::{BlobKeys, KeyHasher, KeySpool};

/// Bytes of rows of several partitions that are sorted together in memory.
const SORTED_BYTES: usize = 32 << 20;

/// Inflated bytes that a blob may have whatever its compressed size: small blobs may be as repetitive as they like.
const INFLATE_FREE: u64 = 16 << 20;

/// What a segment's job makes, in order.
#[derive(Debug)]
pub(crate) enum Piece {
    /// A row group of a device group's file.
    RowGroup {
        rbac_group_id: i64,
        row_group: EncodedRowGroup,
    },
    /// Lines of a blob that were set aside.
    Quarantined {
        blob: String,
        records: Vec<QuarantinedRecord>,
    },
    /// A blob was read to its end.
    BlobDone {
        blob: PlannedBlob,
        counts: BlobCounts,
        keys: BlobKeys,
    },
}

/// What a segment's job decodes and encodes with: kept from job to job, for the memory that it has.
#[derive(Debug)]
pub(crate) struct Workbench {
    pub(crate) records: RecordDecoder,
    pub(crate) encoder: RowGroupEncoder,
}

/// Workbenches that no job is at. There are as many as there were jobs at a time.
#[derive(Debug, Default)]
pub(crate) struct Workbenches(Mutex<Vec<Workbench>>);

impl Workbenches {
    fn take(&self) -> Option<Workbench> {
        self.0.lock().ok()?.pop()
    }

    fn give_back(&self, bench: Workbench) {
        if let Ok(mut free) = self.0.lock() {
            free.push(bench);
        }
    }
}

/// What all segments of a run share.
#[derive(Debug)]
pub(crate) struct SegmentSettings {
    pub(crate) dataset: Dataset,
    pub(crate) snapshot: Snapshot,
    pub(crate) format: Arc<FileFormat>,
    pub(crate) limits: BatchLimits,
    pub(crate) inflate_limits: InflateLimits,
    /// The device group of records that neither name one nor lie in a blob that does.
    pub(crate) fallback_group: Option<i64>,
    /// Where the hashes of unique keys go.
    pub(crate) keys: Arc<KeySpool>,
    pub(crate) benches: Workbenches,
}

impl SegmentSettings {
    pub(crate) fn workbench(&self) -> Result<Workbench, PipelineError> {
        if let Some(bench) = self.benches.take() {
            return Ok(bench);
        }
        Ok(Workbench {
            records: RecordDecoder::new(&self.dataset, &self.snapshot),
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
    fn of(self, compressed: u64) -> (u64, &'static str) {
        let by_ratio = compressed.saturating_mul(self.ratio).max(INFLATE_FREE);
        if by_ratio < self.bytes {
            (by_ratio, "work.max_inflate_ratio")
        } else {
            (self.bytes, "work.max_blob_inflated")
        }
    }
}

/// Where pieces go. Stops the job when nobody wants them any more.
pub(crate) struct Outlet {
    pub(crate) pieces: mpsc::Sender<Piece>,
    pub(crate) cancel: CancellationToken,
}

impl Outlet {
    pub(crate) fn still_wanted(&self) -> Result<(), PipelineError> {
        if self.cancel.is_cancelled() || self.pieces.is_closed() {
            return Err(PipelineError::Cancelled);
        }
        Ok(())
    }

    pub(crate) fn give(&self, piece: Piece) -> Result<(), PipelineError> {
        self.still_wanted()?;
        self.pieces
            .blocking_send(piece)
            .map_err(|_| PipelineError::Cancelled)
    }
}

/// Gives bytes while somebody wants what is made of them: a blob whose records are long or none stops in its midst.
struct WhileWanted<'a, R> {
    reader: R,
    outlet: &'a Outlet,
}

impl<R: Read> Read for WhileWanted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.outlet.still_wanted().map_err(io::Error::other)?;
        self.reader.read(buffer)
    }
}

/// Decodes and encodes one segment.
pub(crate) fn work(
    settings: &SegmentSettings,
    blobs: Vec<(PlannedBlob, Spool)>,
    pieces: mpsc::Sender<Piece>,
    cancel: CancellationToken,
    observer: &Observer,
) -> Result<(), PipelineError> {
    let outlet = Outlet { pieces, cancel };
    let mut bench = settings.workbench()?;
    let mut rows = Rows::new(&settings.format, &mut bench.encoder);
    let key_hasher = KeyHasher::new(&settings.dataset, &settings.keys)?;
    for (blob, spool) in blobs {
        let group_source = match blob.rbac_group_id {
            Some(group) => GroupSource::BlobPath(group),
            None => GroupSource::Records {
                fallback: settings.fallback_group,
            },
        };
        // Rows of several groups are put together before they are sorted, for which their batches have to be of one type.
        let is_of_one_group = blob.rbac_group_id.is_some();
        bench.records.allow_dictionaries(is_of_one_group);
        let (inflated_bytes, setting) = settings.inflate_limits.of(blob.bytes);
        let limits = BatchLimits {
            inflated_bytes,
            ..settings.limits
        };
        let failed = |source| match source {
            TransformError::TooLarge { limit } => PipelineError::BlobTooLarge {
                blob: blob.path.clone(),
                limit,
                setting,
            },
            source => PipelineError::Transform {
                blob: blob.path.clone(),
                source,
            },
        };
        let mut keys = BlobKeys::default();
        let reader = spool
            .into_reader()
            .map_err(|source| PipelineError::Machine {
                what: format!("read the spool of blob {}", blob.path),
                source,
            })?;
        let reader = WhileWanted {
            reader,
            outlet: &outlet,
        };
        let mut decoder = decode_blob(reader, group_source, &mut bench.records, limits);
        while let Some(progress) = decoder.next_batch().map_err(|error| {
            // What stopped the job is the reason, and not that its blob ended early.
            let stopped = outlet.still_wanted().err();
            stopped.unwrap_or_else(|| failed(error))
        })? {
            outlet.still_wanted()?;
            let (decoded, quarantined) = (progress.batch, progress.quarantined);
            key_hasher.add(&decoded.rows, &mut keys)?;
            let records = decoded.rows.num_rows() + quarantined.len();
            observer(Event::RecordsRead {
                records: records as u64,
            });
            if !quarantined.is_empty() {
                outlet.give(Piece::Quarantined {
                    blob: blob.path.clone(),
                    records: quarantined,
                })?;
            }
            match group_source {
                GroupSource::BlobPath(group) => rows.add(group, &decoded.rows, &outlet)?,
                GroupSource::Records { .. } => rows
                    .sort_in(decoded, &outlet)
                    .map_err(|error| error.of_blob(&blob))?,
            }
        }
        let counts = decoder.finish();
        let keys = key_hasher.finish(keys)?;
        outlet.give(Piece::BlobDone { blob, counts, keys })?;
    }
    rows.finish(&outlet)?;
    // One that a failed job was at is not used again.
    settings.benches.give_back(bench);
    Ok(())
}

/// An error that does not know its blob yet.
pub(crate) enum SortError {
    Arrow(arrow::error::ArrowError),
    Pipeline(PipelineError),
}

impl SortError {
    pub(crate) fn of_blob(self, blob: &PlannedBlob) -> PipelineError {
        match self {
            Self::Arrow(error) => PipelineError::Transform {
                blob: blob.path.clone(),
                source: TransformError::Batch(error),
            },
            Self::Pipeline(error) => error,
        }
    }
}

impl From<arrow::error::ArrowError> for SortError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Arrow(error)
    }
}

impl From<PipelineError> for SortError {
    fn from(error: PipelineError) -> Self {
        Self::Pipeline(error)
    }
}

/// Collects rows into row groups.
pub(crate) struct Rows<'a> {
    format: &'a FileFormat,
    encoder: &'a mut RowGroupEncoder,
    /// The device group of the rows that are being encoded.
    open: i64,
    /// Rows of several device groups that wait to be sorted.
    unsorted: Vec<DecodedBatch>,
    unsorted_bytes: usize,
}

impl<'a> Rows<'a> {
    /// `encoder` is an empty one of that format.
    pub(crate) fn new(format: &'a FileFormat, encoder: &'a mut RowGroupEncoder) -> Self {
        Self {
            format,
            encoder,
            open: 0,
            unsorted: Vec::new(),
            unsorted_bytes: 0,
        }
    }

    /// Encodes rows of one device group; a full row group is given away.
    fn add(
        &mut self,
        group: i64,
        rows: &RecordBatch,
        outlet: &Outlet,
    ) -> Result<(), PipelineError> {
        let mut rest = rows.clone();
        while rest.num_rows() > 0 {
            if self.open != group || self.encoder.rows() >= self.format.row_group_rows() {
                self.close(outlet)?;
                self.open = group;
            }
            let fits = rest
                .num_rows()
                .min(self.format.row_group_rows() - self.encoder.rows());
            self.encoder.write(&rest.slice(0, fits))?;
            rest = rest.slice(fits, rest.num_rows() - fits);
        }
        Ok(())
    }

    fn close(&mut self, outlet: &Outlet) -> Result<(), PipelineError> {
        if self.encoder.rows() == 0 {
            return Ok(());
        }
        let row_group = self.encoder.finish()?;
        outlet.give(Piece::RowGroup {
            rbac_group_id: self.open,
            row_group,
        })
    }

    /// Keeps rows of several device groups until there are enough to be sorted by group and encoded.
    pub(crate) fn sort_in(
        &mut self,
        batch: DecodedBatch,
        outlet: &Outlet,
    ) -> Result<(), SortError> {
        self.unsorted_bytes += batch.rows.get_array_memory_size();
        self.unsorted.push(batch);
        if self.unsorted_bytes < SORTED_BYTES {
            return Ok(());
        }
        self.sort(outlet)
    }

    fn sort(&mut self, outlet: &Outlet) -> Result<(), SortError> {
        let batches = std::mem::take(&mut self.unsorted);
        self.unsorted_bytes = 0;
        let Some(first) = batches.first() else {
            return Ok(());
        };
        let rows = concat_batches(
            &first.rows.schema(),
            batches.iter().map(|batch| &batch.rows),
        )?;
        let mut rows_of_group: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for (row, group) in (0..).zip(batches.iter().flat_map(|batch| &batch.rbac_group_ids)) {
            rows_of_group.entry(*group).or_default().push(row);
        }
        drop(batches);
        for (group, indices) in rows_of_group {
            let rows = take_record_batch(&rows, &UInt32Array::from(indices))?;
            self.add(group, &rows, outlet)?;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self, outlet: &Outlet) -> Result<(), PipelineError> {
        self.sort(outlet).map_err(|error| match error {
            SortError::Arrow(error) => PipelineError::Defect(error.to_string()),
            SortError::Pipeline(error) => error,
        })?;
        self.close(outlet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_while_they_are_wanted() {
        let (pieces, receiver) = mpsc::channel(1);
        let cancel = CancellationToken::new();
        let outlet = Outlet { pieces, cancel };
        let mut reader = WhileWanted {
            reader: &[1, 2, 3][..],
            outlet: &outlet,
        };
        let mut one = [0];
        assert_eq!(reader.read(&mut one).unwrap(), 1);
        drop(receiver);
        assert!(reader.read(&mut one).is_err());
        let (pieces, _receiver) = mpsc::channel(1);
        let outlet = Outlet {
            pieces,
            cancel: outlet.cancel,
        };
        outlet.cancel.cancel();
        let mut reader = WhileWanted {
            reader: &[1][..],
            outlet: &outlet,
        };
        assert!(reader.read(&mut one).is_err());
    }

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
