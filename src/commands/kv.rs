//! `phasebench kv`: what a model's KV cache takes, run or not.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crate::cli::KvArgs;
use crate::commands::CommandError;
use crate::commands::columns::aligned_table;
use crate::commands::scenario::machine_memory;
use crate::exit::Exit;
use crate::kv::{Cache, LayeredCache, Longest, MIB, multi_head_of_equal_size};
use crate::model::cache_shape::{self, CacheShape, Layers};
use crate::model::{Folder, config};
use crate::report::document::{Table, Text};
use crate::terms::model::Architecture;
use crate::units::{Bytes, significant};

/// Reckons and prints.
///
/// # Errors
/// A configuration that cannot be read or says too little, standard output refuses.
pub fn execute(args: &KvArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let model = Model::read(&args.model)?;
    let found = Reckoned::new(&model, args);
    if args.json {
        writeln!(out, "{:#}", serde_json::to_value(&found)?)?;
    } else {
        found.print(out)?;
    }
    Ok(Exit::Good)
}

/// What is known of a model.
struct Model {
    shape: CacheShape,
    /// `None`: a family whose weights nothing here can count.
    params: Option<u64>,
    /// `None`: the same.
    architecture: Option<Architecture>,
}

impl Model {
    /// From a folder's weights if they are there, else from its configuration, else only what that says of the cache.
    fn read(path: &Path) -> Result<Self, CommandError> {
        let file = cache_shape::config_of(path);
        let shape = cache_shape::read(&file)?;
        let architecture = config::read(&file).ok();
        // Only the headers are read, so that nothing is kept in a cache.
        let counted = Folder::open(path, Path::new("")).ok().map(|folder| folder.parameters());
        let params = counted.or_else(|| architecture.as_ref().map(Architecture::parameters));
        Ok(Self { shape, params, architecture })
    }

    fn cache(&self, element_bytes: u64) -> LayeredCache {
        let CacheShape { n_kv_head, head_dim, n_positions, layers, .. } = self.shape;
        let whole = Cache { n_layer: layers.whole, n_kv_head, head_dim, element_bytes, n_positions };
        LayeredCache { whole, windowed: layers.windowed, window: layers.window }
    }
}

/// What `kv --json` prints.
#[derive(Debug, Serialize)]
struct Reckoned {
    /// `model_type`. Null: not told.
    family: Option<String>,
    /// Null: a family whose weights cannot be counted here.
    params: Option<u64>,
    /// Element type of weights and cache.
    dtype: &'static str,
    /// As given, else counted. Null: neither.
    weights_bytes: Option<u64>,
    n_layer: u64,
    layers: WhatLayersHold,
    n_head: u64,
    n_kv_head: u64,
    head_dim: u64,
    /// Longest context. Null: not told.
    n_positions: Option<u64>,
    batch: u64,
    /// What cache and weights may take together. Null: the machine does not tell its memory.
    memory_bytes: Option<u64>,
    /// The cache in `dtype`, then in one byte per element, scales not counted.
    caches: Vec<OfElement>,
    /// The same model with as many key-value heads as query heads, its MLP narrower. Null: heads are not grouped, or the
    /// family's parameters cannot be counted.
    multi_head_of_equal_size: Option<MultiHead>,
}

/// What was reckoned with of the model's layers.
#[derive(Debug, Serialize)]
struct WhatLayersHold {
    /// Those that hold the whole context.
    whole_context: u64,
    /// Those that hold its last `window_tokens`.
    windowed: u64,
    /// Null: no layer is windowed.
    window_tokens: Option<u64>,
    /// Those that have no cache, but a state of fixed size.
    without_cache: u64,
    /// The key of the configuration. Null: none says anything, so all hold the whole context.
    told_by: Option<&'static str>,
}

impl WhatLayersHold {
    fn of(layers: Layers) -> Self {
        let Layers { whole, windowed, window, without, told_by } = layers;
        let window_tokens = (windowed > 0).then_some(window);
        Self { whole_context: whole, windowed, window_tokens, without_cache: without, told_by }
    }

    /// In words. `None`: all hold the whole context.
    fn words(&self) -> Option<String> {
        if self.whole_context + self.windowed == 0 {
            let told_by = self.told_by.map(|key| format!("; told by `{key}`")).unwrap_or_default();
            return Some(format!("no layer keeps a cache that grows with the context{told_by}"));
        }
        let mut parts = vec![format!("{} hold the whole context", self.whole_context)];
        parts.extend(self.window_tokens.map(|window| format!("{} its last {window} tokens", self.windowed)));
        if self.without_cache > 0 {
            parts.push(format!("{} a state of fixed size, which is not counted", self.without_cache));
        }
        let told_by = self.told_by.filter(|_| parts.len() > 1)?;
        Some(format!("of its layers {}; told by `{told_by}`", parts.join(", ")))
    }
}

/// A cache of one element type.
#[derive(Debug, Serialize)]
struct OfElement {
    element: &'static str,
    /// As long as no window is full.
    bytes_per_token: u64,
    /// Tokens of one sequence whose cache is as large as the weights. Null: the weights are not known, or it is never as large.
    crossover_tokens: Option<u64>,
    /// Longest context of each sequence at `batch` within the memory. Null: memory or weights are not known, the weights do
    /// not fit, or `any_context`.
    longest_context: Option<u64>,
    /// Whether any length fits, so that there is no longest.
    any_context: bool,
    contexts: Vec<AtContext>,
}

#[derive(Debug, Serialize)]
struct AtContext {
    tokens: u64,
    /// Whether that is more than the model's longest context, which is then what is held.
    beyond_longest: bool,
    /// Of all sequences.
    mib: f64,
    /// Null: the weights are not known.
    share_of_weights: Option<f64>,
    /// Sequences of this length within the memory. Null: as `longest_context`.
    largest_batch: Option<u64>,
}

#[derive(Debug, Serialize)]
struct MultiHead {
    params: u64,
    n_kv_head: usize,
    /// The grouped model's is wider.
    n_inner: usize,
    bytes_per_token: u64,
    /// How many times as large as the grouped model's cache.
    times_as_large: f64,
}

impl Reckoned {
    fn new(model: &Model, args: &KvArgs) -> Self {
        let dtype = args.dtype;
        let width = dtype.bytes() as u64;
        let counted = model.params.map(|params| params.saturating_mul(width));
        let weights = args.weights.map(|given| given.0).or(counted);
        let memory = args.memory.or_else(|| machine_memory().ok());
        let limits = Limits { weights, memory: memory.map(|memory| memory.0), batch: args.batch };
        let of_element = |element, bytes| OfElement::new(model.cache(bytes), element, limits, &args.context);
        let caches = vec![of_element(dtype.as_str(), width), of_element("8-bit", 1)];
        let multi_head = model.architecture.as_ref().and_then(|grouped| MultiHead::of(grouped, width));
        let CacheShape { family, n_layer, n_head, n_kv_head, head_dim, n_positions, layers } = model.shape.clone();
        Self {
            family,
            params: model.params,
            dtype: dtype.as_str(),
            weights_bytes: weights,
            n_layer,
            layers: WhatLayersHold::of(layers),
            n_head,
            n_kv_head,
            head_dim,
            n_positions,
            batch: args.batch,
            memory_bytes: limits.memory,
            caches,
            multi_head_of_equal_size: multi_head,
        }
    }

    fn print(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let family = self.family.as_deref().unwrap_or("a model");
        let params = self.params.map(|params| format!("{} M parameters, ", millions(params))).unwrap_or_default();
        let weights = match self.weights_bytes {
            Some(bytes) => format!("{params}weights of {}", Bytes(bytes)),
            None => "its weights cannot be counted here; give --weights SIZE".to_owned(),
        };
        writeln!(out, "{family}: {weights}")?;
        let longest = self.n_positions.map_or_else(String::new, |n| format!("; contexts up to {n} tokens"));
        let (heads, own) = (self.n_head, self.n_kv_head);
        writeln!(out, "{} layers, {heads} heads of {}, {own} key-value heads{longest}", self.n_layer, self.head_dim)?;
        if let Some(words) = self.layers.words() {
            writeln!(out, "{words}")?;
        }
        for cache in &self.caches {
            writeln!(out)?;
            self.print_cache(cache, out)?;
        }
        if let Some(multi) = &self.multi_head_of_equal_size {
            writeln!(
                out,
                "\nwith {} key-value heads and an MLP of {}, which is as many parameters ({} M), a token would take {}: {} \
                 times as much",
                multi.n_kv_head,
                multi.n_inner,
                millions(multi.params),
                Bytes(multi.bytes_per_token),
                significant(multi.times_as_large, 3),
            )?;
        }
        writeln!(out, "\nin theory: engines add blocks, padding and pools; a run's report shows what they allocate")
    }

    fn print_cache(&self, cache: &OfElement, out: &mut dyn Write) -> std::io::Result<()> {
        let scales = if cache.element == "8-bit" { ", scales not counted" } else { "" };
        let per_token = Bytes(cache.bytes_per_token);
        let full = self.layers.window_tokens.map(|window| format!(" up to {window} tokens, less beyond"));
        let full = full.unwrap_or_default();
        writeln!(out, "{} cache{scales}: {per_token} per token and sequence{full}", cache.element)?;
        let table = Table::of(&cache.contexts)
            .count("context", |at| at.tokens)
            .number("cache", "MiB", |at| significant(at.mib, 4))
            .number("of the weights", "", |at| or_dash(at.share_of_weights.map(percent)))
            .number("sequences that fit", "", |at| or_dash(at.largest_batch))
            .words("", |at| if at.beyond_longest { "beyond the longest context, which is what is held" } else { "" })
            .captioned(Text::default());
        for line in aligned_table(&table) {
            writeln!(out, "  {line}")?;
        }
        if let Some(tokens) = cache.crossover_tokens {
            let longer = self.n_positions.is_some_and(|longest| tokens > longest);
            let note = if longer { ", which is beyond its longest context" } else { "" };
            writeln!(out, "  as large as the weights at {tokens} tokens of one sequence{note}")?;
        }
        let Some(memory) = self.memory_bytes.map(Bytes) else {
            return writeln!(
                out,
                "  what fits is not known: this machine does not tell its memory; give --memory SIZE"
            );
        };
        let batch = self.batch;
        match (cache.longest_context, self.weights_bytes) {
            _ if cache.any_context => writeln!(out, "  {memory}: contexts of any length at batch {batch}"),
            (Some(tokens), _) => writeln!(out, "  {memory}: contexts of up to {tokens} tokens at batch {batch}"),
            (None, Some(_)) => writeln!(out, "  {memory}: the weights alone do not fit"),
            (None, None) => writeln!(out, "  {memory}: what fits beside the weights is not known"),
        }
    }
}

/// What bounds a cache.
#[derive(Clone, Copy)]
struct Limits {
    weights: Option<u64>,
    memory: Option<u64>,
    batch: u64,
}

impl OfElement {
    fn new(cache: LayeredCache, element: &'static str, limits: Limits, contexts: &[u64]) -> Self {
        let room = limits.memory.zip(limits.weights);
        let longest = room.and_then(|(memory, weights)| cache.longest_context(memory, weights, limits.batch));
        let (longest_context, any_context) = match longest {
            Some(Longest::Tokens(tokens)) => (Some(tokens), false),
            Some(Longest::Any) => (None, true),
            None => (None, false),
        };
        Self {
            element,
            bytes_per_token: cache.bytes_per_token(),
            crossover_tokens: limits.weights.and_then(|weights| cache.crossover_tokens(weights)),
            longest_context,
            any_context,
            contexts: contexts.iter().map(|tokens| AtContext::new(cache, limits, *tokens)).collect(),
        }
    }
}

impl AtContext {
    #[expect(clippy::cast_precision_loss, reason = "printed with four digits")]
    fn new(cache: LayeredCache, limits: Limits, tokens: u64) -> Self {
        let bytes = cache.bytes(limits.batch, tokens) as f64;
        let room = limits.memory.zip(limits.weights);
        Self {
            tokens,
            beyond_longest: cache.whole.n_positions.is_some_and(|longest| tokens > longest),
            mib: bytes / MIB,
            share_of_weights: limits.weights.filter(|weights| *weights > 0).map(|weights| bytes / weights as f64),
            largest_batch: room.and_then(|(memory, weights)| cache.largest_batch(memory, weights, tokens)),
        }
    }
}

impl MultiHead {
    #[expect(clippy::cast_precision_loss, reason = "a ratio of head counts")]
    fn of(grouped: &Architecture, width: u64) -> Option<Self> {
        let multi = multi_head_of_equal_size(grouped)?;
        let per_token = Cache::of(&multi, width).bytes_per_token();
        Some(Self {
            params: multi.parameters(),
            n_kv_head: multi.n_kv_head,
            n_inner: multi.n_inner,
            bytes_per_token: per_token,
            times_as_large: per_token as f64 / Cache::of(grouped, width).bytes_per_token() as f64,
        })
    }
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn percent(share: f64) -> String {
    format!("{} %", significant(100.0 * share, 3))
}

#[expect(clippy::cast_precision_loss, reason = "printed with four digits")]
fn millions(count: u64) -> String {
    significant(count as f64 / 1e6, 4)
}
