//! Export to ONNX: one decoder graph with a KV cache, from any model folder.
//!
//! The graph takes a prompt or one token per row and gives what follows the last position:
//!
//! | input | type | shape |
//! |---|---|---|
//! | [`INPUT_IDS`] | int64 | `[batch, seq]` |
//! | [`ATTENTION_MASK`] | int64 | `[batch, past + seq]`, 0 for padding (on the left), else 1 |
//! | [`POSITION_IDS`] | int64 | `[batch, seq]`, counted from the first token that is no padding |
//! | [`past_key`]`(i)`, [`past_value`]`(i)` | [`Precision`] | `[batch, n_kv_head, past, head_dim]`; `past` may be 0 |
//!
//! | output | type | shape |
//! |---|---|---|
//! | [`LOGITS`], with [`ArgMax::Outside`] | [`Precision`] | `[batch, 1, vocab]`, of the last position |
//! | [`NEXT_TOKEN`], with [`ArgMax::Inside`] | int64 | `[batch, 1]`, the first of equals |
//! | [`present_key`]`(i)`, [`present_value`]`(i)` | [`Precision`] | `[batch, n_kv_head, past + seq, head_dim]` |
//!
//! `present` is fed back as `past`. The graph uses plain operators only, so that every execution provider runs the same
//! one. In half precision weights, cache and logits are f16; norms, rotary angles and the softmax are computed in f32.
//! A tied output embedding is in the file once.

mod attention;
mod decoder;
mod graph;
pub mod proto;
mod writer;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::folder::Folder;
pub use super::precision::Precision;
use super::{Error, Result, cached};
use crate::hash::hex;

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

/// Metadata key: [`Folder::weights_id`].
pub const META_WEIGHTS_ID: &str = "phasebench.weights_id";
/// Metadata key: the architecture's family.
pub const META_FAMILY: &str = "phasebench.family";
/// Metadata key: the parameter count.
pub const META_PARAMETERS: &str = "phasebench.parameters";
/// Metadata key: the [`Precision`].
pub const META_DTYPE: &str = "phasebench.dtype";
/// Metadata key: the [`ArgMax`].
pub const META_ARG_MAX: &str = "phasebench.arg_max";

/// A protobuf file ends at 2 GiB; what is over this many bytes of weights gets a file of its own.
const INLINE_LIMIT: u64 = 2_000_000_000;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
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

/// Where an export's weights lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weights {
    /// In the graph file, unless they are too large for its format.
    #[default]
    Inside,
    /// In [`DATA_FILE`] beside it, whatever their size.
    Beside,
}

/// An export in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnnxModel {
    /// The graph file; its weights may be in [`DATA_FILE`] beside it.
    pub path: PathBuf,
    /// Which graph it is.
    pub options: Options,
    /// The weights it was made from, see [`Folder::weights_id`].
    pub weights_id: String,
    /// Size of graph and weights. Unit: bytes.
    pub bytes: u64,
}

/// Exports a folder into the cache, unless it is there.
///
/// # Errors
/// A weight does not fit the precision, or the file system refuses.
pub fn export(folder: &Folder, options: Options, cache_root: &Path) -> Result<OnnxModel> {
    let weights_id = folder.weights_id()?;
    // The same weights under another configuration, a longer context for one, are another graph.
    let shape = serde_json::to_vec(folder.architecture()).map_err(|e| Error::malformed(folder.path(), e))?;
    let shape = &hex(&Sha256::digest(shape))[..8];
    let Options { precision, arg_max } = options;
    let name = format!("{weights_id}-{shape}-{precision}-{arg_max}-v{EXPORTER_VERSION}");
    let at = cache_root.join("onnx").join(name);
    cached::folder(&at, cache_root, |unfinished| write(folder, options, Weights::default(), unfinished))?;
    let mut bytes = 0;
    for file in [FILE, DATA_FILE].map(|name| at.join(name)) {
        if file.exists() {
            bytes += fs::metadata(&file).map_err(Error::io("read", &file))?.len();
        }
    }
    Ok(OnnxModel { path: at.join(FILE), options, weights_id, bytes })
}

/// Exports a folder into another, existing one, replacing what is there.
///
/// # Errors
/// A weight does not fit the precision, or the file system refuses.
pub fn write(folder: &Folder, options: Options, weights: Weights, into: &Path) -> Result<()> {
    let limit = match weights {
        Weights::Inside => INLINE_LIMIT,
        Weights::Beside => 0,
    };
    writer::write(folder, options, into, limit)
}
