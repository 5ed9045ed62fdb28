//! Parses, dispatches, prints the error, exits.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use phasebench::cli::{Cli, Command};
use phasebench::commands::{self, CommandError};
use phasebench::exit::Exit;
use phasebench::record::manifest;
use phasebench::terminal::{Hidden, Results, fail};

fn main() -> ExitCode {
    manifest::built_from(phasebench_commit::commit!());
    let cli = Cli::parse();
    let hidden = if cli.command.prints_json() { Hidden::Escaped } else { Hidden::Removed };
    let mut out = Results::new(io::stdout().lock(), hidden);
    let exit = commands::dispatch(&cli, &mut out).and_then(|exit| {
        out.flush()?;
        Ok(exit)
    });
    exit.unwrap_or_else(|error| report_error(&error, &cli.command)).into()
}

/// Says what went wrong, and which exit code that is.
fn report_error(error: &CommandError, command: &Command) -> Exit {
    let exit = Exit::from(error);
    if exit != Exit::Good {
        fail(&commands::advised(error, command));
    }
    exit
}
