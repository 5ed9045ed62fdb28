//! What an exported graph is called and calls its parts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::precision::Precision;

/// Raised whenever the same folder gives another file.
pub const EXPORTER_VERSION: u32 = 1;

/// Version of the operator set the graph uses.
pub const OPSET: i64 = 21;
/// Version of the file format.
pub const IR_VERSION: i64 = 10;

/// Name of the graph file in an export's folder.
pub const FILE: &str = "model.onnx";
/// Name of the weights file beside it, where the graph file alone would be too large for its format.
pub const DATA_FILE: &str = "model.onnx.data";

/// Input: token ids.
pub const INPUT_IDS: &str = "input_ids";
/// Input: which of the past and present tokens count.
pub const ATTENTION_MASK: &str = "attention_mask";
/// Input: positions of the tokens.
pub const POSITION_IDS: &str = "position_ids";
/// Output of [`ArgMax::Outside`].
pub const LOGITS: &str = "logits";
/// Output of [`ArgMax::Inside`].
pub const NEXT_TOKEN: &str = "next_token";

/// Metadata key: [`Folder::weights_id`](crate::model::Folder::weights_id).
pub const META_WEIGHTS_ID: &str = "phasebench.weights_id";
/// Metadata key: the architecture's family.
pub const META_FAMILY: &str = "phasebench.family";
/// Metadata key: the parameter count.
pub const META_PARAMETERS: &str = "phasebench.parameters";
/// Metadata key: the [`Precision`].
pub const META_DTYPE: &str = "phasebench.dtype";
/// Metadata key: the [`ArgMax`].
pub const META_ARG_MAX: &str = "phasebench.arg_max";

/// Input: the cached keys of a layer.
#[must_use]
pub fn past_key(layer: usize) -> String {
    format!("past_key_values.{layer}.key")
}

/// Input: the cached values of a layer.
#[must_use]
pub fn past_value(layer: usize) -> String {
    format!("past_key_values.{layer}.value")
}

/// Output: a layer's keys with the new ones appended.
#[must_use]
pub fn present_key(layer: usize) -> String {
    format!("present.{layer}.key")
}

/// Output: a layer's values with the new ones appended.
#[must_use]
pub fn present_value(layer: usize) -> String {
    format!("present.{layer}.value")
}

/// Where the most probable token is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArgMax {
    /// By the caller, from [`LOGITS`].
    #[default]
    Outside,
    /// In the graph, which then gives [`NEXT_TOKEN`].
    Inside,
}

impl ArgMax {
    /// The name in files and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outside => "outside",
            Self::Inside => "inside",
        }
    }
}

impl fmt::Display for ArgMax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ArgMax {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "outside" => Ok(Self::Outside),
            "inside" => Ok(Self::Inside),
            _ => Err(format!("unknown place for the arg-max `{text}`, known: outside, inside")),
        }
    }
}

/// Which graph to export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Options {
    /// What it computes in.
    pub precision: Precision,
    /// What it gives.
    pub arg_max: ArgMax,
}
