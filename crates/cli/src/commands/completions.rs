//! `completions`: a shell's completion script.

use clap::CommandFactory;

use crate::arguments::Arguments;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output;

pub(super) fn run(shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        shell,
        &mut Arguments::command(),
        "defender-lake",
        &mut script,
    );
    output::line(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::Done)
}
