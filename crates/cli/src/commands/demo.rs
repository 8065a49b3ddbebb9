//! `demo`: the real pipeline of all datasets over loopback, from a simulated API into a local lake.

use std::path::Path;

use dataset::Dataset;
use indicatif::HumanCount;
use pipeline::report::RunReport;
use pipeline::settings::Pipeline;
use pipeline::{Resources, RunOptions};
use simulator::{Served, Server, ServerOptions, SnapshotOptions};
use tokio_util::sync::CancellationToken;

use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::log::Log;
use crate::progress::Progress;
use crate::simulator_arguments::DemoArguments;
use crate::{folder_tree, output, signals, summary};

use super::simulate;

const PIPELINE_FILE: &str = "pipelines/all.toml";
const PIPELINE: &str = include_str!("../../../../pipelines/all.toml");
/// The dataset whose table and report are shown.
const SHOWN: &str = "info_gathering";

pub(super) async fn run(arguments: &DemoArguments, log: &Log) -> Result<ExitCode, Failure> {
    let stop = signals::cancelled_by_signal();
    let snapshot = |dataset: &str| SnapshotOptions {
        dataset: dataset.to_owned(),
        ..arguments.snapshot.options(arguments.devices)
    };
    let options = ServerOptions {
        served: Served::Several(Dataset::built_in_names().map(snapshot).collect()),
        ..ServerOptions::default()
    };
    let server = Server::start(options)
        .await
        .map_err(|error| simulate::failure(&error))?;
    output::line(&format!(
        "A simulated export API with {} devices listens on {};\n\
         {PIPELINE_FILE} publishes its snapshots to {}.",
        HumanCount(arguments.devices.into()),
        server.url(),
        arguments.lake.display(),
    ))?;
    let done = runs(arguments, &server, log, stop).await;
    server.shutdown().await;
    done
}

async fn runs(
    arguments: &DemoArguments,
    server: &Server,
    log: &Log,
    stop: CancellationToken,
) -> Result<ExitCode, Failure> {
    // The simulator's budget is not the tenant's: its calls are counted in a folder of their own.
    let state_dir = tempfile::tempdir()
        .map_err(|error| Failure::failed(format!("cannot make a temporary folder: {error}")))?;
    let pipeline = pipeline(&arguments.lake, server.url(), state_dir.path())?;
    let resources = Resources::new(&pipeline.work);
    let first = once(&resources, &pipeline, log, &stop).await;
    let second = match &first {
        Ok(_) => Some(once(&resources, &pipeline, log, &stop).await),
        Err(_) => None,
    };
    // Nobody needs the folder; that it stays in the system's temporary folder is no failure.
    let _ = state_dir.close();

    let first = first?;
    output::line(&format!("\n{}", summary::table(&first)))?;
    if let Some(second) = second {
        output::line(&format!(
            "The same snapshots again:\n\n{}",
            summary::table(&second?)
        ))?;
    }
    let table = arguments.lake.join(SHOWN);
    let tree = folder_tree::of(&table);
    let tree =
        tree.map_err(|error| Failure::failed(format!("cannot list {}: {error}", table.display())))?;
    output::line(&format!("One of the tables:\n{tree}"))?;
    if let Some(report) = first.into_iter().find(|report| report.dataset == SHOWN) {
        output::line("Its run report, but for the counts of every blob:")?;
        output::json(&RunReport {
            blob_counts: Vec::new(),
            ..report
        })?;
    }
    Ok(ExitCode::Done)
}

/// One run of all datasets; the first failure is the demo's.
async fn once(
    resources: &Resources,
    pipeline: &Pipeline,
    log: &Log,
    stop: &CancellationToken,
) -> Result<Vec<RunReport>, Failure> {
    let progress = Progress::new(log);
    let observer = progress.observer();
    let (options, stop) = (RunOptions::default(), stop.clone());
    let runs = pipeline::run_each(resources, &pipeline.each, options, &observer, stop).await;
    progress.clear();
    let reports = runs.into_iter().map(|run| match run.error {
        Some(error) => Err(Failure::from(error).of(&run.report.dataset)),
        None => Ok(run.report),
    });
    reports.collect()
}

fn pipeline(lake: &Path, url: &str, state_dir: &Path) -> Result<Pipeline, Failure> {
    let mut overrides = simulate::overrides(url);
    overrides.push(format!("lake.root={}", toml_text(lake)));
    overrides.push(format!("source.state_dir={}", toml_text(state_dir)));
    let path = Path::new(PIPELINE_FILE);
    Ok(Pipeline::parse(
        PIPELINE,
        path,
        &overrides,
        simulate::environment,
    )?)
}

/// A path as a value for `--set` in which nothing is read as a variable.
fn toml_text(path: &Path) -> String {
    path.to_string_lossy().replace("${", "$${")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_runs_the_shipped_pipeline_with_client_credentials() {
        let state = Path::new("/tmp/state");
        let pipeline = pipeline(Path::new("lake ${x}"), "http://127.0.0.1:1", state).unwrap();
        assert_eq!(pipeline.each.len(), Dataset::built_in_names().count());
        for settings in pipeline.each {
            assert_eq!(settings.lake.root, "lake ${x}");
            let pipeline::settings::SourceKind::Api(api) = settings.source.from else {
                panic!("files");
            };
            assert_eq!(api.state_dir, state);
            assert!(matches!(
                api.auth,
                pipeline::settings::Auth::ClientSecret { .. }
            ));
        }
    }
}
