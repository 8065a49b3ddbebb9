//! The entry points: a plan of what a run would do, and a run with its report.

use std::time::Instant;

use chrono::Utc;
use tokio_util::sync::CancellationToken;
use writer::Lake;

use crate::error::PipelineError;
use crate::events::{Event, Observer};
use crate::plan::Plan;
use crate::report::{Outcome, RunReport};
use crate::run::publish::{RunOptions, make_plan, publish_newest};
use crate::run::report::{empty_report, leaves_a_report, write_report};
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

/// Publishes the source's snapshot, whole or not at all. A run that is told to stop ends before the commit or after it, never
/// in it.
pub async fn run(
    settings: &Settings,
    options: RunOptions,
    observer: Observer,
    cancel: CancellationToken,
) -> Run {
    let (began, started_at) = (Instant::now(), Utc::now());
    let mut report = empty_report(settings, started_at);
    let (lake, ended) = match Lake::open(&settings.lake.root, &settings.lake.options) {
        Ok(lake) => {
            let lake = lake.until(cancel.clone());
            let ended =
                publish_newest(settings, options, &lake, &mut report, &observer, &cancel).await;
            (Some(lake), ended)
        }
        Err(error) => (None, Err(error.into())),
    };
    let error = match ended {
        Ok(outcome) => {
            report.outcome = outcome;
            None
        }
        Err(error) => {
            report.outcome = match &error {
                PipelineError::Refused(_) => Outcome::Refused,
                PipelineError::Write(writer::Error::Undecided { .. }) => Outcome::Undecided,
                _ => Outcome::Failed,
            };
            report.error = Some(error.to_string());
            Some(error)
        }
    };
    report.elapsed_seconds = began.elapsed().as_secs_f64();
    if let Some(lake) = lake.filter(|_| leaves_a_report(&report, error.as_ref())) {
        write_report(&lake, &report).await;
    }
    observer(Event::Finished {
        report: Box::new(report.clone()),
    });
    Run { report, error }
}
