//! What `torch.compile` is asked for.

use serde::{Deserialize, Serialize};

use crate::scenario::node::Node;
use crate::scenario::problem::Problem;
use crate::scenario::section::{Kind, Section, TOKENS, default, optional, whole, words};
use crate::scenario::typed::{self, word};

/// What `torch.compile` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileSettings {
    /// Whether the pass over the prompts is compiled.
    pub prefill: bool,
    /// Whether the decode step is compiled.
    pub decode: bool,
    /// Which compiler.
    pub backend: CompileBackend,
    /// Its preset.
    pub mode: CompileMode,
    /// Whether a graph is made for every shape.
    pub dynamic: Dynamic,
    /// Prompt lengths that prompts are padded to, ascending. Empty: they are not padded.
    pub buckets: Vec<u32>,
    /// Whether a graph that cannot be compiled whole is an error.
    pub fullgraph: bool,
    /// What a shape does that was not made ready.
    pub on_recompile: OnRecompile,
    /// Most graphs of one function. `None`: torch's own limit.
    pub recompile_limit: Option<u32>,
}

impl Default for CompileSettings {
    fn default() -> Self {
        Self {
            prefill: true,
            decode: true,
            backend: CompileBackend::Inductor,
            mode: CompileMode::Default,
            dynamic: Dynamic::Static,
            buckets: Vec::new(),
            fullgraph: true,
            on_recompile: OnRecompile::Fail,
            recompile_limit: None,
        }
    }
}

impl CompileSettings {
    /// The length that a graph is made for when a prompt has so many tokens. `None`: one that serves others, too.
    pub(super) fn compiled_length(&self, tokens: Option<u32>) -> Option<u32> {
        let tokens = tokens.filter(|_| self.dynamic == Dynamic::Static)?;
        let bucket = self.buckets.iter().copied().find(|&bucket| bucket >= tokens);
        bucket.or(Some(tokens))
    }
}

/// A compiler behind `torch.compile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompileBackend {
    /// Generates and compiles kernels.
    #[default]
    Inductor,
    /// Traces forward and backward, then runs the operators eagerly.
    AotEager,
    /// Captures CUDA graphs of the eager operators.
    Cudagraphs,
}

impl CompileBackend {
    /// The name torch knows it by.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inductor => "inductor",
            Self::AotEager => "aot_eager",
            Self::Cudagraphs => "cudagraphs",
        }
    }
}

/// A preset of the compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CompileMode {
    /// No preset.
    #[default]
    Default,
    /// CUDA graphs where they can be.
    ReduceOverhead,
    /// Tries kernels against each other.
    MaxAutotune,
    /// The same, without CUDA graphs.
    MaxAutotuneNoCudagraphs,
}

impl CompileMode {
    /// The name torch knows it by.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::ReduceOverhead => "reduce-overhead",
            Self::MaxAutotune => "max-autotune",
            Self::MaxAutotuneNoCudagraphs => "max-autotune-no-cudagraphs",
        }
    }
}

/// Whether a graph serves several shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dynamic {
    /// One graph per shape.
    #[default]
    Static,
    /// One graph for all lengths.
    Dynamic,
    /// Static first, dynamic where a second shape comes: torch's default.
    Auto,
}

impl Dynamic {
    /// The value of the worker's option `compile.dynamic`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Static => "false",
            Self::Dynamic => "true",
            Self::Auto => "auto",
        }
    }
}

/// What becomes of a call whose shape was not compiled before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRecompile {
    /// It fails. Every planned shape is compiled before the first call, as a phase of its own.
    #[default]
    Fail,
    /// It compiles; the compilation is counted and its time is in the row.
    Record,
}

/// The settings from a section that was checked. `None`: it is wrong in a way that was reported.
pub(super) fn build(section: &Node) -> Option<CompileSettings> {
    Some(CompileSettings {
        prefill: section.get("prefill")?.flag()?,
        decode: section.get("decode")?.flag()?,
        backend: word(section.get("backend")?)?,
        mode: word(section.get("mode")?)?,
        dynamic: word(section.get("dynamic")?)?,
        buckets: typed::wholes(section.get("buckets")?)?,
        fullgraph: section.get("fullgraph")?.flag()?,
        on_recompile: word(section.get("on_recompile")?)?,
        recompile_limit: typed::optional(section, "recompile_limit", Node::whole)?,
    })
}

/// What a compile policy says that cannot be.
pub(super) fn contradictions(section: &Node, device: Option<&str>, problems: &mut Vec<Problem>) {
    let off = |key| section.get(key).and_then(Node::flag) == Some(false);
    if off("prefill") && off("decode") {
        problems.push(
            Problem::new(section.at, "neither prefill nor decode is compiled")
                .help("try", "remove `compile` for an eager model"),
        );
    }
    if let Some(backend) = section.get("backend")
        && backend.text() == Some("cudagraphs")
        && device == Some("cpu")
    {
        problems.push(Problem::new(backend.at, "`cudagraphs` needs a GPU").help("try", "backend: inductor"));
    }
    if let Some(buckets) = section.get("buckets") {
        let lengths: Vec<u64> = buckets.items().iter().filter_map(Node::whole).collect();
        if !lengths.is_sorted() {
            problems.push(Problem::new(buckets.at, "`buckets` must ascend"));
        }
    }
}

pub(super) const SECTION: Section = Section {
    what: "a compile policy",
    choice: None,
    fields: &[
        default("prefill", Kind::Flag, "true", "Whether the pass over the prompts is compiled."),
        default("decode", Kind::Flag, "true", "Whether the decode step is compiled."),
        default("backend", words(&["inductor", "aot_eager", "cudagraphs"]), "inductor", "Which compiler."),
        default(
            "mode",
            words(&["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]),
            "default",
            "Preset of the compiler.",
        ),
        default(
            "dynamic",
            words(&["static", "dynamic", "auto"]),
            "static",
            "static: a graph per shape. dynamic: one for all lengths. auto: static until a second shape comes.",
        ),
        default(
            "buckets",
            Kind::List { item: &TOKENS, min: 0, unique: true },
            "[]",
            "Prompt lengths that prompts are padded to, with a mask; ascending.",
        ),
        default("fullgraph", Kind::Flag, "true", "Whether a graph that cannot be compiled whole is an error."),
        default(
            "on_recompile",
            words(&["fail", "record"]),
            "fail",
            "fail: planned shapes are compiled before the first call, any other is an error. \
             record: nothing is compiled ahead; a shape compiles inside its first call, counted, its time in the row.",
        ),
        optional("recompile_limit", whole(1, 100_000), "Most graphs of one function; torch's own limit if not given."),
    ],
};
