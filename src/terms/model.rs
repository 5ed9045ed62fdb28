//! The shape of a model, which decides its parameter count, its KV cache and its graph, and the recipe of a synthetic one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A family of architectures that the exporters know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Learned positions, layer norm, biases everywhere, tied output embedding.
    Gpt2,
    /// Rotary positions, RMS norm, gated MLP, grouped key-value heads.
    Llama,
    /// As llama, with biases on query, key and value.
    Qwen2,
    /// Attention and MLP side by side on one layer norm, part of each head rotated, biases everywhere.
    Phi,
}

impl Family {
    /// Every family, in the order they are documented.
    pub const ALL: &'static [Self] = &[Self::Gpt2, Self::Llama, Self::Qwen2, Self::Phi];

    /// The name in scenario files and in `model_type` of `config.json`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gpt2 => "gpt2",
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Phi => "phi",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The type a weight or a cache element is held in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// IEEE single precision.
    #[default]
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a single.
    Bf16,
}

impl Dtype {
    /// The name in files and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// Size of one element. Unit: bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The non-linearity of the MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Gaussian error linear unit by its error function.
    Gelu,
    /// Its tanh approximation, `gelu_new` in configurations.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `x · sigmoid(x)`.
    Silu,
}

/// Rotary position embedding.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rope {
    /// Base of the wavelengths.
    pub theta: f64,
    /// How many dimensions of each head are rotated, from the first; even.
    pub rotary_dims: usize,
    /// How long wavelengths are stretched. `None`: not at all.
    pub scaling: Option<RopeScaling>,
}

/// The `llama3` stretching: wavelengths longer than the original context divided by `low_freq_factor` are multiplied
/// by `factor`, those shorter than it divided by `high_freq_factor` are kept, between them the two are blended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RopeScaling {
    /// How much longer the context became.
    pub factor: f64,
    /// Turns within the original context below which stretching is whole.
    pub low_freq_factor: f64,
    /// Turns within the original context above which there is none.
    pub high_freq_factor: f64,
    /// The context of the first training. Unit: tokens.
    pub original_positions: usize,
}

impl Rope {
    /// The angle per position of each rotated pair, `theta^(-2i/rotary_dims)`, after stretching. Unit: radians.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "dimensions are far below 2^53")]
    pub fn inverse_frequencies(&self) -> Vec<f64> {
        (0..self.rotary_dims / 2)
            .map(|i| {
                let frequency = self.theta.powf(-2.0 * i as f64 / self.rotary_dims as f64);
                self.scaling.map_or(frequency, |s| s.stretch(frequency))
            })
            .collect()
    }
}

impl RopeScaling {
    #[expect(clippy::cast_precision_loss, reason = "a context is far below 2^53 tokens")]
    fn stretch(&self, frequency: f64) -> f64 {
        let turns = self.original_positions as f64 * frequency / std::f64::consts::TAU;
        let keep = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor);
        let keep = keep.clamp(0.0, 1.0);
        keep * frequency + (1.0 - keep) * frequency / self.factor
    }
}

/// Which linear layers add a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Biases {
    /// Query, key and value projections.
    pub qkv: bool,
    /// The projection after attention.
    pub attention_out: bool,
    /// The MLP's projections.
    pub mlp: bool,
    /// The output embedding.
    pub head: bool,
}

/// The shape of a decoder-only model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Which graph it is.
    pub family: Family,
    /// Transformer blocks.
    pub n_layer: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Query heads.
    pub n_head: usize,
    /// Key-value heads; fewer than `n_head` where heads share them.
    pub n_kv_head: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Width inside the MLP.
    pub n_inner: usize,
    /// Token ids, used or not.
    pub vocab: usize,
    /// Longest context. Unit: tokens.
    pub n_positions: usize,
    /// The output embedding is the input embedding, and is counted once.
    pub tied_embeddings: bool,
    /// The small number inside each norm.
    pub norm_eps: f64,
    /// Rotary positions. `None`: positions are learned (GPT-2).
    pub rope: Option<Rope>,
    /// The non-linearity of the MLP.
    pub activation: Activation,
    /// Which layers add a bias.
    pub biases: Biases,
    /// The token every sequence starts with. `None`: the configuration names none.
    pub bos_id: Option<u32>,
    /// The tokens that end a sequence.
    pub eos_ids: Vec<u32>,
    /// How the weights are stored.
    pub dtype: Dtype,
}

/// Most transformer blocks.
pub const MOST_LAYERS: u64 = 1 << 10;
/// Largest width of anything, and most heads.
pub const LARGEST_SIZE: u64 = 1 << 20;
/// Largest vocabulary, and longest context.
pub const LARGEST_VOCAB: u64 = 1 << 24;

impl Architecture {
    /// What is taken for damage: a size that no model has. Within these bounds every count of parameters and bytes fits
    /// 64 bits. `None`: nothing.
    #[must_use]
    pub fn impossible(&self) -> Option<String> {
        let heads = |count: usize| count.saturating_mul(self.head_dim);
        let sizes = [
            ("n_layer", self.n_layer, MOST_LAYERS),
            ("n_embd", self.n_embd, LARGEST_SIZE),
            ("n_head × head_dim", heads(self.n_head), LARGEST_SIZE),
            ("n_kv_head × head_dim", heads(self.n_kv_head), LARGEST_SIZE),
            ("n_inner", self.n_inner, LARGEST_SIZE << 2),
            ("vocab", self.vocab, LARGEST_VOCAB),
            ("n_positions", self.n_positions, LARGEST_VOCAB),
        ];
        let wrong = sizes.into_iter().find(|(_, size, most)| *size == 0 || *size as u64 > *most);
        wrong.map(|(name, size, most)| format!("{name} is {size}, allowed: 1 to {most}"))
    }

    /// Parameters, the tied output embedding counted once, learned positions, biases and norms included: the same as the
    /// elements of all the tensors that the family's graph consists of.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        let (width, inner) = (self.n_embd, self.n_inner);
        let biases = |present: bool, count: usize| if present { count } else { 0 };
        // A layer norm has a scale and a bias, an RMS norm a scale.
        let norm = if matches!(self.family, Family::Gpt2 | Family::Phi) { 2 * width } else { width };
        let (queries, keys) = (self.query_dims(), self.kv_dims());
        let projections = width * (queries + 2 * keys) + queries * width;
        let block = match self.family {
            Family::Gpt2 => 2 * norm + 4 * width * (width + 1) + 2 * width * inner + inner + width,
            Family::Llama | Family::Qwen2 => {
                2 * norm + projections + 3 * width * inner + biases(self.biases.mlp, 2 * inner + width)
            }
            Family::Phi => norm + projections + 2 * width * inner + biases(self.biases.mlp, inner + width),
        };
        let attention = match self.family {
            Family::Gpt2 => 0,
            Family::Llama | Family::Qwen2 | Family::Phi => {
                biases(self.biases.qkv, queries + 2 * keys) + biases(self.biases.attention_out, width)
            }
        };
        let embedding = self.vocab * width;
        let positions = if self.family == Family::Gpt2 { self.n_positions * width } else { 0 };
        let head = biases(!self.tied_embeddings, embedding) + biases(self.biases.head, self.vocab);
        (embedding + positions + self.n_layer * (block + attention) + norm + head) as u64
    }

    /// What one token adds to the KV cache of one sequence: `2 × n_layer × n_kv_head × head_dim × bytes`. Unit: bytes.
    ///
    /// `dtype` is the cache's, which need not be the weights'.
    #[must_use]
    pub fn kv_bytes_per_token(&self, dtype: Dtype) -> u64 {
        self.kv_elements_per_token() * dtype.bytes() as u64
    }

    /// Elements that one token of one row adds to the KV cache: `2 × n_layer × n_kv_head × head_dim`.
    #[must_use]
    pub fn kv_elements_per_token(&self) -> u64 {
        (2 * self.n_layer * self.n_kv_head * self.head_dim) as u64
    }

    /// Width of the concatenated query heads.
    #[must_use]
    pub fn query_dims(&self) -> usize {
        self.n_head * self.head_dim
    }

    /// Width of the concatenated key (or value) heads.
    #[must_use]
    pub fn kv_dims(&self) -> usize {
        self.n_kv_head * self.head_dim
    }

    /// True for a bos or eos id.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        self.bos_id == Some(id) || self.eos_ids.contains(&id)
    }
}

/// A recipe for a model with random weights.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Synthetic {
    /// Which architecture.
    pub family: Family,
    /// Transformer blocks.
    pub n_layer: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Query heads.
    pub n_head: usize,
    /// Key-value heads. `None`: as many as query heads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_kv_head: Option<usize>,
    /// Width inside the MLP. `None`: `4 × n_embd`, or for gated MLPs `8/3 × n_embd` rounded up to a multiple of 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_inner: Option<usize>,
    /// Token ids.
    #[serde(default = "default_vocab")]
    pub vocab: usize,
    /// Longest context. Unit: tokens.
    #[serde(default = "default_positions")]
    pub n_positions: usize,
    /// How the weights are stored.
    #[serde(default)]
    pub dtype: Dtype,
    /// Chooses the weights.
    #[serde(default)]
    pub seed: u64,
}

fn default_vocab() -> usize {
    50_257
}

fn default_positions() -> usize {
    1024
}

impl Synthetic {
    /// A recipe with every default.
    #[must_use]
    pub fn new(family: Family, n_layer: usize, n_embd: usize, n_head: usize) -> Self {
        Self {
            family,
            n_layer,
            n_embd,
            n_head,
            n_kv_head: None,
            n_inner: None,
            vocab: default_vocab(),
            n_positions: default_positions(),
            dtype: Dtype::F32,
            seed: 0,
        }
    }
}

/// What a server tells of a model's shape; every field `None` where it does not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServedShape {
    /// Architecture by the server's name, e.g. `gemma3`.
    pub architecture: Option<String>,
    /// Transformer blocks.
    pub n_layer: Option<u64>,
    /// Width of the residual stream.
    pub n_embd: Option<u64>,
    /// Query heads.
    pub n_head: Option<u64>,
    /// Key-value heads; the largest number where layers differ.
    pub n_kv_head: Option<u64>,
    /// Longest context in tokens.
    pub n_positions: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wavelengths_stretch_as_published() {
        let scaling =
            RopeScaling { factor: 32.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_positions: 8192 };
        let plain = Rope { theta: 500_000.0, rotary_dims: 64, scaling: None }.inverse_frequencies();
        let stretched = Rope { theta: 500_000.0, rotary_dims: 64, scaling: Some(scaling) }.inverse_frequencies();
        assert_eq!(plain.len(), 32);
        // Computed apart from this code; kept, blended and wholly stretched ones.
        for (i, expected) in [
            (0, 1.0),
            (10, 0.016_560_440_080_994_446),
            (14, 0.003_211_445_994_752_591_3),
            (15, 0.001_290_547_928_209_264),
            (16, 0.000_429_556_796_559_368_15),
            (17, 9.708_287_802_627_67e-5),
            (20, 8.570_255_489_881_478e-6),
            (31, 9.418_306_725_434_909e-8),
        ] {
            assert!((stretched[i] / expected - 1.0).abs() < 1e-12, "{i}: {}", stretched[i]);
        }
        assert!((plain[14] / stretched[14] - 1.0).abs() < 1e-15);
        assert!((plain[31] / stretched[31] - 32.0).abs() < 1e-12);
    }
}
