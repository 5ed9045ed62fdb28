//! The scenario file as validated values.
//!
//! [`read`] turns the text into a tree of nodes with positions, then validates the tree whole, so that every
//! problem of a file is reported at once with its line and column. What is here is what is left after that:
//! no string still to be parsed, no name still to be looked up.

mod build;
mod check;
mod consistency;
mod early_stop;
mod format;
mod node;
mod problem;
mod quantity;
mod read;
mod recipe;
mod schema;
mod shape;
mod worker;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::ModelSource;
use crate::stats::location::NEVER_BEFORE;
use crate::terms::{Mode, SensorKind};
use crate::units::Bytes;

pub use early_stop::EarlyStop;
pub use problem::{Position, Problem, ScenarioError, nearest};
pub use read::{parse, read, read_text};
pub use schema::schema;
pub use worker::{
    CompileBackend, CompileMode, CompileSettings, ConnectSettings, Dynamic, Isolation, Launch, OnRecompile, Resources,
    TorchDevice, TorchSettings,
};

/// A whole scenario file.
#[derive(Debug, Clone, PartialEq)]
pub struct ScenarioFile {
    /// Names the run folder.
    pub name: String,
    /// Decides every random choice: order, prompts.
    pub seed: u64,
    /// How calls follow each other.
    pub order: Order,
    /// When a cell has enough calls.
    pub repetitions: Repetitions,
    /// What is made of calls that end at a stop token.
    pub early_stop: EarlyStop,
    /// What is timed. Never empty, no duplicates, in [`Mode::ALL`] order; `e2e_kv` is derived and not listed.
    pub modes: Vec<Mode>,
    /// What latency is fitted against.
    pub fit: FitAxis,
    /// Longest time one call, one load or one compilation may take.
    pub timeout: Duration,
    /// The prompts.
    pub scenarios: Vec<Scenario>,
    /// The models.
    pub models: Vec<ModelSource>,
    /// The engines and how they are set.
    pub backends: Vec<BackendSettings>,
    /// Combinations left out on purpose.
    pub skip: Vec<SkipRule>,
    /// When the run is not worth trusting, and what it may use.
    pub limits: Limits,
    /// How power is recorded. `None`: it is not.
    pub telemetry: Option<TelemetrySettings>,
}

/// How power is recorded beside the calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// Time between two readings.
    pub period: Duration,
    /// Length of an idle stretch; 0: none is made.
    pub idle: Duration,
    /// Length of each window in which a phase too short for the sensor is repeated; 0: none is made.
    pub looped: Duration,
    /// Whether the timing of a sensor that was not measured in this boot is measured before the run.
    pub calibrate: bool,
    /// Kinds of sensors that are read, and charged with every call. `None`: all are read, and a call is charged to the
    /// device it ran on.
    pub sensors: Option<Vec<SensorKind>>,
}

impl TelemetrySettings {
    /// Kinds of sensors to look for.
    #[must_use]
    pub fn kinds(&self) -> Vec<SensorKind> {
        self.sensors.clone().unwrap_or_else(|| SensorKind::ALL.to_vec())
    }
}

/// How calls follow each other; see [`crate::schedule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Backends × models in random order, everything of one session together: each model loads once.
    #[default]
    Blocked,
    /// Rounds: every cell once per round, in a fresh random order.
    Interleaved,
    /// Cells in one random order, all calls of a cell together.
    Shuffled,
}

/// When a cell has enough timed calls.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repetitions {
    /// Always this many.
    Fixed(u32),
    /// Until the interval is narrow enough.
    Adaptive {
        /// Fewest timed calls; see [`Repetitions::min`].
        min: u32,
        /// Most timed calls.
        max: u32,
        /// Stop once the 95 % interval's half-width is at most this share of the estimate, in every timed mode.
        until_relative_ci: f64,
    },
}

impl Repetitions {
    /// Most timed calls a cell can take.
    #[must_use]
    pub fn max(self) -> u32 {
        match self {
            Self::Fixed(n) => n,
            Self::Adaptive { max, .. } => max,
        }
    }

    /// Fewest timed calls a cell can take: an adaptive one takes [`NEVER_BEFORE`] whatever its `min`, unless its `max`
    /// is less.
    #[must_use]
    pub fn min(self) -> u32 {
        match self {
            Self::Fixed(n) => n,
            Self::Adaptive { min, max, .. } => min.max(NEVER_BEFORE as u32).min(max),
        }
    }
}

/// The column latency is fitted against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FitAxis {
    /// Parameters, in millions.
    #[default]
    Params,
    /// Number of layers.
    NLayer,
    /// Width of the residual stream.
    NEmbd,
    /// Number of attention heads.
    NHead,
}

/// One prompt shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Its name, unique in the file.
    pub name: String,
    /// Where the prompt's tokens come from.
    pub prompt: Prompt,
    /// Rows decoded together.
    pub batch: u32,
    /// Timed decode steps; one cell for each. Empty only where no mode decodes.
    pub gen_tokens: Vec<u32>,
}

/// Where a prompt's tokens come from. Every count includes the begin-of-sequence token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Exactly so many seeded filler tokens.
    Tokens(u32),
    /// This text.
    Text(String),
    /// One text per batch row, in turn; shorter ones padded to `pad_to`, or to the longest.
    Texts {
        /// The texts.
        texts: Vec<String>,
        /// Length all rows are padded to.
        pad_to: Option<u32>,
    },
    /// The beginning of a file, cut to exactly so many tokens. The text was read when the scenario was.
    File {
        /// As the scenario names it, resolved against the scenario file's folder.
        path: PathBuf,
        /// How many tokens.
        tokens: u32,
    },
}

/// One engine, set one way.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendSettings {
    /// Its name, unique in the file.
    pub name: String,
    /// Planned warmup calls per cell and session.
    pub warmups: u32,
    /// The engine.
    pub engine: Engine,
}

/// An engine with its settings.
#[derive(Debug, Clone, PartialEq)]
pub enum Engine {
    /// ONNX Runtime.
    Onnx(OnnxSettings),
    /// An Ollama server.
    Ollama(OllamaSettings),
    /// PyTorch, eager or compiled, in a worker.
    Torch(TorchSettings),
    /// Whatever serves the worker protocol at an address.
    Worker(ConnectSettings),
    /// Scripted truth on a virtual clock.
    Simulated(Box<SimulatedSettings>),
}

impl Engine {
    /// The key that chooses this engine in a scenario file.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Onnx(_) => "onnx",
            Self::Ollama(_) => "ollama",
            Self::Torch(_) => "torch",
            Self::Worker(_) => "worker",
            Self::Simulated(_) => "simulated",
        }
    }

    /// Whether a call may end at a stop token.
    #[must_use]
    pub fn may_stop_early(&self) -> bool {
        match self {
            Self::Onnx(_) | Self::Torch(_) | Self::Worker(_) => false,
            Self::Ollama(_) => true,
            Self::Simulated(script) => {
                let faults = script.faults.iter().any(|fault| fault.kind == FaultKind::EarlyStop);
                faults || script.early_stop_rate > 0.0
            }
        }
    }

    /// Element type of weights and KV cache as asked for.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::Onnx(onnx) => onnx.dtype,
            Self::Ollama(ollama) => ollama.dtype,
            Self::Torch(torch) => torch.dtype,
            Self::Worker(worker) => worker.dtype,
            Self::Simulated(_) => Dtype::F32,
        }
    }
}

/// Element type of weights, KV cache and logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats.
    F16,
    /// However a server holds a model of its own; its quantisation is told beside it.
    #[serde(rename = "as_served")]
    AsServed,
}

impl Dtype {
    /// Bytes per element. `None`: not known.
    #[must_use]
    pub fn bytes(self) -> Option<u64> {
        match self {
            Self::F32 => Some(4),
            Self::F16 => Some(2),
            Self::AsServed => None,
        }
    }

    /// `f32`, `f16` or `as_served`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::AsServed => "as_served",
        }
    }
}

/// How ONNX Runtime is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnnxSettings {
    /// Which execution provider must run the graph.
    pub provider: Provider,
    /// GPU index, for CUDA.
    pub device: u32,
    /// Threads inside an operator. `None`: as many as there are physical cores, as ONNX Runtime counts them.
    pub threads: Option<u32>,
    /// Graph optimisation level.
    pub optimisation: Optimisation,
    /// Weights, KV cache and logits.
    pub dtype: Dtype,
    /// Where the next token is chosen.
    pub arg_max: ArgMax,
    /// Where it runs.
    pub isolation: Isolation,
}

/// How an Ollama server is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct OllamaSettings {
    /// Where it listens: `http://` and a host of this machine.
    pub url: String,
    /// Where models must run.
    pub device: OllamaDevice,
    /// `num_ctx`: the context every load allocates, clamped to the model's own.
    pub num_ctx: u32,
    /// `num_batch`: prompt tokens computed together.
    pub num_batch: u32,
    /// `num_thread`. `None`: the server's choice.
    pub threads: Option<u32>,
    /// Element type that model folders are converted to. The server's KV cache is `f16` unless it is set otherwise.
    pub dtype: Dtype,
    /// Sampling temperature.
    pub temperature: f64,
    /// Most models kept resident. `None`: as the server's settings say.
    pub max_resident: Option<u32>,
}

/// Where an Ollama server must run models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OllamaDevice {
    /// Wherever the server puts them.
    #[default]
    Any,
    /// No layer on a GPU.
    Cpu,
    /// Every layer on a GPU.
    Gpu,
}

impl OllamaDevice {
    /// `any`, `cpu` or `gpu`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
        }
    }
}

/// An execution provider of ONNX Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The default CPU provider.
    #[default]
    Cpu,
    /// NVIDIA CUDA.
    Cuda,
}

/// Graph optimisation level of ONNX Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimisation {
    /// None.
    Disabled,
    /// Level 1.
    Basic,
    /// Level 2.
    Extended,
    /// Everything; the runtime's own default.
    #[default]
    All,
}

/// Where the arg-max over the logits is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArgMax {
    /// By the client, on a view of the engine's logits.
    #[default]
    Outside,
    /// By a node of the graph: only the token id leaves the engine.
    Inside,
}

/// The script of a simulated engine. Every figure is the truth that the analysis must find again.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedSettings {
    /// Time to load a model.
    pub load: Law,
    /// Time to prefill one prompt token of one row.
    pub prefill_per_token: Law,
    /// Time of one decode step.
    pub decode_per_step: Law,
    /// Standard deviation of the log of each phase's time.
    pub noise: f64,
    /// Lag-1 autocorrelation of that noise within a session.
    pub autocorrelation: f64,
    /// Factor on the first call of a session.
    pub cold_factor: f64,
    /// Factor on the first call of each further shape.
    pub cold_shape_factor: f64,
    /// Relative change of every phase's time per call since the session was loaded.
    pub drift_per_call: f64,
    /// Share of calls that stop early, at a seeded place.
    pub early_stop_rate: f64,
    /// Calls that go wrong.
    pub faults: Vec<Fault>,
    /// Power drawn while a phase runs, in watts. `None`: this machine has no sensor.
    pub power_w: Option<f64>,
    /// Most sessions that stay loaded at once. `None`: no limit of its own.
    pub max_resident: Option<u32>,
    /// Whether calls take their scripted time or none.
    pub pace: Pace,
}

/// `base × (params in millions) ^ exponent`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Law {
    /// Time at one million parameters.
    pub base: Duration,
    /// The slope that a power-law fit must find.
    pub exponent: f64,
}

/// A scripted fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Only calls, or loads, of this model; `None`: of any.
    pub model: Option<String>,
    /// Only calls of this scenario; `None`: of any. Always `None` for a load.
    pub scenario: Option<String>,
    /// Which calls of a matching cell: those whose number among the calls of their role, from 1, is a multiple of
    /// this; 1 is every call. Of loads, those whose number among the process's loads of the model is.
    pub every: u32,
}

/// What a scripted fault does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The engine answers with an error; the session stays usable.
    Error,
    /// The call never ends by itself.
    Timeout,
    /// Memory runs out; the session is lost.
    Oom,
    /// The engine's process ends; the session is lost.
    Crashed,
    /// Generation stops at half of the steps.
    EarlyStop,
    /// The model cannot be loaded.
    Load,
}

/// Whether a simulated call takes its scripted time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pace {
    /// On a virtual clock: at once.
    #[default]
    Virtual,
    /// Really waits.
    Real,
}

/// A combination left out on purpose. A field that is `None` matches everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkipRule {
    /// Name of a model.
    pub model: Option<String>,
    /// Name of a backend.
    pub backend: Option<String>,
    /// Name of a scenario.
    pub scenario: Option<String>,
    /// Why, printed with every skipped cell.
    pub reason: String,
}

/// When a run is not worth trusting, and what it may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Largest share of degraded calls before the run exits with code 3.
    pub degraded_rate: f64,
    /// Memory that resident sessions may take together. `None`: half of the machine's.
    pub memory: Option<Bytes>,
}
