//! Arguments of what makes, converts and checks models.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, Subcommand};

use crate::scenario::ArgMax;
use crate::terms::Dtype;

/// `models`
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Make a synthetic model folder (config.json, model.safetensors, tokenizer.json)
    Synth(SynthArgs),
    /// Export a model folder to the form an engine loads
    Export(ExportArgs),
    /// Print a folder's architecture, parameters, bytes and KV bytes per token
    Inspect(InspectArgs),
    /// Compare engines' log-probabilities with the folder's reference.json, and with each other
    Verify(VerifyArgs),
    /// Let an Ollama server fetch a model into its own store
    Pull(PullArgs),
    /// Delete what runs have uploaded to an Ollama server
    Prune(PruneArgs),
}

/// `models synth`
#[derive(Debug, Args)]
#[command(
    after_help = "Example: phasebench models synth --family phi --n-layer 2 --n-embd 64 --n-head 2",
    override_usage = "phasebench models synth --family NAME --n-layer N --n-embd N --n-head N\n       [OPTIONS]"
)]
pub struct SynthArgs {
    /// gpt2, llama, qwen2 or phi
    #[arg(long, value_name = "NAME")]
    pub family: String,
    /// Layers
    #[arg(long, value_name = "N")]
    pub n_layer: u32,
    /// Width of the residual stream
    #[arg(long, value_name = "N")]
    pub n_embd: u32,
    /// Attention heads
    #[arg(long, value_name = "N")]
    pub n_head: u32,
    /// Key and value heads; as many as attention heads if not given
    #[arg(long, value_name = "N")]
    pub n_kv_head: Option<u32>,
    /// Width inside the MLP; the family's usual multiple of --n-embd if not given
    #[arg(long, value_name = "N")]
    pub n_inner: Option<u32>,
    /// Vocabulary; 50257 if not given
    #[arg(long, value_name = "N")]
    pub vocab: Option<u32>,
    /// Longest context in tokens; 1024 if not given
    #[arg(long, value_name = "N")]
    pub n_positions: Option<u32>,
    /// Stored element type: f32, f16 or bf16; f32 if not given
    #[arg(long, value_name = "TYPE")]
    pub dtype: Option<String>,
    /// Seed of the weights; 0 if not given
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Where to put the folder; in the cache if not given
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// `models export`
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("format").required(true).args(["onnx", "gguf"])), after_help = "Example: phasebench models export models/small --onnx --dtype f16")]
pub struct ExportArgs {
    /// The model folder
    pub folder: PathBuf,
    /// To an ONNX decoder graph
    #[arg(long)]
    pub onnx: bool,
    /// To a GGUF file, for servers on llama.cpp
    #[arg(long)]
    pub gguf: bool,
    /// Element type of the weights; in ONNX also of KV cache and logits
    #[arg(long, value_parser = one_of(&EXPORTED), default_value = "f32")]
    pub dtype: Dtype,
    /// Where the next token is chosen (ONNX)
    #[arg(long, value_parser = one_of(&CHOSEN), default_value = "outside", conflicts_with = "gguf")]
    pub arg_max: ArgMax,
    /// Weights in a file beside the graph, also where they would fit into it (ONNX, with --out)
    #[arg(long, conflicts_with = "gguf", requires = "out")]
    pub external_data: bool,
    /// The folder to put it into, or with --gguf a file that ends in .gguf; in the cache if not given
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// `models inspect`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench models inspect models/small")]
pub struct InspectArgs {
    /// The model folder
    pub folder: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `models verify`
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("foreign").args(["worker", "command"])),
    after_help = "Example: phasebench models verify models/small --ollama"
)]
pub struct VerifyArgs {
    /// The model folder; reference.json in it is what an independent implementation computed
    #[arg(required_unless_present = "backends")]
    pub folder: Option<PathBuf>,
    /// Compare the backends of this scenario file with each other instead, on the folder, or on the file's models
    #[arg(long, value_name = "SCENARIO", conflicts_with_all = ["ollama", "foreign", "dtype"])]
    pub backends: Option<PathBuf>,
    /// Element type of the exported model
    #[arg(long, value_parser = one_of(&EXPORTED), default_value = "f32")]
    pub dtype: Dtype,
    /// Compare an Ollama server too, with the reference (if there is one) and with ONNX Runtime; where OLLAMA_HOST says if
    /// no URL is given, else http://127.0.0.1:11434
    #[arg(long, visible_alias = "url", value_name = "URL", num_args = 0..=1, default_missing_value = "")]
    pub ollama: Option<String>,
    /// Compare a worker at this address too: unix:/PATH or tcp:127.0.0.1:PORT
    #[arg(long, value_name = "ADDRESS", conflicts_with = "ollama")]
    pub worker: Option<String>,
    /// The worker's device by its engine's name
    #[arg(long, default_value = "cpu", requires = "foreign")]
    pub device: String,
    /// A setting of the worker's own; again for more
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = key_and_value, requires = "foreign")]
    pub options: Vec<(String, String)>,
    /// Environment variable that holds the token the worker wants
    #[arg(long, value_name = "NAME", requires = "worker")]
    pub token_env: Option<String>,
    /// Greedy steps to compare per prompt
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=30))]
    pub steps: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// A worker to start and compare, with its arguments; --listen and --exit-on-stdin-close are added
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "ollama")]
    pub command: Vec<String>,
}

/// `models pull`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench models pull gemma3:270m")]
pub struct PullArgs {
    /// The model's name in the server's library, such as gemma3:270m
    pub model: String,
    /// The server; where OLLAMA_HOST says if not given, else http://127.0.0.1:11434
    #[arg(long, visible_alias = "ollama", value_name = "URL")]
    pub url: Option<String>,
}

/// `models prune`
#[derive(Debug, Args)]
#[command(after_help = "Example: phasebench models prune --dry-run")]
pub struct PruneArgs {
    /// The server; where OLLAMA_HOST says if not given, else http://127.0.0.1:11434
    #[arg(long, visible_alias = "ollama", value_name = "URL")]
    pub url: Option<String>,
    /// Only say what would be deleted
    #[arg(long)]
    pub dry_run: bool,
}

/// Element types that models are exported in.
pub(super) const EXPORTED: [(&str, Dtype); 2] = [("f32", Dtype::F32), ("f16", Dtype::F16)];

/// Where the most probable token may be chosen.
const CHOSEN: [(&str, ArgMax); 2] = [("outside", ArgMax::Outside), ("inside", ArgMax::Inside)];

/// One of the values that have these names.
pub(super) fn one_of<T: Copy + Default + Send + Sync>(
    all: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    let value =
        |name: String| all.iter().find(|(known, _)| *known == name).map(|(_, value)| *value).unwrap_or_default();
    PossibleValuesParser::new(all.iter().map(|(name, _)| *name)).map(value)
}

/// A setting of a worker's own.
pub(super) fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}
