//! The binary `defender-lake`: arguments, terminal, exit codes. What it does, the library `pipeline` does.

mod arguments;
mod commands;
mod exit_code;
mod failure;
#[cfg(feature = "simulator")]
mod folder_tree;
mod log;
mod output;
mod progress;
mod schema_description;
mod signals;
#[cfg(feature = "simulator")]
mod simulator_arguments;
mod summary;

use clap::Parser;

use arguments::Arguments;
use exit_code::ExitCode;
use failure::Failure;
use log::Log;

fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    let log = Log::start(&arguments.terminal);
    let code = match run(arguments, &log) {
        Ok(code) => code,
        Err(failure) => {
            log.tell(&failure);
            failure.code
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
