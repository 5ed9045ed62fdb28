//! How numbers are held.

use serde::{Deserialize, Serialize};

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
