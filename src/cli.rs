//! Command line types; what they do is in [`crate::commands`].

mod comparing;
mod deciding;
mod machine;
mod measuring;
mod models;
mod printing;
mod worker;

use clap::{Parser, Subcommand};

pub use comparing::{AllowedReason, CompareArgs, HistoryArgs, ImportArgs, JudgeArgs, RerunArgs};
pub use deciding::{CostArgs, CostRule, DecideArgs, FitArgs, KvArgs};
pub use machine::{
    BoardsArgs, CalibrateArgs, DoctorArgs, MachineArgs, SetupCommand, SetupOnnxruntimeArgs, SetupTorchArgs,
};
pub use measuring::{BenchArgs, InitArgs, PlanArgs, ReportArgs, RunArgs, RunFolderArgs};
pub use models::{ExportArgs, InspectArgs, ModelsCommand, PruneArgs, PullArgs, SynthArgs, VerifyArgs};
pub use printing::{CompletionsArgs, SchemaArgs, SchemaOf};
pub use worker::{CheckArgs, SuperviseArgs, WorkerArgs, WorkerCommand};

/// Measures how prefill and decode of LLM inference scale on one box, with proof of what ran.
#[derive(Debug, Parser)]
#[command(name = "phasebench", version, arg_required_else_help = true, max_term_width = HELP_WIDTH, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Help is no wider than this, in characters.
pub const HELP_WIDTH: usize = 80;

const AFTER_HELP: &str = "Exit codes:
    0  good
    1  internal error, or a check failed (validate, models verify, worker check)
    2  bad scenario file or usage
    3  more calls degraded or never made than the scenario allows, or a model
       that could not be measured at all
    4  run folder, cache or --out cannot be read or written
    5  slower, or newly failing (compare, rerun)
    6  the stack changed: a new run is required
    7  a backend asked for is unavailable, or its server refuses
    8  nothing is known to be worse, but something is undecided, missing or
       not comparable, or nothing was compared (compare, rerun)
  130  interrupted: go on with run --resume

Results go to standard output, progress and warnings to standard error.

Example: phasebench bench synthetic:gpt2-25m";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what this machine can run, and how to get what is missing
    Doctor(DoctorArgs),
    /// Fetch a runtime into the cache
    #[command(subcommand, after_help = "Example: phasebench setup onnxruntime")]
    Setup(SetupCommand),
    /// Measure the timing of this machine's power sensors, so that their figures can be graded better than from assumptions
    Calibrate(CalibrateArgs),
    /// Measure how fast this machine reads memory and computes, without any engine
    Machine(MachineArgs),
    /// Make, export, inspect and verify models
    #[command(subcommand, after_help = "Example: phasebench models inspect models/small")]
    Models(ModelsCommand),
    /// Print what a scenario file would measure; run nothing
    Plan(PlanArgs),
    /// Write a scenario file for the engines and models that are here
    Init(InitArgs),
    /// Measure engines or models side by side, without a scenario file
    Bench(BenchArgs),
    /// Measure
    Run(RunArgs),
    /// Derive every table of a run
    #[command(after_help = "Example: phasebench analyze results/RUN")]
    Analyze(RunFolderArgs),
    /// Write report.md, report.html and plots of a run, or of several together
    #[command(after_help = "Example: phasebench report results/RUN")]
    Report(ReportArgs),
    /// Check a run's artifacts and invariants
    #[command(after_help = "Example: phasebench validate results/RUN")]
    Validate(RunFolderArgs),
    /// Show how every cell went over many runs, and where its level changed
    History(HistoryArgs),
    /// Make a run folder of other tools' result files
    Import(ImportArgs),
    /// Say whether anything changed between two runs, or between two backends of one
    Compare(CompareArgs),
    /// Measure a run again on the stack that is here now, and say whether anything changed
    Rerun(RerunArgs),
    /// Fit a latency law to any table
    Fit(FitArgs),
    /// Put prices on a run, or on any table of rates, for a workload
    Cost(CostArgs),
    /// Say what a run's rows advise: engines, routing, compiling, warm pools; with prices and a workload what serves it cheapest
    Decide(DecideArgs),
    /// Say what a model's KV cache takes, and what fits into memory with it; the model need not have been run
    Kv(KvArgs),
    /// Serve an engine over the worker protocol, as a run does for `isolation: process`; or check a worker
    #[command(subcommand, after_help = "Example: phasebench worker check -- python3 my_worker.py")]
    Worker(WorkerCommand),
    /// Keep a worker: end it, and whatever it started, with whoever holds standard input
    #[command(hide = true)]
    Supervise(SuperviseArgs),
    /// Measure how fast NVIDIA's boards copy in their own memory, for a program that keeps away from their driver
    #[command(hide = true)]
    Boards(BoardsArgs),
    /// Print the JSON Schema of scenario files, or of pricing, workload or claims files, for editors
    Schema(SchemaArgs),
    /// Print shell completions
    Completions(CompletionsArgs),
}

impl Command {
    /// Whether it reads or writes the cache, other than to look after it.
    #[must_use]
    pub fn uses_cache(&self) -> bool {
        match self {
            Self::Setup(_)
            | Self::Calibrate(_)
            | Self::Models(_)
            | Self::Bench(_)
            | Self::Run(_)
            | Self::Rerun(_)
            | Self::Worker(_) => true,
            Self::Doctor(args) => !args.clean,
            Self::Machine(args) => args.watch.is_some(),
            Self::Plan(_)
            | Self::Analyze(_)
            | Self::Report(_)
            | Self::Validate(_)
            | Self::History(_)
            | Self::Import(_)
            | Self::Compare(_)
            | Self::Fit(_)
            | Self::Cost(_)
            | Self::Decide(_)
            | Self::Kv(_)
            | Self::Init(_)
            | Self::Supervise(_)
            | Self::Boards(_)
            | Self::Schema(_)
            | Self::Completions(_) => false,
        }
    }

    /// Whether the results are JSON.
    #[must_use]
    pub fn prints_json(&self) -> bool {
        match self {
            Self::Doctor(args) => args.json,
            Self::Models(ModelsCommand::Inspect(args)) => args.json,
            Self::Models(ModelsCommand::Verify(args)) => args.json,
            Self::Plan(args) => args.json,
            Self::Bench(args) => args.json,
            Self::Run(args) => args.json,
            Self::Report(args) => args.json,
            Self::Analyze(args) | Self::Validate(args) => args.json,
            Self::History(args) => args.json,
            Self::Import(args) => args.json,
            Self::Compare(args) => args.judge.json,
            Self::Rerun(args) => args.judge.json,
            Self::Fit(args) => args.json,
            Self::Cost(args) => args.json,
            Self::Decide(args) => args.json,
            Self::Kv(args) => args.json,
            Self::Worker(WorkerCommand::Check(args)) => args.json,
            Self::Machine(args) => args.json,
            Self::Schema(_) | Self::Boards(_) => true,
            Self::Models(
                ModelsCommand::Synth(_) | ModelsCommand::Export(_) | ModelsCommand::Pull(_) | ModelsCommand::Prune(_),
            )
            | Self::Setup(_)
            | Self::Calibrate(_)
            | Self::Worker(WorkerCommand::Onnx(_))
            | Self::Init(_)
            | Self::Supervise(_)
            | Self::Completions(_) => false,
        }
    }
}
