//! A segment on its way to its part: the outputs of its job, in order, and how the job ended.

use std::collections::VecDeque;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::error::PipelineError;
use crate::work::segment_output::SegmentOutput;

/// Receives the outputs of one job.
#[derive(Debug)]
pub(crate) struct SegmentStream {
    /// Given back when the part has taken all of it.
    _slot: OwnedSemaphorePermit,
    outputs: mpsc::Receiver<SegmentOutput>,
    /// Until it has ended.
    job: Option<SegmentJob>,
    /// Outputs that were not sent when it ended.
    rest: VecDeque<SegmentOutput>,
}

/// A job that sends outputs, and returns those that it could not send.
pub(crate) type SegmentJob =
    oneshot::Receiver<Result<Result<VecDeque<SegmentOutput>, PipelineError>, PipelineError>>;

/// What a part is given, in order.
#[derive(Debug)]
pub(crate) enum PartInput {
    /// A segment that was started.
    Segment(SegmentStream),
    /// There are no more. A part that hears nothing of it was given up.
    End,
}

impl SegmentStream {
    pub(crate) fn new(
        slot: OwnedSemaphorePermit,
        outputs: mpsc::Receiver<SegmentOutput>,
        job: SegmentJob,
    ) -> Self {
        Self {
            _slot: slot,
            outputs,
            job: Some(job),
            rest: VecDeque::new(),
        }
    }

    /// The next output; after the last one, how the job ended.
    pub(crate) async fn next(&mut self) -> Result<Option<SegmentOutput>, PipelineError> {
        if let Some(output) = self.outputs.recv().await {
            return Ok(Some(output));
        }
        if let Some(job) = self.job.take() {
            self.rest = job.await.map_err(|_| {
                PipelineError::Defect("a job ended without an answer".to_owned())
            })???;
        }
        Ok(self.rest.pop_front())
    }
}
