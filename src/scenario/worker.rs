//! Engines that live in another process: the torch worker, any worker at an address, and where ONNX Runtime runs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Dtype;
use crate::units::Bytes;

/// Where an in-process engine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// In this process.
    #[default]
    None,
    /// In a child of this program, one per session: its crash costs one call.
    Process,
}

/// How the torch worker is started and set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TorchSettings {
    /// How it is started.
    pub launch: Launch,
    /// What it may use. Only a container holds it to this.
    pub resources: Resources,
    /// Where the model must run.
    pub device: TorchDevice,
    /// Weights and KV cache.
    pub dtype: Dtype,
    /// Threads inside an operator. `None`: torch's choice.
    pub threads: Option<u32>,
    /// What is compiled. `None`: nothing, the model runs eagerly.
    pub compile: Option<CompileSettings>,
}

/// How a worker is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Launch {
    /// In the environment that `phasebench setup torch` made.
    #[default]
    Process,
    /// In a container of the image that `phasebench setup torch --docker` built.
    Docker,
}

/// What a container may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resources {
    /// Memory. `None`: all of the machine's.
    pub memory: Option<Bytes>,
    /// Processors. `None`: all.
    pub cpus: Option<u32>,
    /// Processes and threads at once. `None`: the launcher's default.
    pub pids: Option<u32>,
}

/// Where torch runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TorchDevice {
    /// On the processors.
    Cpu,
    /// On the GPU of this index.
    Cuda(u32),
}

/// `cpu`, `cuda:0`: as torch calls it.
impl fmt::Display for TorchDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// What `torch.compile` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileSettings {
    /// Whether the pass over the prompts is compiled.
    pub prefill: bool,
    /// Whether the decode step is compiled.
    pub decode: bool,
    /// Which compiler.
    pub backend: CompileBackend,
    /// Its preset.
    pub mode: CompileMode,
    /// Whether a graph is made for every shape.
    pub dynamic: Dynamic,
    /// Prompt lengths that prompts are padded to, ascending. Empty: they are not padded.
    pub buckets: Vec<u32>,
    /// Whether a graph that cannot be compiled whole is an error.
    pub fullgraph: bool,
    /// What a shape does that was not made ready.
    pub on_recompile: OnRecompile,
    /// Most graphs of one function. `None`: torch's own limit.
    pub recompile_limit: Option<u32>,
}

/// A compiler behind `torch.compile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompileBackend {
    /// Generates and compiles kernels.
    #[default]
    Inductor,
    /// Traces forward and backward, then runs the operators eagerly.
    AotEager,
    /// Captures CUDA graphs of the eager operators.
    Cudagraphs,
}

impl CompileBackend {
    /// The name torch knows it by.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inductor => "inductor",
            Self::AotEager => "aot_eager",
            Self::Cudagraphs => "cudagraphs",
        }
    }
}

/// A preset of the compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CompileMode {
    /// No preset.
    #[default]
    Default,
    /// CUDA graphs where they can be.
    ReduceOverhead,
    /// Tries kernels against each other.
    MaxAutotune,
    /// The same, without CUDA graphs.
    MaxAutotuneNoCudagraphs,
}

impl CompileMode {
    /// The name torch knows it by.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::ReduceOverhead => "reduce-overhead",
            Self::MaxAutotune => "max-autotune",
            Self::MaxAutotuneNoCudagraphs => "max-autotune-no-cudagraphs",
        }
    }
}

/// Whether a graph serves several shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dynamic {
    /// One graph per shape.
    #[default]
    Static,
    /// One graph for all lengths.
    Dynamic,
    /// Static first, dynamic where a second shape comes: torch's default.
    Auto,
}

impl Dynamic {
    /// The value of the worker's option `compile.dynamic`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Static => "false",
            Self::Dynamic => "true",
            Self::Auto => "auto",
        }
    }
}

/// What becomes of a call whose shape was not compiled before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRecompile {
    /// It fails. Every planned shape is compiled before the first call, as a phase of its own.
    #[default]
    Fail,
    /// It compiles; the compilation is counted and its time is in the row.
    Record,
}

/// Any engine that serves the worker protocol at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectSettings {
    /// `unix:/path/to/socket` or `tcp:127.0.0.1:PORT`.
    pub address: String,
    /// Environment variable that holds the token it wants. `None`: none.
    pub token_env: Option<String>,
    /// Device by the engine's name, e.g. `cpu`, `cuda:0`.
    pub device: String,
    /// Weights and KV cache.
    pub dtype: Dtype,
    /// Threads inside an operator. `None`: the engine's choice.
    pub threads: Option<u32>,
    /// The engine's own settings, `key=value` each.
    pub options: Vec<(String, String)>,
}
