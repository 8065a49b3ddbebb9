//! The work of a plan: blobs are brought, decoded, encoded and staged. Nothing becomes visible.
//!
//! ```text
//! segments, in order -> bring (N at once, spooled) -> CPU job (one a thread) -> channel (1 piece) -> part -> open upload
//!                                                    \____ at most two segments a thread ____/
//! ```
//! Segments are started in the plan's order and parts take their segments' pieces in that order, so that files are the same
//! whatever the number of threads; and the first unfinished segment always has a thread, so that nothing waits in a circle.
//! If anything fails, everything is stopped, and all that was staged is thrown away.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dataset::Partition;
use extractor::{BlobSource, Spool};
use futures::stream::{self, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use transformer::{BatchLimits, BlobCounts, DriftKind};
use writer::{FileFormat, Lake, ParquetSettings, StagedFile, StagedFileWriter};

use crate::cpu::CpuPool;
use crate::error::PipelineError;
use crate::events::{Event, Observer};
use crate::plan::{Part, Plan, PlannedBlob};
use crate::quarantine_file::QuarantineWriter;
use crate::report::{self, BlobReport};
use crate::segment::{self, Piece, SegmentSettings};
use crate::settings::Settings;

/// Pieces of a segment that wait for the part's file.
const PIECES: usize = 1;
/// Segments for each thread that are computed or wait for their turn in the part's file.
const SEGMENTS_A_THREAD: usize = 2;

/// What working on a part gives back: uploaded, not yet visible.
#[derive(Debug, Default)]
pub(crate) struct StagedPart {
    pub(crate) files: Vec<StagedFile>,
    pub(crate) blobs: Vec<BlobReport>,
    pub(crate) drift: HashMap<(String, DriftKind), u64>,
    pub(crate) quarantined: BTreeMap<&'static str, u64>,
    pub(crate) quarantine_files: Vec<String>,
}

/// Where a run's parts are made and where they go.
#[derive(Debug, Clone)]
pub(crate) struct Workshop {
    pub(crate) lake: Lake,
    pub(crate) source: BlobSource,
    pub(crate) run_id: String,
    settings: Arc<SegmentSettings>,
    pool: CpuPool,
    downloads: usize,
    parts_in_flight: usize,
}

/// A segment on its way to its part: what its job makes, and how the job ended.
#[derive(Debug)]
struct Started {
    _turn: OwnedSemaphorePermit,
    pieces: mpsc::Receiver<Piece>,
    job: oneshot::Receiver<Result<Result<(), PipelineError>, PipelineError>>,
}

impl Workshop {
    pub(crate) fn new(
        settings: &Settings,
        plan: &Plan,
        lake: Lake,
        source: BlobSource,
        run_id: String,
    ) -> Result<Self, PipelineError> {
        let parquet = ParquetSettings {
            row_group_rows: settings.work.row_group_rows,
            zstd_level: settings.work.compression_level,
        };
        let format = FileFormat::new(
            &settings.dataset,
            &plan.snapshot,
            crate::PROGRAM_VERSION,
            &parquet,
        )?;
        Ok(Self {
            lake,
            source,
            run_id,
            settings: Arc::new(SegmentSettings {
                dataset: settings.dataset.clone(),
                snapshot: plan.snapshot.clone(),
                format: Arc::new(format),
                limits: BatchLimits {
                    rows: settings.work.batch_rows,
                    line_bytes: settings.work.max_line_bytes.as_usize(),
                },
                fallback_group: settings.source.rbac_group_id,
            }),
            pool: CpuPool::new(settings.work.threads)?,
            downloads: settings.work.downloads,
            parts_in_flight: settings.work.parts_in_flight,
        })
    }

    /// Works on all parts. After an error nothing is left open.
    pub(crate) async fn work(
        &self,
        plan: &Plan,
        observer: &Observer,
        cancel: &CancellationToken,
    ) -> Result<Vec<StagedPart>, PipelineError> {
        let cancel = cancel.child_token();
        let mut parts = JoinSet::new();
        let started = self.start_all(plan, &mut parts, observer, &cancel).await;
        if started.is_err() {
            cancel.cancel();
        }
        let mut first_error = started.err();
        let mut staged = Vec::new();
        while let Some(part) = parts.join_next().await {
            match part.unwrap_or_else(|error| Err(PipelineError::Defect(error.to_string()))) {
                Ok(part) => staged.push(part),
                Err(error) => {
                    cancel.cancel();
                    // What was stopped because of another error is not the reason.
                    if first_error
                        .as_ref()
                        .is_none_or(|first| matches!(first, PipelineError::Cancelled))
                    {
                        first_error = Some(error);
                    }
                }
            }
        }
        match first_error {
            None => Ok(staged),
            Some(error) => {
                self.throw_away(&staged).await;
                Err(error)
            }
        }
    }

    /// Aborts all that is staged.
    pub(crate) async fn throw_away(&self, staged: &[StagedPart]) {
        let files: Vec<StagedFile> = staged.iter().flat_map(|part| part.files.clone()).collect();
        self.abort(&files).await;
    }

    /// Aborts staged files. If that fails, the log says so: there is an error to report already.
    async fn abort(&self, files: &[StagedFile]) {
        let dataset = &self.settings.snapshot.dataset;
        if let Err(error) = writer::abort(&self.lake, dataset, &self.run_id, files).await {
            tracing::warn!(%error, "staged files could not be thrown away");
        }
    }

    /// Brings and starts all segments in order, each part with a task of its own.
    async fn start_all(
        &self,
        plan: &Plan,
        parts: &mut JoinSet<Result<StagedPart, PipelineError>>,
        observer: &Observer,
        cancel: &CancellationToken,
    ) -> Result<(), PipelineError> {
        let segments = plan.parts.iter().flat_map(|part| {
            let last = part.segments.len().saturating_sub(1);
            part.segments
                .iter()
                .enumerate()
                .map(move |(index, blobs)| (part, index == 0, index == last, blobs))
        });
        let mut brought = stream::iter(segments)
            .map(|(part, first, last, blobs)| async move {
                let spools = self.bring(blobs, observer).await;
                (part, first, last, spools)
            })
            .buffered(self.downloads);
        let part_permits = Arc::new(Semaphore::new(self.parts_in_flight));
        let turns = Arc::new(Semaphore::new(self.pool.threads() * SEGMENTS_A_THREAD));
        let mut to_part: Option<mpsc::Sender<Started>> = None;
        loop {
            let next = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(PipelineError::Cancelled),
                next = brought.next() => next,
            };
            let Some((part, first, last, spools)) = next else {
                return Ok(());
            };
            let blobs = spools?;
            if first {
                let permit = permit(&part_permits, cancel).await?;
                let (sender, segments) = mpsc::channel(part.segments.len().max(1));
                to_part = Some(sender);
                let (workshop, part) = (self.clone(), part.clone());
                let (observer, cancel) = (Arc::clone(observer), cancel.clone());
                parts.spawn(async move {
                    let staged = workshop.assemble(&part, segments, &observer).await;
                    drop(permit);
                    if staged.is_err() {
                        cancel.cancel();
                    }
                    staged
                });
            }
            let turn = permit(&turns, cancel).await?;
            let thread = permit(self.pool.free_threads(), cancel).await?;
            let (pieces_in, pieces) = mpsc::channel(PIECES);
            let (settings, observer, cancel) = (
                Arc::clone(&self.settings),
                Arc::clone(observer),
                cancel.clone(),
            );
            let job = self.pool.start(thread, move || {
                segment::work(&settings, blobs, pieces_in, cancel, &observer)
            });
            if let Some(to_part) = &to_part {
                // A part that has failed takes no more; its error is met when it is joined.
                let _ = to_part
                    .send(Started {
                        _turn: turn,
                        pieces,
                        job,
                    })
                    .await;
            }
            if last {
                to_part = None;
            }
        }
    }

    async fn bring(
        &self,
        blobs: &[PlannedBlob],
        observer: &Observer,
    ) -> Result<Vec<(PlannedBlob, Spool)>, PipelineError> {
        let progress = |bytes| observer(Event::BytesRead { bytes });
        let mut brought = Vec::with_capacity(blobs.len());
        for blob in blobs {
            let path = dataset::BlobPath::parse(&blob.path)
                .map_err(|error| PipelineError::Defect(format!("planned blob: {error}")))?;
            let spool = self
                .source
                .fetch(&path, Some(blob.bytes), &progress)
                .await?;
            brought.push((blob.clone(), spool));
        }
        Ok(brought)
    }

    /// Takes the pieces of a part's segments, in order, into the part's files.
    async fn assemble(
        &self,
        part: &Part,
        segments: mpsc::Receiver<Started>,
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
            self.abort(&staged.files).await;
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
        mut segments: mpsc::Receiver<Started>,
        files: &mut BTreeMap<i64, StagedFileWriter>,
        staged: &mut StagedPart,
        observer: &Observer,
    ) -> Result<(), PipelineError> {
        let snapshot = &self.settings.snapshot;
        let mut quarantine =
            QuarantineWriter::new(&self.lake, &snapshot.dataset, &snapshot.id(), part.number);
        for _ in &part.segments {
            let Some(mut started) = segments.recv().await else {
                return Err(PipelineError::Cancelled);
            };
            while let Some(piece) = started.pieces.recv().await {
                match piece {
                    Piece::RowGroup {
                        rbac_group_id,
                        row_group,
                    } => {
                        if let Some(file) = files.get_mut(&rbac_group_id) {
                            file.append(row_group).await?;
                        } else {
                            let generated_date = snapshot.generated_date();
                            let partition = Partition {
                                generated_date,
                                rbac_group_id,
                            };
                            let format = &self.settings.format;
                            let file = StagedFileWriter::new(
                                &self.lake,
                                format,
                                &self.run_id,
                                partition,
                                part.number,
                            )?;
                            files
                                .entry(rbac_group_id)
                                .or_insert(file)
                                .append(row_group)
                                .await?;
                        }
                    }
                    Piece::Quarantined { blob, records } => {
                        for record in &records {
                            *staged.quarantined.entry(record.reason.code()).or_default() += 1;
                        }
                        quarantine.add(&blob, &records).await?;
                    }
                    Piece::BlobDone { blob, counts } => {
                        observer(Event::BlobDone {
                            blob: blob.path.clone(),
                            records: counts.records,
                            quarantined: counts.quarantined,
                        });
                        staged.add(&blob, counts);
                    }
                }
            }
            started.job.await.map_err(|_| {
                PipelineError::Defect("a job ended without an answer".to_owned())
            })???;
        }
        staged.quarantine_files = quarantine.finish().await?;
        Ok(())
    }
}

/// Waits for a permit; those who wait are served in order.
async fn permit(
    permits: &Arc<Semaphore>,
    cancel: &CancellationToken,
) -> Result<OwnedSemaphorePermit, PipelineError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(PipelineError::Cancelled),
        permit = Arc::clone(permits).acquire_owned() => permit.map_err(|_| PipelineError::Cancelled),
    }
}

impl StagedPart {
    fn add(&mut self, blob: &PlannedBlob, counts: BlobCounts) {
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
