//! Ctrl-C and SIGTERM: the first asks the run to stop and to leave nothing behind, the second ends the program at once.

use std::io;

use tokio_util::sync::CancellationToken;

use crate::exit_code::ExitCode;

/// A token that the first signal cancels. Call it once, inside the runtime.
pub(crate) fn cancelled_by_signal() -> CancellationToken {
    let token = CancellationToken::new();
    let cancel = token.clone();
    // Made before anything else can take time: a signal that nobody listens for ends the program and leaves all behind.
    let Ok(mut signals) = Signals::listen() else {
        return token;
    };
    tokio::spawn(async move {
        signals.next().await;
        tracing::warn!("stopping; a second signal ends the program at once");
        cancel.cancel();
        signals.next().await;
        std::process::exit(ExitCode::RetryLater.number().into());
    });
    token
}

/// Signals that ask the program to end. One listener for all of them, so that none is lost between two.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn listen() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) {
        self.0.recv().await;
    }
}
