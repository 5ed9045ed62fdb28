//! One file per command: the only place where layers meet.

use std::io::{self, Write};

use crate::backend::BackendError;
use crate::backend::worker::launch::LaunchError;
use crate::backend::worker::serve::ServeError;
use crate::cache;
use crate::cli::{Cli, Command};
use crate::exit::Exit;
use crate::model;
use crate::plan::OnlyError;
use crate::run::{PromptError, RunError};
use crate::scenario::ScenarioError;
use crate::store::StoreError;

pub mod analyze;
pub mod calibrate;
mod columns;
pub mod completions;
pub mod doctor;
pub mod fit;
pub mod models;
pub mod plan;
mod processors;
pub mod report;
pub mod run;
pub mod scenario;
pub mod schema;
pub mod setup;
mod terminal;
pub mod validate;
pub mod worker;

/// Does what the command line asks. Results go to `out`.
///
/// # Errors
/// Whatever stopped it; [`exit_of`] tells which exit code that is.
pub fn dispatch(cli: &Cli, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match &cli.command {
        Command::Doctor(args) => doctor::execute(args, out),
        Command::Setup(command) => setup::execute(command, out),
        Command::Calibrate(args) => calibrate::execute(args, out),
        Command::Models(command) => models::execute(command, out),
        Command::Completions(args) => completions::execute(args, out),
        Command::Analyze(args) => analyze::execute(args, out),
        Command::Fit(args) => fit::execute(args, out),
        Command::Plan(args) => plan::execute(args, out),
        Command::Report(args) => report::execute(args, out),
        Command::Run(args) => run::execute(args, out),
        Command::Schema => schema::execute(out),
        Command::Supervise(args) => worker::keep(args),
        Command::Validate(args) => validate::execute(args, out),
        Command::Worker(command) => worker::execute(command, out),
    }
}

/// The exit code of an error. A closed pipe is success: whoever read had enough.
#[must_use]
pub fn exit_of(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        if let Some(io) = cause.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::BrokenPipe
        {
            return Exit::Good;
        }
        if cause.is::<StoreError>() || cause.is::<cache::Unwritable>() {
            return Exit::Store;
        }
        if cause.downcast_ref::<model::Error>().is_some_and(model::Error::is_unwritable) {
            return Exit::Store;
        }
        if cause.is::<run::StackChanged>() {
            return Exit::StackChanged;
        }
        if cause.is::<run::Missing>() {
            return Exit::Unavailable;
        }
        if cause.is::<LaunchError>() || cause.is::<ServeError>() {
            return Exit::Usage;
        }
        if cause.is::<fit::FitError>() || cause.is::<OnlyError>() {
            return Exit::Usage;
        }
        if cause.is::<ScenarioError>() || cause.is::<PromptError>() || cause.is::<model::Error>() {
            return Exit::Usage;
        }
        if let Some(RunError::Store(_)) = cause.downcast_ref::<RunError>() {
            return Exit::Store;
        }
        if let Some(error) = cause.downcast_ref::<BackendError>() {
            return match error {
                BackendError::Unavailable { .. } => Exit::Unavailable,
                BackendError::Prepare { .. } => Exit::Usage,
                BackendError::Close { .. } => Exit::Internal,
            };
        }
    }
    Exit::Internal
}

/// An error as people read it: `error: what, where, what is allowed`, with its causes.
#[must_use]
pub fn describe(error: &anyhow::Error) -> String {
    if let Some(problems) = error.downcast_ref::<ScenarioError>() {
        return problems.to_string();
    }
    let mut text = format!("error: {error}");
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // A transparent error repeats what it wraps.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}
