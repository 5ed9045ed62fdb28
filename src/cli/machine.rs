//! Arguments of what looks at the machine and makes it ready.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cache::Keep;
use crate::scenario::quantity;
use crate::terms::SensorKind;

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

/// `doctor`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench doctor scenarios/ollama_vs_ort.yaml")]
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
    /// Fetch an ONNX Runtime through pip, check its SHA-256, unpack it into the cache
    Onnxruntime(SetupOnnxruntimeArgs),
    /// Fetch the locked torch (3.1 GB) and make its environment (5.7 GB), or its image, in which the worker runs
    Torch(SetupTorchArgs),
}

/// `setup onnxruntime`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench setup onnxruntime --cuda")]
pub struct SetupOnnxruntimeArgs {
    /// The build with CUDA, of the pinned version, and the NVIDIA libraries it needs
    #[arg(long, conflicts_with_all = ["library", "openvino"])]
    pub cuda: bool,
    /// The build with OpenVINO
    #[arg(long, conflicts_with = "library")]
    pub openvino: bool,
    /// This version, such as 1.30.0, beside those that are there: a scenario file names it with `version:`. The pinned one, if
    /// not given, which is used where a scenario names none
    #[arg(long, value_name = "VERSION", conflicts_with = "library")]
    pub version: Option<String>,
    /// Use this shared library instead of fetching one
    #[arg(long, value_name = "PATH")]
    pub library: Option<PathBuf>,
}

/// `setup torch`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench setup torch --python python3.11")]
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
    /// Make an environment of this version of torch beside the selected one, for `torch: { version: V }`
    #[arg(long, value_name = "V", conflicts_with_all = ["docker", "beside"])]
    pub version: Option<String>,
    /// Fetch what the worker needs beside somebody's own torch, for `torch: { python: PATH }` or `image:`; nothing is
    /// installed there. A Python's path, or a version such as 3.12 for an image
    #[arg(long, value_name = "PATH|VERSION", conflicts_with = "docker")]
    pub beside: Option<String>,
}

/// `calibrate`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench calibrate --sensor nvml")]
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

/// `machine`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench machine --threads 1,2 --out machine")]
pub struct MachineArgs {
    /// Thread counts; 1, 2, 4, … up to the processors that this process may use, if not given
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub threads: Vec<u32>,
    /// Look for so long, every ten seconds, and keep what was seen in the cache: how much runs differ since the machine does
    #[arg(long, value_name = "DURATION", conflicts_with_all = ["threads", "out", "json"], value_parser = quantity::duration)]
    pub watch: Option<Duration>,
    /// Also write machine.json and a chart over threads into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `boards`
#[derive(Debug, Args)]
pub struct BoardsArgs {
    /// Repetitions on each board
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repetitions: u32,
    /// Time of each in milliseconds
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub time_ms: u32,
}
