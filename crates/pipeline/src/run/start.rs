//! The entry points: a plan of what a run would do, and a run with its report.

use std::time::Instant;

use chrono::Utc;
use tokio_util::sync::CancellationToken;
use writer::Lake;

use crate::error::PipelineError;
use crate::events::{Event, Observer};
use crate::plan::Plan;
use crate::report::RunReport;
use crate::run::publish::{RunOptions, RunRequest, make_plan, publish_newest};
use crate::run::published::Published;
use crate::run::report::{RunStart, leaves_a_report, run_report, write_report};
use crate::run::run_id::new_run_id;
use crate::settings::Settings;
use crate::source::list::list_source;

/// A run that is over.
#[derive(Debug)]
pub struct Run {
    /// What happened.
    pub report: RunReport,
    /// Why nothing was published, if nothing was.
    pub error: Option<PipelineError>,
}

/// What a run would do: calls the API or looks for files, and writes nothing.
pub async fn plan(settings: &Settings, observer: &Observer) -> Result<Plan, PipelineError> {
    observer(Event::Listing {
        dataset: settings.dataset.name.clone(),
    });
    Ok(make_plan(settings, list_source(settings, observer).await?)?.0)
}

/// Publishes the source's snapshot, whole or not at all. A run that is asked to stop ends before the commit or after it, never
/// in it.
pub async fn run(
    settings: &Settings,
    options: RunOptions,
    observer: Observer,
    cancel: CancellationToken,
) -> Run {
    let (clock, at) = (Instant::now(), Utc::now());
    let start = RunStart {
        run_id: new_run_id(at),
        at,
        clock,
    };
    let (lake, published) = match Lake::open(&settings.lake.root, &settings.lake.options) {
        Ok(lake) => {
            let lake = lake.until(cancel.clone());
            let request = RunRequest {
                settings,
                options,
                run_id: &start.run_id,
                lake: &lake,
                observer: &observer,
                cancel: &cancel,
            };
            let published = publish_newest(request).await;
            (Some(lake), published)
        }
        Err(error) => (None, Published::failed(error)),
    };
    let (report, error) = run_report(settings, start, published);
    if let Some(lake) = lake.filter(|_| leaves_a_report(&report, error.as_ref())) {
        write_report(&lake, &report).await;
    }
    observer(Event::Finished {
        report: Box::new(report.clone()),
    });
    Run { report, error }
}
