//! Ctrl-C and SIGTERM: the first asks the run to stop and to leave nothing behind, the second ends the program at once.

use tokio_util::sync::CancellationToken;

use crate::exit_code::ExitCode;

/// A token that the first signal cancels. Call it once, inside the runtime.
pub(crate) fn cancelled_by_signal() -> CancellationToken {
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        if !signal().await {
            return;
        }
        tracing::warn!("stopping; a second signal ends the program at once");
        cancel.cancel();
        signal().await;
        std::process::exit(ExitCode::Failed.number().into());
    });
    token
}

/// Waits for a signal; `false` if this system cannot tell of signals.
#[cfg(unix)]
async fn signal() -> bool {
    use tokio::signal::unix::{SignalKind, signal};

    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return tokio::signal::ctrl_c().await.is_ok();
    };
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt.is_ok(),
        _ = terminate.recv() => true,
    }
}

/// Waits for a signal; `false` if this system cannot tell of signals.
#[cfg(not(unix))]
async fn signal() -> bool {
    tokio::signal::ctrl_c().await.is_ok()
}
