//! Where a model runs, as several engines call it.

use serde::{Deserialize, Serialize};

use super::section::Kind;

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

/// The key's value that chooses a [`Provider`].
pub const PROVIDER: Kind = Kind::Word {
    allowed: &["cpu", "cuda"],
    explained: &[("gpu", "is no execution provider: ONNX Runtime's is `cuda`")],
};
