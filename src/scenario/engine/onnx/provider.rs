//! The execution providers of ONNX Runtime that a scenario file can ask for.

use serde::{Deserialize, Serialize};

use crate::scenario::section::Kind;

/// An execution provider of ONNX Runtime. Whether a library has it is only known when that is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The default CPU provider.
    #[default]
    Cpu,
    /// NVIDIA CUDA.
    Cuda,
    /// NVIDIA TensorRT.
    Tensorrt,
    /// AMD ROCm.
    Rocm,
    /// AMD MIGraphX.
    Migraphx,
    /// Intel OpenVINO.
    Openvino,
    /// Apple Core ML.
    Coreml,
    /// XNNPACK, on the processor.
    Xnnpack,
    /// Qualcomm QNN.
    Qnn,
    /// WebGPU.
    Webgpu,
    /// AMD Vitis AI.
    Vitisai,
}

/// Each with its word in a scenario file, its name in ONNX Runtime, and the name under which versions before 1.22 append it.
const NAMES: [(Provider, &str, &str, &str); 11] = [
    (Provider::Cpu, "cpu", "CPUExecutionProvider", "CPU"),
    (Provider::Cuda, "cuda", "CUDAExecutionProvider", "CUDA"),
    (Provider::Tensorrt, "tensorrt", "TensorrtExecutionProvider", "TensorRT"),
    (Provider::Rocm, "rocm", "ROCMExecutionProvider", "ROCM"),
    (Provider::Migraphx, "migraphx", "MIGraphXExecutionProvider", "MIGraphX"),
    (Provider::Openvino, "openvino", "OpenVINOExecutionProvider", "OpenVINO"),
    (Provider::Coreml, "coreml", "CoreMLExecutionProvider", "CoreML"),
    (Provider::Xnnpack, "xnnpack", "XnnpackExecutionProvider", "XNNPACK"),
    (Provider::Qnn, "qnn", "QNNExecutionProvider", "QNN"),
    (Provider::Webgpu, "webgpu", "WebGpuExecutionProvider", "WebGPU"),
    (Provider::Vitisai, "vitisai", "VitisAIExecutionProvider", "VitisAI"),
];

/// The key's value that chooses a [`Provider`].
pub const PROVIDER: Kind = Kind::Word {
    allowed: &[
        "cpu", "cuda", "tensorrt", "rocm", "migraphx", "openvino", "coreml", "xnnpack", "qnn", "webgpu", "vitisai",
    ],
    explained: &[("gpu", "is no execution provider: ONNX Runtime's is `cuda`")],
};

impl Provider {
    fn names(self) -> (&'static str, &'static str, &'static str) {
        let found = NAMES.iter().find(|(provider, ..)| *provider == self);
        found.map_or(("", "", ""), |&(_, word, name, short)| (word, name, short))
    }

    /// Its word in a scenario file.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.names().0
    }

    /// Its name in ONNX Runtime.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.names().1
    }

    /// The name under which versions before 1.22 append it.
    #[must_use]
    pub fn short_name(self) -> &'static str {
        self.names().2
    }

    /// The provider of a word. `None`: there is none.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known, ..)| *known == word).map(|&(provider, ..)| provider)
    }

    /// Whether its devices are told apart by an index.
    #[must_use]
    pub fn is_indexed(self) -> bool {
        matches!(self, Self::Cuda | Self::Tensorrt | Self::Rocm | Self::Migraphx)
    }

    /// Whether it computes in the memory of an NVIDIA GPU.
    #[must_use]
    pub fn is_on_cuda(self) -> bool {
        matches!(self, Self::Cuda | Self::Tensorrt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_key() {
        let Kind::Word { allowed, .. } = PROVIDER else { unreachable!() };
        assert_eq!(NAMES.map(|(_, word, ..)| word), allowed);
        for word in allowed {
            let provider = Provider::of_word(word).map(Provider::word);
            assert_eq!(provider, Some(*word));
            assert_eq!(serde_json::from_str::<Provider>(&format!("\"{word}\"")).ok(), Provider::of_word(word));
        }
    }
}
