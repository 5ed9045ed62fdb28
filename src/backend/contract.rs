//! What every engine must do, in three steps, so that nothing is generated before it is loaded and nothing
//! is exported inside a timed load: describe, prepare, load; then calls on the session.
//!
//! Layers above ask for capabilities ([`Description`]), never for an engine's name.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cancel::{CancelToken, Deadline};
use super::failure::{BackendError, CompileFailure, Failure};
use super::worker::folder::RunWorkers;
use crate::clock::SharedClock;
use crate::model::ModelSource;
use crate::terms::model::ServedShape;
use crate::terms::{Attribution, BUILD_ENGINES, CompileEvidence, Dtype, Finish, Mode, Phase, Procedure};
use crate::units::{Bytes, Nanos, total};

/// An engine, set one way, before any model.
pub trait Backend {
    /// Finds out what the engine is and can do, and that it can do what the scenario asks. Loads no model.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] names what is missing and the command that fixes it.
    fn describe(&mut self) -> Result<Description, BackendError>;

    /// From now on says to `tell` what it waits for, where that may take long.
    fn tell(&mut self, _tell: Tell) {}

    /// Makes what the engine loads from the model's folder: exported, uploaded or built once, then cached. Untimed.
    ///
    /// # Errors
    /// What could not be read, written or exported.
    fn prepare(&mut self, model: &ModelSource) -> Result<Prepared, BackendError>;

    /// Whether every load starts a process of its own for the engine.
    fn starts_a_process(&self) -> bool {
        false
    }

    /// Loads a model until it can answer. Timed by the caller. `shapes` are those of all calls to come, for engines that
    /// allocate for the longest.
    ///
    /// # Errors
    /// The kind of failure with the engine's own words.
    fn load(
        &mut self,
        model: &Prepared,
        shapes: &[CallShape],
        by: Deadline,
        cancel: &CancelToken,
    ) -> Result<Box<dyn Session>, Failure>;
}

/// Takes a message for whoever watches; one line.
pub type Tell = Box<dyn Fn(&str)>;

/// A loaded model.
pub trait Session {
    /// What the load itself proved: where the nodes went, how the time divided, what it took.
    fn loaded(&self) -> &LoadReport;

    /// Compiles for calls of one shape, before the first of them; a phase of its own. One entry per phase of such a call;
    /// none where the engine compiles nothing, or is to compile inside its calls.
    ///
    /// # Errors
    /// The compiler's words, what was proved nevertheless, and whether the session is lost; every later call then fails
    /// with `Degraded::Crashed`.
    fn compile(
        &mut self,
        _shape: CallShape,
        _by: Deadline,
        _cancel: &CancelToken,
    ) -> Result<Vec<CompileEvidence>, CompileFailure> {
        Ok(Vec::new())
    }

    /// Phases that a compiler was asked for, each with its name. What ran is in the evidence alone.
    fn compilers(&self) -> BTreeMap<Phase, String> {
        BTreeMap::new()
    }

    /// Done right before a call, outside its time.
    fn ready(&mut self) {}

    /// Makes one call. Returns by the deadline (plus what the engine needs to stop) or soon after a cancel.
    fn call(&mut self, call: &Call, by: Deadline, cancel: &CancelToken) -> Outcome;

    /// A probe, for checks only: makes a call and tells the `top` most probable tokens for every new token. `None`: the
    /// engine does not tell. Nothing about such a call is measured.
    ///
    /// # Errors
    /// The kind of failure with the engine's own words.
    fn probe(&mut self, _call: &Call, _top: u32, _by: Deadline) -> Option<Result<Probed, Failure>> {
        None
    }

    /// Looked up after a call, outside its time: may add evidence to the outcome or turn it degraded.
    fn inspect(&mut self, _outcome: &mut Outcome) {}

    /// Processes that do the engine's work besides our own; their load is ours, not foreign.
    fn engine_pids(&self) -> Vec<u32>;

    /// Whether the engine works inside this process: then nearly all of a call's time belongs to a phase, and every
    /// token's id is known.
    fn in_process(&self) -> bool {
        true
    }

    /// Frees the model.
    ///
    /// # Errors
    /// The engine's own words.
    fn close(self: Box<Self>) -> Result<(), BackendError>;
}

/// What an engine is and can do.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Description {
    /// The engine's name for people, e.g. `ONNX Runtime`.
    pub engine: String,
    /// Its version as it reports itself. `None`: it does not say.
    pub version: Option<String>,
    /// Facts for the manifest: build info, library hash, settings as made. Keys are stable. `threads` and its like hold cells
    /// against the machine, `clock` says what is compared with what; `library` and its hash weigh what changed between runs.
    pub facts: BTreeMap<String, String>,
    /// The library that computes. `None`: it is not in this process.
    pub library: Option<LibraryFacts>,
    /// The server that computes. `None`: none does.
    pub server: Option<ServerFacts>,
    /// Most sessions it keeps loaded at once. `None`: no limit of its own.
    pub max_resident: Option<u32>,
    /// What each mode's timed region includes and leaves out.
    pub boundary: BTreeMap<Mode, String>,
    /// What it can be asked for.
    pub procedures: Vec<Procedure>,
    /// Whether replies carry a time per token.
    pub token_times: bool,
    /// Whether nothing but our own calls can make time pass on its clock.
    pub virtual_clock: bool,
}

/// A library that an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryFacts {
    /// Its file.
    pub path: PathBuf,
    /// SHA-256 of it, in hexadecimal digits.
    pub sha256: String,
}

/// A server that an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Whose clocks its versions have, by the name of their kind.
    pub clock: String,
    /// What its environment sets, by variable. `None`: the system does not show it.
    pub settings: Option<BTreeMap<String, String>>,
}

/// What an engine loads.
pub struct Prepared {
    /// Model name in the scenario file.
    pub model: String,
    /// Hash of the weights, equal for equal weights whatever the engine.
    pub weights_id: String,
    /// Element type as prepared.
    pub dtype: Dtype,
    /// Parameters, counted from the weights, a tied head once. `None`: the engine does not tell.
    pub params: Option<u64>,
    /// Size of what is loaded. `None`: unknown.
    pub bytes: Option<Bytes>,
    /// File or folder that is loaded, for the manifest. `None`: nothing on disk.
    pub path: Option<PathBuf>,
    /// Shape of a model that has no folder, as its server tells it. `None`: the folder tells.
    pub shape: Option<ServedShape>,
    /// Quantisation as the engine names it. `None`: it has no name for it.
    pub quantisation: Option<String>,
    /// What only the engine that made it understands.
    pub inner: Box<dyn Any>,
}

#[cfg(test)]
impl Prepared {
    /// Of a name, with nothing known beside it.
    pub(crate) fn bare(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            weights_id: "w".to_owned(),
            dtype: Dtype::F32,
            params: None,
            bytes: None,
            path: None,
            shape: None,
            quantisation: None,
            inner: Box::new(()),
        }
    }
}

/// What loading proved.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LoadReport {
    /// The load's parts by the engine's own names, in order; [`BUILD_ENGINES`] is told apart from the load's time.
    pub parts: Vec<(String, Nanos)>,
    /// Where the graph's work was placed.
    pub attribution: Attribution,
    /// Memory of the process that holds the model, before and after. `None`: not measurable here.
    pub host_rss_before: Option<Bytes>,
    /// See [`LoadReport::host_rss_before`].
    pub host_rss_after: Option<Bytes>,
    /// Device memory taken by the load. `None`: no device, or not measurable.
    pub device_bytes: Option<Bytes>,
    /// Time that went into proving the placement, where that is no part of loading. `None`: none did.
    pub proof: Option<Nanos>,
}

impl LoadReport {
    /// Time between a load's begin and end that is no part of it: what the proof took, and what later loads need not do.
    #[must_use]
    pub fn apart(&self) -> Nanos {
        let building = self.parts.iter().filter(|(part, _)| part == BUILD_ENGINES).map(|(_, time)| *time);
        building.chain(self.proof).sum()
    }
}

/// Everything of a call that an engine may allocate or compile for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallShape {
    /// What is done.
    pub procedure: Procedure,
    /// Rows.
    pub batch: u32,
    /// Columns of the prompts, padding included.
    pub prompt_tokens: u32,
    /// Decode steps.
    pub steps: u32,
}

/// One request to a loaded model.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What to do.
    pub procedure: Procedure,
    /// Scenario it comes from, for messages and scripted faults.
    pub scenario: String,
    /// One row of token ids per batch element, BOS included, not padded. A row is empty where only the engine has the
    /// tokenizer; [`Reply::prompt_tokens`] then says how many were sent.
    pub prompts: Vec<Vec<u32>>,
    /// The rows as text, for engines that take nothing else. `None`: known as ids only.
    pub texts: Option<Vec<String>>,
    /// Length all rows are padded to, on the left. At least the longest row.
    pub padded_to: u32,
    /// Decode steps to time; the first new token comes from the prefill and is not among them.
    pub steps: u32,
    /// Number of the call among its cell's calls of the same role, from 0.
    pub index: u32,
    /// Try of the same timed call, from 0; more than 0 only where an earlier one ended early or was disturbed.
    pub attempt: u32,
    /// For every random choice an engine makes in this call; the same in a repeated run.
    pub seed: u64,
}

impl Call {
    /// Its shape.
    #[must_use]
    pub fn shape(&self) -> CallShape {
        let batch = u32::try_from(self.prompts.len()).unwrap_or(u32::MAX);
        CallShape { procedure: self.procedure, batch, prompt_tokens: self.padded_to, steps: self.steps }
    }
}

/// Per row and new token: the most probable tokens, best first, with their natural log-probabilities.
pub type Probed = Vec<Vec<Vec<(u32, f64)>>>;

/// What came of a call. A failed call keeps what it proved.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// What the engine did, whole or up to where it failed.
    pub reply: Option<Reply>,
    /// What went wrong.
    pub failure: Option<Failure>,
    /// Whether the session can take another call.
    pub session_usable: bool,
}

/// What an engine did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reply {
    /// The timed stretches, in order, without overlap.
    pub spans: Vec<Span>,
    /// Engine durations under the engine's own names.
    pub engine_durations: BTreeMap<String, Nanos>,
    /// Decode steps that the decode span covers.
    pub steps_timed: u32,
    /// Prompt tokens per row, padding left out. `None`: the engine does not tell.
    pub prompt_tokens: Option<Vec<u32>>,
    /// Of these, over all rows, those that were not evaluated, since all prompts begin with them. `None`: all were.
    pub prompt_cached: Option<u32>,
    /// New tokens per row as the engine counts them, the first one from the prefill included. Empty: it does not tell.
    pub new_tokens: Vec<u32>,
    /// Ids of the new tokens per row, the first one from the prefill. Empty: the engine does not tell; one in this process must.
    pub tokens: Vec<Vec<u32>>,
    /// How it ended.
    pub finish: Option<Finish>,
    /// Where the work ran.
    pub attribution: Attribution,
    /// End of every decode step on the span's clock. Empty: not told.
    pub step_ends: Vec<Nanos>,
    /// Time of the decode phase that was not spent inside the engine. `None`: cannot be told apart.
    pub outside_engine: Option<Nanos>,
    /// The slowest of some messages to the engine and back, right before the call. `None`: nobody looked, or there are none.
    pub round_trip: Option<Nanos>,
    /// Share of all processors' time that other programs are scripted to use beside the call, 0 to 1. `None`: no script says
    /// so, as with every real engine.
    pub scripted_foreign_cpu: Option<f64>,
    /// Memory.
    pub memory: Memory,
    /// What a compiler did, one entry per phase. Empty: the engine has none.
    pub compile: Vec<CompileEvidence>,
}

impl Reply {
    /// Prompt tokens evaluated over all rows. `None`: the engine does not tell.
    #[must_use]
    pub fn prompt_evaluated(&self) -> Option<u32> {
        let counted = total(self.prompt_tokens.as_ref()?.iter().copied());
        Some(counted.saturating_sub(self.prompt_cached.unwrap_or(0)))
    }
}

/// Memory around one call. Every field `None` where it cannot be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// Resident set of the engine's process at the end of the call.
    pub host_rss: Option<Bytes>,
    /// Largest resident set of that process during the call.
    pub host_peak: Option<Bytes>,
    /// Device memory in use at the end.
    pub device_used: Option<Bytes>,
    /// KV cache really allocated at the end of decode, all rows.
    pub kv: Option<Bytes>,
}

/// A timed stretch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// What was done.
    pub phase: Phase,
    /// When it began, on the run's clock.
    pub begin: Nanos,
    /// When it ended, device synchronised.
    pub end: Nanos,
    /// How the two times were obtained.
    pub clock: SpanClock,
    /// Largest error of either time.
    pub uncertainty: Nanos,
    /// Mean power over the span as the engine reports it, in watts. `None`: it does not.
    pub mean_power_w: Option<f64>,
    /// The same stretch between two events of the device's own clock. `None`: no device, or not measured.
    pub device: Option<Nanos>,
}

/// How a span's times were obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanClock {
    /// Read on the run's own clock around the work.
    Exact,
    /// Put together from an engine's durations.
    Reconstructed,
}

/// What every engine is given.
#[derive(Clone)]
pub struct Surroundings {
    /// The run's clock; spans are on it.
    pub clock: SharedClock,
    /// Where prepared models are cached.
    pub cache: PathBuf,
    /// The run's seed.
    pub seed: u64,
    /// The workers of the run.
    pub workers: Arc<RunWorkers>,
}

impl Surroundings {
    /// For a run of its own.
    #[must_use]
    pub fn new(clock: SharedClock, cache: PathBuf, seed: u64) -> Self {
        Self { clock, cache, seed, workers: Arc::default() }
    }
}
