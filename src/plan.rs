//! The matrix as cells with stable ids. Pure: the same scenario file, models and memory budget give the same plan.

mod estimate;
mod expand;
mod only;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hash::sha256_hex;
use crate::model::Architecture;
use crate::scenario::{Dtype, EarlyStop, FitAxis, Order, Repetitions};
use crate::terms::{Mode, Procedure};
use crate::units::{Bytes, Nanos};

pub use estimate::{CallCounts, TimeRange, Work, time_range};
pub use expand::expand;
pub use only::{Only, OnlyError};

/// Version of `plan.json`. A reader refuses others.
pub const FORMAT: u32 = 1;

/// What a run is going to do. Written to `plan.json`; the order of calls follows from it and from what is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Version of this format.
    pub format: u32,
    /// The scenario file's name.
    pub name: String,
    /// Decides every random choice.
    pub seed: u64,
    /// How calls follow each other.
    pub order: Order,
    /// When a cell has enough timed calls.
    pub repetitions: Repetitions,
    /// What is made of calls that end at a stop token.
    #[serde(default = "EarlyStop::unscaled")]
    pub early_stop: EarlyStop,
    /// Modes asked for.
    pub modes: Vec<Mode>,
    /// What latency is fitted against.
    pub fit: FitAxis,
    /// Longest time one call, one load or one compilation may take.
    pub timeout_ns: Nanos,
    /// Largest share of degraded calls before exit code 3.
    pub degraded_rate: f64,
    /// Memory that resident sessions may take together.
    pub memory_budget_bytes: Bytes,
    /// One per backend × model that has a cell, in file order.
    pub sessions: Vec<PlannedSession>,
    /// What is measured, in file order.
    pub cells: Vec<Cell>,
    /// What is not, and why.
    pub skipped: Vec<SkippedCell>,
}

/// One model loaded by one backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedSession {
    /// Backend and model.
    pub key: SessionKey,
    /// Planned warmup calls per cell and load.
    pub warmups: u32,
    /// Memory it is expected to take while loaded: weights, packed copies, the largest KV cache of its cells.
    pub resident_bytes: Bytes,
    /// Most sessions its backend keeps loaded at once. `None`: no limit of its own.
    pub max_resident: Option<u32>,
    /// Whether its engine may end a call before all steps are made.
    #[serde(default)]
    pub may_stop_early: bool,
}

/// Backend and model by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionKey {
    /// Backend name.
    pub backend: String,
    /// Model name.
    pub model: String,
}

/// Calls that may be pooled, but for mode and regime, which a row adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Hash of everything below: 12 hexadecimal digits.
    pub id: CellId,
    /// Backend and model.
    pub session: SessionKey,
    /// Element type asked for.
    pub dtype: Dtype,
    /// Scenario name.
    pub scenario: String,
    /// Rows decoded together.
    pub batch: u32,
    /// Prompt tokens asked for, BOS included. `None`: known only once the text is tokenised.
    pub prompt_tokens: Option<u32>,
    /// Timed decode steps; 0 for [`Procedure::Prefill`].
    pub gen_tokens: u32,
    /// What a call makes the engine do.
    pub procedure: Procedure,
}

/// A cell's id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CellId(pub String);

impl std::fmt::Display for CellId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A cell that is not measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkippedCell {
    /// What it would have been.
    pub cell: Cell,
    /// The rule by name: `only`, `skip`, `no_source`, `no_tokenizer`, `batch_unsupported`, `mode_unsupported`,
    /// `prompt_too_short`, `context_exceeded`, `memory`, `backend_unavailable`.
    pub rule: String,
    /// The rule's reason, for people.
    pub reason: String,
}

/// What planning needs to know about a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFacts {
    /// Its name in the scenario file.
    pub name: String,
    /// Parameters, a tied output embedding counted once. `None`, here and below: only a server knows.
    pub params: Option<u64>,
    /// Elements that one token of one row adds to the KV cache.
    pub kv_elements_per_token: Option<u64>,
    /// Longest context in tokens.
    pub n_positions: Option<u64>,
    /// Tokens of the longest row of scenarios that give text, by scenario, as far as somebody counted them.
    pub text_tokens: BTreeMap<String, u32>,
}

impl ModelFacts {
    /// What is known about a model from its shape.
    #[must_use]
    pub fn new(name: &str, architecture: &Architecture) -> Self {
        let heads = architecture.n_kv_head * architecture.head_dim;
        Self {
            name: name.to_owned(),
            params: Some(architecture.parameters()),
            kv_elements_per_token: Some(2 * (architecture.n_layer * heads) as u64),
            n_positions: Some(architecture.n_positions as u64),
            text_tokens: BTreeMap::new(),
        }
    }

    /// A model that only a server knows.
    #[must_use]
    pub fn unknown(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            params: None,
            kv_elements_per_token: None,
            n_positions: None,
            text_tokens: BTreeMap::new(),
        }
    }

    /// Size of the weights held as `dtype`. `None`: not known.
    #[must_use]
    pub fn weights_bytes(&self, dtype: Dtype) -> Option<Bytes> {
        Some(Bytes(self.params?.saturating_mul(dtype.bytes()?)))
    }

    /// What one token of one row adds to a KV cache held as `dtype`. `None`: not known.
    #[must_use]
    pub fn kv_bytes_per_token(&self, dtype: Dtype) -> Option<Bytes> {
        Some(Bytes(self.kv_elements_per_token?.saturating_mul(dtype.bytes()?)))
    }
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The caller gave no facts about a model of the scenario file.
    #[error("nothing is known about model `{0}`")]
    NoFacts(String),
    /// A plan that JSON cannot hold.
    #[error("cannot write the plan as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The bytes of `plan.json`.
///
/// # Errors
/// A value that JSON cannot hold.
pub fn to_json(plan: &Plan) -> Result<Vec<u8>, PlanError> {
    let mut bytes = serde_json::to_vec_pretty(plan)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// SHA-256 of [`to_json`]: 64 hexadecimal digits. What it is shortened to names the run folder.
///
/// # Errors
/// As [`to_json`].
pub fn plan_sha256(plan: &Plan) -> Result<String, PlanError> {
    Ok(sha256_hex(&to_json(plan)?))
}
