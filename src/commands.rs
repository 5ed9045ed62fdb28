//! One file per command: the only place where layers meet.

use std::io::{self, Write};

use crate::backend::BackendError;
use crate::cli::{Cli, Command};
use crate::exit::Exit;
use crate::store::StoreError;

pub mod run;

/// Does what the command line asks. Results go to `out`.
///
/// # Errors
/// Whatever stopped it; [`exit_of`] tells which exit code that is.
pub fn dispatch(cli: &Cli, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match &cli.command {
        Command::Run(args) => run::execute(args, out),
        _ => Ok(Exit::Internal),
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
        if cause.is::<StoreError>() {
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
