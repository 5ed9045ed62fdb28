//! Arguments of what serves an engine.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::models::{EXPORTED, key_and_value, one_of};
use crate::terms::Dtype;

/// `worker`
#[derive(Debug, Subcommand)]
pub enum WorkerCommand {
    /// Serve ONNX Runtime, as a run does in a child for `isolation: process`
    Onnx(WorkerArgs),
    /// Try whether a worker keeps to the protocol, rule by rule: PASS and FAIL lines, exit code 1 where one fails
    #[command(after_help = "Example: phasebench worker check -- python3 my_worker.py")]
    Check(CheckArgs),
}

/// `worker check`
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("worker").required(true).args(["address", "command"])))]
pub struct CheckArgs {
    /// The worker's address: unix:/PATH or tcp:127.0.0.1:PORT
    pub address: Option<String>,
    /// The model folder that it loads; a small one is made if not given
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Environment variable that holds the token it wants
    #[arg(long, value_name = "NAME", requires = "address")]
    pub token_env: Option<String>,
    /// Device by the engine's name
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Weights and KV cache
    #[arg(long, value_parser = one_of(&EXPORTED), default_value = "f32")]
    pub dtype: Dtype,
    /// Threads inside an operator; the engine's choice if not given
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// A setting of the engine's own; again for more
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub options: Vec<(String, String)>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// A program to start instead, with its arguments; --listen and --exit-on-stdin-close are added
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// `worker onnx`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench worker onnx --listen unix:/tmp/onnx.socket")]
pub struct WorkerArgs {
    /// Where to listen: unix:/PATH, or tcp:127.0.0.1:PORT with a token in PHASEBENCH_WORKER_TOKEN; port 0 is any free one
    #[arg(long, value_name = "ADDRESS")]
    pub listen: String,
    /// The ONNX Runtime to load, instead of the one that is selected
    #[arg(long, value_name = "PATH")]
    pub library: Option<PathBuf>,
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
