//! The scenario file as validated values.
//!
//! [`read()`] turns the text into a tree of nodes with positions, then validates the tree whole, so that every
//! problem of a file is reported at once with its line and column. What is here is what is left after that:
//! no string still to be parsed, no name still to be looked up. [`pricing`], [`workload`] and [`claims`] files are read the
//! same way.

mod build;
mod check;
pub mod claims;
mod consistency;
mod csv_table;
mod device;
pub mod engine;
mod format;
pub mod limits;
pub mod naming;
mod node;
pub mod pricing;
mod problem;
pub mod quantity;
mod read;
mod recipe;
mod reference;
mod schema;
mod section;
mod settings;
mod typed;
pub mod workload;

use std::path::PathBuf;
use std::time::Duration;

use crate::model::ModelSource;
use crate::terms::{Disturbed, EarlyStop, FitAxis, Mode, Order, Repetitions, SensorKind, SessionCount};
use crate::units::Bytes;

pub use csv_table::{CsvError, CsvTable};
pub use engine::onnx::is_version;
pub use engine::{
    ArgMax, CompileBackend, CompileMode, CompileSettings, ConnectSettings, Dynamic, Engine, Fault, FaultKind,
    Isolation, Launch, Law, OllamaDevice, OllamaSettings, OnRecompile, OnnxSettings, Optimisation, Pace, Provider,
    Resources, RuntimeSource, SimulatedSettings, TorchDevice, TorchSettings, TorchSource, WorkerSource,
};
pub use pricing::Pricing;
pub use problem::{Position, Problem, ScenarioError, nearest};
pub use read::{parse, read, read_text};
pub use schema::schema;
pub use workload::Workload;

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
    /// How many sessions a cell's calls are divided over.
    pub sessions: SessionCount,
    /// What is made of calls that end at a stop token.
    pub early_stop: EarlyStop,
    /// What is made of calls that something outside disturbs.
    pub disturbed: Disturbed,
    /// What is timed. Never empty, no duplicates, in [`Mode::ALL`] order; `e2e_kv` is derived and not listed.
    pub modes: Vec<Mode>,
    /// What latency is fitted against.
    pub fit: FitAxis,
    /// Longest time one call, one load or one compilation may take.
    pub timeout: Duration,
    /// The prompts.
    pub scenarios: Vec<Scenario>,
    /// Where in the file each of `scenarios` stands.
    pub scenario_places: Vec<Position>,
    /// The models.
    pub models: Vec<ModelSource>,
    /// Where in the file each of `models` stands.
    pub model_places: Vec<Position>,
    /// The engines and how they are set.
    pub backends: Vec<BackendSettings>,
    /// Combinations left out on purpose.
    pub skip: Vec<SkipRule>,
    /// When the run is not worth trusting, and what it may use.
    pub limits: RunLimits,
    /// When the machine itself is measured.
    pub reference: ReferenceSettings,
    /// How power is recorded. `None`: it is not.
    pub telemetry: Option<TelemetrySettings>,
    /// The workload that the run is decided for. `None`: none is named.
    pub workload: Option<NamedFile>,
    /// Statements that the run is held against. `None`: those of published reports.
    pub claims: Option<NamedFile>,
}

/// Another file that a scenario file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// Resolved against the scenario file's folder.
    pub path: PathBuf,
    /// Where in the scenario file it is named.
    pub at: Position,
}

/// When the machine itself is measured, by kernels that use nothing of any engine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReferenceSettings {
    /// Longest time between two measurements; 0: never.
    pub every: Duration,
    /// Largest share of the run's time that all but the first may take.
    pub share: f64,
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
pub struct RunLimits {
    /// Largest share of degraded calls before the run exits with code 3.
    pub degraded_rate: f64,
    /// Memory that resident sessions may take together. `None`: half of the machine's.
    pub memory: Option<Bytes>,
}
