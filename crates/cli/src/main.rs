//! The binary `defender-lake`: arguments, terminal, exit codes. What it does, the library `pipeline` does.

mod arguments;
mod commands;
mod exit_code;
mod failure;
#[cfg(feature = "simulator")]
mod folder_tree;
mod log;
mod output;
mod panics;
mod printable;
mod progress;
mod schema_description;
mod signals;
#[cfg(feature = "simulator")]
mod simulator_arguments;
mod summary;

use std::panic::AssertUnwindSafe;

use clap::Parser;

use arguments::Arguments;
use exit_code::ExitCode;
use failure::Failure;
use log::Log;

fn main() -> std::process::ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return wrong_arguments(&error).into(),
    };
    let log = Log::start(&arguments.terminal);
    panics::tell_where();
    let wants_json = arguments.command.wants_json();
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| run(arguments, &log)));
    let code = match ran.unwrap_or_else(|_| Err(Failure::defect())) {
        Ok(code) => code,
        Err(failure) => {
            if wants_json && let Some(report) = failure.report() {
                log.not_shown(output::json(&report));
            }
            log.tell(&failure);
            failure.code()
        }
    };
    code.into()
}

fn run(arguments: Arguments, log: &Log) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the async runtime: {error}")))?;
    let ended = runtime.block_on(commands::run(arguments.command, log));
    // A call of a disk or a resolver that never returns keeps its thread, but not the program.
    runtime.shutdown_background();
    ended
}

/// Prints what clap has to say: help, the version, or what is wrong with the arguments.
fn wrong_arguments(error: &clap::Error) -> ExitCode {
    // Nothing is left to do where it cannot be printed.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::Done;
    }
    if std::env::args_os().any(|argument| argument == "--json") {
        let failure = Failure::usage(error.to_string().trim_end(), None);
        let _ = failure.report().map(|report| output::json(&report));
    }
    ExitCode::Usage
}
