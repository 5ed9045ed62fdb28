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
mod form;
mod graph;
mod layers;
pub mod proto;
mod writer;

pub use super::precision::Precision;
pub use form::{
    ATTENTION_MASK, ArgMax, DATA_FILE, EXPORTER_VERSION, FILE, INPUT_IDS, IR_VERSION, LOGITS, META_ARG_MAX, META_DTYPE,
    META_FAMILY, META_PARAMETERS, META_WEIGHTS_ID, NEXT_TOKEN, OPSET, Options, POSITION_IDS, past_key, past_value,
    present_key, present_value,
};

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::folder::Folder;
use super::{Error, Result, cached};
use crate::hash::hex;

/// A protobuf file ends at 2 GiB; what is over this many bytes of weights gets a file of its own.
const INLINE_LIMIT: u64 = 2_000_000_000;

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

/// A model of one node, for trying whether a runtime can be set so at all.
#[must_use]
pub fn smallest() -> Vec<u8> {
    writer::smallest()
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
