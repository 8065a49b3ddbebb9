//! The rate budget: how many calls of the API are left, counted over runs and processes of this machine.
//!
//! The service allows 5 calls a minute and 20 an hour per application, tenant and export; a 429 costs as much as an
//! answer. Calls are therefore counted before they are made, in a small state file that processes share.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

use crate::api::rate_budget_file::{Calls, StateFile};
use crate::error::ExtractorError;
use crate::http::clock::Clock;

/// The limits and where calls are counted.
#[derive(Debug, Clone)]
pub struct RateBudgetSettings {
    /// Calls in any minute.
    pub per_minute: NonZeroU32,
    /// Calls in any hour.
    pub per_hour: NonZeroU32,
    /// The longest wait for a call; a longer one is an error.
    pub max_wait: Duration,
    /// The state file, shared with other runs. `None` counts in this process alone.
    pub state_file: Option<PathBuf>,
}

/// A wait for the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// It begins, and will take this long.
    Begins(Duration),
    /// It is over.
    Ends,
}

/// Called with waits, as they begin and end. Must be quick and must not block.
pub type WaitObserver = Arc<dyn Fn(Wait) + Send + Sync>;

/// Counts calls. Clones share one count, as do all budgets over the same state file.
#[derive(Clone)]
pub struct RateBudget {
    settings: RateBudgetSettings,
    state: Arc<StateFile>,
    clock: Clock,
    observer: WaitObserver,
}

/// Added to the service's windows: it sees a call later than we count it.
const SLACK: TimeDelta = TimeDelta::seconds(1);
/// The longest `Retry-After` that is believed.
const MAX_POSTPONEMENT: Duration = Duration::from_secs(24 * 3600);

impl RateBudget {
    /// A budget over the settings' state file, which is made when the first call is counted.
    pub fn new(settings: RateBudgetSettings, clock: Clock) -> Self {
        let state = Arc::new(StateFile::new(settings.state_file.clone()));
        Self {
            settings,
            state,
            clock,
            observer: Arc::new(|_| {}),
        }
    }

    /// The same limits, and one count with `other`.
    #[must_use]
    pub fn counted_with(self, other: &Self) -> Self {
        let state = Arc::clone(&other.state);
        Self { state, ..self }
    }

    /// The same budget, which reports waits.
    #[must_use]
    pub fn observed_by(self, observer: WaitObserver) -> Self {
        Self { observer, ..self }
    }

    /// Waits until a call is allowed and counts it; an error, at once, if that would take longer than `max_wait`.
    pub(crate) async fn acquire(&self, api: &str) -> Result<(), ExtractorError> {
        let mut waited = Duration::ZERO;
        loop {
            let budget = self.clone();
            let wait = self
                .state
                .update(api, move |calls| budget.count(calls))
                .await;
            if wait.is_zero() {
                return Ok(());
            }
            if waited + wait > self.settings.max_wait {
                let max_wait = self.settings.max_wait;
                return Err(ExtractorError::RateBudgetExhausted {
                    api: api.to_owned(),
                    wait,
                    max_wait,
                });
            }
            tracing::debug!(seconds = wait.as_secs(), api, "waiting for the rate budget");
            (self.observer)(Wait::Begins(wait));
            tokio::time::sleep(wait).await;
            (self.observer)(Wait::Ends);
            waited += wait;
        }
    }

    /// Allows no call for the time that a 429 asked for.
    pub(crate) async fn postpone(&self, api: &str, wait: Duration) {
        let wait = wait.min(MAX_POSTPONEMENT);
        let until = self.clock.now() + TimeDelta::seconds(wait.as_secs() as i64);
        self.state
            .update(api, move |calls| {
                calls.not_before = calls.not_before.max(Some(until));
            })
            .await;
    }

    /// Counts a call if one is allowed now; the time to wait otherwise.
    fn count(&self, calls: &mut Calls) -> Duration {
        let now = self.clock.now();
        let (minute, hour) = (TimeDelta::minutes(1) + SLACK, TimeDelta::hours(1) + SLACK);
        // Times ahead of the clock are of a clock that was set back since: they count as now.
        for time in &mut calls.times {
            *time = (*time).min(now);
        }
        calls.times.sort_unstable();
        calls.times.retain(|time| now - *time < hour);
        let latest = now + TimeDelta::seconds(MAX_POSTPONEMENT.as_secs() as i64);
        if calls.not_before.is_some_and(|time| time > latest) {
            tracing::warn!(
                "the rate budget file names a wait that no service asked for: it is left out"
            );
        }
        calls.not_before = calls
            .not_before
            .filter(|time| now < *time && *time <= latest);

        let mut ready = calls.not_before.unwrap_or(now);
        for (limit, window) in [
            (self.settings.per_minute, minute),
            (self.settings.per_hour, hour),
        ] {
            let limit = limit.get() as usize;
            if let Some(index) = calls.times.len().checked_sub(limit) {
                ready = ready.max(calls.times[index] + window);
            }
        }
        let wait = (ready - now).to_std().unwrap_or_default();
        if wait.is_zero() {
            calls.times.push(now);
        }
        wait
    }
}

impl fmt::Debug for RateBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RateBudget").field(&self.settings).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use chrono::{DateTime, Utc};
    use tokio::time::Instant;

    use super::*;

    /// A clock that goes with tokio's, which tests stop.
    fn clock() -> Clock {
        let (begin, start) = (Utc::now(), Instant::now());
        Clock::from_fn(move || begin + TimeDelta::from_std(start.elapsed()).unwrap())
    }

    fn budget(state_file: Option<&Path>, max_wait: u64, clock: &Clock) -> RateBudget {
        let settings = RateBudgetSettings {
            per_minute: NonZeroU32::new(5).unwrap(),
            per_hour: NonZeroU32::new(20).unwrap(),
            max_wait: Duration::from_secs(max_wait),
            state_file: state_file.map(Path::to_owned),
        };
        RateBudget::new(settings, clock.clone())
    }

    fn refused_wait(result: Result<(), ExtractorError>) -> u64 {
        match result {
            Err(ExtractorError::RateBudgetExhausted { wait, .. }) => wait.as_secs(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn allows_five_a_minute_and_twenty_an_hour() {
        let clock = clock();
        let budget = budget(None, 4000, &clock);
        let mut calls: Vec<DateTime<Utc>> = Vec::new();
        for _ in 0..45 {
            budget.acquire("a").await.unwrap();
            calls.push(clock.now());
        }
        for (limit, window) in [(5, TimeDelta::minutes(1)), (20, TimeDelta::hours(1))] {
            for calls in calls.windows(limit + 1) {
                assert!(calls[limit] - calls[0] > window, "{calls:?}");
            }
        }
        assert!(calls[44] - calls[0] < TimeDelta::minutes(125));
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_the_budget_and_for_a_postponement_are_told() {
        let told: Arc<Mutex<Vec<Wait>>> = Arc::default();
        let observer: WaitObserver = {
            let told = Arc::clone(&told);
            Arc::new(move |wait| told.lock().unwrap().push(wait))
        };
        let budget = budget(None, 90, &clock()).observed_by(observer);
        for _ in 0..5 {
            budget.acquire("a").await.unwrap();
        }
        assert_eq!(*told.lock().unwrap(), []);
        budget.acquire("a").await.unwrap();
        budget.postpone("b", Duration::from_secs(7)).await;
        budget.acquire("b").await.unwrap();
        // One that would take too long is refused and not waited for.
        budget.postpone("b", Duration::from_secs(700)).await;
        refused_wait(budget.acquire("b").await);
        let told = told.lock().unwrap();
        let [
            Wait::Begins(minute),
            Wait::Ends,
            Wait::Begins(named),
            Wait::Ends,
        ] = told[..]
        else {
            panic!("{told:?}");
        };
        assert!((60..=61).contains(&minute.as_secs()), "{minute:?}");
        assert!((6..=7).contains(&named.as_secs()), "{named:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn two_processes_share_one_count_and_two_callers_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cache/rate-budget.json");
        let clock = clock();
        for _ in 0..5 {
            budget(Some(&file), 0, &clock).acquire("a").await.unwrap();
        }
        let other = budget(Some(&file), 30, &clock);
        assert!((59..=61).contains(&refused_wait(other.acquire("a").await)));
        other.acquire("b").await.unwrap();
        budget(Some(&file), 90, &clock).acquire("a").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_postponement_holds_for_other_processes_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rate-budget.json");
        let clock = clock();
        budget(Some(&file), 0, &clock)
            .postpone("a", Duration::from_secs(600))
            .await;
        budget(Some(&file), 0, &clock)
            .postpone("a", Duration::from_secs(10))
            .await;
        let wait = refused_wait(budget(Some(&file), 60, &clock).acquire("a").await);
        assert!((595..=600).contains(&wait), "{wait}");
        budget(Some(&file), 700, &clock).acquire("a").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn damaged_foreign_and_unusable_files_do_not_stop_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rate-budget.json");
        let clock = clock();
        for damaged in ["{", "\0\0\0", "[]", r#"{"version":1,"calls":7}"#] {
            std::fs::write(&file, damaged).unwrap();
            budget(Some(&file), 0, &clock).acquire("a").await.unwrap();
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.starts_with(r#"{"version":1,"calls":{"a":"#), "{text}");
        }
        let later = r#"{"version":2,"calls":{},"more":1}"#;
        std::fs::write(&file, later).unwrap();
        let alone = budget(Some(&file), 0, &clock);
        for _ in 0..5 {
            alone.acquire("a").await.unwrap();
        }
        refused_wait(alone.acquire("a").await);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), later);
        budget(Some(folder.path()), 0, &clock)
            .acquire("a")
            .await
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_back_does_not_lock_for_long() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rate-budget.json");
        let clock = clock();
        let ahead = clock.now() + TimeDelta::days(400);
        let calls = Calls {
            times: vec![ahead; 5],
            not_before: Some(ahead),
        };
        let text = format!(
            r#"{{"version":1,"calls":{{"a":{}}}}}"#,
            serde_json::to_string(&calls).unwrap()
        );
        std::fs::write(&file, text).unwrap();
        budget(Some(&file), 62, &clock).acquire("a").await.unwrap();
    }
}
