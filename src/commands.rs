//! One file per command: the only place where layers meet.

use std::io::Write;

use crate::cache;
use crate::cli::{Cli, Command};
use crate::exit::Exit;
use crate::files;
use crate::lock::Held;
use crate::terminal::warn;

pub mod analyze;
pub mod bench;
pub mod boards;
pub mod calibrate;
mod columns;
pub mod compare;
pub mod completions;
pub mod cost;
pub mod decide;
pub mod doctor;
mod elsewhere;
pub mod error;
mod findings;
pub mod fit;
pub mod history;
pub mod import;
pub mod init;
pub mod kv;
pub mod machine;
mod measuring;
pub mod models;
mod order;
mod out_folder;
pub mod plan;
mod processors;
mod python;
pub mod report;
pub mod rerun;
pub mod run;
mod runs;
pub mod scenario;
pub mod schema;
pub mod setup;
pub mod validate;
pub mod worker;

pub use elsewhere::advised;
pub use error::CommandError;

/// Keeps the cache from being trimmed, and removes what killed programs left in it; says where it is if nobody would look
/// for it there.
fn cache_in_use() -> Option<Held> {
    if let Some(words) = cache::misplaced() {
        warn(&words);
    }
    let root = cache::root();
    let held = cache::hold(&root);
    files::sweep_below(&root);
    held
}

/// Does what the command line asks. Results go to `out`.
///
/// # Errors
/// Whatever stopped it, which knows its exit code.
pub fn dispatch(cli: &Cli, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let _in_use = cli.command.uses_cache().then(cache_in_use);
    match &cli.command {
        Command::Decide(args) => decide::execute(args, out),
        Command::Doctor(args) => doctor::execute(args, out),
        Command::Setup(command) => setup::execute(command, out),
        Command::Calibrate(args) => calibrate::execute(args, out),
        Command::Machine(args) => machine::execute(args, out),
        Command::Models(command) => models::execute(command, out),
        Command::Completions(args) => completions::execute(args, out),
        Command::Analyze(args) => analyze::execute(args, out),
        Command::Init(args) => init::execute(args, out),
        Command::Bench(args) => bench::execute(args, out),
        Command::Boards(args) => boards::execute(args, out),
        Command::Compare(args) => compare::execute(args, out),
        Command::Cost(args) => cost::execute(args, out),
        Command::Fit(args) => fit::execute(args, out),
        Command::History(args) => history::execute(args, out),
        Command::Import(args) => import::execute(args, out),
        Command::Kv(args) => kv::execute(args, out),
        Command::Plan(args) => plan::execute(args, out),
        Command::Rerun(args) => rerun::execute(args, out),
        Command::Report(args) => report::execute(args, out),
        Command::Run(args) => run::execute(args, out),
        Command::Schema(args) => schema::execute(args, out),
        Command::Supervise(args) => worker::supervise(args),
        Command::Validate(args) => validate::execute(args, out),
        Command::Worker(command) => worker::execute(command, out),
    }
}
