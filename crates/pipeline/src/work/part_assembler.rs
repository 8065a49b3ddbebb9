//! One part: the pieces of its segments, in order, into its files. Staged whole, or nothing of it is left.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use dataset::Partition;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use transformer::{BlobCounts, DriftKind, QuarantinedRecord};
use writer::{EncodedRowGroup, SpooledRowGroup, StagedFile, StagedFileWriter};

use crate::error::PipelineError;
use crate::events::{Event, Observer};
use crate::plan::{Part, PlannedBlob};
use crate::quarantine_file::QuarantineWriter;
use crate::report::{self, BlobReport, QuarantineExample};
use crate::segment::Piece;
use crate::unique_key::BlobKeys;
use crate::work::Workshop;

/// What working on a part gives back: uploaded, not yet visible.
#[derive(Debug, Default)]
pub(crate) struct StagedPart {
    pub(crate) files: Vec<StagedFile>,
    pub(crate) blobs: Vec<BlobReport>,
    pub(crate) drift: HashMap<(String, DriftKind), u64>,
    /// By the reason's code.
    pub(crate) quarantined: BTreeMap<&'static str, Quarantined>,
    pub(crate) quarantine_files: Vec<String>,
    /// Hashes of the unique keys, for each of `blobs`.
    keys: Vec<BlobKeys>,
}

/// Records that were quarantined for one reason.
#[derive(Debug)]
pub(crate) struct Quarantined {
    pub(crate) records: u64,
    /// The first of them.
    pub(crate) example: QuarantineExample,
}

/// A segment on its way to its part: what its job makes, and how the job ended.
#[derive(Debug)]
pub(crate) struct Started {
    /// Given back when the part has taken all of it.
    _turn: OwnedSemaphorePermit,
    pieces: mpsc::Receiver<Piece>,
    /// Until it has ended.
    job: Option<SegmentJob>,
    /// What was left when it ended.
    rest: VecDeque<Piece>,
}

/// A job that gives pieces, and in the end those that nobody has taken yet.
pub(crate) type SegmentJob =
    oneshot::Receiver<Result<Result<VecDeque<Piece>, PipelineError>, PipelineError>>;

/// A segment that was started, or why its blobs could not be brought.
pub(crate) type SegmentResult = Result<Started, PipelineError>;

impl Started {
    pub(crate) fn new(
        turn: OwnedSemaphorePermit,
        pieces: mpsc::Receiver<Piece>,
        job: SegmentJob,
    ) -> Self {
        Self {
            _turn: turn,
            pieces,
            job: Some(job),
            rest: VecDeque::new(),
        }
    }

    /// The next piece; after the last one, how the job ended.
    async fn next(&mut self) -> Result<Option<Piece>, PipelineError> {
        if let Some(piece) = self.pieces.recv().await {
            return Ok(Some(piece));
        }
        if let Some(job) = self.job.take() {
            self.rest = job.await.map_err(|_| {
                PipelineError::Defect("a job ended without an answer".to_owned())
            })???;
        }
        Ok(self.rest.pop_front())
    }
}

impl Workshop {
    /// Takes the pieces of a part's segments, in order, into the part's files.
    pub(crate) async fn assemble(
        &self,
        part: &Part,
        segments: mpsc::Receiver<SegmentResult>,
        observer: &Observer,
    ) -> Result<StagedPart, PipelineError> {
        let mut files = BTreeMap::new();
        let mut staged = StagedPart::default();
        let mut filled = self
            .fill(part, segments, &mut files, &mut staged, observer)
            .await;
        // After an error the open files are thrown away, and with them those that are staged already.
        for file in files.into_values() {
            match (&filled, file) {
                (Ok(()), file) => match file.finish().await {
                    Ok(file) => staged.files.extend(file),
                    Err(error) => filled = Err(error.into()),
                },
                (Err(_), file) => {
                    if let Err(error) = file.abort().await {
                        tracing::warn!(%error, part = part.number, "an upload could not be aborted");
                    }
                }
            }
        }
        if let Err(error) = filled {
            if let Err(error) = writer::abort_files(&self.lake, &staged.files).await {
                tracing::warn!(%error, part = part.number, "staged files could not be thrown away");
            }
            return Err(error);
        }
        observer(Event::PartStaged {
            part: part.number,
            rows: staged.files.iter().map(|file| file.rows).sum(),
            bytes: staged.files.iter().map(|file| file.bytes).sum(),
        });
        Ok(staged)
    }

    async fn fill(
        &self,
        part: &Part,
        mut segments: mpsc::Receiver<SegmentResult>,
        files: &mut BTreeMap<i64, StagedFileWriter>,
        staged: &mut StagedPart,
        observer: &Observer,
    ) -> Result<(), PipelineError> {
        let snapshot = &self.settings.snapshot;
        let mut quarantine = QuarantineWriter::new(
            &self.lake,
            snapshot,
            &self.run_id,
            format!("part-{:05}", part.number),
            Arc::clone(&self.quarantine_files),
        );
        for _ in &part.segments {
            let Some(started) = segments.recv().await else {
                return Err(PipelineError::Cancelled);
            };
            let mut started = started?;
            while let Some(piece) = started.next().await? {
                match piece {
                    Piece::RowGroup {
                        rbac_group_id,
                        row_group,
                    } => {
                        let file = self.file_of(part, rbac_group_id, files)?;
                        file.append(row_group).await?;
                    }
                    Piece::SpooledRowGroup {
                        rbac_group_id,
                        row_group,
                    } => {
                        let file = self.file_of(part, rbac_group_id, files)?;
                        file.append(taken(row_group).await?).await?;
                    }
                    Piece::Quarantined { blob, records } => {
                        for record in &records {
                            staged.count_quarantined(&blob, record);
                        }
                        quarantine.add(&blob, &records).await?;
                    }
                    Piece::BlobDone { blob, counts, keys } => {
                        observer(Event::BlobDone {
                            blob: blob.path.clone(),
                            records: counts.records,
                            quarantined: counts.quarantined,
                        });
                        staged.add(&blob, counts, keys);
                    }
                }
            }
        }
        staged.quarantine_files = quarantine.finish().await?;
        Ok(())
    }

    /// The part's file of a device group, begun if it was not yet.
    fn file_of<'a>(
        &self,
        part: &Part,
        rbac_group_id: i64,
        files: &'a mut BTreeMap<i64, StagedFileWriter>,
    ) -> Result<&'a mut StagedFileWriter, PipelineError> {
        let file = match files.entry(rbac_group_id) {
            Entry::Occupied(file) => return Ok(file.into_mut()),
            Entry::Vacant(file) => file,
        };
        let partition = Partition {
            generated_date: self.settings.snapshot.generated_date(),
            rbac_group_id,
        };
        Ok(file.insert(StagedFileWriter::new(
            &self.lake,
            &self.settings.format,
            &self.run_id,
            partition,
            part.number,
        )?))
    }
}

/// A row group from disk.
async fn taken(row_group: SpooledRowGroup) -> Result<EncodedRowGroup, PipelineError> {
    let taken = tokio::task::spawn_blocking(|| row_group.take()).await;
    taken
        .map_err(|error| PipelineError::Defect(error.to_string()))?
        .map_err(|source| PipelineError::Machine {
            what: "read a row group back from work.spool_dir".to_owned(),
            source,
        })
}

impl StagedPart {
    /// Number of records set aside, by the reason's code.
    pub(crate) fn reasons(&self) -> BTreeMap<String, u64> {
        let reasons = self.quarantined.iter();
        reasons
            .map(|(reason, quarantined)| ((*reason).to_owned(), quarantined.records))
            .collect()
    }

    fn count_quarantined(&mut self, blob: &str, record: &QuarantinedRecord) {
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
    pub(crate) fn take_keys(&mut self) -> impl Iterator<Item = (String, BlobKeys)> {
        let blobs = self.blobs.iter().map(|blob| blob.blob.clone());
        blobs.zip(std::mem::take(&mut self.keys))
    }

    fn add(&mut self, blob: &PlannedBlob, counts: BlobCounts, keys: BlobKeys) {
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

impl From<DriftKind> for report::DriftKind {
    fn from(kind: DriftKind) -> Self {
        match kind {
            DriftKind::Unnamed => Self::Unnamed,
            DriftKind::Misfit => Self::Misfit,
        }
    }
}
