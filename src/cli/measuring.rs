//! Arguments of what plans and measures, and of what reads a run.

use std::path::PathBuf;

use clap::Args;

/// `plan`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench plan scenarios/quickstart.yaml --only model=gpt2-25m")]
pub struct PlanArgs {
    /// The scenario file; - is standard input
    pub scenario: PathBuf,
    /// Only cells where these hold: backend, model or scenario, such as backend=ort-cpu,model=gpt2-25m; may be given more than once
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `run`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench run scenarios/quickstart.yaml --skip-missing")]
pub struct RunArgs {
    /// The scenario file; - is standard input
    #[arg(required_unless_present = "resume")]
    pub scenario: Option<PathBuf>,
    /// The run folder; named by time, scenario and plan below results/ if not given
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub out: Option<PathBuf>,
    /// Only cells where these hold: backend, model or scenario, such as backend=ort-cpu,model=gpt2-25m; may be given more than once
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',', conflicts_with = "resume")]
    pub only: Vec<String>,
    /// Record the cells of unavailable backends as skipped instead of giving up
    #[arg(long)]
    pub skip_missing: bool,
    /// Go on with this run folder; a scenario file beside it must be the one that the run began with
    #[arg(long, value_name = "RUN")]
    pub resume: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `init`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench init models --out mine.yaml")]
pub struct InitArgs {
    /// Where models are looked for, four folders deep
    #[arg(value_name = "DIR", default_value = ".")]
    pub models: PathBuf,
    /// The file; - prints it
    #[arg(long, value_name = "FILE", default_value = "scenario.yaml")]
    pub out: PathBuf,
    /// The Ollama server; where its own client would look if not given
    #[arg(long, value_name = "URL")]
    pub ollama: Option<String>,
}

/// `bench`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench bench synthetic:gpt2-25m torch:synthetic:gpt2-25m --gen 32")]
pub struct BenchArgs {
    /// MODEL or onnx:MODEL (ONNX Runtime), torch:MODEL, compile:MODEL (torch.compile), ollama:MODEL or ollama:TAG; a MODEL is
    /// a model folder or synthetic:NAME, e.g. synthetic:gpt2-25m
    #[arg(required = true, value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Prompt lengths in tokens
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [16, 128], value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub prompt: Vec<u32>,
    /// Decode steps timed in each call
    #[arg(long = "gen", value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub gen_tokens: u32,
    /// Rows decoded together
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub batch: u32,
    /// Threads inside an operator; each engine's own choice if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// On the GPU
    #[arg(long)]
    pub gpu: bool,
    /// The Ollama server; http://127.0.0.1:11434 if not given
    #[arg(long, value_name = "URL")]
    pub ollama: Option<String>,
    /// The run folder; named by time and plan below results/ if not given
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run folder; of several, one report over all, the first being the main run
    #[arg(value_name = "RUN", required = true)]
    pub run: Vec<PathBuf>,
    /// Prices, such as scenarios/pricing/tr123.yaml: what the main run costs
    #[arg(long, value_name = "FILE", requires = "out")]
    pub pricing: Option<PathBuf>,
    /// Requests that are priced, such as scenarios/workloads/tr123_packs.yaml; those that the first run's scenario file names if not
    /// given
    #[arg(long, value_name = "FILE", requires = "pricing")]
    pub workload: Option<PathBuf>,
    /// The folder of the report, which leaves the runs as they are; needed for several runs, or with prices. Into the run's own if
    /// not given
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A run folder
#[derive(Debug, Args)]
pub struct RunFolderArgs {
    /// The run folder
    pub run: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
