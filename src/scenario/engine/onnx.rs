//! ONNX Runtime, in this process or a child of it.

pub mod provider;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::provider::{PROVIDER, Provider};
use crate::scenario::limits::Limits;
use crate::scenario::node::Node;
use crate::scenario::problem::Problem;
use crate::scenario::section::{Kind, Section, default, optional, whole, words};
use crate::scenario::settings::{EngineSettings, Placed};
use crate::scenario::typed::{self, items, text, word};
use crate::terms::Dtype;
use crate::units::Bytes;

/// How ONNX Runtime is set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnnxSettings {
    /// Which ONNX Runtime.
    pub source: RuntimeSource,
    /// Which execution provider must run the graph.
    pub provider: Provider,
    /// The provider's own settings, by its names for them.
    pub provider_options: Vec<(String, String)>,
    /// GPU index, for providers that have several.
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

/// Where an ONNX Runtime comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RuntimeSource {
    /// The one that `phasebench setup onnxruntime` selected, or that the environment names.
    #[default]
    Selected,
    /// A shared library.
    Library(PathBuf),
    /// One that `phasebench setup onnxruntime --version` fetched.
    Version(String),
    /// The one inside a Python environment, by its interpreter; nothing is changed there.
    Python(PathBuf),
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
            source: source(section)?,
            provider: word(section.get("provider")?)?,
            provider_options: typed::each(section, "provider_options", option)?,
            device: typed::optional(section, "device", Node::whole)?.unwrap_or(0),
            threads: typed::optional(section, "threads", Node::whole)?,
            optimisation: word(section.get("optimisation")?)?,
            dtype: word(section.get("dtype")?)?,
            arg_max: word(section.get("arg_max")?)?,
            isolation: typed::optional(section, "isolation", word)?.unwrap_or_else(|| usual_isolation(section)),
        })
    }

    fn contradictions(placed: Placed<'_>, problems: &mut Vec<Problem>) {
        let provider = text(placed.section, "provider");
        if let Some(device) = placed.section.get("device")
            && let Some(provider) = provider.and_then(Provider::of_word).filter(|provider| !provider.is_indexed())
        {
            let message = format!("`device` is an index of a GPU, but the provider is {}", provider.word());
            problems.push(Problem::new(device.at, message).help("try", "provider: cuda, or remove `device`"));
        }
        let named: Vec<&Node> = SOURCES.iter().filter_map(|key| placed.section.get(key)).collect();
        if let [_, second, ..] = named[..] {
            let message = "one ONNX Runtime for a backend: `library`, `version` or `python`";
            problems.push(Problem::new(second.at, message).help("try", "a backend of its own for each"));
        }
        if let Some(version) = placed.section.get("version")
            && version.text().is_some_and(|text| !is_version(text))
        {
            let message = format!("`version` is {}, allowed: a whole version such as 1.30.0", version.shown());
            problems.push(Problem::new(version.at, message));
        }
        for option in items(placed.section, "provider_options") {
            if option.text().is_some_and(|text| !text.contains('=')) {
                problems.push(Problem::new(option.at, "an option of a provider is `key=value`"));
            }
        }
    }
}

/// Keys that name an ONNX Runtime other than the selected one.
const SOURCES: [&str; 3] = ["library", "version", "python"];

fn source(section: &Node) -> Option<RuntimeSource> {
    if let Some(path) = typed::optional_text(section, "library")? {
        return Some(RuntimeSource::Library(path.into()));
    }
    if let Some(version) = typed::optional_text(section, "version")? {
        return Some(RuntimeSource::Version(version));
    }
    let python = typed::optional_text(section, "python")?;
    Some(python.map_or(RuntimeSource::Selected, |path| RuntimeSource::Python(path.into())))
}

/// A process can load one library, and the selected one is its first.
fn usual_isolation(section: &Node) -> Isolation {
    let named = SOURCES.iter().any(|key| section.get(key).is_some());
    if named { Isolation::Process } else { Isolation::None }
}

fn option(node: &Node) -> Option<(String, String)> {
    let (key, value) = node.text()?.split_once('=')?;
    Some((key.to_owned(), value.to_owned()))
}

/// `1.30.0`: three numbers. It becomes part of a folder's name.
#[must_use]
pub fn is_version(text: &str) -> bool {
    let numbers: Vec<_> = text.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.len() < 6 && part.bytes().all(|byte| byte.is_ascii_digit());
    numbers.len() == 3 && numbers.iter().all(is_number)
}

impl OnnxSettings {
    /// With paths that begin at `base`. A Python without a folder is looked for where programs are.
    #[must_use]
    pub(super) fn below(mut self, base: &Path) -> Self {
        match &mut self.source {
            RuntimeSource::Library(path) => *path = base.join(&*path),
            RuntimeSource::Python(path) if path.components().count() > 1 => *path = base.join(&*path),
            RuntimeSource::Python(_) | RuntimeSource::Version(_) | RuntimeSource::Selected => {}
        }
        self
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

    fn asks_for_board(&self) -> bool {
        self.provider.is_on_cuda()
    }

    /// The CPU provider keeps packed copies of the matrices beside the weights, 2.2 times the weights in all. A step's KV
    /// cache is returned as a new tensor while the old one is still its input.
    fn resident(&self, weights: Bytes, cache: Bytes) -> Bytes {
        let weights = if self.provider.is_indexed() { weights.0 } else { weights.0 / 5 * 11 };
        Bytes(weights.saturating_add(cache.0.saturating_mul(2)))
    }
}

const SECTION: Section = Section {
    what: "an ONNX Runtime engine",
    choice: None,
    fields: &[
        optional("library", Kind::Path, "An ONNX Runtime by its shared library; the selected one if none is named."),
        optional("version", Kind::Text, "One that `setup onnxruntime --version` fetched, e.g. 1.30.0."),
        optional("python", Kind::Path, "The one inside a Python environment, by its interpreter."),
        default("provider", PROVIDER, "cpu", "Execution provider that must run the graph; the library has to have it."),
        default(
            "provider_options",
            Kind::List { item: &Kind::Text, min: 0, unique: true },
            "[]",
            "The provider's own settings, `key=value` each.",
        ),
        optional("device", whole(0, 63), "GPU index, for cuda, tensorrt, rocm, migraphx; the first if not given."),
        optional("threads", whole(1, 1024), "Threads inside an operator; as many as physical cores if not given."),
        default("optimisation", words(&["disabled", "basic", "extended", "all"]), "all", "Graph optimisation level."),
        default("dtype", words(&["f32", "f16"]), "f32", "Weights, KV cache and logits."),
        default(
            "arg_max",
            words(&["outside", "inside"]),
            "outside",
            "Where the next token is chosen: by the client on a view of the logits, or by a node of the graph.",
        ),
        optional(
            "isolation",
            words(&["none", "process"]),
            "none: in this process. process: in a child, one per session, so that a crash costs one call. Left out: none, but \
             process for a library that is named, and where cells are measured in several sessions.",
        ),
    ],
};
