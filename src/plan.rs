//! The matrix as cells with stable ids. Pure: the same scenario file, models and memory budget give the same plan.

mod estimate;
mod expand;
mod only;

use std::collections::BTreeMap;

use crate::hash::sha256_hex;
use crate::record::plan::Plan;
use crate::terms::Dtype;
use crate::terms::model::Architecture;
use crate::units::Bytes;

pub use estimate::{CallCounts, TimeRange, Work, time_range};
pub use expand::expand;
pub use only::{Only, OnlyError};

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
        Self {
            name: name.to_owned(),
            params: Some(architecture.parameters()),
            kv_elements_per_token: Some(architecture.kv_elements_per_token()),
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
    /// Numbers that nothing can go by.
    #[error("the plan has {0}\n  try: fewer repetitions, or a part of it with --only")]
    Impossible(String),
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
