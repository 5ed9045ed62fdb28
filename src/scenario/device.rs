//! A device by its kind, as a scenario file names it for torch.

use serde::{Deserialize, Serialize};

use super::section::Kind;

/// The processor, or an NVIDIA GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Processor {
    /// The CPU.
    #[default]
    Cpu,
    /// NVIDIA CUDA.
    Cuda,
}

/// The key's value that chooses a [`Processor`].
pub const PROCESSOR: Kind =
    Kind::Word { allowed: &["cpu", "cuda"], explained: &[("gpu", "is no device of torch: its name is `cuda`")] };
