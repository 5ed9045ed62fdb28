//! Arguments of what sets runs beside others.

use std::path::PathBuf;

use clap::Args;

use crate::import::Format;

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
