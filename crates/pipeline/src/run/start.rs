//! The entry points: a plan of what a run would do, and a run with its report.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use chrono::Utc;
use futures::{FutureExt, StreamExt, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::error::PipelineError;
use crate::events::{Event, Job, JobObserver, Observer};
use crate::plan::Plan;
use crate::report::RunReport;
use crate::resources::Resources;
use crate::run::publish::{RunOptions, RunRequest, list, make_plan, publish_newest};
use crate::run::published::Published;
use crate::run::report::{RunStart, leaves_a_report, run_report, write_report};
use crate::run::run_id::new_run_id;
use crate::settings::Settings;
use crate::source::list::list_source;
use crate::source::listed::Listed;
use crate::source::sizes::sized;

/// A run that is over.
#[derive(Debug)]
pub struct Run {
    /// What happened.
    pub report: RunReport,
    /// Why nothing was published, if nothing was.
    pub error: Option<PipelineError>,
}

/// What a run would do: calls the API or looks for files, and writes nothing. The plan has the sizes of its blobs, as far as the
/// blob store says them; of more than a thousand those of some, spread evenly.
pub async fn plan(
    resources: &Resources,
    settings: &Settings,
    observer: &Observer,
) -> Result<Plan, PipelineError> {
    let observer = job_observer(settings, new_run_id(Utc::now()), observer);
    observer(Event::Listing);
    let mut listed = list_source(resources, settings, &observer).await?;
    listed.blobs = sized(&listed.source, listed.blobs).await?;
    Ok(make_plan(settings, listed)?.0)
}

/// Publishes the source's snapshot, whole or not at all. A run that is asked to stop ends before the commit or after it, never
/// in it. Runs at the same time may share `resources` and `observer`.
pub async fn run(
    resources: &Resources,
    settings: &Settings,
    options: RunOptions,
    observer: &Observer,
    cancel: CancellationToken,
) -> Run {
    let mut begun = Begun::now(settings, observer);
    let listed = begun.list(resources, &cancel).await;
    begun.publish(listed, resources, options, &cancel).await
}

/// [`run`] for each of several datasets. All are listed at once, so that they are of one time; then one after the other is published
/// as it is listed, in no more memory than one takes. One that fails stops no other. The runs are in the order of `each`.
pub async fn run_each(
    resources: &Resources,
    each: &[Settings],
    options: RunOptions,
    observer: &Observer,
    cancel: CancellationToken,
) -> Vec<Run> {
    let (ready, mut listed) = mpsc::unbounded_channel();
    let list_all = {
        let cancel = &cancel;
        async move {
            let listings = stream::iter(each.iter().enumerate());
            let ready = &ready;
            let list = |(index, settings)| async move {
                let mut begun = Begun::now(settings, observer);
                let listed = begun.list(resources, cancel).await;
                // Whoever publishes waits for as long as this goes on.
                let _ = ready.send((index, begun, listed));
            };
            listings.for_each_concurrent(None, list).await;
        }
    };
    let publish_each = async {
        let mut runs = Vec::new();
        while let Some((index, begun, listed)) = listed.recv().await {
            let run = begun.publish(listed, resources, options, &cancel).await;
            runs.push((index, run));
        }
        runs.sort_by_key(|(index, _)| *index);
        runs.into_iter().map(|(_, run)| run).collect()
    };
    let ((), runs) = tokio::join!(list_all, publish_each);
    runs
}

/// A run that has an identity, and has published nothing.
struct Begun<'a> {
    settings: &'a Settings,
    start: RunStart,
    observer: JobObserver,
    /// How long listing took.
    listed_in: Duration,
}

impl<'a> Begun<'a> {
    fn now(settings: &'a Settings, observer: &Observer) -> Self {
        let (clock, at) = (Instant::now(), Utc::now());
        let run_id = new_run_id(at);
        Self {
            settings,
            observer: job_observer(settings, run_id.clone(), observer),
            start: RunStart { run_id, at, clock },
            listed_in: Duration::ZERO,
        }
    }

    async fn list(
        &mut self,
        resources: &Resources,
        cancel: &CancellationToken,
    ) -> Result<Listed, PipelineError> {
        // A lake that cannot be opened costs no call of the API.
        resources.lake(&self.settings.lake)?;
        let listing = list(resources, self.settings, &self.observer, cancel);
        let listed = AssertUnwindSafe(listing).catch_unwind().await;
        self.listed_in = self.start.clock.elapsed();
        listed.unwrap_or_else(|panic| Err(PipelineError::of_panic(&*panic)))
    }

    async fn publish(
        self,
        listed: Result<Listed, PipelineError>,
        resources: &Resources,
        options: RunOptions,
        cancel: &CancellationToken,
    ) -> Run {
        let Self {
            settings,
            mut start,
            observer,
            listed_in,
        } = self;
        // What it waited for others to be published is not its time.
        start.clock = Instant::now().checked_sub(listed_in).unwrap_or(start.clock);
        let (lake, published) = match resources.lake(&settings.lake) {
            Ok(lake) => {
                let lake = lake.until(cancel.clone());
                let request = RunRequest {
                    resources,
                    settings,
                    options,
                    run_id: &start.run_id,
                    lake: &lake,
                    observer: &observer,
                    cancel,
                };
                let publishing = AssertUnwindSafe(publish_newest(request, listed)).catch_unwind();
                // Whoever waits for the report gets it, whatever happened.
                let published = publishing
                    .await
                    .unwrap_or_else(|panic| Published::failed(PipelineError::of_panic(&*panic)));
                (Some(lake), published)
            }
            Err(error) => (None, Published::failed(error)),
        };
        let (report, error) = run_report(settings, start, published);
        if let Some(lake) = lake.filter(|_| leaves_a_report(error.as_ref())) {
            write_report(&lake, &report).await;
        }
        observer(Event::Finished {
            report: Box::new(report.clone()),
        });
        Run { report, error }
    }
}

fn job_observer(settings: &Settings, run_id: String, observer: &Observer) -> JobObserver {
    let dataset = settings.dataset.name.clone();
    Job { run_id, dataset }.observed_by(observer)
}
