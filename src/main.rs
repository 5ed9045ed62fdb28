//! Parses, dispatches, prints the error, exits.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use phasebench::cli::{Cli, Command};
use phasebench::commands::{self, CommandError};
use phasebench::exit::Exit;
use phasebench::record::manifest;
use phasebench::terminal::{Hidden, Results, fail, harmless};

fn main() -> ExitCode {
    manifest::built_from(phasebench_commit::commit!());
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refused) => return report_usage(&refused),
    };
    let hidden = if cli.command.prints_json() { Hidden::Escaped } else { Hidden::Removed };
    let mut out = Results::new(io::stdout().lock(), hidden);
    let exit = commands::dispatch(&cli, &mut out);
    // Also before an error is told: what was begun of a line comes first.
    let flushed = out.flush();
    let exit = exit.and_then(|exit| {
        flushed?;
        Ok(exit)
    });
    exit.unwrap_or_else(|error| report_error(&error, &cli.command)).into()
}

/// Prints help, or what is wrong with the command line, which may hold a password.
fn report_usage(refused: &clap::Error) -> ExitCode {
    let words = refused.to_string();
    if harmless(&words) == words {
        refused.exit();
    }
    fail(words.trim_end());
    Exit::Usage.into()
}

/// Says what went wrong, and which exit code that is.
fn report_error(error: &CommandError, command: &Command) -> Exit {
    let exit = Exit::from(error);
    if exit != Exit::Good {
        fail(&commands::advised(error, command));
    }
    exit
}
