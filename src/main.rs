//! Parses, dispatches, prints the error, exits.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use phasebench::cli::Cli;
use phasebench::commands;
use phasebench::exit::Exit;
use phasebench::record::manifest;

fn main() -> ExitCode {
    manifest::built_from(phasebench_commit::commit!());
    let cli = Cli::parse();
    let mut out = io::stdout().lock();
    let result = commands::dispatch(&cli, &mut out).and_then(|exit| {
        out.flush()?;
        Ok(exit)
    });
    let exit = result.unwrap_or_else(|error| {
        let exit = commands::exit_of(&error);
        if exit != Exit::Good {
            // Nobody can be told if standard error is closed too.
            let _ = writeln!(io::stderr(), "{}", commands::describe(&error));
        }
        exit
    });
    exit.into()
}
