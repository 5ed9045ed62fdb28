//! PyTorch, eager or compiled, in a worker process or container.

pub mod compile;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::compile::CompileSettings;
use super::onnx::is_version;
use crate::scenario::device::{PROCESSOR, Processor};
use crate::scenario::limits::{
    AskedCell, Limits, PromptSize, Refusal, WORKER_PROCESS, WORKER_START_MS, load_ms, only_served,
};
use crate::scenario::node::Node;
use crate::scenario::problem::Problem;
use crate::scenario::section::{Kind, Section, default, optional, whole, words};
use crate::scenario::settings::{EngineSettings, Placed};
use crate::scenario::typed::{self, text, word};
use crate::terms::{Dtype, Procedure};
use crate::units::Bytes;

/// How the torch worker is started and set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TorchSettings {
    /// Which torch.
    pub source: TorchSource,
    /// How it is started.
    pub launch: Launch,
    /// What it may use. Only a container holds it to this.
    pub resources: Resources,
    /// Where the model must run.
    pub device: TorchDevice,
    /// Weights and KV cache.
    pub dtype: Dtype,
    /// Threads inside an operator. `None`: torch's choice.
    pub threads: Option<u32>,
    /// What is compiled. `None`: nothing, the model runs eagerly.
    pub compile: Option<CompileSettings>,
}

/// Where a torch comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TorchSource {
    /// The environment that `phasebench setup torch` selected, or the image that it built.
    #[default]
    Selected,
    /// One that `phasebench setup torch --version` made.
    Version(String),
    /// A Python environment of somebody's own, by its interpreter; nothing is changed there.
    Python(PathBuf),
    /// A container image of somebody's own.
    Image(String),
}

/// How a worker is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Launch {
    /// In the environment that `phasebench setup torch` made.
    #[default]
    Process,
    /// In a container of the image that `phasebench setup torch --docker` built.
    Docker,
}

/// What a container may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resources {
    /// Memory. `None`: all of the machine's.
    pub memory: Option<Bytes>,
    /// Processors. `None`: all.
    pub cpus: Option<u32>,
    /// Processes and threads at once. `None`: the launcher's default.
    pub pids: Option<u32>,
}

/// Where torch runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TorchDevice {
    /// On the processors.
    #[default]
    Cpu,
    /// On the GPU of this index.
    Cuda(u32),
}

/// `cpu`, `cuda:0`: as torch calls it.
impl fmt::Display for TorchDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl EngineSettings for TorchSettings {
    const KEY: &'static str = "torch";
    const DOC: &'static str = "PyTorch, eager or compiled, in a worker process or container.";
    const SECTION: &'static Section = &SECTION;

    fn build(section: &Node) -> Option<Self> {
        let device = match word(section.get("device")?)? {
            Processor::Cpu => TorchDevice::Cpu,
            Processor::Cuda => TorchDevice::Cuda(typed::optional(section, "gpu", Node::whole)?.unwrap_or(0)),
        };
        let resources = section.get("resources")?;
        Some(Self {
            source: source(section)?,
            launch: word(section.get("launch")?)?,
            resources: Resources {
                memory: typed::optional(resources, "memory", typed::bytes)?,
                cpus: typed::optional(resources, "cpus", Node::whole)?,
                pids: typed::optional(resources, "pids", Node::whole)?,
            },
            device,
            dtype: word(section.get("dtype")?)?,
            threads: typed::optional(section, "threads", Node::whole)?,
            compile: typed::optional(section, "compile", compile::build)?,
        })
    }

    fn contradictions(placed: Placed<'_>, problems: &mut Vec<Problem>) {
        let torch = placed.section;
        one_torch(torch, problems);
        if let Some(gpu) = torch.get("gpu")
            && text(torch, "device") == Some("cpu")
        {
            problems.push(
                Problem::new(gpu.at, "`gpu` is an index of a GPU, but the device is cpu")
                    .help("try", "device: cuda, or remove `gpu`"),
            );
        }
        let limited = |key| torch.get("resources").and_then(|resources| resources.get(key));
        if let Some(limit) = ["memory", "cpus", "pids"].into_iter().find_map(limited)
            && text(torch, "launch") == Some("process")
        {
            problems.push(
                Problem::new(limit.at, "only a container is held to `resources`, but the launch is process")
                    .help("try", "launch: docker, or remove `resources`"),
            );
        }
        if let Some(section) = torch.get("compile") {
            compile::contradictions(section, text(torch, "device"), problems);
        }
    }
}

/// Keys that name a torch other than the selected one, with the launch that each is for.
const SOURCES: [(&str, &str); 3] = [("version", "process"), ("python", "process"), ("image", "docker")];

fn source(section: &Node) -> Option<TorchSource> {
    if let Some(version) = typed::optional_text(section, "version")? {
        return Some(TorchSource::Version(version));
    }
    if let Some(image) = typed::optional_text(section, "image")? {
        return Some(TorchSource::Image(image));
    }
    let python = typed::optional_text(section, "python")?;
    Some(python.map_or(TorchSource::Selected, |path| TorchSource::Python(path.into())))
}

/// At most one of the keys that name a torch, with the launch that it is for.
fn one_torch(torch: &Node, problems: &mut Vec<Problem>) {
    let named: Vec<_> =
        SOURCES.iter().filter_map(|(key, launch)| torch.get(key).map(|node| (key, launch, node))).collect();
    if let [_, (.., second), ..] = named[..] {
        let message = "one torch for a backend: `version`, `python` or `image`";
        problems.push(Problem::new(second.at, message).help("try", "a backend of its own for each"));
    }
    if let [(key, launch, node)] = named[..]
        && text(torch, "launch").is_some_and(|asked| asked != *launch)
    {
        let message = format!("`{key}` is for launch: {launch}");
        problems.push(Problem::new(node.at, message).help("try", format!("launch: {launch}, or remove `{key}`")));
    }
    if let Some(version) = torch.get("version")
        && version.text().is_some_and(|text| !is_version(text))
    {
        let message = "`version` is not a whole version such as 2.6.0";
        problems.push(Problem::new(version.at, message));
    }
}

/// Milliseconds to compile one graph.
const GRAPH_MS: f64 = 15_000.0;

impl Limits for TorchSettings {
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
        matches!(self.device, TorchDevice::Cuda(_))
    }

    fn refusal(&self, asked: &AskedCell<'_>) -> Option<Refusal> {
        if self.compile.is_some() && asked.procedure == Procedure::Uncached {
            let reason = "without a cache every step has another length, which would be compiled anew";
            return Some(Refusal::new("mode_unsupported", reason));
        }
        only_served(Self::KEY, asked).or_else(|| self.past_buckets(asked))
    }

    /// The interpreter and its libraries, and a static cache.
    fn resident(&self, weights: Bytes, cache: Bytes) -> Bytes {
        Bytes(weights.0.saturating_add(WORKER_PROCESS.0).saturating_add(cache.0))
    }

    fn load_ms(&self, millions: f64) -> f64 {
        load_ms(WORKER_START_MS, millions)
    }

    /// Compiling for every prompt length and batch; where a length compiles inside its call that takes as long.
    fn compile_ms(&self, prompts: &[PromptSize]) -> f64 {
        let Some(compile) = &self.compile else { return 0.0 };
        let lengths: BTreeSet<_> =
            prompts.iter().map(|prompt| (prompt.rows, compile.compiled_length(prompt.tokens))).collect();
        let batches: BTreeSet<_> = prompts.iter().map(|prompt| prompt.rows).collect();
        let graphs = lengths.len() * usize::from(compile.prefill) + batches.len() * usize::from(compile.decode);
        GRAPH_MS * graphs as f64
    }
}

impl TorchSettings {
    /// With paths that begin at `base`. A Python without a folder is looked for where programs are.
    #[must_use]
    pub fn below(mut self, base: &Path) -> Self {
        if let TorchSource::Python(path) = &mut self.source
            && path.components().count() > 1
        {
            *path = base.join(&*path);
        }
        self
    }

    /// A prompt that no bucket holds, or a bucket that the model cannot take. A text's length is not known here.
    fn past_buckets(&self, asked: &AskedCell<'_>) -> Option<Refusal> {
        let longest = self.compile.as_ref()?.buckets.iter().copied().max()?;
        if let Some(context) = asked.context.filter(|&context| u64::from(longest) > context) {
            let reason = format!("a bucket of {longest} tokens exceeds the context of {context}");
            return Some(Refusal::new("context_exceeded", reason));
        }
        let prompt = asked.size.tokens.filter(|&prompt| prompt > longest)?;
        let reason = format!("{prompt} prompt tokens exceed the largest bucket, {longest}");
        Some(Refusal::new("prompt_too_long", reason))
    }
}

const SECTION: Section = Section {
    what: "a torch worker",
    choice: None,
    fields: &[
        optional("python", Kind::Path, "A torch by the interpreter of its environment, in which nothing is changed."),
        optional("version", Kind::Text, "One that `setup torch --version` made, e.g. 2.6.0."),
        optional("image", Kind::Text, "With launch: docker, an image that has a Python with torch; ours if not given."),
        default(
            "launch",
            words(&["process", "docker"]),
            "process",
            "process: in the environment of `phasebench setup torch`. docker: in a container of the image of \
             `phasebench setup torch --docker`.",
        ),
        default("resources", Kind::Section(&RESOURCES), "{}", "What a container may use."),
        default("device", PROCESSOR, "cpu", "Where the model must run."),
        optional("gpu", whole(0, 63), "GPU index, for cuda; the first if not given."),
        optional("threads", whole(1, 1024), "Threads inside an operator; torch's choice if not given."),
        default("dtype", words(&["f32", "f16"]), "f32", "Weights and KV cache."),
        optional("compile", Kind::Section(&compile::SECTION), "What torch.compile makes faster; nothing if not given."),
    ],
};

const RESOURCES: Section = Section {
    what: "a container's resources",
    choice: None,
    fields: &[
        optional("memory", Kind::Bytes, "Memory; all of the machine's if not given."),
        optional("cpus", whole(1, 4096), "Processors; all if not given."),
        optional("pids", whole(16, 1 << 20), "Processes and threads at once; 512 if not given."),
    ],
};
