//! One attempt at a part: what it reports is counted, so that it can be taken back if the part is made again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::error::PipelineError;
use crate::events::{Event, JobObserver};
use crate::work::staged_part::StagedPart;

/// A part that is under way, and what was reported of it.
#[derive(Clone)]
pub(crate) struct PartAttempt {
    /// The part's number.
    pub(crate) part: u32,
    /// Counts progress, and passes it on.
    pub(crate) observer: JobObserver,
    pub(crate) progress: Arc<Progress>,
}

/// Progress that is taken back if the part is made again.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    bytes: AtomicI64,
    records: AtomicU64,
    blobs: AtomicU64,
}

/// A part that is to be made again, and why.
pub(crate) struct PartRetry {
    pub(crate) part: u32,
    pub(crate) error: PipelineError,
    pub(crate) progress: Arc<Progress>,
}

/// How an attempt ended that did not fail for good.
pub(crate) enum PartOutcome {
    Staged(StagedPart),
    Retry(PartRetry),
}

impl PartAttempt {
    pub(crate) fn new(part: u32, observer: &JobObserver) -> Self {
        let progress = Arc::new(Progress::default());
        let (counted, observer) = (Arc::clone(&progress), Arc::clone(observer));
        Self {
            part,
            progress,
            observer: Arc::new(move |event| {
                counted.count(&event);
                observer(event);
            }),
        }
    }
}

impl Progress {
    /// A blob of the part has arrived. Its bytes were reported before it was known to be of this part.
    pub(crate) fn fetched(&self, bytes: u64) {
        self.bytes.fetch_add(bytes as i64, Ordering::Relaxed);
    }

    fn count(&self, event: &Event) {
        match event {
            Event::RecordsRead { records } => {
                self.records.fetch_add(*records, Ordering::Relaxed);
            }
            Event::BlobDone { .. } => {
                self.blobs.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

impl PartRetry {
    /// The event that takes the part's progress back.
    pub(crate) fn event(&self) -> Event {
        Event::PartRestarted {
            part: self.part,
            reason: self.error.to_string(),
            bytes: self.progress.bytes.load(Ordering::Relaxed),
            records: self.progress.records.load(Ordering::Relaxed),
            blobs: self.progress.blobs.load(Ordering::Relaxed),
        }
    }
}
