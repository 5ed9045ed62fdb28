//! Why a command ended before its end, and which exit code that is: the one place that knows.

use std::io;

use crate::analysis::WriteError;
use crate::backend::worker::launch::LaunchError;
use crate::backend::worker::serve::ServeError;
use crate::backend::{BackendError, ollama, onnx};
use crate::cache;
use crate::calibrate::CalibrateError;
use crate::exit::Exit;
use crate::history::HistoryError;
use crate::import::ImportError;
use crate::model;
use crate::plan::{OnlyError, PlanError};
use crate::record::manifest;
use crate::report::sections::several::MOST_RUNS;
use crate::run::{PowerError, RunError};
use crate::scenario::workload::RequestsError;
use crate::scenario::{CsvError, ScenarioError};
use crate::signals::SignalError;
use crate::store::{self, StoreError};

use super::bench::{BadTarget, Unmeasurable};
use super::compare::CompareError;

/// A Docker engine that lists containers and does not remove them.
#[derive(Debug, thiserror::Error)]
#[error("docker at {host}: {why}")]
pub struct EngineRefused {
    pub(super) host: String,
    pub(super) why: String,
}

/// No server can be at this address.
#[derive(Debug, thiserror::Error)]
#[error("--url: {0}")]
pub struct BadUrl(pub(super) String);

/// Several backends are missing; each with its fix.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\nerror: "))]
pub struct Missing(pub Vec<BackendError>);

/// A file that would be written over.
#[derive(Debug, thiserror::Error)]
#[error("{0}: exists already\n  try: another name with --out, or - to print it")]
pub struct Exists(pub(super) String);

/// A name that is no tier of a pricing file.
#[derive(Debug, thiserror::Error)]
#[error("--tier: there is no tier `{name}` in {of}\n  allowed: {known}")]
pub struct NoTier {
    pub(super) name: String,
    pub(super) of: String,
    pub(super) known: String,
}

/// Options of `cost` that what is priced has no use for.
#[derive(Debug, thiserror::Error)]
#[error("{path} is {priced}, where {given} would change nothing\n  only {takers} take: {theirs}")]
pub struct NoUse {
    pub(super) path: String,
    pub(super) priced: &'static str,
    pub(super) given: String,
    pub(super) takers: &'static str,
    pub(super) theirs: String,
}

/// Where a report of several runs cannot go.
#[derive(Debug, thiserror::Error)]
pub enum BadReport {
    /// Nothing says where to.
    #[error("a report of {0} runs needs a folder of its own\n  try: --out DIR")]
    NoFolder(usize),
    /// More than fit into one.
    #[error("a report of {0} runs; allowed: up to {MOST_RUNS}")]
    TooMany(usize),
}

/// The run began on another stack or with other weights: its rows must not be mixed with new ones.
#[derive(Debug, thiserror::Error)]
#[error("{folder}: {what} changed since the run began\n  try: a new run of its {}, and compare", store::SPEC)]
pub struct StackChanged {
    pub(super) folder: String,
    pub(super) what: String,
}

/// A run is to be resumed with another scenario file than it began with.
#[derive(Debug, thiserror::Error)]
#[error(
    "{scenario} is not the scenario file that {run} began with\n  try: phasebench run --resume {run}   (goes on with its \
     own), or phasebench run {scenario}   (a new run)"
)]
pub struct OtherScenario {
    pub(super) run: String,
    pub(super) scenario: String,
}

/// The system does not tell its memory.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell how much memory this machine has: give `limits: {{ memory: … }}` in the scenario file: {0}")]
pub struct MemoryUnknown(pub(super) String);

/// Whatever stopped a command. An error that has no variant here does not compile into one, so none is without a code.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is named after the error that it holds")]
pub enum CommandError {
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    #[error(transparent)]
    Only(#[from] OnlyError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Model(#[from] model::Error),
    #[error(transparent)]
    Csv(#[from] CsvError),
    #[error(transparent)]
    Requests(#[from] RequestsError),
    #[error(transparent)]
    Target(#[from] BadTarget),
    #[error(transparent)]
    Unmeasurable(#[from] Unmeasurable),
    #[error(transparent)]
    Tier(#[from] NoTier),
    #[error(transparent)]
    NoUse(#[from] NoUse),
    #[error(transparent)]
    Report(#[from] BadReport),
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Compare(#[from] CompareError),
    #[error(transparent)]
    Exists(#[from] Exists),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Cache(#[from] cache::Unwritable),
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    #[error(transparent)]
    OtherScenario(#[from] OtherScenario),
    #[error(transparent)]
    StackChanged(#[from] StackChanged),
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Power(#[from] PowerError),
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    #[error(transparent)]
    Tables(#[from] WriteError),
    #[error(transparent)]
    VerifyOnnx(#[from] onnx::verify::VerifyError),
    #[error(transparent)]
    VerifyOllama(#[from] ollama::verify::VerifyError),
    #[error(transparent)]
    BadUrl(#[from] BadUrl),
    #[error(transparent)]
    Docker(#[from] EngineRefused),
    #[error(transparent)]
    Memory(#[from] MemoryUnknown),
    #[error(transparent)]
    Signals(#[from] SignalError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Standard output refuses, or a process cannot be started.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Any of them, with what was being done.
    #[error("{doing}")]
    While { doing: String, source: Box<CommandError> },
}

impl CommandError {
    /// The same error, with what was being done before it.
    #[must_use]
    pub fn during(self, doing: impl Into<String>) -> Self {
        Self::While { doing: doing.into(), source: Box::new(self) }
    }

    /// The run folder's error that this is. `None`: it is another.
    #[must_use]
    pub fn store(&self) -> Option<&StoreError> {
        match self {
            Self::While { source, .. } => source.store(),
            Self::Store(error)
            | Self::Run(RunError::Store(error))
            | Self::Power(PowerError::Store(error))
            | Self::Tables(WriteError::Store(error)) => Some(error),
            _ => None,
        }
    }

    /// An error as people read it: `error: what, where, what is allowed`, with its causes.
    #[must_use]
    pub fn describe(&self) -> String {
        // Every problem of a scenario file stands on a line of its own, with its place.
        if let Self::Scenario(problems) = self {
            return problems.to_string();
        }
        let mut text = format!("error: {self}");
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let words = error.to_string();
            // Some errors repeat what they hold.
            if !text.contains(&words) {
                text.push_str(": ");
                text.push_str(&words);
            }
            cause = error.source();
        }
        text
    }

    /// The same for scripts, which know that it is an error: each line that begins one without the word.
    #[must_use]
    pub fn words(&self) -> String {
        const BEGINS: &str = "error: ";
        let described = self.describe();
        let lines = described.lines().map(|line| line.strip_prefix(BEGINS).unwrap_or(line));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// The one table from errors to exit codes. A closed pipe is success: whoever read had enough.
impl From<&CommandError> for Exit {
    fn from(error: &CommandError) -> Self {
        match error {
            CommandError::While { source, .. } => Self::from(source.as_ref()),
            CommandError::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => Self::Good,
            CommandError::Scenario(_)
            | CommandError::OtherScenario(_)
            | CommandError::Only(_)
            | CommandError::Csv(_)
            | CommandError::Requests(_)
            | CommandError::Target(_)
            | CommandError::Unmeasurable(_)
            | CommandError::Tier(_)
            | CommandError::NoUse(_)
            | CommandError::Report(_)
            | CommandError::Import(_)
            | CommandError::Exists(_)
            | CommandError::BadUrl(_)
            | CommandError::Launch(_)
            | CommandError::Serve(_) => Self::Usage,
            CommandError::Compare(CompareError::Figures(_)) => Self::Internal,
            CommandError::Compare(
                CompareError::SameRun { .. }
                | CompareError::Runs(_)
                | CompareError::Slowdown { .. }
                | CompareError::Backend { .. }
                | CompareError::Gate(_),
            ) => Self::Usage,
            CommandError::Model(error) => of_model(error),
            CommandError::Store(_)
            | CommandError::History(_)
            | CommandError::Cache(_)
            | CommandError::Run(RunError::Store(_))
            | CommandError::Power(PowerError::Store(_))
            | CommandError::Tables(WriteError::Store(_)) => Self::Store,
            CommandError::StackChanged(_) => Self::StackChanged,
            CommandError::Missing(_) => Self::Unavailable,
            CommandError::Backend(error) => of_backend(error),
            CommandError::VerifyOnnx(error) => of_onnx(error),
            CommandError::VerifyOllama(error) => of_ollama(error),
            CommandError::Plan(_)
            | CommandError::Manifest(_)
            | CommandError::Run(RunError::Backend(_) | RunError::Unprepared { .. })
            | CommandError::Power(PowerError::Thread(_))
            | CommandError::Calibrate(_)
            | CommandError::Tables(WriteError::Csv { .. } | WriteError::Json { .. } | WriteError::Io(_))
            | CommandError::Docker(_)
            | CommandError::Memory(_)
            | CommandError::Signals(_)
            | CommandError::Json(_)
            | CommandError::Io(_) => Self::Internal,
        }
    }
}

fn of_model(error: &model::Error) -> Exit {
    if error.is_unwritable() { Exit::Store } else { Exit::Usage }
}

fn of_backend(error: &BackendError) -> Exit {
    match error {
        BackendError::Unavailable { .. } => Exit::Unavailable,
        BackendError::Prepare { .. } => Exit::Usage,
        BackendError::Close { .. } => Exit::Internal,
    }
}

fn of_onnx(error: &onnx::verify::VerifyError) -> Exit {
    use onnx::verify::VerifyError;
    match error {
        VerifyError::Backend(error) => of_backend(error),
        VerifyError::Reference(error) => of_model(error),
        VerifyError::Load(_) | VerifyError::Forward { .. } | VerifyError::Nothing { .. } => Exit::Internal,
    }
}

fn of_ollama(error: &ollama::verify::VerifyError) -> Exit {
    use ollama::verify::VerifyError;
    match error {
        VerifyError::Backend(error) => of_backend(error),
        VerifyError::Model(error) => of_model(error),
        VerifyError::Client(_) => Exit::Unavailable,
        VerifyError::Reply { .. } => Exit::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_being_done_stands_before_the_error_and_keeps_its_code() {
        let gone = BackendError::Unavailable { backend: "b".into(), what: "gone".into(), fix: "find it".into() };
        let error = CommandError::from(gone).during("model `m`");
        assert_eq!(error.describe(), "error: model `m`: backend `b`: gone\n  try: find it");
        assert_eq!(Exit::from(&error), Exit::Unavailable);
    }

    /// Each begins as any error does, and scripts read each without that.
    #[test]
    fn every_missing_backend_is_an_error_of_its_own() {
        let gone = |name: &str| BackendError::Unavailable {
            backend: name.to_owned(),
            what: "gone".to_owned(),
            fix: "find it".to_owned(),
        };
        let error = CommandError::from(Missing(vec![gone("a"), gone("b")]));
        let told = "error: backend `a`: gone\n  try: find it\nerror: backend `b`: gone\n  try: find it";
        assert_eq!(error.describe(), told);
        assert_eq!(error.words(), told.replace("error: ", ""));
    }

    #[test]
    fn a_closed_pipe_is_success_and_other_refusals_are_not() {
        let of = |kind: io::ErrorKind| Exit::from(&CommandError::from(io::Error::from(kind)));
        assert_eq!((of(io::ErrorKind::BrokenPipe), of(io::ErrorKind::Other)), (Exit::Good, Exit::Internal));
    }
}
