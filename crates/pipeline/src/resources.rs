//! What all runs of a process share: HTTP clients, tokens, call budgets, the CPU pool, memory for spools, lakes.
//!
//! Each is made when it is first needed, once. However many runs share one value, together they use no more threads, spool
//! memory and calls of the API than one run may.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use extractor::{
    Clock, Credential, HttpClient, RateBudget, RateBudgetSettings, RetryPolicy, SpoolBudget,
    TokenSource,
};
use secrecy::{ExposeSecret, SecretString};
use writer::{Lake, layout};

use crate::cpu_pool::CpuPool;
use crate::error::PipelineError;
use crate::settings::{self, Settings, Work};

/// What all runs of a process share.
#[derive(Debug)]
pub struct Resources {
    threads: usize,
    spools: SpoolBudget,
    clock: Clock,
    cpu_pool: MadeOnce<(), CpuPool>,
    /// By how long a connection may be silent.
    clients: MadeOnce<Duration, HttpClient>,
    tokens: MadeOnce<Credential, Arc<TokenSource>>,
    /// By state file.
    budgets: MadeOnce<Option<PathBuf>, RateBudget>,
    lakes: MadeOnce<LakePlace, Lake>,
}

impl Resources {
    /// Resources of this size: `work.threads`, `work.spool_memory` and `work.spool_dir`. The runs that share them are not asked
    /// for theirs. Starts no thread and makes no connection yet.
    pub fn new(work: &Work) -> Self {
        Self {
            threads: work.threads,
            spools: SpoolBudget::new(work.spool_memory.as_usize(), work.spool_directory()),
            clock: Clock::system(),
            cpu_pool: MadeOnce::default(),
            clients: MadeOnce::default(),
            tokens: MadeOnce::default(),
            budgets: MadeOnce::default(),
            lakes: MadeOnce::default(),
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn spools(&self) -> &SpoolBudget {
        &self.spools
    }

    pub(crate) fn cpu_pool(&self) -> Result<CpuPool, PipelineError> {
        self.cpu_pool.get((), |()| CpuPool::new(self.threads))
    }

    /// The connections that may be silent for so long.
    pub(crate) fn http(&self, no_progress_timeout: Duration) -> Result<HttpClient, PipelineError> {
        let new = |timeout: &Duration| Ok(HttpClient::new(*timeout));
        self.clients.get(no_progress_timeout, new)
    }

    /// The tokens of a credential.
    pub(crate) fn tokens(
        &self,
        credential: Credential,
        http: &HttpClient,
        retry: RetryPolicy,
    ) -> Result<Arc<TokenSource>, PipelineError> {
        self.tokens.get(credential, |credential| {
            let (http, clock) = (http.clone(), self.clock.clone());
            let tokens = TokenSource::new(credential.clone(), http, retry, clock)?;
            Ok(Arc::new(tokens))
        })
    }

    /// A budget within these limits. All that have one state file have one count, even if the file cannot be used.
    pub(crate) fn rate_budget(
        &self,
        limits: RateBudgetSettings,
    ) -> Result<RateBudget, PipelineError> {
        let budget = RateBudget::new(limits.clone(), self.clock.clone());
        let counted = self
            .budgets
            .get(limits.state_file, |_| Ok(budget.clone()))?;
        Ok(budget.counted_with(&counted))
    }

    /// The lake of a pipeline.
    pub(crate) fn lake(&self, lake: &settings::Lake) -> Result<Lake, PipelineError> {
        let place = LakePlace {
            root: lake.root.clone(),
            options: lake.options.clone(),
        };
        let open = |place: &LakePlace| Ok(Lake::open(&place.root, &place.options)?);
        self.lakes.get(place, open)
    }

    /// The lake of a pipeline that is to be read. Refused where nothing of the dataset is, not even what a run leaves that publishes
    /// nothing: most often the path is mistyped.
    pub(crate) async fn existing_lake(&self, settings: &Settings) -> Result<Lake, PipelineError> {
        let lake = self.lake(&settings.lake)?;
        let dataset = &settings.dataset.name;
        if lake.get(&layout::latest(dataset)).await?.is_some()
            || !lake.list(&layout::control(dataset)).await?.is_empty()
            || !lake.list(&layout::table(dataset)).await?.is_empty()
        {
            return Ok(lake);
        }
        Err(PipelineError::NothingHere {
            dataset: dataset.clone(),
            lake: lake.to_string(),
        })
    }
}

/// Where a lake is, and how it is opened.
#[derive(Debug)]
struct LakePlace {
    root: String,
    options: BTreeMap<String, SecretString>,
}

impl PartialEq for LakePlace {
    fn eq(&self, other: &Self) -> bool {
        let same = |(name, value): (&String, &SecretString)| {
            let other = other.options.get(name);
            other.is_some_and(|other| other.expose_secret() == value.expose_secret())
        };
        self.root == other.root
            && self.options.len() == other.options.len()
            && self.options.iter().all(same)
    }
}

/// Values that are made once for each key. There are few keys: they are compared one after another.
#[derive(Debug)]
struct MadeOnce<K, V>(Mutex<Vec<(K, V)>>);

impl<K, V> Default for MadeOnce<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: PartialEq, V: Clone> MadeOnce<K, V> {
    fn get(
        &self,
        key: K,
        make: impl FnOnce(&K) -> Result<V, PipelineError>,
    ) -> Result<V, PipelineError> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, value)) = made.iter().find(|(known, _)| *known == key) {
            return Ok(value.clone());
        }
        let value = make(&key)?;
        made.push((key, value.clone()));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use extractor::ExtractorError;
    use simulator::{Served, Server, ServerOptions, SnapshotOptions, credentials};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::events::{Event, Job, JobEvent, Observer};
    use crate::fixtures::Place;
    use crate::report::Outcome;
    use crate::run::publish::RunOptions;
    use crate::run::start::{Run, run};
    use crate::settings::Settings;

    async fn service() -> Server {
        let snapshot = SnapshotOptions {
            devices: 60,
            groups: 3,
            blobs: 6,
            ..SnapshotOptions::default()
        };
        let options = ServerOptions {
            served: Served::Generated(snapshot),
            ..ServerOptions::default()
        };
        Server::start(options).await.unwrap()
    }

    /// A pipeline of the service, to a lake of that name. Two calls a minute, counted in this process: a later version wrote the
    /// state file.
    fn pipeline(place: &Place, service: &Server, lake: &str) -> Settings {
        let state = place.path("state");
        fs::create_dir_all(&state).unwrap();
        fs::write(
            format!("{state}/rate-budget.json"),
            r#"{"version":99,"calls":{}}"#,
        )
        .unwrap();
        let text = format!(
            "dataset = 'info_gathering'\n\
             [source]\napi = '{url}'\nstate_dir = '{state}'\ncalls_per_minute = 2\nmax_wait = '0s'\n\
             [source.auth]\nkind = 'client_secret'\ntenant_id = '{tenant}'\nclient_id = '{client}'\n\
             client_secret = '{secret}'\nauthority = '{url}'\n\
             [lake]\nroot = '{lake}'\n[work]\nthreads = 1\n",
            url = service.url(),
            tenant = credentials::TENANT_ID,
            client = credentials::CLIENT_ID,
            secret = credentials::CLIENT_SECRET,
            lake = place.path(lake),
        );
        Settings::parse(&text, std::path::Path::new("p.toml"), &[], |_| None).unwrap()
    }

    async fn publish(resources: &Resources, settings: &Settings, observer: &Observer) -> Run {
        let (options, cancel) = (RunOptions::default(), CancellationToken::new());
        run(resources, settings, options, observer, cancel).await
    }

    fn nobody() -> Observer {
        Arc::new(|_| {})
    }

    #[tokio::test]
    async fn two_runs_at_once_sign_in_once_and_share_the_calls() {
        let (place, service) = (Place::new(), service().await);
        let [one, two] = ["one", "two"].map(|lake| pipeline(&place, &service, lake));
        let resources = Resources::new(&one.work);
        let observer = nobody();
        let (first, second) = tokio::join!(
            publish(&resources, &one, &observer),
            publish(&resources, &two, &observer)
        );
        for Run { report, error } in [first, second] {
            assert_eq!(report.outcome, Outcome::Committed, "{error:?}");
        }
        let counters = service.counters();
        assert_eq!((counters.token_calls, counters.api_calls), (1, 2));
        let third = publish(&resources, &one, &observer).await.error.unwrap();
        assert!(
            matches!(
                third,
                PipelineError::Extract(ExtractorError::RateBudgetExhausted { .. })
            ),
            "{third}"
        );
        assert_eq!(service.counters().api_calls, 2);
    }

    #[tokio::test]
    async fn two_runs_at_once_use_the_threads_and_memory_of_one() {
        let (place, service) = (Place::new(), service().await);
        let [one, two] = ["one", "two"].map(|lake| pipeline(&place, &service, lake));
        let resources = Arc::new(Resources::new(&one.work));
        let memory = resources.spools().available();
        let events: Arc<Mutex<Vec<JobEvent>>> = Arc::default();
        let observer: Observer = {
            let events = Arc::clone(&events);
            Arc::new(move |event| events.lock().unwrap().push(event))
        };
        let runs_that = |happened: fn(&Event) -> bool| {
            let events = events.lock().unwrap();
            let mut jobs: Vec<Job> = Vec::new();
            for event in events.iter().filter(|event| happened(&event.event)) {
                if !jobs.contains(&event.job) {
                    jobs.push((*event.job).clone());
                }
            }
            jobs
        };

        // The one thread is taken: both runs fetch, and neither decodes.
        let pool = resources.cpu_pool().unwrap();
        let thread = Arc::clone(pool.free_threads()).try_acquire_owned().unwrap();
        let runs = [one, two].map(|settings| {
            let (resources, observer) = (Arc::clone(&resources), Arc::clone(&observer));
            tokio::spawn(async move { publish(&resources, &settings, &observer).await })
        });
        while runs_that(|event| matches!(event, Event::BytesRead { .. })).len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let decoding = runs_that(|event| matches!(event, Event::RecordsRead { .. }));
        assert_eq!(decoding, []);
        assert!(resources.spools().available() < memory);

        drop(thread);
        let mut reported = Vec::new();
        for run in runs {
            let Run { report, error } = run.await.unwrap();
            assert_eq!(report.outcome, Outcome::Committed, "{error:?}");
            reported.push(report.run_id);
        }
        let mut finished = runs_that(|event| matches!(event, Event::Finished { .. }));
        finished.sort_by_key(|job| reported.iter().position(|id| *id == job.run_id));
        let finished: Vec<String> = finished.into_iter().map(|job| job.run_id).collect();
        assert_eq!(finished, reported);
        assert_eq!(resources.spools().available(), memory);
    }

    #[test]
    fn a_lake_is_opened_once_for_a_root_and_its_options() {
        let place = Place::new();
        let resources = Resources::new(&place.settings(&[]).work);
        let lakes = || resources.lakes.0.lock().unwrap().len();
        let open = |overrides: &[&str]| resources.lake(&place.settings(overrides).lake).unwrap();
        open(&[]);
        open(&[]);
        assert_eq!(lakes(), 1);
        open(&["lake.root=elsewhere"]);
        let bucket = "lake.root=s3://bucket/lake";
        open(&[bucket, "lake.options.region=a"]);
        open(&[bucket, "lake.options.region=b"]);
        open(&[bucket, "lake.options.region=b"]);
        assert_eq!(lakes(), 4);
    }

    #[test]
    fn an_event_as_json_names_its_run_and_its_dataset() {
        let job = Arc::new(Job {
            run_id: "20260101T000000Z-1".to_owned(),
            dataset: "devices".to_owned(),
        });
        let event = Event::Committing { files: 3 };
        assert_eq!(
            serde_json::to_string(&JobEvent { job, event }).unwrap(),
            r#"{"run_id":"20260101T000000Z-1","dataset":"devices","event":"committing","files":3}"#
        );
    }
}
