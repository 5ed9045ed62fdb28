//! Arguments of what sets runs against each other, and of what brings runs beside them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::import::Format;

/// `3`, `3%` or `2.5` as the factor 1.03 or 1.025.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').trim().parse::<f64>().ok();
    let within = number.filter(|percent| *percent > 0.0 && *percent <= 100.0);
    within.map(|percent| 1.0 + percent / 100.0).ok_or_else(|| "allowed: more than 0, at most 100 percent".to_owned())
}

/// `backend=old,new`.
fn between(text: &str) -> Result<(String, String), String> {
    let names = text.strip_prefix("backend=").and_then(|names| names.split_once(','));
    let both = names.filter(|(a, b)| !a.is_empty() && !b.is_empty() && a != b && !b.contains(','));
    let (a, b) = both.ok_or_else(|| "allowed: backend=X,Y, two backends of the run".to_owned())?;
    Ok((a.to_owned(), b.to_owned()))
}

/// `1.10`: a tenth longer.
fn slowdown(text: &str) -> Result<f64, String> {
    let factor = text.trim().parse::<f64>().ok().filter(|factor| *factor > 1.0 && *factor <= 10.0);
    factor.ok_or_else(|| "allowed: more than 1, at most 10, e.g. 1.10 for calls that take a tenth longer".to_owned())
}

/// `compare`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench compare results/BEFORE results/AFTER")]
pub struct CompareArgs {
    /// Run folders: the baseline, then one or more candidates; with --between or --null one run
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Compare two backends of one run, the baseline's first, e.g. backend=old,new
    #[arg(long, value_name = "backend=X,Y", value_parser = between)]
    pub between: Option<(String, String)>,
    /// Split the sessions of one run, four at least, at random, so many times: how often is anything called different?
    #[arg(long, value_name = "TIMES", num_args = 0..=1, default_missing_value = "1000",
        conflicts_with_all = ["between", "gate", "out", "junit", "github"],
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub null: Option<u32>,
    /// Write report.html, report.md, plots/*.svg, comparison.csv and comparison.json into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How to judge, and what to print
    #[command(flatten)]
    pub judge: JudgeArgs,
}

/// `rerun`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench rerun results/BEFORE --if-changed")]
pub struct RerunArgs {
    /// The run to measure again, on the stack that is here now
    pub run: PathBuf,
    /// Do nothing while nothing changed that can change speed
    #[arg(long)]
    pub if_changed: bool,
    /// Two backends of the run against each other, the baseline's first, both measured again, e.g. backend=old,new
    #[arg(long, value_name = "backend=X,Y", value_parser = between)]
    pub between: Option<(String, String)>,
    /// A self-test: slow the calls of half of the cells by this factor, in half of the sessions, and see whether that is found
    #[arg(long, value_name = "FACTOR", conflicts_with_all = ["if_changed", "between", "gate", "allow", "junit", "github"],
        value_parser = slowdown)]
    pub slowdown: Option<f64>,
    /// With --slowdown: which cells and sessions are slowed
    #[arg(long, value_name = "SEED", default_value_t = 1, requires = "slowdown")]
    pub seed: u64,
    /// Measure again so often at most: until a cell is worse, all are the same or faster, or more sessions would decide none
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3))]
    pub stages: u32,
    /// The folder of the new runs and of the page; beside the run and named after the stack if not given
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How to judge, and what to print
    #[command(flatten)]
    pub judge: JudgeArgs,
}

/// How a comparison is judged, and what is printed of it.
#[derive(Debug, Args)]
pub struct JudgeArgs {
    /// Differences within so many percent are as good as none
    #[arg(long, value_name = "PERCENT", default_value = "3", value_parser = percent)]
    pub margin: f64,
    /// What runs at different times may differ by although nothing changed, a standard deviation in percent; what is known
    /// of the machine if not given
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub drift: Option<f64>,
    /// A run, or a folder of runs; may be given more than once: how much those of the baseline's stack and cells differ, five at
    /// least, is what is allowed for; where each has one session, they are the baseline together
    #[arg(long, value_name = "DIR", conflicts_with = "drift")]
    pub history: Vec<PathBuf>,
    /// Only cells where these hold decide the exit code: backend, model, scenario or mode, e.g. backend=ort-cpu,mode=kv_decode
    #[arg(long, value_name = "KEY=VALUE,…")]
    pub gate: Option<String>,
    /// What does not keep the exit code from being 0 although it is not decided
    #[arg(long, value_name = "WHAT,…", value_delimiter = ',')]
    pub allow: Vec<AllowedReason>,
    /// Write a JUnit XML file, one test case per cell
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Print GitHub annotations, and add a summary to the file that GITHUB_STEP_SUMMARY names
    #[arg(long, conflicts_with = "json")]
    pub github: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What need not be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AllowedReason {
    /// Slower, perhaps by less than the margin
    ExtentOpen,
    /// Too few sessions for the noise
    Undecided,
    /// Another thing was measured, or on another machine
    NotComparable,
    /// Measured on one side only
    Missing,
}

/// `history`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench history results --out history")]
pub struct HistoryArgs {
    /// Run folders, or folders that hold them
    #[arg(required = true, value_name = "DIR")]
    pub runs: Vec<PathBuf>,
    /// Write report.html, report.md, plots/*.svg, history.csv, change_points.csv and history.json into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `import`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench import 1.json 2.json --out results/RUN")]
pub struct ImportArgs {
    /// Result files; each is a session of the same cells
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Their format; from what is in the first file if not given: llama-bench, vllm-serve, vllm-latency, vllm-throughput, sglang,
    /// guidellm, aiperf, genai-perf, ollama-bench, go-bench, csv
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// The run folder to make
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
