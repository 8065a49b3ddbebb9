//! What the work of one run shares: lake, CPU pool, buffers, and all that has to be discarded if the run fails.

use std::collections::VecDeque;
use std::sync::Arc;

use dataset::Snapshot;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use transformer::{BatchLimits, Compression};
use writer::{
    Duplicates, FileFormat, KeyHashes, KeySpool, Lake, ParquetSettings, SmallFileSpool, StagedFile,
};

use crate::cpu_pool::CpuPool;
use crate::error::PipelineError;
use crate::resources::Resources;
use crate::settings::{Settings, SourceKind};
use crate::version::PROGRAM_VERSION;
use crate::work::quarantine_file::QuarantinedInRun;
use crate::work::segment_context::{BufferPool, SegmentContext};
use crate::work::segment_output::SegmentOutput;
use crate::work::segment_sink::OutputChannel;
use crate::work::segment_stream::SegmentStream;
use crate::work::staged_part::StagedPart;

/// Rows of a Parquet row group: larger ones take more memory, and the files are hardly smaller.
const ROW_GROUP_ROWS: usize = 16_384;
/// Rows that are decoded before they are encoded.
const BATCH_ROWS: usize = 1_024;
/// The longest record, far beyond what the service sends; longer ones are quarantined, and never held whole.
pub(crate) const MAX_LINE_BYTES: usize = 64 << 20;
/// Outputs of a segment that wait for the part's file.
const OUTPUTS_WAITING: usize = 1;

/// Where a run's parts are computed and where they go.
#[derive(Debug, Clone)]
pub(crate) struct RunContext {
    pub(crate) lake: Lake,
    pub(crate) run_id: String,
    pub(crate) segments: Arc<SegmentContext>,
    pub(crate) quarantined: Arc<QuarantinedInRun>,
    pool: CpuPool,
}

impl RunContext {
    pub(crate) fn new(
        resources: &Resources,
        settings: &Settings,
        snapshot: &Snapshot,
        lake: Lake,
        run_id: String,
    ) -> Result<Self, PipelineError> {
        let (dataset, work) = (&settings.dataset, &settings.work);
        let parquet = ParquetSettings {
            row_group_rows: ROW_GROUP_ROWS,
            zstd_level: work.compression_level,
            compatibility: settings.lake.compatibility,
        };
        let format = FileFormat::new(dataset, snapshot, PROGRAM_VERSION, &parquet)?;
        let segments = SegmentContext {
            dataset: dataset.clone(),
            snapshot: snapshot.clone(),
            format: Arc::new(format),
            limits: BatchLimits {
                rows: BATCH_ROWS,
                line_bytes: MAX_LINE_BYTES,
                inflated_bytes: work.max_blob_inflated.bytes(),
            },
            compression: match settings.source.from {
                // What else comes from the service is an error on the way, and not an export.
                SourceKind::Api(_) => Some(Compression::Gzip),
                SourceKind::Files(_) | SourceKind::Unresolved => None,
            },
            fallback_group: settings.source.rbac_group_id,
            keys: Arc::new(KeySpool::new(&work.spool_directory())?),
            small_files: Arc::new(SmallFileSpool::new(&work.spool_directory())),
            spool_directory: work.spool_directory(),
            buffers: BufferPool::default(),
        };
        Ok(Self {
            lake,
            run_id,
            segments: Arc::new(segments),
            quarantined: Arc::new(QuarantinedInRun::new(settings.gate.max_quarantine_size)),
            pool: resources.cpu_pool()?,
        })
    }

    /// Starts the job of a segment, once there is a slot and a thread for it.
    pub(crate) async fn start_segment(
        &self,
        cancel: &CancellationToken,
        job: impl FnOnce(
            &SegmentContext,
            &OutputChannel,
        ) -> Result<VecDeque<SegmentOutput>, PipelineError>
        + Send
        + 'static,
    ) -> Result<SegmentStream, PipelineError> {
        let slot = permit(self.pool.segment_slots(), cancel).await?;
        let thread = permit(self.pool.free_threads(), cancel).await?;
        let (sender, outputs) = mpsc::channel(OUTPUTS_WAITING);
        let context = Arc::clone(&self.segments);
        let channel = OutputChannel {
            outputs: sender,
            cancel: cancel.clone(),
        };
        let job = self.pool.start(thread, move || job(&context, &channel));
        Ok(SegmentStream::new(slot, outputs, job))
    }

    /// Finds unique keys that come more than once.
    pub(crate) async fn find_duplicates(
        &self,
        blobs: Vec<(String, KeyHashes)>,
    ) -> Result<Duplicates, PipelineError> {
        let never = CancellationToken::new();
        let thread = permit(self.pool.free_threads(), &never).await?;
        let job = self
            .pool
            .start(thread, move || writer::duplicate_keys(&blobs));
        let found = job
            .await
            .map_err(|_| PipelineError::Defect("a job ended without an answer".to_owned()))??;
        Ok(found?)
    }

    /// Aborts all that is staged.
    pub(crate) async fn discard(&self, staged: &[StagedPart]) {
        let files: Vec<StagedFile> = staged.iter().flat_map(|part| part.files.clone()).collect();
        let dataset = &self.segments.snapshot.dataset;
        if let Err(error) = writer::abort(&self.lake, dataset, &self.run_id, &files).await {
            // There is an error to report already.
            tracing::warn!(%error, "staged files could not be thrown away");
        }
    }

    /// Deletes the records that the run has quarantined: those of a snapshot that was not even judged are of no use.
    pub(crate) async fn discard_quarantine(&self) {
        let written = self.quarantined.files();
        if written.is_empty() {
            return;
        }
        if let Err(error) = self.lake.delete(&written).await {
            tracing::warn!(%error, "quarantine files could not be deleted");
        }
    }
}

/// Waits for a permit; those who wait are served in order.
pub(crate) async fn permit(
    permits: &Arc<Semaphore>,
    cancel: &CancellationToken,
) -> Result<OwnedSemaphorePermit, PipelineError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(PipelineError::Cancelled),
        permit = Arc::clone(permits).acquire_owned() => permit.map_err(|_| PipelineError::Cancelled),
    }
}
