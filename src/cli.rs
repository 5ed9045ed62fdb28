//! Command line types; what they do is in [`crate::commands`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use crate::cache::Keep;
use crate::scenario::{ArgMax, quantity};
use crate::terms::{Dtype, SensorKind, model};
use crate::units::Bytes;

/// Measures how prefill and decode of LLM inference scale on one box, with proof of what ran.
#[derive(Debug, Parser)]
#[command(name = "phasebench", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// A size such as `20GiB`, or an age such as `30d` or `12h`.
fn size_or_age(text: &str) -> Result<Keep, String> {
    let days = text.trim().strip_suffix('d').and_then(|days| days.trim().parse::<u32>().ok());
    if let Some(days) = days {
        return Ok(Keep::UsedWithin(Duration::from_secs(u64::from(days) * 24 * 3600)));
    }
    if let Ok(age) = quantity::duration(text) {
        return Ok(Keep::UsedWithin(age));
    }
    let wrong = |why| format!("`{text}` {why}; allowed: a size such as 20GiB, or an age such as 30d or 12h");
    quantity::bytes(text).map(Keep::Size).map_err(wrong)
}

/// A name of an element type, of those that a model can be stored in.
fn stored_dtype(text: &str) -> Result<model::Dtype, String> {
    let known = [model::Dtype::F32, model::Dtype::F16, model::Dtype::Bf16];
    known.into_iter().find(|dtype| dtype.as_str() == text).ok_or_else(|| "allowed: f32, f16, bf16".to_owned())
}

/// A model with a success rate.
fn success(text: &str) -> Result<(String, f64), String> {
    let allowed = || "allowed: MODEL=RATE, the rate above 0 and up to 1".to_owned();
    let (model, rate) = text.rsplit_once('=').ok_or_else(allowed)?;
    let rate = rate.parse::<f64>().ok().filter(|rate| *rate > 0.0 && *rate <= 1.0).ok_or_else(allowed)?;
    Ok((model.to_owned(), rate))
}

/// A number of months.
fn months(text: &str) -> Result<f64, String> {
    let months = text.parse::<f64>().ok().filter(|months| *months > 0.0 && *months <= 1200.0);
    months.ok_or_else(|| "allowed: more than 0, at most 1200".to_owned())
}

const EXIT_CODES: &str = "Exit codes: 0 good · 1 internal error, or a check failed (validate, models verify) · 2 bad scenario file or usage
3 more calls degraded or never made than the scenario allows, or a model that could not be measured at all
4 run folder cannot be read or written, or cache or --out cannot be written · 6 stack changed, a new run is required · 7 a backend asked for is unavailable · 130 interrupted (resume with --resume)

Results go to stdout, progress and warnings to stderr.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what this machine can run, and how to get what is missing
    Doctor(DoctorArgs),
    /// Fetch a runtime into the cache
    #[command(subcommand)]
    Setup(SetupCommand),
    /// Measure the timing of this machine's power sensors, so that their figures can be graded better than from assumptions
    Calibrate(CalibrateArgs),
    /// Make, export, inspect and verify models
    #[command(subcommand)]
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
    Analyze(RunFolderArgs),
    /// Write report.md, report.html and plots of a run
    Report(RunFolderArgs),
    /// Check a run's artifacts and invariants
    Validate(RunFolderArgs),
    /// Fit a latency law to any table
    Fit(FitArgs),
    /// Put prices on a run, or on any table of rates, for a workload
    Cost(CostArgs),
    /// Say what a run's rows advise: engines, routing, compiling, warm pools; with prices and a workload what serves it cheapest
    Decide(DecideArgs),
    /// Say what a model's KV cache takes, and what fits into memory with it; the model need not have been run
    Kv(KvArgs),
    /// Serve an engine over the worker protocol, as a run does for `isolation: process`
    #[command(subcommand)]
    Worker(WorkerCommand),
    /// Keep a worker: end it, and whatever it started, with whoever holds standard input
    #[command(hide = true)]
    Supervise(SuperviseArgs),
    /// Print the JSON Schema of scenario files, or of pricing or workload files, for editors
    Schema(SchemaArgs),
    /// Print shell completions
    Completions(CompletionsArgs),
}

impl Command {
    /// Whether it reads or writes the cache, other than to look after it.
    #[must_use]
    pub fn uses_cache(&self) -> bool {
        match self {
            Self::Setup(_) | Self::Calibrate(_) | Self::Models(_) | Self::Bench(_) | Self::Run(_) | Self::Worker(_) => {
                true
            }
            Self::Doctor(args) => !args.clean,
            Self::Plan(_)
            | Self::Analyze(_)
            | Self::Report(_)
            | Self::Validate(_)
            | Self::Fit(_)
            | Self::Cost(_)
            | Self::Decide(_)
            | Self::Kv(_)
            | Self::Init(_)
            | Self::Supervise(_)
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
            Self::Analyze(args) | Self::Report(args) | Self::Validate(args) => args.json,
            Self::Fit(args) => args.json,
            Self::Cost(args) => args.json,
            Self::Decide(args) => args.json,
            Self::Kv(args) => args.json,
            Self::Schema(_) => true,
            Self::Models(
                ModelsCommand::Synth(_) | ModelsCommand::Export(_) | ModelsCommand::Pull(_) | ModelsCommand::Prune(_),
            )
            | Self::Setup(_)
            | Self::Calibrate(_)
            | Self::Worker(_)
            | Self::Init(_)
            | Self::Supervise(_)
            | Self::Completions(_) => false,
        }
    }
}

/// `doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// A scenario file: whether its servers answer and have its models
    pub scenario: Option<PathBuf>,
    /// Remove what killed programs have left: unfinished files of the cache; folders, processes and containers of workers.
    /// Show what the cache holds
    #[arg(long, conflicts_with_all = ["scenario", "json"])]
    pub clean: bool,
    /// Say what of the cache would go so that it is no larger than SIZE (20GiB), or holds nothing unused for AGE (30d)
    #[arg(long, value_name = "SIZE|AGE", requires = "clean", value_parser = size_or_age)]
    pub keep: Option<Keep>,
    /// Remove it, with --keep
    #[arg(long, requires = "keep")]
    pub yes: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `setup`
#[derive(Debug, Subcommand)]
pub enum SetupCommand {
    /// Fetch the pinned ONNX Runtime through pip, check its SHA-256, unpack it into the cache
    Onnxruntime(SetupOnnxruntimeArgs),
    /// Fetch the locked torch (3.1 GB) and make its environment (5.7 GB), or its image, in which the worker runs
    Torch(SetupTorchArgs),
}

/// `setup onnxruntime`
#[derive(Debug, Args)]
pub struct SetupOnnxruntimeArgs {
    /// The build with CUDA, and the NVIDIA libraries it needs
    #[arg(long, conflicts_with = "library")]
    pub cuda: bool,
    /// Use this shared library instead of fetching one
    #[arg(long, value_name = "PATH")]
    pub library: Option<PathBuf>,
}

/// `setup torch`
#[derive(Debug, Args)]
pub struct SetupTorchArgs {
    /// Build the worker's image instead, with the Docker engine of DOCKER_HOST or of the context in use
    #[arg(long)]
    pub docker: bool,
    /// Image to build it on, instead of the Dockerfile's
    #[arg(long, value_name = "IMAGE", requires = "docker")]
    pub base: Option<String>,
    /// Python that the environment is made with, and that fetches
    #[arg(long, value_name = "PATH", default_value = "python3")]
    pub python: PathBuf,
}

/// `models`
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Make a synthetic model folder (config.json, model.safetensors, tokenizer.json)
    Synth(SynthArgs),
    /// Export a model folder to the form an engine loads
    Export(ExportArgs),
    /// Print a folder's architecture, parameters, bytes and KV bytes per token
    Inspect(InspectArgs),
    /// Compare engines' log-probabilities with the folder's reference.json, and with each other
    Verify(VerifyArgs),
    /// Let an Ollama server fetch a model into its own store
    Pull(PullArgs),
    /// Delete what runs have uploaded to an Ollama server
    Prune(PruneArgs),
}

/// `models synth`
#[derive(Debug, Args)]
pub struct SynthArgs {
    /// Family: gpt2, llama, qwen2 or phi
    #[arg(long)]
    pub family: String,
    /// Layers
    #[arg(long)]
    pub n_layer: u32,
    /// Width of the residual stream
    #[arg(long)]
    pub n_embd: u32,
    /// Attention heads
    #[arg(long)]
    pub n_head: u32,
    /// Key and value heads; as many as attention heads if not given
    #[arg(long)]
    pub n_kv_head: Option<u32>,
    /// Width inside the MLP; the family's usual multiple of --n-embd if not given
    #[arg(long)]
    pub n_inner: Option<u32>,
    /// Vocabulary
    #[arg(long)]
    pub vocab: Option<u32>,
    /// Longest context
    #[arg(long)]
    pub n_positions: Option<u32>,
    /// Stored element type: f32, f16 or bf16
    #[arg(long)]
    pub dtype: Option<String>,
    /// Seed of the weights
    #[arg(long)]
    pub seed: Option<u64>,
    /// Where to put the folder; in the cache if not given
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// `models export`
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("format").required(true).args(["onnx", "gguf"])))]
pub struct ExportArgs {
    /// The model folder
    pub folder: PathBuf,
    /// To an ONNX decoder graph
    #[arg(long)]
    pub onnx: bool,
    /// To a GGUF file, for servers on llama.cpp
    #[arg(long)]
    pub gguf: bool,
    /// Element type of the weights; in ONNX also of KV cache and logits
    #[arg(long, value_enum, default_value_t)]
    pub dtype: Dtype,
    /// Where the next token is chosen (ONNX)
    #[arg(long, value_enum, default_value_t, conflicts_with = "gguf")]
    pub arg_max: ArgMax,
    /// Weights in a file beside the graph, also where they would fit into it (ONNX, with --out)
    #[arg(long, conflicts_with = "gguf", requires = "out")]
    pub external_data: bool,
    /// The folder to put it into, or with --gguf a file that ends in .gguf; in the cache if not given
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// `models inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The model folder
    pub folder: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `models verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The model folder; reference.json in it is what an independent implementation computed
    pub folder: PathBuf,
    /// Element type of the exported model
    #[arg(long, value_enum, default_value_t)]
    pub dtype: Dtype,
    /// Compare an Ollama server too, with the reference (if there is one) and with ONNX Runtime
    #[arg(
        long,
        visible_alias = "url",
        value_name = "URL",
        num_args = 0..=1,
        default_missing_value = "http://127.0.0.1:11434"
    )]
    pub ollama: Option<String>,
    /// Greedy steps to compare per prompt
    #[arg(long, default_value_t = 24, requires = "ollama", value_parser = clap::value_parser!(u32).range(1..=30))]
    pub steps: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `models pull`
#[derive(Debug, Args)]
pub struct PullArgs {
    /// The model's name in the server's library, such as gemma3:270m
    pub model: String,
    /// The server
    #[arg(long, visible_alias = "ollama", default_value = "http://127.0.0.1:11434")]
    pub url: String,
}

/// `models prune`
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// The server
    #[arg(long, visible_alias = "ollama", default_value = "http://127.0.0.1:11434")]
    pub url: String,
    /// Only say what would be deleted
    #[arg(long)]
    pub dry_run: bool,
}

/// `plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The scenario file
    pub scenario: PathBuf,
    /// Only cells where these hold, e.g. backend=ort-cpu,model=gpt2-25m
    #[arg(long, value_name = "KEY=VALUE,…")]
    pub only: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The scenario file
    #[arg(required_unless_present = "resume")]
    pub scenario: Option<PathBuf>,
    /// The run folder; named by time, scenario and plan below results/ if not given
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub out: Option<PathBuf>,
    /// Only cells where these hold, e.g. backend=ort-cpu,model=gpt2-25m
    #[arg(long, value_name = "KEY=VALUE,…", conflicts_with = "resume")]
    pub only: Option<String>,
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

/// `decide`
#[derive(Debug, Args)]
pub struct DecideArgs {
    /// The run folder
    pub run: PathBuf,
    /// Prices, such as scenarios/pricing/tr123.yaml
    #[arg(long, value_name = "FILE")]
    pub pricing: Option<PathBuf>,
    /// Requests, such as scenarios/workloads/tr123_packs.yaml
    #[arg(long, value_name = "FILE", requires = "pricing")]
    pub workload: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `init`
#[derive(Debug, Args)]
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
pub struct BenchArgs {
    /// MODEL or onnx:MODEL (ONNX Runtime), torch:MODEL, compile:MODEL (torch.compile), ollama:MODEL or ollama:TAG; a MODEL is
    /// a model folder or synthetic:NAME, e.g. synthetic:gpt2-25m
    #[arg(required = true, value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Prompt lengths in tokens
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [16, 128], value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub prompt: Vec<u32>,
    /// Decode steps timed in each call
    #[arg(long = "gen", value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
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
    /// The Ollama server
    #[arg(long, value_name = "URL")]
    pub ollama: Option<String>,
    /// The run folder; named by time and plan below results/ if not given
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

/// `fit`
#[derive(Debug, Args)]
pub struct FitArgs {
    /// A CSV file with a header
    pub table: PathBuf,
    /// Column of the predictor
    #[arg(long, value_name = "COL")]
    pub x: String,
    /// Column of the latency
    #[arg(long, value_name = "COL")]
    pub y: String,
    /// Column of a second predictor
    #[arg(long, value_name = "COL")]
    pub x2: Option<String>,
    /// Fit the rows of each value of this column apart
    #[arg(long, value_name = "COL")]
    pub group: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `cost`
#[derive(Debug, Args)]
pub struct CostArgs {
    /// A run folder, or a CSV file with a header
    #[arg(value_name = "RUN|TABLE.csv")]
    pub of: PathBuf,
    /// Pricing file, such as scenarios/pricing/tr119.yaml
    #[arg(long, value_name = "FILE")]
    pub pricing: PathBuf,
    /// Workload file, such as scenarios/workloads/whitepaper.yaml; without it, a million tokens of each phase is all
    #[arg(long, value_name = "FILE")]
    pub workload: Option<PathBuf>,
    /// How long machines are held against hire; the hardware's months if not given, else 36
    #[arg(long, value_name = "N", value_parser = months)]
    pub months: Option<f64>,
    /// Success rate of a model, 0 to 1, such as small=0.7: what a dearer model must reach; may be given more than once
    #[arg(long, value_name = "MODEL=RATE", value_parser = success)]
    pub success: Vec<(String, f64)>,
    /// How a table's rates become times; of a run both are shown
    #[arg(long, value_enum, default_value_t)]
    pub rule: CostRule,
    /// Columns of a table whose values rows are averaged over
    #[arg(long, value_name = "COL,…", value_delimiter = ',')]
    pub group: Vec<String>,
    /// Column of prefill's rate; prefill_tokens_per_s if not given
    #[arg(long, value_name = "COL", conflicts_with = "rate")]
    pub prefill: Option<String>,
    /// Column of decode's rate; decode_tokens_per_s or kv_decode_tokens_per_s if not given
    #[arg(long, value_name = "COL", conflicts_with = "rate")]
    pub decode: Option<String>,
    /// Column of one rate for all tokens
    #[arg(long, value_name = "COL")]
    pub rate: Option<String>,
    /// Also write what a run costs as CSV files into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Sensor that a table's power is from: nvml, rapl or hwmon
    #[arg(long, value_name = "KIND")]
    pub sensor: Option<SensorKind>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How a table's rates become times.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum CostRule {
    /// Times are averaged, and taken between the lengths measured
    #[default]
    Measured,
    /// Rates are averaged, as the published reports do
    Tr119,
}

/// `kv`
#[derive(Debug, Args)]
pub struct KvArgs {
    /// A model folder, or a config.json
    pub model: PathBuf,
    /// Contexts to reckon, in tokens
    #[arg(long, value_name = "TOKENS,…", value_delimiter = ',', default_value = "64,128,256,512,1024,2048",
        value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub context: Vec<u64>,
    /// Sequences at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub batch: u64,
    /// What weights and cache may take together; the machine's memory if not given
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes)]
    pub memory: Option<Bytes>,
    /// Size of the weights, such as that of a quantised file; counted from the model if not given
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes)]
    pub weights: Option<Bytes>,
    /// Element type of weights and cache: f32, f16 or bf16; beside it stands a cache of 8 bits
    #[arg(long, default_value = "f16", value_parser = stored_dtype)]
    pub dtype: model::Dtype,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `worker`
#[derive(Debug, Subcommand)]
pub enum WorkerCommand {
    /// ONNX Runtime
    Onnx(WorkerArgs),
}

/// `worker onnx`
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Where to listen: unix:/PATH, or tcp:127.0.0.1:PORT with a token in PHASEBENCH_WORKER_TOKEN; port 0 is any free one
    #[arg(long, value_name = "ADDRESS")]
    pub listen: String,
    /// End when standard input is closed
    #[arg(long)]
    pub exit_on_stdin_close: bool,
}

/// `supervise`
#[derive(Debug, Args)]
pub struct SuperviseArgs {
    /// The worker's command
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

/// `calibrate`
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    /// Kind of sensor: nvml, rapl or hwmon; may be given more than once. All, if not given
    #[arg(long, value_name = "KIND")]
    pub sensor: Vec<SensorKind>,
    /// Measure again what was measured in this boot
    #[arg(long)]
    pub again: bool,
    /// Folder for calibration.json, report.md, report.html and plots
    #[arg(long, value_name = "DIR", default_value = "calibration")]
    pub out: PathBuf,
}

/// `schema`
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Of which files
    #[arg(value_enum, default_value_t)]
    pub of: SchemaOf,
}

/// Files that a user writes.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum SchemaOf {
    /// What is measured
    #[default]
    Scenario,
    /// What hours, kilowatt-hours and machines cost
    Pricing,
    /// Which requests are served
    Workload,
}

/// `completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

impl ValueEnum for Dtype {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::F32, Self::F16]
    }
    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.as_str()))
    }
}

impl ValueEnum for ArgMax {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Outside, Self::Inside]
    }
    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(match self {
            Self::Outside => "outside",
            Self::Inside => "inside",
        }))
    }
}
