//! `phasebench completions`: a completion script for a shell.

use std::io::Write;

use clap::CommandFactory as _;

use crate::cli::{Cli, CompletionsArgs};
use crate::commands::CommandError;
use crate::exit::Exit;

/// Writes the script.
///
/// # Errors
/// `out` cannot be written.
pub fn execute(args: &CompletionsArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    // Made in memory first: the generator panics where its output is closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "phasebench", &mut script);
    out.write_all(&script)?;
    Ok(Exit::Good)
}
