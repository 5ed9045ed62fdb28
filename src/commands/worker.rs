//! `phasebench worker` and `phasebench supervise`: the child processes of a run, and whether a worker keeps to the protocol.

use std::io::Write;
use std::sync::Arc;

use crate::backend::Surroundings;
use crate::backend::onnx::OnnxBackend;
use crate::backend::worker::clock::KernelClock;
use crate::backend::worker::connection::TOKEN_VARIABLE;
use crate::backend::worker::launch::Address;
use crate::backend::worker::launch::process::READY;
use crate::backend::worker::serve::engine::Maker;
use crate::backend::worker::serve::{Serving, serve};
use crate::backend::worker::{settings, supervise};
use crate::cli::{SuperviseArgs, WorkerArgs, WorkerCommand};
use crate::commands::CommandError;
use crate::exit::Exit;
use crate::scenario::{OnnxSettings, RuntimeSource};
use crate::signals::cancelled_by_signals;

mod check;

/// Serves an engine until it is asked to end, or tries somebody else's worker.
///
/// # Errors
/// It cannot listen; the worker does not answer.
pub fn execute(command: &WorkerCommand, out: &mut dyn Write) -> Result<Exit, CommandError> {
    match command {
        WorkerCommand::Onnx(args) => serve_onnx(args, out),
        WorkerCommand::Check(args) => check::execute(args, out),
    }
}

fn serve_onnx(args: &WorkerArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let WorkerArgs { listen, library, exit_on_stdin_close } = args;
    let surroundings = Surroundings::new(Arc::new(KernelClock), crate::cache::root(), 0);
    let source = library.clone().map_or(RuntimeSource::Selected, RuntimeSource::Library);
    let make: Maker = Box::new(move |settings| {
        let settings = OnnxSettings { source: source.clone(), ..settings::onnx(settings)? };
        Ok(Box::new(OnnxBackend::new("onnx", settings, surroundings.clone())))
    });
    let token = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
    let serving = Serving { listen: listen.parse()?, token, exit_on_stdin_close: *exit_on_stdin_close };
    serve(&serving, make, &cancelled_by_signals()?, |address: &Address| {
        writeln!(out, "{READY}{address}")?;
        out.flush()
    })?;
    Ok(Exit::Good)
}

/// Keeps a worker; ends as it ends.
///
/// # Errors
/// It cannot be started.
pub fn supervise(args: &SuperviseArgs) -> Result<Exit, CommandError> {
    let ended = supervise::run(&args.command)?;
    supervise::end_like(ended)
}
