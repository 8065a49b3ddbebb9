//! Jobs that wait for disks or for the network, on a thread that may block. None of them is work for the CPU pool.

use tokio::task::spawn_blocking;

/// Runs the job to its end. A panic in it goes on in the caller.
pub(crate) async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(job).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and this future with it.
            Err(_) => std::future::pending().await,
        },
    }
}
