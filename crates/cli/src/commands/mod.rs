//! The commands, a file each: arguments in, the library's work, what it says out.

mod completions;
#[cfg(feature = "simulator")]
mod demo;
mod plan;
mod quarantine;
mod rollback;
mod run;
mod schema;
mod schema_argument;
mod schema_files;
#[cfg(feature = "simulator")]
mod simulate;
mod snapshots;
mod snippet;
mod vacuum;
mod verify;

use std::env;

use pipeline::PipelineError;
use pipeline::settings::{Pipeline, Settings, SettingsError};
use serde::Serialize;

use crate::arguments::{Command, PipelineArguments};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::log::Log;
use crate::output;

/// Runs one command.
pub(crate) async fn run(command: Command, log: &Log) -> Result<ExitCode, Failure> {
    match command {
        Command::Run(arguments) => run::run(&arguments, log).await,
        Command::Plan(arguments) => plan::run(&arguments, log).await,
        Command::Verify(arguments) => verify::run(&arguments, log).await,
        Command::Snapshots(arguments) => snapshots::run(arguments, log).await,
        Command::Snippet(arguments) => snippet::run(&arguments).await,
        Command::Rollback(arguments) => rollback::run(&arguments, log).await,
        Command::Vacuum(arguments) => vacuum::run(&arguments, log).await,
        Command::Quarantine(command) => quarantine::run(&command, log).await,
        Command::Schema(command) => schema::run(command, log),
        #[cfg(feature = "simulator")]
        Command::Simulate(arguments) => simulate::run(&arguments).await,
        #[cfg(feature = "simulator")]
        Command::Demo(arguments) => demo::run(&arguments, log).await,
        Command::Completions { shell } => completions::run(shell),
    }
}

/// The pipeline file with `--set`, for a command that uses the lake alone and needs no credentials of the API.
fn lake_pipeline(arguments: &PipelineArguments) -> Result<Pipeline, SettingsError> {
    let PipelineArguments {
        pipeline,
        set,
        only,
    } = arguments;
    Pipeline::load_for_lake(pipeline, set, only, |name| env::var(name).ok())
}

/// The same, for a command on one dataset.
fn lake_settings(arguments: &PipelineArguments) -> Result<Settings, SettingsError> {
    lake_pipeline(arguments)?.one()
}

/// The pipeline file with `--set` and its shorthands.
fn pipeline(
    arguments: &PipelineArguments,
    shorthands: impl IntoIterator<Item = String>,
) -> Result<Pipeline, SettingsError> {
    let PipelineArguments {
        pipeline,
        set,
        only,
    } = arguments;
    let mut overrides = set.clone();
    overrides.extend(shorthands);
    Pipeline::load(pipeline, &overrides, only, |name| env::var(name).ok())
}

/// Prints as JSON what there is of each dataset: an array if the pipeline file lists datasets.
fn print_each<T: Serialize>(pipeline: &Pipeline, each: &[T]) -> std::io::Result<()> {
    match each {
        [one] if !pipeline.is_list => output::json(one),
        each => output::json(&each),
    }
}

/// A line above what is printed of one of several datasets.
fn heading(pipeline: &Pipeline, settings: &Settings) -> String {
    match pipeline.is_list {
        true => format!("{}:\n", settings.dataset.name),
        false => String::new(),
    }
}

/// What failed for some of several datasets: it is told, and the others go on. Of a pipeline of one dataset it ends the command.
struct Failures<'a> {
    log: &'a Log,
    is_list: bool,
    codes: Vec<ExitCode>,
}

impl<'a> Failures<'a> {
    fn of(pipeline: &Pipeline, log: &'a Log) -> Self {
        Self {
            log,
            is_list: pipeline.is_list,
            codes: Vec::new(),
        }
    }

    fn take<T>(
        &mut self,
        settings: &Settings,
        result: Result<T, PipelineError>,
    ) -> Result<Option<T>, Failure> {
        let failure = match result {
            Ok(value) => return Ok(Some(value)),
            Err(error) => Failure::from(error),
        };
        if !self.is_list {
            return Err(failure);
        }
        self.codes.push(failure.code());
        self.log.tell(&failure.of(&settings.dataset.name));
        Ok(None)
    }

    /// The code to end with, if none of the datasets asked for another one.
    fn code(mut self, other: ExitCode) -> ExitCode {
        self.codes.push(other);
        ExitCode::worst(&self.codes)
    }
}
