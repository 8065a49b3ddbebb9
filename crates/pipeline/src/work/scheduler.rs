//! The work of a plan: blobs are brought, decoded, encoded and staged. Nothing becomes visible.
//!
//! ```text
//! segments, in order -> bring (N at once, spooled) -> CPU job (one a thread) -> channel (1 piece), disk -> part -> open upload
//!                                                    \_______ at most two segments a thread _______/
//! ```
//! Segments are started in the plan's order and parts take their segments' pieces in that order, so that files are the same
//! whatever the number of threads; and the first unfinished segment always has a thread, so that nothing waits in a circle.
//!
//! A part whose blobs change under way, or arrive whole and broken, is thrown away and made again from nothing once the others
//! are done: the part is the unit of retry, so that no row is lost or doubled. If anything else fails, everything is stopped,
//! and all that was staged is thrown away.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use dataset::BlobPath;
use extractor::{BlobSource, ExtractorError, Spool};
use futures::stream::{self, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use transformer::{BatchLimits, TransformError};
use writer::{FileFormat, Lake, ParquetSettings, StagedFile};

use crate::cpu::CpuPool;
use crate::error::PipelineError;
use crate::events::{Event, Observer};
use crate::part::{SegmentResult, StagedPart, Started};
use crate::plan::{Part, Plan, PlannedBlob};
use crate::quarantine_file::WrittenFiles;
use crate::segment::{self, Demand, InflateLimits, SegmentSettings, Workbenches};
use crate::settings::{Settings, SourceKind};
use crate::unique_key::{self, BlobKeys, Duplicates, KeySpool};

/// Pieces of a segment that wait for the part's file.
const PIECES: usize = 1;
/// Segments for each thread that are computed or wait for their turn in the part's file.
const SEGMENTS_A_THREAD: usize = 2;

/// Where a run's parts are made and where they go.
#[derive(Debug, Clone)]
pub(crate) struct Workshop {
    pub(crate) lake: Lake,
    pub(crate) source: BlobSource,
    pub(crate) run_id: String,
    pub(crate) settings: Arc<SegmentSettings>,
    pool: CpuPool,
    downloads: usize,
    parts_in_flight: usize,
    part_attempts: u32,
    /// Delay before parts are made a second time; each further one doubles it.
    retry_delay: Duration,
    /// One permit for each segment that may be computed or wait for its turn in the part's file.
    turns: Arc<Semaphore>,
    pub(crate) quarantine_files: WrittenFiles,
}

/// A part that is being made, and what has been told of it.
#[derive(Clone)]
struct PartRun {
    part: Arc<Part>,
    observer: Observer,
    told: Arc<Told>,
}

/// Progress that is taken back if the part is made again.
#[derive(Debug, Default)]
struct Told {
    bytes: AtomicI64,
    records: AtomicU64,
    blobs: AtomicU64,
}

/// A part that is to be made again, and why.
struct Restart {
    part: u32,
    error: PipelineError,
    told: Arc<Told>,
}

/// How making a part ended.
enum Made {
    Staged(StagedPart),
    Restart(Restart),
}

/// The parts of a round: those that are being made, and what came of the others.
struct PartTasks<'a> {
    running: JoinSet<Result<Made, PipelineError>>,
    staged: &'a mut Vec<StagedPart>,
    restarts: Vec<Restart>,
    first_error: Option<PipelineError>,
}

impl PartTasks<'_> {
    /// Takes in how a part ended. [`PipelineError::Cancelled`] if it failed: the reason is kept.
    fn ended(
        &mut self,
        part: Result<Result<Made, PipelineError>, JoinError>,
    ) -> Result<(), PipelineError> {
        match part.unwrap_or_else(|error| Err(PipelineError::Defect(error.to_string()))) {
            Ok(Made::Staged(part)) => self.staged.push(part),
            Ok(Made::Restart(restart)) => self.restarts.push(restart),
            Err(error) => {
                self.failed(error);
                return Err(PipelineError::Cancelled);
            }
        }
        Ok(())
    }

    /// Keeps the first error. What was stopped because of another one is not the reason.
    fn failed(&mut self, error: PipelineError) {
        let first = self.first_error.as_ref();
        if first.is_none_or(|first| matches!(first, PipelineError::Cancelled)) {
            self.first_error = Some(error);
        }
    }
}

/// What working on a plan gives back.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) parts: Vec<StagedPart>,
    /// Times that a part was made again.
    pub(crate) restarted: u64,
}

impl PartRun {
    fn new(part: &Part, observer: &Observer) -> Self {
        let told = Arc::new(Told::default());
        let (counted, observer) = (Arc::clone(&told), Arc::clone(observer));
        Self {
            part: Arc::new(part.clone()),
            told,
            observer: Arc::new(move |event| {
                match &event {
                    Event::BytesRead { bytes } => {
                        counted.bytes.fetch_add(*bytes, Ordering::Relaxed);
                    }
                    Event::RecordsRead { records } => {
                        counted.records.fetch_add(*records, Ordering::Relaxed);
                    }
                    Event::BlobDone { .. } => {
                        counted.blobs.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => {}
                }
                observer(event);
            }),
        }
    }
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
        let pool = CpuPool::new(settings.work.threads)?;
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
                    inflated_bytes: settings.work.max_blob_inflated.bytes(),
                },
                inflate_limits: InflateLimits {
                    bytes: settings.work.max_blob_inflated.bytes(),
                    ratio: settings.work.max_inflate_ratio,
                },
                fallback_group: settings.source.rbac_group_id,
                keys: Arc::new(KeySpool::new(&settings.work.spool_directory())?),
                spool_directory: settings.work.spool_directory(),
                benches: Workbenches::default(),
            }),
            turns: Arc::new(Semaphore::new(pool.threads() * SEGMENTS_A_THREAD)),
            quarantine_files: WrittenFiles::default(),
            pool,
            downloads: settings.work.downloads,
            parts_in_flight: settings.work.parts_in_flight,
            part_attempts: settings.work.part_attempts,
            retry_delay: match &settings.source.from {
                SourceKind::Api(api) => api.blob_retry.delay,
                SourceKind::Files(_) | SourceKind::Unresolved => Duration::ZERO,
            },
        })
    }

    /// Works on all parts. The plan learns the sizes of blobs that changed. After an error nothing is left open.
    pub(crate) async fn work(
        &self,
        plan: &mut Plan,
        observer: &Observer,
        cancel: &CancellationToken,
    ) -> Result<Work, PipelineError> {
        let mut work = Work::default();
        match self.rounds(plan, &mut work, observer, cancel).await {
            Ok(()) => Ok(work),
            Err(error) => {
                self.throw_away(&work.parts).await;
                self.discard_quarantine().await;
                Err(error)
            }
        }
    }

    /// Makes all parts, then those again that have to be, and so on.
    async fn rounds(
        &self,
        plan: &mut Plan,
        work: &mut Work,
        observer: &Observer,
        cancel: &CancellationToken,
    ) -> Result<(), PipelineError> {
        let mut runs: Vec<PartRun> = plan
            .parts
            .iter()
            .map(|part| PartRun::new(part, observer))
            .collect();
        for attempt in 1.. {
            let is_last = attempt >= self.part_attempts;
            let mut restarts = self.round(&runs, is_last, &mut work.parts, cancel).await?;
            if restarts.is_empty() {
                break;
            }
            restarts.sort_by_key(|restart| restart.part);
            let pause = self.retry_delay.saturating_mul(1 << (attempt - 1).min(10));
            runs.clear();
            let prepared = async {
                tokio::time::sleep(pause).await;
                for restart in restarts {
                    let part = self.prepare_again(plan, restart, observer).await?;
                    runs.push(PartRun::new(part, observer));
                    work.restarted += 1;
                }
                Ok::<_, PipelineError>(())
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(PipelineError::Cancelled),
                prepared = prepared => prepared?,
            }
        }
        Ok(())
    }

    /// Makes parts side by side. Gives those that are to be made again; any other failure stops all.
    async fn round(
        &self,
        runs: &[PartRun],
        is_last: bool,
        staged: &mut Vec<StagedPart>,
        cancel: &CancellationToken,
    ) -> Result<Vec<Restart>, PipelineError> {
        let cancel = cancel.child_token();
        let mut parts = PartTasks {
            running: JoinSet::new(),
            staged,
            restarts: Vec::new(),
            first_error: None,
        };
        if let Err(error) = self.start_all(runs, is_last, &mut parts, &cancel).await {
            cancel.cancel();
            parts.failed(error);
        }
        while let Some(part) = parts.running.join_next().await {
            if parts.ended(part).is_err() {
                cancel.cancel();
            }
        }
        parts.first_error.map_or(Ok(parts.restarts), Err)
    }

    /// Whether a part that failed so may succeed when it is made from nothing.
    fn may_pass(&self, error: &PipelineError) -> bool {
        match error {
            PipelineError::Extract(error) => matches!(
                error,
                ExtractorError::BlobChanged { .. } | ExtractorError::LengthMismatch { .. }
            ),
            // A file on disk stays as it is; a blob may have been damaged on its way.
            PipelineError::Transform { source, .. } => {
                matches!(source, TransformError::Inflate { .. })
                    && matches!(self.source, BlobSource::Service { .. })
            }
            _ => false,
        }
    }

    /// Takes back what was told of a part and asks for the sizes of its blobs again: one of them may have changed.
    async fn prepare_again<'a>(
        &self,
        plan: &'a mut Plan,
        restart: Restart,
        observer: &Observer,
    ) -> Result<&'a Part, PipelineError> {
        let Some(part) = plan
            .parts
            .iter_mut()
            .find(|part| part.number == restart.part)
        else {
            return Err(restart.error);
        };
        let mut resized = false;
        for blob in part.segments.iter_mut().flatten() {
            let bytes = self.source.size(&parsed(blob)?).await?;
            resized |= bytes != blob.bytes;
            blob.bytes = bytes;
        }
        if matches!(
            restart.error,
            PipelineError::Extract(ExtractorError::LengthMismatch { .. })
        ) && !resized
        {
            // The length is wrong time after time, and not because the blob is another.
            return Err(restart.error);
        }
        tracing::warn!(part = part.number, error = %restart.error, "making a part again from nothing");
        observer(Event::PartRestarted {
            part: part.number,
            reason: restart.error.to_string(),
            bytes: restart.told.bytes.load(Ordering::Relaxed),
            records: restart.told.records.load(Ordering::Relaxed),
            blobs: restart.told.blobs.load(Ordering::Relaxed),
        });
        Ok(part)
    }

    /// Finds unique keys that come more than once.
    pub(crate) async fn duplicates(
        &self,
        staged: &mut [StagedPart],
    ) -> Result<Duplicates, PipelineError> {
        let blobs: Vec<_> = staged.iter_mut().flat_map(StagedPart::take_keys).collect();
        self.duplicates_of(blobs).await
    }

    /// Finds unique keys that come more than once, in these blobs.
    pub(crate) async fn duplicates_of(
        &self,
        blobs: Vec<(String, BlobKeys)>,
    ) -> Result<Duplicates, PipelineError> {
        let spool = Arc::clone(&self.settings.keys);
        let job = self
            .start_job(move || unique_key::duplicates(&spool, &blobs))
            .await?;
        job.await
            .map_err(|_| PipelineError::Defect("a job ended without an answer".to_owned()))??
    }

    /// Waits until one more segment may be computed.
    pub(crate) async fn turn(
        &self,
        cancel: &CancellationToken,
    ) -> Result<OwnedSemaphorePermit, PipelineError> {
        permit(&self.turns, cancel).await
    }

    /// Starts a job that belongs to no segment, once a thread is free for it.
    pub(crate) async fn start_job<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T, PipelineError>>, PipelineError> {
        let never = CancellationToken::new();
        let thread = permit(self.pool.free_threads(), &never).await?;
        Ok(self.pool.start(thread, job))
    }

    /// Aborts all that is staged.
    pub(crate) async fn throw_away(&self, staged: &[StagedPart]) {
        let files: Vec<StagedFile> = staged.iter().flat_map(|part| part.files.clone()).collect();
        let dataset = &self.settings.snapshot.dataset;
        if let Err(error) = writer::abort(&self.lake, dataset, &self.run_id, &files).await {
            // There is an error to report already.
            tracing::warn!(%error, "staged files could not be thrown away");
        }
    }

    /// Deletes the records that the run has set aside: those of a snapshot that was not even judged are of no use.
    pub(crate) async fn discard_quarantine(&self) {
        let written = self.quarantine_files.lock();
        let written = written.map(|files| files.clone()).unwrap_or_default();
        if written.is_empty() {
            return;
        }
        if let Err(error) = self.lake.delete(&written).await {
            tracing::warn!(%error, "quarantine files could not be deleted");
        }
    }

    /// Brings and starts all segments in order, each part with a task of its own. When it ends, no download is under way.
    async fn start_all(
        &self,
        runs: &[PartRun],
        is_last: bool,
        parts: &mut PartTasks<'_>,
        cancel: &CancellationToken,
    ) -> Result<(), PipelineError> {
        let mut downloads = JoinSet::new();
        let started = self
            .start_brought(runs, is_last, &mut downloads, parts, cancel)
            .await;
        downloads.shutdown().await;
        started
    }

    async fn start_brought(
        &self,
        runs: &[PartRun],
        is_last: bool,
        downloads: &mut JoinSet<()>,
        parts: &mut PartTasks<'_>,
        cancel: &CancellationToken,
    ) -> Result<(), PipelineError> {
        let segments = runs.iter().flat_map(|run| {
            let segments = 0..run.part.segments.len();
            segments.map(move |index| (run, index))
        });
        // Tasks of their own: downloads go on while the loop below waits for a thread, and on more than one core.
        let mut brought = stream::iter(segments)
            .map(|(run, index)| {
                while downloads.try_join_next().is_some() {}
                let (workshop, task) = (self.clone(), run.clone());
                let (sender, spools) = oneshot::channel();
                downloads.spawn(async move {
                    let blobs = &task.part.segments[index];
                    let _ = sender.send(workshop.bring(blobs, &task.observer).await);
                });
                async move {
                    let ended =
                        || PipelineError::Defect("a download ended without an answer".to_owned());
                    (run, index, spools.await.unwrap_or_else(|_| Err(ended())))
                }
            })
            .buffered(self.downloads);
        let part_permits = Arc::new(Semaphore::new(self.parts_in_flight));
        let mut to_part: Option<mpsc::Sender<SegmentResult>> = None;
        loop {
            let next = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(PipelineError::Cancelled),
                next = brought.next() => next,
            };
            let Some((run, index, spools)) = next else {
                return Ok(());
            };
            let blobs = match spools {
                Err(error) if is_last || !self.may_pass(&error) => return Err(error),
                blobs => blobs,
            };
            if index == 0 {
                let permit = permit(&part_permits, cancel).await?;
                let (sender, segments) = mpsc::channel(run.part.segments.len().max(1));
                to_part = Some(sender);
                // A task that has ended keeps its memory until it is joined, and there may be thousands.
                while let Some(part) = parts.running.try_join_next() {
                    parts.ended(part)?;
                }
                let (workshop, run, cancel) = (self.clone(), run.clone(), cancel.clone());
                parts.running.spawn(async move {
                    let made = workshop.make(&run, segments, is_last).await;
                    drop(permit);
                    if made.is_err() {
                        cancel.cancel();
                    }
                    made
                });
            }
            // A part that has failed takes no more; its error is met when it is joined.
            let Some(to_part) = to_part.as_ref().filter(|part| !part.is_closed()) else {
                continue;
            };
            let started = match blobs {
                Ok(blobs) => Ok(self.start(run, blobs, cancel).await?),
                Err(error) => Err(error),
            };
            let _ = to_part.send(started).await;
        }
    }

    /// Starts the job of a segment once a thread is free for it.
    async fn start(
        &self,
        run: &PartRun,
        blobs: Vec<(PlannedBlob, Spool)>,
        cancel: &CancellationToken,
    ) -> Result<Started, PipelineError> {
        let turn = self.turn(cancel).await?;
        let thread = permit(self.pool.free_threads(), cancel).await?;
        let (pieces_in, pieces) = mpsc::channel(PIECES);
        let (settings, observer, cancel) = (
            Arc::clone(&self.settings),
            Arc::clone(&run.observer),
            cancel.clone(),
        );
        let demand = Demand {
            pieces: pieces_in,
            cancel,
        };
        let job = self.pool.start(thread, move || {
            segment::work(&settings, blobs, &demand, &observer)
        });
        Ok(Started::new(turn, pieces, job))
    }

    /// Makes one part. After an error nothing of it is left.
    async fn make(
        &self,
        run: &PartRun,
        segments: mpsc::Receiver<SegmentResult>,
        is_last: bool,
    ) -> Result<Made, PipelineError> {
        match self.assemble(&run.part, segments, &run.observer).await {
            Ok(staged) => Ok(Made::Staged(staged)),
            Err(error) if !is_last && self.may_pass(&error) => Ok(Made::Restart(Restart {
                part: run.part.number,
                error,
                told: Arc::clone(&run.told),
            })),
            Err(error) => Err(error),
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
            let path = parsed(blob)?;
            let spool = self
                .source
                .fetch(&path, Some(blob.bytes), &progress)
                .await?;
            brought.push((blob.clone(), spool));
        }
        Ok(brought)
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

fn parsed(blob: &PlannedBlob) -> Result<BlobPath, PipelineError> {
    BlobPath::parse(&blob.path)
        .map_err(|error| PipelineError::Defect(format!("planned blob: {error}")))
}

#[cfg(test)]
mod tests;
