//! The one place that says what may be tried again over HTTP, how often and after how long.
//!
//! Backoff is exponential with full jitter, bounded in count and in time. It does not sleep and does no I/O: the
//! callers' loops ask it for the next delay. Callers of this crate need no retries of their own.

use std::time::Duration;

use crate::error::ExtractorError;

/// The longest of any delays: longer ones would keep a run waiting after the service is back.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// How often and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, the first included. A download's count starts again with every MiB that it kept.
    pub max_attempts: u32,
    /// Upper limit of the first delay; each further one doubles it.
    pub base_delay: Duration,
    /// Upper limit of any delay.
    pub max_delay: Duration,
    /// Upper limit of all delays together.
    pub max_total_delay: Duration,
}

impl RetryPolicy {
    /// For calls of the API and the sign-in authority, each of which costs a part of the rate budget.
    pub fn of_calls(max_attempts: u32) -> Self {
        Self {
            max_attempts,
            base_delay: Duration::from_secs(1),
            max_delay: MAX_DELAY,
            max_total_delay: Duration::from_secs(2 * 60),
        }
    }

    /// For blobs: more patient than for calls, since they cost nothing but time.
    pub fn of_blobs(max_attempts: u32) -> Self {
        Self {
            max_attempts,
            base_delay: Duration::from_millis(500),
            max_delay: MAX_DELAY,
            max_total_delay: Duration::from_secs(5 * 60),
        }
    }
}

/// How one attempt failed.
#[derive(Debug)]
pub(crate) enum Setback {
    /// Can pass: worth another attempt.
    Passing {
        error: ExtractorError,
        /// The least delay, where the service named one.
        retry_after: Option<Duration>,
    },
    /// Will not pass.
    Final(ExtractorError),
}

impl Setback {
    pub(crate) fn passing(error: ExtractorError) -> Self {
        Self::Passing {
            error,
            retry_after: None,
        }
    }
}

impl From<ExtractorError> for Setback {
    /// What the network does can pass; everything else is final.
    fn from(error: ExtractorError) -> Self {
        match error {
            ExtractorError::Connection { .. } | ExtractorError::Timeout { .. } => {
                Self::passing(error)
            }
            _ => Self::Final(error),
        }
    }
}

/// Statuses that can pass by themselves, whoever gave them.
pub(crate) fn can_pass(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..=599)
}

/// The attempts at one thing.
#[derive(Debug)]
pub(crate) struct Attempts<'a> {
    policy: &'a RetryPolicy,
    failed: u32,
    delayed: Duration,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(policy: &'a RetryPolicy) -> Self {
        Self {
            policy,
            failed: 0,
            delayed: Duration::ZERO,
        }
    }

    /// Starts counting again: real progress was made.
    pub(crate) fn progressed(&mut self) {
        self.failed = 0;
        self.delayed = Duration::ZERO;
    }

    /// Counts a failure: the delay before the next attempt, or the error if there is none.
    pub(crate) fn after(&mut self, setback: Setback) -> Result<Duration, ExtractorError> {
        let (error, retry_after) = match setback {
            Setback::Final(error) => return Err(error),
            Setback::Passing { error, retry_after } => (error, retry_after),
        };
        self.failed += 1;
        let limit = self
            .policy
            .base_delay
            .saturating_mul(1 << (self.failed - 1).min(20))
            .min(self.policy.max_delay);
        let delay = limit.mul_f64(fastrand::f64());
        let delay = delay.max(retry_after.unwrap_or_default());
        let delayed = self.delayed.saturating_add(delay);
        if self.failed >= self.policy.max_attempts || delayed > self.policy.max_total_delay {
            return Err(error);
        }
        self.delayed = delayed;
        tracing::debug!(attempt = self.failed, delay_ms = delay.as_millis() as u64, %error, "trying again");
        Ok(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passing() -> Setback {
        Setback::passing(ExtractorError::ChecksumMismatch {
            blob: "b".to_owned(),
        })
    }

    fn policy() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 10,
            base_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(30),
            max_total_delay: Duration::from_secs(30),
        }
    }

    #[test]
    fn delays_are_jittered_doubled_and_bounded_in_count() {
        let policy = RetryPolicy {
            max_attempts: 6,
            base_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(4),
            max_total_delay: Duration::from_secs(60),
        };
        let delays_of_one = || -> Vec<Duration> {
            let mut attempts = Attempts::new(&policy);
            std::iter::from_fn(|| attempts.after(passing()).ok()).collect()
        };
        let delays = delays_of_one();
        assert_eq!(delays.len(), 5);
        for (delay, limit) in delays.iter().zip([1, 2, 4, 4, 4]) {
            assert!(*delay < Duration::from_secs(limit), "{delays:?}");
        }
        assert_ne!(delays, delays_of_one());
    }

    #[test]
    fn delays_are_bounded_in_time_and_start_anew_after_progress() {
        let policy = policy();
        let wait = |seconds| Setback::Passing {
            error: ExtractorError::ChecksumMismatch {
                blob: "b".to_owned(),
            },
            retry_after: Some(Duration::from_secs(seconds)),
        };
        let mut attempts = Attempts::new(&policy);
        assert_eq!(attempts.after(wait(20)).unwrap(), Duration::from_secs(20));
        attempts.progressed();
        assert_eq!(attempts.after(wait(20)).unwrap(), Duration::from_secs(20));
        assert!(attempts.after(wait(20)).is_err());
    }

    #[test]
    fn what_is_final_is_not_tried_again() {
        let policy = policy();
        let error = ExtractorError::BlobChanged {
            blob: "b".to_owned(),
        };
        assert!(Attempts::new(&policy).after(Setback::Final(error)).is_err());
        assert!(can_pass(408) && can_pass(429) && can_pass(503));
        assert!(!can_pass(400) && !can_pass(403) && !can_pass(404));
    }
}
