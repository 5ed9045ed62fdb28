//! ONNX Runtime, in this process or a child of it.

use serde::{Deserialize, Serialize};

use crate::scenario::device::{PROVIDER, Provider};
use crate::scenario::limits::Limits;
use crate::scenario::node::Node;
use crate::scenario::problem::Problem;
use crate::scenario::section::{Section, default, optional, whole, words};
use crate::scenario::settings::{EngineSettings, Placed};
use crate::scenario::typed::{self, text, word};
use crate::terms::Dtype;
use crate::units::Bytes;

/// How ONNX Runtime is set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnnxSettings {
    /// Which execution provider must run the graph.
    pub provider: Provider,
    /// GPU index, for CUDA.
    pub device: u32,
    /// Threads inside an operator. `None`: as many as there are physical cores, as ONNX Runtime counts them.
    pub threads: Option<u32>,
    /// Graph optimisation level.
    pub optimisation: Optimisation,
    /// Weights, KV cache and logits.
    pub dtype: Dtype,
    /// Where the next token is chosen.
    pub arg_max: ArgMax,
    /// Where it runs.
    pub isolation: Isolation,
}

/// Graph optimisation level of ONNX Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimisation {
    /// None.
    Disabled,
    /// Level 1.
    Basic,
    /// Level 2.
    Extended,
    /// Everything; the runtime's own default.
    #[default]
    All,
}

/// Where the arg-max over the logits is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArgMax {
    /// By the client, on a view of the engine's logits.
    #[default]
    Outside,
    /// By a node of the graph: only the token id leaves the engine.
    Inside,
}

/// Where an in-process engine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// In this process.
    #[default]
    None,
    /// In a child of this program, one per session: its crash costs one call.
    Process,
}

impl EngineSettings for OnnxSettings {
    const KEY: &'static str = "onnx";
    const DOC: &'static str = "ONNX Runtime, in this process or a child of it.";
    const SECTION: &'static Section = &SECTION;

    fn build(section: &Node) -> Option<Self> {
        Some(Self {
            provider: word(section.get("provider")?)?,
            device: typed::optional(section, "device", Node::whole)?.unwrap_or(0),
            threads: typed::optional(section, "threads", Node::whole)?,
            optimisation: word(section.get("optimisation")?)?,
            dtype: word(section.get("dtype")?)?,
            arg_max: word(section.get("arg_max")?)?,
            isolation: word(section.get("isolation")?)?,
        })
    }

    fn contradictions(placed: Placed<'_>, problems: &mut Vec<Problem>) {
        if let Some(device) = placed.section.get("device")
            && text(placed.section, "provider") == Some("cpu")
        {
            problems.push(
                Problem::new(device.at, "`device` is an index of a GPU, but the provider is cpu")
                    .help("try", "provider: cuda, or remove `device`"),
            );
        }
    }
}

impl Limits for OnnxSettings {
    fn kind(&self) -> &'static str {
        Self::KEY
    }

    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn threads(&self) -> Option<u32> {
        self.threads
    }

    /// The CPU provider keeps packed copies of the matrices beside the weights, 2.2 times the weights in all. A step's KV
    /// cache is returned as a new tensor while the old one is still its input.
    fn resident(&self, weights: Bytes, cache: Bytes) -> Bytes {
        let weights = match self.provider {
            Provider::Cpu => weights.0 / 5 * 11,
            Provider::Cuda => weights.0,
        };
        Bytes(weights.saturating_add(cache.0.saturating_mul(2)))
    }
}

const SECTION: Section = Section {
    what: "an ONNX Runtime engine",
    choice: None,
    fields: &[
        default("provider", PROVIDER, "cpu", "Execution provider that must run the graph."),
        optional("device", whole(0, 63), "GPU index, for cuda; the first if not given."),
        optional("threads", whole(1, 1024), "Threads inside an operator; as many as physical cores if not given."),
        default("optimisation", words(&["disabled", "basic", "extended", "all"]), "all", "Graph optimisation level."),
        default("dtype", words(&["f32", "f16"]), "f32", "Weights, KV cache and logits."),
        default(
            "arg_max",
            words(&["outside", "inside"]),
            "outside",
            "Where the next token is chosen: by the client on a view of the logits, or by a node of the graph.",
        ),
        default(
            "isolation",
            words(&["none", "process"]),
            "none",
            "none: in this process. process: in a child, one per session, so that a crash costs one call.",
        ),
    ],
};
