//! Calls per minute and per hour, in sliding windows. Knows no HTTP; the caller says what time it is.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

/// How many calls one application may make for one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Calls within any minute.
    pub per_minute: usize,
    /// Calls within any hour.
    pub per_hour: usize,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            per_minute: 5,
            per_hour: 20,
        }
    }
}

/// A call that came too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The limit that was reached, in calls.
    pub(crate) limit: usize,
    /// The window of that limit.
    pub(crate) window: TimeDelta,
    /// Whole seconds until a call is let through.
    pub(crate) retry_after: i64,
}

/// The calls of one application and tenant in the last hour. Refused calls do not count.
#[derive(Debug, Default)]
pub(crate) struct CallLog(VecDeque<DateTime<Utc>>);

impl CallLog {
    pub(crate) fn call(&mut self, limit: RateLimit, now: DateTime<Utc>) -> Result<(), Refused> {
        while self
            .0
            .front()
            .is_some_and(|&call| call + TimeDelta::hours(1) <= now)
        {
            self.0.pop_front();
        }
        for (limit, window) in [
            (limit.per_hour, TimeDelta::hours(1)),
            (limit.per_minute, TimeDelta::minutes(1)),
        ] {
            let first = self
                .0
                .len()
                .checked_sub(limit)
                .map(|at| self.0.get(at).copied().unwrap_or(now));
            if let Some(free) = first.map(|call| call + window).filter(|&free| free > now) {
                return Err(Refused {
                    limit,
                    window,
                    retry_after: ((free - now).num_milliseconds() + 999) / 1_000,
                });
            }
        }
        self.0.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_calls_a_minute_and_twenty_an_hour_are_let_through() {
        let limit = RateLimit::default();
        let mut log = CallLog::default();
        let start = DateTime::from_timestamp(1_777_802_460, 0).unwrap();
        let at = |seconds| start + TimeDelta::seconds(seconds);
        for minute in 0..4 {
            for call in 0..5 {
                assert_eq!(
                    log.call(limit, at(minute * 60 + call)),
                    Ok(()),
                    "{minute} {call}"
                );
            }
            let refused = log.call(limit, at(minute * 60 + 10)).unwrap_err();
            if minute < 3 {
                assert_eq!((refused.limit, refused.retry_after), (5, 50));
            } else {
                assert_eq!((refused.limit, refused.retry_after), (20, 3_600 - 190));
            }
        }
        assert_eq!(log.call(limit, at(3_599)).unwrap_err().retry_after, 1);
        assert_eq!(log.call(limit, at(3_600)), Ok(()));
    }

    #[test]
    fn no_call_passes_a_limit_of_none() {
        let limit = RateLimit {
            per_minute: 0,
            per_hour: 0,
        };
        assert_eq!(
            CallLog::default()
                .call(limit, Utc::now())
                .unwrap_err()
                .retry_after,
            3_600
        );
    }
}
