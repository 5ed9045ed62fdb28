//! The builds of a version, as packages name them.

use crate::scenario::Provider;

/// Which build of a version a folder of the cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// For processors.
    Cpu,
    /// With CUDA.
    Cuda,
    /// With OpenVINO.
    Openvino,
}

impl Build {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Cuda, Self::Openvino];

    /// As it ends a folder's name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Openvino => "openvino",
        }
    }

    /// The one that has a provider, as far as one is fetched at all.
    #[must_use]
    pub fn with(provider: Provider) -> Self {
        match provider {
            Provider::Cuda | Provider::Tensorrt => Self::Cuda,
            Provider::Openvino => Self::Openvino,
            _ => Self::Cpu,
        }
    }

    /// What a scenario file says to have it, for this version.
    #[must_use]
    pub fn asked_for(self, version: &str) -> String {
        match self {
            Self::Cpu => format!("onnx: {{ version: {version} }}"),
            Self::Cuda => format!("onnx: {{ version: {version}, provider: cuda }}"),
            Self::Openvino => format!("onnx: {{ version: {version}, provider: openvino }}"),
        }
    }

    /// The flag of the setup command that asks for it; empty where none does.
    #[must_use]
    pub fn flag(self) -> &'static str {
        match self {
            Self::Cpu => "",
            Self::Cuda => " --cuda",
            Self::Openvino => " --openvino",
        }
    }
}
