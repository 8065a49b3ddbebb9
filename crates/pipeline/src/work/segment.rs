//! The CPU's share of the work: the blobs of one segment, decoded and encoded into row groups, in one synchronous job.
//!
//! Gives what it makes to a bounded channel, piece by piece. While that is full, row groups go to a nameless file and the job
//! goes on, so that a segment whose turn has not come leaves its thread: memory is bounded by the channel and one row group,
//! whatever the size of the blobs.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::error::ArrowError;
use dataset::{Dataset, Snapshot};
use extractor::Spool;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;
use transformer::{
    BatchLimits, BlobCounts, DecodedBatch, GroupSource, QuarantinedRecord, RecordDecoder,
    TransformError, decode_blob,
};
use writer::{EncodedRowGroup, FileFormat, RowGroupEncoder, RowGroupSpool, SpooledRowGroup};

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
    /// One that waits on disk.
    SpooledRowGroup {
        rbac_group_id: i64,
        row_group: SpooledRowGroup,
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
    pub(crate) keys: KeyHasher,
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
    /// Where row groups go that wait for their turn.
    pub(crate) spool_directory: PathBuf,
    pub(crate) benches: Workbenches,
}

impl SegmentSettings {
    pub(crate) fn workbench(&self) -> Result<Workbench, PipelineError> {
        if let Some(bench) = self.benches.take() {
            return Ok(bench);
        }
        Ok(Workbench {
            records: RecordDecoder::new(&self.dataset, &self.snapshot),
            keys: KeyHasher::new(&self.dataset, &self.keys)?,
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

/// Whether somebody takes what the job makes.
#[derive(Debug, Clone)]
pub(crate) struct Demand {
    pub(crate) pieces: mpsc::Sender<Piece>,
    pub(crate) cancel: CancellationToken,
}

impl Demand {
    /// [`PipelineError::Cancelled`] if nobody does any more.
    pub(crate) fn lasts(&self) -> Result<(), PipelineError> {
        if self.cancel.is_cancelled() || self.pieces.is_closed() {
            return Err(PipelineError::Cancelled);
        }
        Ok(())
    }
}

/// Where pieces go, in order. Stops the job when nobody wants them any more.
pub(crate) struct Outlet {
    demand: Demand,
    /// Pieces that found the channel full.
    backlog: VecDeque<Piece>,
    directory: PathBuf,
    spool: Option<RowGroupSpool>,
}

impl Outlet {
    pub(crate) fn new(demand: Demand, settings: &SegmentSettings) -> Self {
        Self {
            demand,
            backlog: VecDeque::new(),
            directory: settings.spool_directory.clone(),
            spool: None,
        }
    }

    /// Gives a piece away, or keeps it for later, a row group on disk. Blocks for lines that were set aside: they are in
    /// memory, and there may be any number of them.
    pub(crate) fn give(&mut self, piece: Piece) -> Result<(), PipelineError> {
        self.demand.lasts()?;
        if matches!(piece, Piece::Quarantined { .. }) {
            self.backlog.push_back(piece);
            for piece in self.backlog.drain(..) {
                let sent = self.demand.pieces.blocking_send(piece);
                sent.map_err(|_| PipelineError::Cancelled)?;
            }
            return Ok(());
        }
        while let Some(oldest) = self.backlog.pop_front() {
            if let Some(oldest) = self.offer(oldest)? {
                self.backlog.push_front(oldest);
                break;
            }
        }
        let piece = if self.backlog.is_empty() {
            self.offer(piece)?
        } else {
            Some(piece)
        };
        if let Some(piece) = piece {
            let piece = self.spooled(piece)?;
            self.backlog.push_back(piece);
        }
        Ok(())
    }

    /// What nobody has taken yet when the job ends.
    pub(crate) fn into_rest(self) -> VecDeque<Piece> {
        self.backlog
    }

    /// Gives the piece back if the channel is full.
    fn offer(&self, piece: Piece) -> Result<Option<Piece>, PipelineError> {
        match self.demand.pieces.try_send(piece) {
            Ok(()) => Ok(None),
            Err(TrySendError::Full(piece)) => Ok(Some(piece)),
            Err(TrySendError::Closed(_)) => Err(PipelineError::Cancelled),
        }
    }

    fn spooled(&mut self, piece: Piece) -> Result<Piece, PipelineError> {
        let Piece::RowGroup {
            rbac_group_id,
            row_group,
        } = piece
        else {
            return Ok(piece);
        };
        let directory = &self.directory;
        let failed = |source| PipelineError::Machine {
            what: format!("keep a row group in {}", directory.display()),
            source,
        };
        let spool = match &mut self.spool {
            Some(spool) => spool,
            none => none.insert(RowGroupSpool::new(directory).map_err(failed)?),
        };
        Ok(Piece::SpooledRowGroup {
            rbac_group_id,
            row_group: spool.put(row_group).map_err(failed)?,
        })
    }
}

/// Gives bytes while somebody wants what is made of them: a blob whose records are long or none stops in its midst.
struct WhileWanted<R> {
    reader: R,
    demand: Demand,
}

impl<R: BufRead> BufRead for WhileWanted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.demand.lasts().map_err(io::Error::other)?;
        self.reader.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.reader.consume(bytes);
    }
}

impl<R: BufRead> Read for WhileWanted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?.read(buffer)?;
        self.consume(bytes);
        Ok(bytes)
    }
}

/// Decodes and encodes one segment. Gives what nobody has taken yet.
pub(crate) fn work(
    settings: &SegmentSettings,
    blobs: Vec<(PlannedBlob, Spool)>,
    demand: &Demand,
    observer: &Observer,
) -> Result<VecDeque<Piece>, PipelineError> {
    let mut outlet = Outlet::new(demand.clone(), settings);
    let mut bench = settings.workbench()?;
    let mut rows = Rows::new(&settings.format, &mut bench.encoder);
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
            demand: demand.clone(),
        };
        let mut decoder = decode_blob(reader, group_source, &mut bench.records, limits);
        while let Some(progress) = decoder.next_batch().map_err(|error| {
            // What stopped the job is the reason, and not that its blob ended early.
            let stopped = demand.lasts().err();
            stopped.unwrap_or_else(|| failed(error))
        })? {
            demand.lasts()?;
            let (decoded, quarantined) = (progress.batch, progress.quarantined);
            bench.keys.add(&decoded.rows, &mut keys)?;
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
                GroupSource::BlobPath(group) => rows.add(group, &decoded.rows, &mut outlet)?,
                GroupSource::Records { .. } => rows
                    .sort_in(decoded, &mut outlet)
                    .map_err(|error| error.of_blob(&blob))?,
            }
        }
        let counts = decoder.finish();
        let keys = bench.keys.finish(keys)?;
        outlet.give(Piece::BlobDone { blob, counts, keys })?;
    }
    rows.finish(&mut outlet)?;
    // One that a failed job was at is not used again.
    settings.benches.give_back(bench);
    Ok(outlet.into_rest())
}

/// An error that does not know its blob yet.
pub(crate) enum SortError {
    Arrow(ArrowError),
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

impl From<ArrowError> for SortError {
    fn from(error: ArrowError) -> Self {
        Self::Arrow(error)
    }
}

impl From<PipelineError> for SortError {
    fn from(error: PipelineError) -> Self {
        Self::Pipeline(error)
    }
}

/// Bytes of the rows' values. What their arrays have room for beyond depends on the batches before, and so on which thread had
/// them; and where rows are cut must not: the same snapshot gives the same files.
fn bytes_of(rows: &RecordBatch) -> Result<usize, ArrowError> {
    let columns = rows.columns().iter();
    columns
        .map(|column| column.to_data().get_slice_memory_size())
        .sum()
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
        outlet: &mut Outlet,
    ) -> Result<(), PipelineError> {
        let mut rest = rows.clone();
        while rest.num_rows() > 0 {
            if self.open != group || self.encoder.rows() >= self.format.row_group_rows() {
                self.close(outlet)?;
                self.open = group;
            }
            let fits = self.format.row_group_rows() - self.encoder.rows();
            if rest.num_rows() <= fits {
                // Most batches fit, and a slice of 140 columns is 140 allocations.
                self.encoder.write(&rest)?;
                break;
            }
            self.encoder.write(&rest.slice(0, fits))?;
            rest = rest.slice(fits, rest.num_rows() - fits);
        }
        Ok(())
    }

    fn close(&mut self, outlet: &mut Outlet) -> Result<(), PipelineError> {
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
        outlet: &mut Outlet,
    ) -> Result<(), SortError> {
        self.unsorted_bytes += bytes_of(&batch.rows)?;
        self.unsorted.push(batch);
        if self.unsorted_bytes < SORTED_BYTES {
            return Ok(());
        }
        self.sort(outlet)
    }

    fn sort(&mut self, outlet: &mut Outlet) -> Result<(), SortError> {
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

    pub(crate) fn finish(mut self, outlet: &mut Outlet) -> Result<(), PipelineError> {
        self.sort(outlet).map_err(|error| match error {
            SortError::Arrow(error) => PipelineError::Defect(error.to_string()),
            SortError::Pipeline(error) => error,
        })?;
        self.close(outlet)
    }
}

#[cfg(test)]
mod tests {
    use writer::ParquetSettings;

    use super::*;
    use crate::fixtures::{ORG, Place};

    #[test]
    fn bytes_come_while_they_are_wanted() {
        let (pieces, receiver) = mpsc::channel(1);
        let cancel = CancellationToken::new();
        let mut reader = WhileWanted {
            reader: &[1, 2, 3][..],
            demand: Demand { pieces, cancel },
        };
        let mut one = [0];
        assert_eq!(reader.read(&mut one).unwrap(), 1);
        drop(receiver);
        assert!(reader.read(&mut one).is_err());

        let (pieces, _receiver) = mpsc::channel(1);
        reader.demand.pieces = pieces;
        assert_eq!(reader.read(&mut one).unwrap(), 1);
        reader.demand.cancel.cancel();
        assert!(reader.read(&mut one).is_err());
    }

    #[test]
    fn row_groups_wait_on_disk_in_order_and_lines_set_aside_are_waited_for() {
        let place = Place::new();
        let settings = place.settings(&[]);
        let snapshot = Snapshot {
            dataset: settings.dataset.name.clone(),
            org_id: ORG.parse().unwrap(),
            generated_time: chrono::DateTime::UNIX_EPOCH,
        };
        let parquet = ParquetSettings {
            row_group_rows: 8,
            zstd_level: 1,
        };
        let format =
            Arc::new(FileFormat::new(&settings.dataset, &snapshot, "test", &parquet).unwrap());
        let mut encoder = RowGroupEncoder::new(&format).unwrap();
        let mut row_group = |rbac_group_id| Piece::RowGroup {
            rbac_group_id,
            row_group: encoder.finish().unwrap(),
        };
        let (pieces, mut receiver) = mpsc::channel(1);
        let cancel = CancellationToken::new();
        let mut outlet = Outlet {
            demand: Demand { pieces, cancel },
            backlog: VecDeque::new(),
            directory: place.path("").into(),
            spool: None,
        };
        let group_of = |piece: &Piece| match piece {
            Piece::RowGroup { rbac_group_id, .. } => (*rbac_group_id, false),
            Piece::SpooledRowGroup { rbac_group_id, .. } => (*rbac_group_id, true),
            _ => panic!("{piece:?}"),
        };
        for group in 0..3 {
            outlet.give(row_group(group)).unwrap();
        }
        assert_eq!(group_of(&receiver.try_recv().unwrap()), (0, false));
        outlet.give(row_group(3)).unwrap();
        assert_eq!(group_of(&receiver.try_recv().unwrap()), (1, true));

        let taker = std::thread::spawn(move || {
            let taken = [(); 3].map(|()| receiver.blocking_recv().unwrap());
            (taken, receiver)
        });
        let (blob, records) = ("b".to_owned(), Vec::new());
        outlet.give(Piece::Quarantined { blob, records }).unwrap();
        let ([two, three, lines], mut receiver) = taker.join().unwrap();
        assert_eq!((group_of(&two), group_of(&three)), ((2, true), (3, true)));
        assert!(matches!(lines, Piece::Quarantined { .. }));

        outlet.give(row_group(4)).unwrap();
        outlet.give(row_group(5)).unwrap();
        let rest: Vec<_> = outlet.into_rest().iter().map(group_of).collect();
        assert_eq!(rest, [(5, true)]);
        assert_eq!(group_of(&receiver.try_recv().unwrap()), (4, false));
        assert!(receiver.try_recv().is_err());
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
