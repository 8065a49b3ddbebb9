//! Runs the parts of a plan: fetches segments in order, starts their jobs, and makes parts again that may pass.
//!
//! ```text
//! segments, in order -> fetch (N at once, spooled) -> CPU job (one a thread) -> channel (1 output), disk -> part -> open upload
//!                                                    \_______ at most two segments a thread _______/
//! ```
//! Segments are started in the plan's order and parts take their segments' outputs in that order, so that files are the same
//! whatever the number of threads; and the first unfinished segment always has a thread, so that nothing waits in a circle.
//!
//! A part whose blobs change under way, or arrive whole and broken, is discarded and made again from nothing once the others
//! are done: the part is the unit of retry, so that no row is lost or doubled. If anything else fails, everything is stopped,
//! and all that was staged is discarded.

use std::sync::Arc;
use std::time::Duration;

use extractor::{BlobSource, ExtractorError, Spool};
use futures::stream::{self, StreamExt};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use transformer::TransformError;

use crate::error::PipelineError;
use crate::events::JobObserver;
use crate::plan::{Part, Plan, PlannedBlob};
use crate::settings::{Settings, SourceKind};
use crate::work::attempt::{PartAttempt, PartOutcome, PartRetry};
use crate::work::fetch;
use crate::work::part_assembler::PartAssembler;
use crate::work::run_context::{RunContext, permit};
use crate::work::segment;
use crate::work::segment_stream::{SegmentResult, SegmentStream};
use crate::work::staged_part::StagedPart;

/// Parts that are worked on at once: each keeps an upload open.
const PARTS_IN_FLIGHT: usize = 16;
/// Times that a part is made, from nothing, whose blobs change or arrive broken.
const PART_ATTEMPTS: u32 = 3;
/// Delay before the service's parts are made a second time; each further one doubles it.
const PART_RETRY_DELAY: Duration = Duration::from_millis(500);

/// Runs the parts of a plan within the capacities of the settings.
#[derive(Debug, Clone)]
pub(crate) struct PartScheduler {
    context: RunContext,
    source: BlobSource,
    downloads: usize,
    pub(super) part_attempts: u32,
    /// Delay before parts are made a second time; each further one doubles it.
    retry_delay: Duration,
}

/// The result of working on a plan.
#[derive(Debug)]
pub(crate) struct CompletedWork {
    /// The plan, with the new sizes of blobs that changed.
    pub(crate) plan: Plan,
    pub(crate) parts: Vec<StagedPart>,
    /// Times that a part was made again.
    pub(crate) restarted: u64,
}

/// The parts of a round: those that are under way, and the outcomes of the others.
struct PartTasks<'a> {
    running: JoinSet<Result<PartOutcome, PipelineError>>,
    staged: &'a mut Vec<StagedPart>,
    retries: Vec<PartRetry>,
    first_error: Option<PipelineError>,
}

impl PartTasks<'_> {
    /// Takes in how a part ended. [`PipelineError::Cancelled`] if it failed: the reason is kept.
    fn ended(
        &mut self,
        part: Result<Result<PartOutcome, PipelineError>, JoinError>,
    ) -> Result<(), PipelineError> {
        match part.unwrap_or_else(|error| Err(PipelineError::Defect(error.to_string()))) {
            Ok(PartOutcome::Staged(part)) => self.staged.push(part),
            Ok(PartOutcome::Retry(retry)) => self.retries.push(retry),
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

impl PartScheduler {
    pub(crate) fn new(settings: &Settings, context: &RunContext, source: BlobSource) -> Self {
        Self {
            context: context.clone(),
            source,
            downloads: settings.work.downloads,
            part_attempts: PART_ATTEMPTS,
            retry_delay: match &settings.source.from {
                SourceKind::Api(_) => PART_RETRY_DELAY,
                SourceKind::Files(_) | SourceKind::Unresolved => Duration::ZERO,
            },
        }
    }

    /// Works on all parts. After an error nothing is left open.
    pub(crate) async fn work(
        &self,
        plan: Plan,
        observer: &JobObserver,
        cancel: &CancellationToken,
    ) -> Result<CompletedWork, PipelineError> {
        let mut parts = Vec::new();
        match self.run_rounds(plan, &mut parts, observer, cancel).await {
            Ok((plan, restarted)) => Ok(CompletedWork {
                plan,
                parts,
                restarted,
            }),
            Err(error) => {
                self.context.discard(&parts).await;
                self.context.discard_quarantine().await;
                Err(error)
            }
        }
    }

    /// Makes all parts, then those again that have to be, and so on. Gives the plan as it was followed in the end, and how many
    /// parts were made again. What is staged is added to `staged` at once: after an error it has to be discarded.
    async fn run_rounds(
        &self,
        mut plan: Plan,
        staged: &mut Vec<StagedPart>,
        observer: &JobObserver,
        cancel: &CancellationToken,
    ) -> Result<(Plan, u64), PipelineError> {
        let mut restarted = 0;
        let parts = plan.parts().iter();
        let mut attempts: Vec<PartAttempt> =
            parts.map(|part| PartAttempt::new(part, observer)).collect();
        for attempt in 1.. {
            let is_last = attempt >= self.part_attempts;
            let mut retries = self.run_round(&attempts, is_last, staged, cancel).await?;
            if retries.is_empty() {
                break;
            }
            retries.sort_by_key(|retry| retry.part);
            restarted += retries.len() as u64;
            let pause = self.retry_delay.saturating_mul(1 << (attempt - 1).min(10));
            (plan, attempts) = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(PipelineError::Cancelled),
                prepared = self.prepare_retries(plan, retries, pause, observer) => prepared?,
            };
        }
        Ok((plan, restarted))
    }

    /// The next round, and the plan that it follows.
    async fn prepare_retries(
        &self,
        mut plan: Plan,
        retries: Vec<PartRetry>,
        pause: Duration,
        observer: &JobObserver,
    ) -> Result<(Plan, Vec<PartAttempt>), PipelineError> {
        tokio::time::sleep(pause).await;
        let mut attempts = Vec::with_capacity(retries.len());
        for retry in retries {
            let part = self.prepare_retry(&plan, retry, observer).await?;
            attempts.push(PartAttempt::new(&part, observer));
            plan = plan.with_part(part);
        }
        Ok((plan, attempts))
    }

    /// Makes parts side by side. Gives those that are to be made again; any other failure stops all.
    async fn run_round(
        &self,
        attempts: &[PartAttempt],
        is_last: bool,
        staged: &mut Vec<StagedPart>,
        cancel: &CancellationToken,
    ) -> Result<Vec<PartRetry>, PipelineError> {
        let cancel = cancel.child_token();
        let mut parts = PartTasks {
            running: JoinSet::new(),
            staged,
            retries: Vec::new(),
            first_error: None,
        };
        if let Err(error) = self.start_all(attempts, is_last, &mut parts, &cancel).await {
            cancel.cancel();
            parts.failed(error);
        }
        while let Some(part) = parts.running.join_next().await {
            if parts.ended(part).is_err() {
                cancel.cancel();
            }
        }
        parts.first_error.map_or(Ok(parts.retries), Err)
    }

    /// Whether a part that failed so may succeed when it is made from nothing.
    fn may_pass(&self, error: &PipelineError) -> bool {
        match error {
            PipelineError::Extract(error) => matches!(
                error,
                ExtractorError::BlobChanged { .. } | ExtractorError::LengthMismatch { .. }
            ),
            // A file on disk stays as it is; a blob may have been damaged on its way, and then inflate to anything.
            PipelineError::Transform {
                source: TransformError::Inflate { .. },
                ..
            }
            | PipelineError::BlobTooLarge { .. } => {
                matches!(self.source, BlobSource::Service { .. })
            }
            _ => false,
        }
    }

    /// Takes back what was reported of a part and asks for the sizes of its blobs again: one of them may have changed.
    async fn prepare_retry(
        &self,
        plan: &Plan,
        retry: PartRetry,
        observer: &JobObserver,
    ) -> Result<Part, PipelineError> {
        let mut parts = plan.parts().iter();
        let Some(planned) = parts.find(|part| part.number == retry.part) else {
            return Err(retry.error);
        };
        let part = fetch::resized(&self.source, planned.clone()).await?;
        let is_length = matches!(
            retry.error,
            PipelineError::Extract(ExtractorError::LengthMismatch { .. })
        );
        if is_length && part == *planned {
            // The length is wrong time after time, and not because the blob is another.
            return Err(retry.error);
        }
        tracing::warn!(part = part.number, error = %retry.error, "making a part again from nothing");
        observer(retry.event());
        Ok(part)
    }

    /// Fetches and starts all segments in order, each part with a task of its own. When it ends, no download is under way.
    async fn start_all(
        &self,
        attempts: &[PartAttempt],
        is_last: bool,
        parts: &mut PartTasks<'_>,
        cancel: &CancellationToken,
    ) -> Result<(), PipelineError> {
        let mut downloads = JoinSet::new();
        let started = self
            .start_fetched(attempts, is_last, &mut downloads, parts, cancel)
            .await;
        downloads.shutdown().await;
        started
    }

    async fn start_fetched(
        &self,
        attempts: &[PartAttempt],
        is_last: bool,
        downloads: &mut JoinSet<()>,
        parts: &mut PartTasks<'_>,
        cancel: &CancellationToken,
    ) -> Result<(), PipelineError> {
        // Owned: with references in the stream, no task of another thread could await this.
        let segments = attempts.iter().cloned().flat_map(|attempt| {
            let segments = 0..attempt.part.segments.len();
            segments.map(move |index| (attempt.clone(), index))
        });
        let mut fetched = stream::iter(segments)
            .map(|(attempt, index)| {
                let download = self.start_download(&attempt, index, downloads);
                async move { (attempt, index, download.await) }
            })
            .buffered(self.downloads);
        let part_permits = Arc::new(Semaphore::new(PARTS_IN_FLIGHT));
        let mut to_part: Option<mpsc::Sender<SegmentResult>> = None;
        loop {
            let next = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(PipelineError::Cancelled),
                next = fetched.next() => next,
            };
            let Some((attempt, index, blobs)) = next else {
                return Ok(());
            };
            let blobs = match blobs {
                Err(error) if is_last || !self.may_pass(&error) => return Err(error),
                blobs => blobs,
            };
            if index == 0 {
                let part = self.start_part(&attempt, is_last, &part_permits, parts, cancel);
                to_part = Some(part.await?);
            }
            // A part that has failed takes no more; its error is met when it is joined.
            let Some(to_part) = to_part.as_ref().filter(|part| !part.is_closed()) else {
                continue;
            };
            let started = match blobs {
                Ok(blobs) => Ok(self.start_segment(&attempt, blobs, cancel).await?),
                Err(error) => Err(error),
            };
            let _ = to_part.send(started).await;
        }
    }

    /// Starts the download of a segment, in a task of its own: it goes on while the loop waits for a thread, and on more than
    /// one core.
    fn start_download(
        &self,
        attempt: &PartAttempt,
        segment: usize,
        downloads: &mut JoinSet<()>,
    ) -> impl Future<Output = Result<Vec<(PlannedBlob, Spool)>, PipelineError>> + use<> {
        while downloads.try_join_next().is_some() {}
        let (source, attempt) = (self.source.clone(), attempt.clone());
        let (sender, fetched) = oneshot::channel();
        downloads.spawn(async move {
            let blobs = &attempt.part.segments[segment];
            let _ = sender.send(fetch::fetch(&source, blobs, &attempt.observer).await);
        });
        async move {
            let ended = || PipelineError::Defect("a download ended without an answer".to_owned());
            fetched.await.unwrap_or_else(|_| Err(ended()))
        }
    }

    /// Starts the task of a part once it may be under way; the sender takes the part's segments.
    async fn start_part(
        &self,
        attempt: &PartAttempt,
        is_last: bool,
        permits: &Arc<Semaphore>,
        parts: &mut PartTasks<'_>,
        cancel: &CancellationToken,
    ) -> Result<mpsc::Sender<SegmentResult>, PipelineError> {
        let permit = permit(permits, cancel).await?;
        let (to_part, segments) = mpsc::channel(attempt.part.segments.len().max(1));
        // A task that has ended keeps its memory until it is joined, and there may be thousands.
        while let Some(part) = parts.running.try_join_next() {
            parts.ended(part)?;
        }
        let (scheduler, attempt, cancel) = (self.clone(), attempt.clone(), cancel.clone());
        parts.running.spawn(async move {
            let outcome = scheduler.run_part(&attempt, segments, is_last).await;
            drop(permit);
            if outcome.is_err() {
                cancel.cancel();
            }
            outcome
        });
        Ok(to_part)
    }

    async fn start_segment(
        &self,
        attempt: &PartAttempt,
        blobs: Vec<(PlannedBlob, Spool)>,
        cancel: &CancellationToken,
    ) -> Result<SegmentStream, PipelineError> {
        let observer = Arc::clone(&attempt.observer);
        self.context
            .start_segment(cancel, move |context, channel| {
                segment::process(context, blobs, channel, &observer)
            })
            .await
    }

    /// Makes one part. After an error nothing of it is left.
    async fn run_part(
        &self,
        attempt: &PartAttempt,
        segments: mpsc::Receiver<SegmentResult>,
        is_last: bool,
    ) -> Result<PartOutcome, PipelineError> {
        let (number, segment_count) = (attempt.part.number, attempt.part.segments.len());
        let observer = &attempt.observer;
        let assembler = PartAssembler::new(&self.context, number, segment_count, observer);
        match assembler.assemble(segments).await {
            Ok(staged) => Ok(PartOutcome::Staged(staged)),
            Err(error) if !is_last && self.may_pass(&error) => Ok(PartOutcome::Retry(PartRetry {
                part: attempt.part.number,
                error,
                progress: Arc::clone(&attempt.progress),
            })),
            Err(error) => Err(error),
        }
    }
}
