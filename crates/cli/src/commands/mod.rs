//! The commands, a file each: arguments in, the library's work, what it says out.

mod completions;
#[cfg(feature = "simulator")]
mod demo;
mod plan;
mod quarantine;
mod rollback;
mod run;
mod schema;
#[cfg(feature = "simulator")]
mod simulate;
mod snapshots;
mod snippet;
mod vacuum;
mod verify;

use std::env;

use pipeline::settings::{Settings, SettingsError};

use crate::arguments::{Command, PipelineArguments};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::log::Log;

/// Runs one command.
pub(crate) async fn run(command: Command, log: &Log) -> Result<ExitCode, Failure> {
    match command {
        Command::Run(arguments) => run::run(&arguments, log).await,
        Command::Plan(arguments) => plan::run(&arguments, log).await,
        Command::Verify(arguments) => verify::run(&arguments).await,
        Command::Snapshots(arguments) => snapshots::run(arguments, log).await,
        Command::Snippet(arguments) => snippet::run(&arguments).await,
        Command::Rollback(arguments) => rollback::run(&arguments, log).await,
        Command::Vacuum(arguments) => vacuum::run(&arguments, log).await,
        Command::Quarantine(command) => quarantine::run(&command, log).await,
        Command::Schema(command) => schema::run(command),
        #[cfg(feature = "simulator")]
        Command::Simulate(arguments) => simulate::run(&arguments).await,
        #[cfg(feature = "simulator")]
        Command::Demo(arguments) => demo::run(&arguments, log).await,
        Command::Completions { shell } => completions::run(shell),
    }
}

/// The pipeline file with `--set`, for a command that uses the lake alone and needs no credentials of the API.
fn lake_settings(pipeline: &PipelineArguments) -> Result<Settings, SettingsError> {
    Settings::load_for_lake(&pipeline.pipeline, &pipeline.set, |name| {
        env::var(name).ok()
    })
}

/// The pipeline file with `--set` and its shorthands.
fn settings(
    pipeline: &PipelineArguments,
    shorthands: impl IntoIterator<Item = String>,
) -> Result<Settings, SettingsError> {
    let mut overrides = pipeline.set.clone();
    overrides.extend(shorthands);
    Settings::load(&pipeline.pipeline, &overrides, |name| env::var(name).ok())
}
