//! `demo`: the real pipeline over loopback, from a simulated API into a local lake.

use std::path::Path;

use indicatif::HumanCount;
use pipeline::report::RunReport;
use pipeline::settings::Settings;
use pipeline::{Resources, Run, RunOptions};
use simulator::{Served, Server, ServerOptions};
use tokio_util::sync::CancellationToken;

use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::log::Log;
use crate::progress::Progress;
use crate::simulator_arguments::DemoArguments;
use crate::{folder_tree, output, signals, summary};

use super::simulate;

const PIPELINE: &str = include_str!("../../../../pipelines/info_gathering.toml");

pub(super) async fn run(arguments: &DemoArguments, log: &Log) -> Result<ExitCode, Failure> {
    let stop = signals::cancelled_by_signal();
    let served = Served::Generated(arguments.snapshot.options(arguments.devices));
    let options = ServerOptions {
        served,
        ..ServerOptions::default()
    };
    let server = Server::start(options)
        .await
        .map_err(|error| simulate::failure(&error))?;
    output::line(&format!(
        "A simulated export API with {} devices listens on {};\n\
         pipelines/info_gathering.toml publishes its snapshot to {}.",
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
    let settings = settings(&arguments.lake, server.url(), state_dir.path())?;
    let resources = Resources::new(&settings.work);
    let first = once(&resources, &settings, log, &stop).await;
    let second = match &first {
        Ok((code, _)) if *code == ExitCode::Done => {
            Some(once(&resources, &settings, log, &stop).await)
        }
        _ => None,
    };
    // Nobody needs the folder; that it stays in the system's temporary folder is no failure.
    let _ = state_dir.close();

    let (code, first) = first?;
    output::line(&format!("\n{}", summary::of(&first)))?;
    if let Some(second) = second {
        let (_, second) = second?;
        output::line(&format!(
            "The same snapshot again:\n{}",
            summary::of(&second)
        ))?;
    }
    if code == ExitCode::Done {
        let tree = folder_tree::of(&arguments.lake);
        let tree = tree.map_err(|error| {
            Failure::failed(format!("cannot list {}: {error}", arguments.lake.display()))
        })?;
        output::line(&format!("The lake:\n{tree}"))?;
        output::line("The run report, but for its counts of every blob:")?;
        output::json(&RunReport {
            blob_counts: Vec::new(),
            ..first
        })?;
    }
    Ok(code)
}

async fn once(
    resources: &Resources,
    settings: &Settings,
    log: &Log,
    stop: &CancellationToken,
) -> Result<(ExitCode, RunReport), Failure> {
    let progress = Progress::new(log);
    let options = RunOptions::default();
    let Run { report, error } = pipeline::run(
        resources,
        settings,
        options,
        &progress.observer(),
        stop.clone(),
    )
    .await;
    progress.clear();
    match error {
        Some(error) => Err(error.into()),
        None => Ok((ExitCode::of(report.outcome, None), report)),
    }
}

fn settings(lake: &Path, url: &str, state_dir: &Path) -> Result<Settings, Failure> {
    let mut overrides = simulate::overrides(url);
    overrides.push(format!("lake.root={}", toml_text(lake)));
    overrides.push(format!("source.state_dir={}", toml_text(state_dir)));
    let path = Path::new("pipelines/info_gathering.toml");
    Ok(Settings::parse(
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
        let settings = settings(Path::new("lake ${x}"), "http://127.0.0.1:1", state).unwrap();
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
