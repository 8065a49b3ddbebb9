//! Reads that another commit overtakes: what was about to be read was replaced and deleted. They begin again, a bounded number of times.

use std::time::Duration;

use crate::error::{Error, Result};

const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(50);

/// The reads of one caller.
#[derive(Debug, Default)]
pub(crate) struct Rereads {
    done: u32,
}

impl Rereads {
    /// What was read, or the error that stays. `None`, after a pause: read again.
    pub(crate) async fn unless_overtaken<T>(&mut self, read: Result<T>) -> Option<Result<T>> {
        self.done += 1;
        if self.done < ATTEMPTS && matches!(read, Err(Error::NotFound { .. })) {
            tokio::time::sleep(PAUSE * self.done).await;
            return None;
        }
        Some(read)
    }
}
