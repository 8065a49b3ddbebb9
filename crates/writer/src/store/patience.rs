//! How long the store may take to answer once the program was asked to stop. A store that does not answer then is not
//! asked again: every further request ends at once.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};

/// What one request may take after the signal. The program promises to end within two seconds.
const GRACE: Duration = Duration::from_millis(1500);

/// Ends requests that go on after the program was asked to stop. Clones share what they know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patience {
    /// `None`: nobody can tell the program to stop.
    stop: Option<CancellationToken>,
    is_gone: Arc<AtomicBool>,
}

impl Patience {
    pub(crate) fn until(stop: CancellationToken) -> Self {
        Self {
            stop: Some(stop),
            is_gone: Arc::default(),
        }
    }

    /// Waits for a request's answer.
    ///
    /// # Errors
    /// The request's own; [`Error::Stopped`] if the program was asked to stop and the answer did not come.
    pub(crate) async fn wait<T>(
        &self,
        action: &'static str,
        path: &str,
        request: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let Some(stop) = &self.stop else {
            return request.await;
        };
        let stopped = || Error::Stopped {
            action,
            path: path.to_owned(),
        };
        if self.is_gone.load(Ordering::Relaxed) {
            return Err(stopped());
        }
        tokio::select! {
            biased;
            answer = request => answer,
            () = async {
                stop.cancelled().await;
                tokio::time::sleep(GRACE).await;
            } => {
                self.is_gone.store(true, Ordering::Relaxed);
                Err(stopped())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_store_is_asked_no_more_after_stop() {
        let stop = CancellationToken::new();
        let patience = Patience::until(stop.clone());
        let clone = patience.clone();
        let silent = tokio::spawn(async move {
            let never = std::future::pending::<Result<()>>();
            clone.wait("read", "x", never).await
        });
        tokio::time::sleep(GRACE * 2).await;
        assert!(!silent.is_finished());
        let slow = async {
            tokio::time::sleep(GRACE / 2).await;
            Ok(1)
        };
        stop.cancel();
        assert_eq!(patience.wait("write", "y", slow).await.unwrap(), 1);
        let error = silent.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Stopped { action: "read", .. }));
        let error = patience.wait("write", "y", async { Ok(1) }).await;
        assert!(matches!(
            error,
            Err(Error::Stopped {
                action: "write",
                ..
            })
        ));
    }
}
