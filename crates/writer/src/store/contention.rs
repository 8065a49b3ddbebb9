//! Bounds the loops that try again after the store refused a put under a condition: in number and in time. A refusal mostly means
//! that another writer came first; a store that refuses for good must not keep a run forever.

use std::time::{Duration, Instant};

use crate::error::Error;

/// When a writer gives up.
#[derive(Debug, Clone, Copy)]
struct Limits {
    refusals: u32,
    time: Duration,
    /// Before the second try; before each further one it is longer by as much, on average.
    pause: Duration,
}

/// More than runs that could sensibly meet.
const LIMITS: Limits = Limits {
    refusals: 40,
    time: Duration::from_secs(30),
    pause: Duration::from_millis(20),
};

/// The refusals that one writer met.
#[derive(Debug)]
pub(crate) struct Contention {
    limits: Limits,
    began: Instant,
    refusals: u32,
    last: String,
}

impl Contention {
    pub(crate) fn new() -> Self {
        Self::within(LIMITS)
    }

    fn within(limits: Limits) -> Self {
        Self {
            limits,
            began: Instant::now(),
            refusals: 0,
            last: String::new(),
        }
    }

    /// Takes in a refusal, in the store's words, and waits before the next try. False: it is time to give up.
    pub(crate) async fn refused(&mut self, why: String) -> bool {
        self.refusals += 1;
        self.last = why;
        if self.refusals >= self.limits.refusals || self.began.elapsed() >= self.limits.time {
            return false;
        }
        // Between half and one and a half times as long, so that writers who met do not meet again.
        let pause = self.limits.pause * self.refusals;
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
        true
    }

    pub(crate) fn refusals(&self) -> u32 {
        self.refusals
    }

    /// The store's words of the last refusal.
    pub(crate) fn last(&self) -> &str {
        &self.last
    }

    /// The error of who gave up on the object at `path`.
    pub(crate) fn error(&self, path: String) -> Error {
        Error::PutRefused {
            path,
            refusals: self.refusals,
            message: self.last.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusals_until_it_gives_up(limits: Limits) -> u32 {
        let mut contention = Contention::within(limits);
        while contention.refused("412".to_owned()).await {}
        let error = contention.error("x".to_owned()).to_string();
        assert!(error.contains("412"), "{error}");
        contention.refusals()
    }

    #[tokio::test]
    async fn a_writer_gives_up_in_number_and_in_time() {
        let short = Limits {
            pause: Duration::ZERO,
            ..LIMITS
        };
        assert_eq!(refusals_until_it_gives_up(short).await, LIMITS.refusals);
        let late = Limits {
            time: Duration::ZERO,
            ..LIMITS
        };
        assert_eq!(refusals_until_it_gives_up(late).await, 1);
    }
}
