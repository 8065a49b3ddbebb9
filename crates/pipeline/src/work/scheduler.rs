//! Runs a plan: fetches blobs in order, divides them into parts and segments as their sizes become known, starts the segments' jobs,
//! and makes parts again that may pass.
//!
//! ```text
//! blobs, in order -> fetch (N at once, spooled) -> segment -> CPU job (one a thread) -> channel (1 output), disk -> part -> open upload
//!                                                            \_______ at most two segments a thread _______/
//! ```
//! Blobs are taken in the plan's order, whatever order they arrive in, and parts take their segments' outputs in that order, so that
//! files are the same whatever the network and the number of threads do; and the first unfinished segment always has a thread, so that
//! nothing waits in a circle.
//!
//! A part one of whose blobs arrived whole and broken is discarded and made again from nothing once the others are done, of the
//! same blobs: the part is the unit of retry, so that no row is lost or doubled. If anything else fails, everything is stopped, and
//! all that was staged is discarded.

use std::sync::Arc;
use std::time::Duration;

use dataset::BlobPath;
use extractor::BlobSource;
use futures::stream::{self, StreamExt};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use transformer::TransformError;

use crate::error::PipelineError;
use crate::events::JobObserver;
use crate::plan::{Divider, Part, Place, Plan};
use crate::settings::{Settings, SourceKind};
use crate::work::attempt::{PartAttempt, PartOutcome, PartRetry};
use crate::work::fetch::{self, FetchedBlob};
use crate::work::part_assembler::PartAssembler;
use crate::work::run_context::{RunContext, permit};
use crate::work::segment;
use crate::work::segment_stream::PartInput;
use crate::work::staged_part::StagedPart;

/// Parts that are worked on at once: each keeps an upload open.
const PARTS_IN_FLIGHT: usize = 16;
/// Times that a part is made, from nothing, whose blobs arrive broken.
const PART_ATTEMPTS: u32 = 3;
/// Delay before the service's parts are made a second time; each further one doubles it.
const PART_RETRY_DELAY: Duration = Duration::from_millis(500);

/// Runs the parts of a plan within the capacities of the settings.
#[derive(Debug, Clone)]
pub(crate) struct PartScheduler {
    context: RunContext,
    source: BlobSource,
    pub(super) downloads: usize,
    pub(super) part_attempts: u32,
    /// Delay before parts are made a second time; each further one doubles it.
    retry_delay: Duration,
}

/// The result of working on a plan.
#[derive(Debug)]
pub(crate) struct CompletedWork {
    pub(crate) plan: Plan,
    pub(crate) parts: Vec<StagedPart>,
    /// Times that a part was made again.
    pub(crate) restarted: u64,
}

/// What a round reads, blob after blob.
struct RoundBlob {
    path: BlobPath,
    /// Where it was the last time; in the first round its size decides.
    place: Option<Place>,
}

/// A part that gets its blobs.
struct OpenPart {
    /// Its blobs so far.
    part: Part,
    attempt: PartAttempt,
    /// The blobs of its last segment, which is not complete.
    segment: Vec<FetchedBlob>,
    /// Its task, once it has a complete segment.
    task: Option<mpsc::UnboundedSender<PartInput>>,
}

/// The parts of a round: those that are under way, and the outcomes of the others.
struct PartTasks<'a> {
    is_last: bool,
    observer: &'a JobObserver,
    cancel: &'a CancellationToken,
    /// Of parts that may be under way.
    permits: Arc<Semaphore>,
    running: JoinSet<Result<PartOutcome, PipelineError>>,
    /// All that have their blobs.
    parts: Vec<Part>,
    staged: &'a mut Vec<StagedPart>,
    retries: Vec<PartRetry>,
    first_error: Option<PipelineError>,
}

impl RoundBlob {
    fn all_of(plan: &Plan) -> Vec<Self> {
        let blobs = plan.blobs().iter();
        blobs
            .map(|blob| Self {
                path: blob.path.clone(),
                place: None,
            })
            .collect()
    }

    fn again(parts: &[Part]) -> Vec<Self> {
        let mut blobs = Vec::new();
        for part in parts {
            let mut place = Place::NewPart(part.number);
            for segment in &part.segments {
                for blob in segment {
                    blobs.push(Self {
                        path: blob.path.clone(),
                        place: Some(place),
                    });
                    place = Place::SameSegment;
                }
                place = Place::NewSegment;
            }
        }
        blobs
    }
}

impl OpenPart {
    fn new(number: u32, rbac_group_id: Option<i64>, observer: &JobObserver) -> Self {
        Self {
            part: Part::new(number, rbac_group_id),
            attempt: PartAttempt::new(number, observer),
            segment: Vec::new(),
            task: None,
        }
    }

    fn add(&mut self, fetched: FetchedBlob, place: Place) {
        self.attempt.progress.fetched(fetched.blob.bytes);
        self.part.add(fetched.blob.clone(), place);
        self.segment.push(fetched);
    }
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
        match self.run_rounds(&plan, &mut parts, observer, cancel).await {
            Ok(restarted) => Ok(CompletedWork {
                plan,
                parts,
                restarted,
            }),
            Err(error) => {
                self.context.discard(&parts).await;
                // What was too much to keep can be looked at.
                if !matches!(error, PipelineError::Refused(_)) {
                    self.context.discard_quarantine().await;
                }
                Err(error)
            }
        }
    }

    /// Makes all parts, then those again that have to be, and so on. Gives how many parts were made again. What is staged is
    /// added to `staged` at once: after an error it has to be discarded.
    async fn run_rounds(
        &self,
        plan: &Plan,
        staged: &mut Vec<StagedPart>,
        observer: &JobObserver,
        cancel: &CancellationToken,
    ) -> Result<u64, PipelineError> {
        let mut restarted = 0;
        let mut divider = plan.divider();
        let mut blobs = RoundBlob::all_of(plan);
        for attempt in 1.. {
            let is_last = attempt >= self.part_attempts;
            let round = self.run_round(blobs, &mut divider, is_last, staged, observer, cancel);
            let again = round.await?;
            if again.is_empty() {
                break;
            }
            restarted += again.len() as u64;
            let pause = self.retry_delay.saturating_mul(1 << (attempt - 1).min(10));
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(PipelineError::Cancelled),
                () = tokio::time::sleep(pause) => {}
            }
            blobs = RoundBlob::again(&again);
        }
        Ok(restarted)
    }

    /// Makes parts side by side. Gives those that are to be made again, by number; any other failure stops all.
    async fn run_round(
        &self,
        blobs: Vec<RoundBlob>,
        divider: &mut Divider,
        is_last: bool,
        staged: &mut Vec<StagedPart>,
        observer: &JobObserver,
        cancel: &CancellationToken,
    ) -> Result<Vec<Part>, PipelineError> {
        let cancel = cancel.child_token();
        let mut tasks = PartTasks {
            is_last,
            observer,
            cancel: &cancel,
            permits: Arc::new(Semaphore::new(PARTS_IN_FLIGHT)),
            running: JoinSet::new(),
            parts: Vec::new(),
            staged,
            retries: Vec::new(),
            first_error: None,
        };
        if let Err(error) = self.start_all(blobs, divider, &mut tasks).await {
            cancel.cancel();
            tasks.failed(error);
        }
        while let Some(part) = tasks.running.join_next().await {
            if tasks.ended(part).is_err() {
                cancel.cancel();
            }
        }
        let PartTasks {
            mut parts,
            retries,
            first_error,
            ..
        } = tasks;
        if let Some(error) = first_error {
            return Err(error);
        }
        for retry in &retries {
            tracing::warn!(part = retry.part, error = %retry.error, "making a part again from nothing");
            observer(retry.event());
        }
        parts.retain(|part| retries.iter().any(|retry| retry.part == part.number));
        Ok(parts)
    }

    /// Whether a part that failed so may succeed when it is made from nothing.
    fn may_pass(&self, error: &PipelineError) -> bool {
        match error {
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

    /// Fetches all blobs and starts all parts, each with a task of its own. When it ends, no download is under way.
    async fn start_all(
        &self,
        blobs: Vec<RoundBlob>,
        divider: &mut Divider,
        tasks: &mut PartTasks<'_>,
    ) -> Result<(), PipelineError> {
        let mut downloads = JoinSet::new();
        let started = self.start_fetched(blobs, divider, &mut downloads, tasks);
        let started = started.await;
        downloads.shutdown().await;
        started
    }

    async fn start_fetched(
        &self,
        blobs: Vec<RoundBlob>,
        divider: &mut Divider,
        downloads: &mut JoinSet<()>,
        tasks: &mut PartTasks<'_>,
    ) -> Result<(), PipelineError> {
        let observer = tasks.observer;
        // Owned: with references in the stream, no task of another thread could await this.
        let mut fetched = stream::iter(blobs)
            .map(|RoundBlob { path, place }| {
                let download = self.start_download(path, observer, downloads);
                async move { (place, download.await) }
            })
            .buffered(self.downloads);
        let mut open: Option<OpenPart> = None;
        loop {
            let next = tokio::select! {
                biased;
                () = tasks.cancel.cancelled() => return Err(PipelineError::Cancelled),
                next = fetched.next() => next,
            };
            let Some((place, blob)) = next else { break };
            let blob = blob?;
            let place = place.unwrap_or_else(|| divider.place(&blob.blob));
            match (place, &mut open) {
                (Place::NewPart(number), _) => {
                    let group = blob.blob.path.rbac_group_id();
                    let new = OpenPart::new(number, group, observer);
                    if let Some(complete) = open.replace(new) {
                        self.end_part(complete, tasks).await?;
                    }
                }
                (Place::NewSegment, Some(part)) => self.start_segment(part, tasks).await?,
                (Place::NewSegment | Place::SameSegment, _) => {}
            }
            if let Some(part) = &mut open {
                part.add(blob, place);
            }
        }
        match open {
            Some(complete) => self.end_part(complete, tasks).await,
            None => Ok(()),
        }
    }

    /// Starts a download in a task of its own: it goes on while the loop waits for a thread, and on more than one core.
    fn start_download(
        &self,
        path: BlobPath,
        observer: &JobObserver,
        downloads: &mut JoinSet<()>,
    ) -> impl Future<Output = Result<FetchedBlob, PipelineError>> + use<> {
        while downloads.try_join_next().is_some() {}
        let (source, observer) = (self.source.clone(), Arc::clone(observer));
        let (sender, fetched) = oneshot::channel();
        downloads.spawn(async move {
            let _ = sender.send(fetch::fetch(&source, path, &observer).await);
        });
        async move {
            let ended = || PipelineError::Defect("a download ended without an answer".to_owned());
            fetched.await.unwrap_or_else(|_| Err(ended()))
        }
    }

    /// Starts the segment whose blobs are complete, and before the first one, the part's task. A part that has failed takes no
    /// more; its error is met when it is joined.
    async fn start_segment(
        &self,
        open: &mut OpenPart,
        tasks: &mut PartTasks<'_>,
    ) -> Result<(), PipelineError> {
        let blobs = std::mem::take(&mut open.segment);
        if open.task.is_none() {
            open.task = Some(self.start_part(&open.attempt, tasks).await?);
        }
        let Some(task) = open.task.as_ref().filter(|task| !task.is_closed()) else {
            return Ok(());
        };
        let observer = Arc::clone(&open.attempt.observer);
        let segment = self
            .context
            .start_segment(tasks.cancel, move |context, channel| {
                segment::process(context, blobs, channel, &observer)
            });
        let _ = task.send(PartInput::Segment(segment.await?));
        Ok(())
    }

    /// Starts the last segment of a part, and tells its task so.
    async fn end_part(
        &self,
        mut open: OpenPart,
        tasks: &mut PartTasks<'_>,
    ) -> Result<(), PipelineError> {
        self.start_segment(&mut open, tasks).await?;
        if let Some(task) = open.task {
            let _ = task.send(PartInput::End);
        }
        tasks.parts.push(open.part);
        Ok(())
    }

    /// Starts the task of a part once it may be under way; the sender takes the part's segments, of which there are no more at a
    /// time than may be under way.
    async fn start_part(
        &self,
        attempt: &PartAttempt,
        tasks: &mut PartTasks<'_>,
    ) -> Result<mpsc::UnboundedSender<PartInput>, PipelineError> {
        let permit = permit(&tasks.permits, tasks.cancel).await?;
        let (to_part, segments) = mpsc::unbounded_channel();
        // A task that has ended keeps its memory until it is joined, and there may be thousands.
        while let Some(part) = tasks.running.try_join_next() {
            tasks.ended(part)?;
        }
        let (scheduler, attempt) = (self.clone(), attempt.clone());
        let (is_last, cancel) = (tasks.is_last, tasks.cancel.clone());
        tasks.running.spawn(async move {
            let outcome = scheduler.run_part(&attempt, segments, is_last).await;
            drop(permit);
            if outcome.is_err() {
                cancel.cancel();
            }
            outcome
        });
        Ok(to_part)
    }

    /// Makes one part. After an error nothing of it is left.
    async fn run_part(
        &self,
        attempt: &PartAttempt,
        segments: mpsc::UnboundedReceiver<PartInput>,
        is_last: bool,
    ) -> Result<PartOutcome, PipelineError> {
        let assembler = PartAssembler::new(&self.context, attempt.part, &attempt.observer);
        match assembler.assemble(segments).await {
            Ok(staged) => Ok(PartOutcome::Staged(staged)),
            Err(error) if !is_last && self.may_pass(&error) => Ok(PartOutcome::Retry(PartRetry {
                part: attempt.part,
                error,
                progress: Arc::clone(&attempt.progress),
            })),
            Err(error) => Err(error),
        }
    }
}
