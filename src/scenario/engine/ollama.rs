//! An Ollama server on this machine.

use serde::{Deserialize, Serialize};

use crate::scenario::Prompt;
use crate::scenario::limits::{AskedCell, Context, Limits, Refusal};
use crate::scenario::node::Node;
use crate::scenario::problem::Problem;
use crate::scenario::section::{Kind, Section, default, number, optional, whole, words};
use crate::scenario::settings::{EngineSettings, Placed};
use crate::scenario::typed::{self, items, text, word};
use crate::terms::{Dtype, Procedure};

/// How an Ollama server is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct OllamaSettings {
    /// Where it listens: `http://` and a host of this machine.
    pub url: String,
    /// Where models must run.
    pub device: OllamaDevice,
    /// `num_ctx`: the context every load allocates, clamped to the model's own.
    pub num_ctx: u32,
    /// `num_batch`: prompt tokens computed together.
    pub num_batch: u32,
    /// `num_thread`. `None`: the server's choice.
    pub threads: Option<u32>,
    /// Element type that model folders are converted to. The server's KV cache is `f16` unless it is set otherwise.
    pub dtype: Dtype,
    /// Sampling temperature.
    pub temperature: f64,
    /// Most models kept resident. `None`: as the server's settings say.
    pub max_resident: Option<u32>,
}

/// Where an Ollama server must run models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OllamaDevice {
    /// Wherever the server puts them.
    #[default]
    Any,
    /// No layer on a GPU.
    Cpu,
    /// Every layer on a GPU.
    Gpu,
}

impl OllamaDevice {
    /// `any`, `cpu` or `gpu`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
        }
    }
}

impl Default for OllamaSettings {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:11434".to_owned(),
            device: OllamaDevice::Any,
            num_ctx: 2048,
            num_batch: 512,
            threads: None,
            dtype: Dtype::F32,
            temperature: 1.0,
            max_resident: None,
        }
    }
}

impl EngineSettings for OllamaSettings {
    const KEY: &'static str = "ollama";
    const DOC: &'static str = "An Ollama server on this machine.";
    const SECTION: &'static Section = &SECTION;

    fn build(section: &Node) -> Option<Self> {
        Some(Self {
            url: typed::owned(section, "url")?,
            device: word(section.get("device")?)?,
            num_ctx: section.get("num_ctx")?.whole()?,
            num_batch: section.get("num_batch")?.whole()?,
            threads: typed::optional(section, "threads", Node::whole)?,
            dtype: word(section.get("dtype")?)?,
            temperature: typed::number(section, "temperature")?,
            max_resident: typed::optional(section, "max_resident", Node::whole)?,
        })
    }

    fn contradictions(placed: Placed<'_>, problems: &mut Vec<Problem>) {
        if let Some(url) = placed.section.get("url")
            && url.text().is_some_and(|text| !text.starts_with("http://"))
        {
            let message = "`url` must begin with http://: the server is on this machine and speaks plain HTTP";
            problems.push(Problem::new(url.at, message).help("try", "\"http://127.0.0.1:11434\""));
        }
        shared_server(placed, problems);
    }
}

/// A server holds a model once, with one set of load-time options: two backends on it cannot be resident together.
fn shared_server(placed: Placed<'_>, problems: &mut Vec<Problem>) {
    let Some(url) = text(placed.section, "url").filter(|_| text(placed.file, "order") == Some("interleaved")) else {
        return;
    };
    let earlier = items(placed.file, "backends").iter().take_while(|other| !std::ptr::eq(*other, placed.backend));
    let sharing = earlier.into_iter().find(|other| other.get("ollama").and_then(|o| text(o, "url")) == Some(url));
    if let Some(first) = sharing {
        let name = text(first, "name").unwrap_or_default();
        let message = format!("`{name}` uses this server too, and a server holds a model only once");
        problems.push(Problem::new(placed.section.at, message).help("try", "order: blocked, or another server"));
    }
}

/// BOS and a nonce of one token.
const SHORTEST_BY_TOKENS: u32 = 2;

/// BOS, a first word and a nonce of two, where only the server can tokenise.
const SHORTEST_BY_WORDS: u32 = 4;

impl Limits for OllamaSettings {
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
        self.device == OllamaDevice::Gpu
    }

    fn may_stop_early(&self) -> bool {
        true
    }

    fn max_resident(&self) -> Option<u32> {
        self.max_resident
    }

    fn refusal(&self, asked: &AskedCell<'_>) -> Option<Refusal> {
        if asked.procedure == Procedure::Uncached {
            return Some(Refusal::new("mode_unsupported", "an Ollama server always decodes on its KV cache"));
        }
        if asked.size.rows > 1 || matches!(asked.prompt, Prompt::Texts { pad_to: Some(_), .. }) {
            return Some(Refusal::new("batch_unsupported", "an Ollama server takes one row per call, without padding"));
        }
        if asked.served && matches!(asked.prompt, Prompt::File { .. }) {
            let reason = "a file is cut to a number of tokens, and only the server has this model's tokenizer";
            return Some(Refusal::new("no_tokenizer", reason));
        }
        // Without its own first token a prompt would be found in the server's cache.
        let shortest = if asked.served { SHORTEST_BY_WORDS } else { SHORTEST_BY_TOKENS };
        let prompt = asked.size.tokens.filter(|&prompt| prompt < shortest)?;
        let reason = format!("{prompt} prompt tokens have no room for BOS and a nonce: at least {shortest} are needed");
        Some(Refusal::new("prompt_too_short", reason))
    }

    /// A server counts the token it returns last, too.
    fn context(&self) -> Context {
        Context::Allocated { tokens: u64::from(self.num_ctx), besides: 1 }
    }

    /// The server's KV cache is in 16-bit floats, whatever the weights are in, unless its settings say otherwise.
    fn cache_dtype(&self, _dtype: Dtype) -> Dtype {
        Dtype::F16
    }
}

const SECTION: Section = Section {
    what: "an Ollama server",
    choice: None,
    fields: &[
        default("url", Kind::Text, "\"http://127.0.0.1:11434\"", "Where it listens."),
        default(
            "device",
            words(&["any", "cpu", "gpu"]),
            "any",
            "Where models must run: cpu keeps every layer off the GPU, gpu asks for every layer on it.",
        ),
        default(
            "num_ctx",
            whole(16, 1 << 20),
            "2048",
            "Context every load allocates; never more than the model's own.",
        ),
        default("num_batch", whole(1, 1 << 16), "512", "Prompt tokens computed together."),
        optional("threads", whole(1, 1024), "Threads of the engine; the server's choice if not given."),
        default("dtype", words(&["f32", "f16"]), "f32", "Weights of model folders, which are converted and uploaded."),
        default("temperature", number(0.0, 2.0), "1", "Sampling temperature; at 0 a random model repeats itself."),
        optional("max_resident", whole(1, 1000), "Most models kept loaded, never more than the server is set to keep."),
    ],
};
