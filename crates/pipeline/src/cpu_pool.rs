//! The one seam between async tasks and the CPU pool: jobs go in, a panic comes out as an error, and no more jobs run than
//! there are threads, in however many runs.
//!
//! A job may block on a full channel that an async task empties, and must not wait for another job that was started later.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error::PipelineError;

/// Segments for each thread that are computed or wait for their part to take them.
const SEGMENTS_A_THREAD: usize = 2;

/// Threads for computing. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct CpuPool {
    threads: Arc<ThreadPool>,
    permits: Arc<Semaphore>,
    slots: Arc<Semaphore>,
}

impl CpuPool {
    /// `threads` of 0 is one a core.
    pub(crate) fn new(threads: usize) -> Result<Self, PipelineError> {
        let builder = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("cpu-{index}"));
        let threads = builder.build().map_err(|error| PipelineError::Machine {
            what: "start the CPU pool".to_owned(),
            source: std::io::Error::other(error),
        })?;
        let count = threads.current_num_threads();
        Ok(Self {
            threads: Arc::new(threads),
            permits: Arc::new(Semaphore::new(count)),
            slots: Arc::new(Semaphore::new(count * SEGMENTS_A_THREAD)),
        })
    }

    /// One permit for each segment that may be computed or wait for its part to take it: they bound what waits in memory.
    pub(crate) fn segment_slots(&self) -> &Arc<Semaphore> {
        &self.slots
    }

    /// One permit for each thread that has no job.
    pub(crate) fn free_threads(&self) -> &Arc<Semaphore> {
        &self.permits
    }

    /// Starts a job on a free thread; the receiver gets what it returns. Dropping the receiver does not stop the job.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        thread: OwnedSemaphorePermit,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<Result<T, PipelineError>> {
        let (sender, receiver) = oneshot::channel();
        let span = tracing::Span::current();
        self.threads.spawn(move || {
            let outcome = span.in_scope(|| catch_unwind(AssertUnwindSafe(job)));
            drop(thread);
            // Nobody waits for it when the run was given up.
            let _ = sender.send(outcome.map_err(|panic| PipelineError::of_panic(&*panic)));
        });
        receiver
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_and_its_thread_is_free_again() {
        let pool = CpuPool::new(1).unwrap();
        let free = || Arc::clone(pool.free_threads()).try_acquire_owned().unwrap();
        let job = pool.start(free(), || -> u8 { panic!("broken") });
        let error = job.await.unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "a task of the program failed: panic: broken"
        );
        let job = pool.start(free(), || 7);
        assert_eq!(job.await.unwrap().unwrap(), 7);
    }
}
