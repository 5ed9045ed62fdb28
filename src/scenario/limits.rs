//! What an engine cannot do, needs and roughly costs: all that planning asks of it.

use super::Prompt;
use crate::terms::{Dtype, Procedure};
use crate::units::Bytes;

/// One engine as it is set. A default is what most engines have in common.
///
/// The costs are for an idle machine of two cores with 20 GB/s of memory bandwidth, a faster one takes less. Unit: milliseconds.
pub trait Limits {
    /// The key that chooses the engine in a scenario file.
    fn kind(&self) -> &'static str;

    /// Element type of weights and KV cache as asked for.
    fn dtype(&self) -> Dtype;

    /// Threads that it is asked to compute with. `None`: its own choice.
    fn threads(&self) -> Option<u32> {
        None
    }

    /// Whether it is asked to run on an NVIDIA board.
    fn asks_for_board(&self) -> bool {
        false
    }

    /// Whether its calls take no time but on a clock of their own.
    fn virtual_clock(&self) -> bool {
        false
    }

    /// Whether anything outside can disturb its calls; not where a script tells their times.
    fn can_be_disturbed(&self) -> bool {
        true
    }

    /// Whether it computes with a model's weights, and not by a script.
    fn reads_weights(&self) -> bool {
        true
    }

    /// Whether a call may end at a stop token.
    fn may_stop_early(&self) -> bool {
        false
    }

    /// Most sessions that stay loaded at once. `None`: no limit of its own.
    fn max_resident(&self) -> Option<u32> {
        None
    }

    /// Why a cell cannot be measured, whatever memory there is. `None`: it can.
    fn refusal(&self, asked: &AskedCell<'_>) -> Option<Refusal> {
        only_served(self.kind(), asked)
    }

    /// What bounds prompt and steps together.
    fn context(&self) -> Context {
        Context::OfModel
    }

    /// Element type of the KV cache of a model held as `dtype`.
    fn cache_dtype(&self, dtype: Dtype) -> Dtype {
        dtype
    }

    /// Memory that weights and KV cache of these sizes take; an estimate on the safe side.
    fn resident(&self, weights: Bytes, cache: Bytes) -> Bytes {
        Bytes(weights.0.saturating_add(cache.0))
    }

    /// Time to load a model of so many `millions` of parameters.
    fn load_ms(&self, millions: f64) -> f64 {
        load_ms(0.0, millions)
    }

    /// Time to compile, at each load, for calls with these prompts.
    fn compile_ms(&self, _prompts: &[PromptSize]) -> f64 {
        0.0
    }

    /// Time of one pass over so many prompt `tokens`, those of all rows together.
    fn prefill_ms(&self, millions: f64, tokens: f64) -> f64 {
        pass_ms(millions, tokens)
    }

    /// Time of one decode step of so many `rows`.
    fn step_ms(&self, millions: f64, rows: f64) -> f64 {
        pass_ms(millions, rows)
    }
}

/// What bounds the tokens of a prompt and of the steps after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// The model's own context; the KV cache grows with the tokens in it.
    OfModel,
    /// A context that is allocated whole when the model is loaded.
    Allocated {
        /// Its tokens; never more than the model's own.
        tokens: u64,
        /// Tokens that the engine counts besides the prompt and one for each step.
        besides: u64,
    },
}

impl Context {
    /// Tokens that are allocated at load. `None`: there are only as many as a call takes.
    #[must_use]
    pub fn allocated(self) -> Option<u64> {
        match self {
            Self::OfModel => None,
            Self::Allocated { tokens, .. } => Some(tokens),
        }
    }

    /// Tokens that the engine counts besides the prompt and one for each step.
    #[must_use]
    pub fn besides(self) -> u64 {
        match self {
            Self::OfModel => 0,
            Self::Allocated { besides, .. } => besides,
        }
    }
}

/// A cell that an engine is asked for.
#[derive(Debug, Clone, Copy)]
pub struct AskedCell<'a> {
    /// Whether only a server has the model.
    pub served: bool,
    /// The model's longest context in tokens. `None`: only a server knows.
    pub context: Option<u64>,
    /// What a call makes the engine do.
    pub procedure: Procedure,
    /// Where the prompt's tokens come from.
    pub prompt: &'a Prompt,
    /// How large it is.
    pub size: PromptSize,
}

/// The size of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptSize {
    /// Rows decoded together.
    pub rows: u32,
    /// Tokens of each, BOS included. `None`: known only once the text is tokenised.
    pub tokens: Option<u32>,
}

/// What leaves a cell out of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The rule by name.
    pub rule: &'static str,
    /// Its reason, for people.
    pub reason: String,
}

impl Refusal {
    /// A rule with its reason.
    #[must_use]
    pub fn new(rule: &'static str, reason: impl Into<String>) -> Self {
        Self { rule, reason: reason.into() }
    }
}

/// The refusal of an engine that loads model folders and has no store of its own.
#[must_use]
pub fn only_served(kind: &str, asked: &AskedCell<'_>) -> Option<Refusal> {
    asked
        .served
        .then(|| Refusal::new("no_source", format!("only an Ollama server has this model, and the engine is {kind}")))
}

/// Milliseconds of one decode step of one row per million f32 parameters: what the machine takes to read the weights once.
const STEP_MS: f64 = 0.2;
/// Milliseconds per million parameters that one more token costs once the weights are read: arithmetic alone.
const TOKEN_MS: f64 = 0.03;
/// Milliseconds of one forward pass beside its arithmetic.
const PASS_MS: f64 = 1.0;
/// Milliseconds to load a model, and more for each million parameters.
const LOAD_MS: (f64, f64) = (300.0, 5.0);

/// Milliseconds to start a worker and its libraries.
pub const WORKER_START_MS: f64 = 8_000.0;

/// Resident set of a torch worker before it has a model: measured 0.6 GB with transformers, more once it compiled.
pub const WORKER_PROCESS: Bytes = Bytes(1 << 30);

/// Milliseconds to load a model into an engine that takes `start_ms` to start.
#[must_use]
pub fn load_ms(start_ms: f64, millions: f64) -> f64 {
    start_ms + LOAD_MS.0 + LOAD_MS.1 * millions
}

/// Milliseconds of one pass over so many tokens.
fn pass_ms(millions: f64, tokens: f64) -> f64 {
    PASS_MS + millions * (STEP_MS + TOKEN_MS * (tokens - 1.0))
}
