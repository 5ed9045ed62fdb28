//! Arguments of what serves an engine.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `worker`
#[derive(Debug, Subcommand)]
pub enum WorkerCommand {
    /// ONNX Runtime
    Onnx(WorkerArgs),
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
