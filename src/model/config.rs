//! `config.json`, read and written under the names Hugging Face gives its keys.
//!
//! It is read as transformers 5 reads it: which of two keys counts, what an absent one means. A key that would change the
//! numbers in a way no exporter here reproduces is an error, never ignored.

use std::path::Path;

use serde_json::{Map, Value, json};

use self::keys::{Config, MAX_SIZE};
use super::{Error, Result, bounded, mistaken};
use crate::terms::model::{Activation, Architecture, Biases, Dtype, Family, Rope, RopeScaling};

mod keys;

const MAX_VOCAB: u64 = crate::terms::model::LARGEST_VOCAB;
const MAX_LAYERS: u64 = crate::terms::model::MOST_LAYERS;

/// What transformers takes for `num_key_value_heads` of a qwen2 model whose file does not say.
const QWEN2_KV_HEADS: usize = 32;

/// Reads a `config.json`.
///
/// # Errors
/// The file is missing or no JSON object; a key is missing, malformed or asks for something that is not supported.
pub fn read(path: &Path) -> Result<Architecture> {
    let mistaken = || path.parent().filter(|_| !path.exists()).and_then(mistaken::for_a_folder);
    let text = bounded::text(path, bounded::SETTINGS).map_err(|error| mistaken().unwrap_or(error))?;
    parse(path, &text)
}

/// Reads the text of a `config.json`; `path` is only named in errors.
///
/// # Errors
/// As [`read`].
pub fn parse(path: &Path, text: &str) -> Result<Architecture> {
    let value: Value = serde_json::from_str(text).map_err(|e| Error::malformed(path, format!("not JSON: {e}")))?;
    let Value::Object(map) = value else {
        return Err(Error::malformed(path, "not a JSON object"));
    };
    let config = Config { path, prefix: "", map: &map };
    let family = config.text("model_type")?;
    let known: Vec<_> = Family::ALL.iter().map(|f| f.as_str()).collect();
    let Some(family) = Family::ALL.iter().copied().find(|f| f.as_str() == family) else {
        return Err(config.unsupported("model_type", known.join(", ")));
    };
    for key in ["quantization_config", "quantization", "encoder_no_repeat_ngram_size", "text_config"] {
        config.only(key, &[])?;
    }
    for key in ["is_encoder_decoder", "add_cross_attention"] {
        config.only(key, &[json!(false)])?;
    }
    let architecture = match family {
        Family::Gpt2 => gpt2(&config),
        Family::Llama | Family::Qwen2 | Family::Phi => rotary(&config, family),
    }?;
    match architecture.impossible() {
        Some(why) => Err(Error::malformed(path, why)),
        None => Ok(architecture),
    }
}

fn gpt2(config: &Config) -> Result<Architecture> {
    config.only("scale_attn_weights", &[json!(true)])?;
    config.only("scale_attn_by_inverse_layer_idx", &[json!(false)])?;
    // Computing the same attention in another precision is still the same attention, but only f32 models ask for it.
    config.only("reorder_and_upcast_attn", &[json!(false)])?;
    let n_embd = config.size(config.either("n_embd", "hidden_size")?, MAX_SIZE)?;
    let n_head = config.size(config.either("n_head", "num_attention_heads")?, MAX_SIZE)?;
    let vocab = config.size("vocab_size", MAX_VOCAB)?;
    Ok(Architecture {
        family: Family::Gpt2,
        n_layer: config.size(config.either("n_layer", "num_hidden_layers")?, MAX_LAYERS)?,
        n_embd,
        n_head,
        n_kv_head: n_head,
        head_dim: config.divided("n_embd", n_embd, "n_head", n_head)?,
        n_inner: config.size_or("n_inner", 4 * n_embd)?,
        vocab,
        n_positions: config.size(config.either("n_positions", "max_position_embeddings")?, MAX_VOCAB)?,
        tied_embeddings: config.flag("tie_word_embeddings", true)?,
        norm_eps: config.number("layer_norm_epsilon", Some(1e-5))?,
        rope: None,
        activation: config.activation("activation_function", Activation::GeluTanh)?,
        biases: Biases { qkv: true, attention_out: true, mlp: true, head: false },
        bos_id: config.ids("bos_token_id", vocab, Some(50_256))?.first().copied(),
        eos_ids: config.ids("eos_token_id", vocab, Some(50_256))?,
        dtype: config.dtype()?,
    })
}

fn rotary(config: &Config, family: Family) -> Result<Architecture> {
    let n_embd = config.size("hidden_size", MAX_SIZE)?;
    let n_head = config.size("num_attention_heads", MAX_SIZE)?;
    // Only where the key is absent: null means as many as query heads in every family.
    let absent = !config.map.contains_key("num_key_value_heads");
    let n_kv_head = if absent && family == Family::Qwen2 { QWEN2_KV_HEADS } else { n_head };
    let n_kv_head = config.size_or("num_key_value_heads", n_kv_head)?;
    if family == Family::Llama {
        config.divided("hidden_size", n_embd, "num_attention_heads", n_head)?;
    }
    if !n_head.is_multiple_of(n_kv_head) {
        return Err(config.unsupported("num_key_value_heads", format!("divisors of num_attention_heads ({n_head})")));
    }
    let head_dim = match config.get("head_dim") {
        Some(_) => config.size("head_dim", MAX_SIZE)?,
        None => config.divided("hidden_size", n_embd, "num_attention_heads", n_head)?,
    };
    config.attention_is_full()?;
    let (biases, eps, activation, partial) = match family {
        Family::Phi => {
            config.only("qk_layernorm", &[json!(false)])?;
            let all = Biases { qkv: true, attention_out: true, mlp: true, head: true };
            (all, "layer_norm_eps", Activation::GeluTanh, 0.5)
        }
        Family::Qwen2 => {
            let qkv = Biases { qkv: true, attention_out: false, mlp: false, head: false };
            (qkv, "rms_norm_eps", Activation::Silu, 1.0)
        }
        Family::Llama | Family::Gpt2 => {
            let attention = config.flag("attention_bias", false)?;
            let mlp = config.flag("mlp_bias", false)?;
            let biases = Biases { qkv: attention, attention_out: attention, mlp, head: false };
            (biases, "rms_norm_eps", Activation::Silu, 1.0)
        }
    };
    let (bos, eos) = match family {
        Family::Llama | Family::Phi => (Some(1), Some(2)),
        Family::Qwen2 | Family::Gpt2 => (None, None),
    };
    let vocab = config.size("vocab_size", MAX_VOCAB)?;
    Ok(Architecture {
        family,
        n_layer: config.size("num_hidden_layers", MAX_LAYERS)?,
        n_embd,
        n_head,
        n_kv_head,
        head_dim,
        n_inner: config.size("intermediate_size", MAX_SIZE)?,
        vocab,
        n_positions: config.size("max_position_embeddings", MAX_VOCAB)?,
        tied_embeddings: config.flag("tie_word_embeddings", false)?,
        norm_eps: config.number(eps, None)?,
        rope: Some(config.rope(head_dim, partial)?),
        activation: config.activation("hidden_act", activation)?,
        biases,
        bos_id: config.ids("bos_token_id", vocab, bos)?.first().copied(),
        eos_ids: config.ids("eos_token_id", vocab, eos)?,
        dtype: config.dtype()?,
    })
}

impl Config<'_> {
    fn activation(&self, key: &str, default: Activation) -> Result<Activation> {
        if self.get(key).is_none() {
            return Ok(default);
        }
        match self.text(key)? {
            "gelu" => Ok(Activation::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
            "relu" => Ok(Activation::Relu),
            "silu" | "swish" => Ok(Activation::Silu),
            _ => Err(self.unsupported(key, "gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu, silu, swish")),
        }
    }

    /// What the file claims; the tensors know better.
    fn dtype(&self) -> Result<Dtype> {
        let key = if self.get("dtype").is_some() { "dtype" } else { "torch_dtype" };
        if self.get(key).is_none() {
            return Ok(Dtype::F32);
        }
        match self.text(key)? {
            "float32" => Ok(Dtype::F32),
            "float16" => Ok(Dtype::F16),
            "bfloat16" => Ok(Dtype::Bf16),
            _ => Err(self.unsupported(key, "float32, float16, bfloat16")),
        }
    }

    /// Refuses every form of attention that does not see the whole past.
    fn attention_is_full(&self) -> Result<()> {
        for key in ["use_sliding_window", "use_mrope"] {
            self.only(key, &[json!(false)])?;
        }
        // Qwen2 files name a window that their `use_sliding_window: false` (the default) switches off.
        if self.map.get("model_type") != Some(&json!(Family::Qwen2.as_str())) {
            self.only("sliding_window", &[])?;
        }
        self.only("dual_chunk_attention_config", &[])?;
        match self.get("layer_types") {
            Some(Value::Array(types)) if types.iter().all(|t| t == "full_attention") => Ok(()),
            None => Ok(()),
            Some(_) => Err(self.unsupported("layer_types", "a list of \"full_attention\"")),
        }
    }

    /// Rotary positions. The older `rope_scaling` counts before the newer `rope_parameters`, and what either says inside
    /// counts before `rope_theta` and `partial_rotary_factor` beside it.
    fn rope(&self, head_dim: usize, default_partial: f64) -> Result<Rope> {
        let older = self.object("rope_scaling")?.filter(|map| !map.is_empty());
        let (prefix, map) = match older {
            Some(map) => ("rope_scaling.", Some(map)),
            None => ("rope_parameters.", self.object("rope_parameters")?),
        };
        let none = Map::new();
        let inside = Config { path: self.path, prefix, map: map.unwrap_or(&none) };
        if let Some((key, _)) = inside.map.iter().find(|(_, value)| value.is_object()) {
            return Err(inside.unsupported(key, "one set of rotary positions for all layers"));
        }
        let holder = |key| if inside.get(key).is_some() { &inside } else { self };
        let partial = holder("partial_rotary_factor");
        let share = partial.number("partial_rotary_factor", Some(default_partial))?;
        #[expect(clippy::cast_precision_loss, reason = "a head is narrow")]
        let rotary = head_dim as f64 * share;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, truncated as published")]
        let rotary_dims = rotary as usize;
        if share > 1.0 || rotary_dims == 0 || rotary_dims % 2 == 1 {
            return Err(partial.unsupported(
                "partial_rotary_factor",
                format!("a share of head_dim ({head_dim}) that gives an even number of dimensions"),
            ));
        }
        Ok(Rope {
            theta: holder("rope_theta").number("rope_theta", Some(10_000.0))?,
            rotary_dims,
            scaling: inside.rope_scaling(self)?,
        })
    }

    /// Reads the object itself as a scaling; `whole` is the file around it.
    fn rope_scaling(&self, whole: &Config) -> Result<Option<RopeScaling>> {
        let key = if self.get("rope_type").is_some() { "rope_type" } else { "type" };
        if self.get(key).is_none() {
            let scales = self.map.keys().find(|key| !["rope_theta", "partial_rotary_factor"].contains(&key.as_str()));
            // What scales has no effect in transformers then, and another meaning elsewhere.
            return match scales {
                Some(other) => Err(self.missing("rope_type", &format!("default or llama3, as there is `{other}`"))),
                None => Ok(None),
            };
        }
        match self.text(key)? {
            "default" => Ok(None),
            "llama3" => {
                let scaling = RopeScaling {
                    factor: self.number("factor", None)?,
                    low_freq_factor: self.number("low_freq_factor", None)?,
                    high_freq_factor: self.number("high_freq_factor", None)?,
                    original_positions: self.original_positions(whole)?,
                };
                if scaling.high_freq_factor <= scaling.low_freq_factor {
                    return Err(self.unsupported("high_freq_factor", "more than low_freq_factor"));
                }
                Ok(Some(scaling))
            }
            _ => Err(self.unsupported(key, "default, llama3")),
        }
    }

    /// The context of the first training: beside the scaling, else inside it, else the longest context.
    fn original_positions(&self, whole: &Config) -> Result<usize> {
        const KEY: &str = "original_max_position_embeddings";
        if whole.get(KEY).is_some() {
            return whole.size(KEY, MAX_VOCAB);
        }
        if self.get(KEY).is_some() {
            return self.size(KEY, MAX_VOCAB);
        }
        whole.size("max_position_embeddings", MAX_VOCAB)
    }
}

/// The `config.json` of a synthetic model, whose rotary wavelengths are never stretched.
pub(super) fn write(arch: &Architecture) -> Value {
    let activation = activation_name(arch.activation);
    let dtype = match arch.dtype {
        Dtype::F32 => "float32",
        Dtype::F16 => "float16",
        Dtype::Bf16 => "bfloat16",
    };
    let class = match arch.family {
        Family::Gpt2 => "GPT2LMHeadModel",
        Family::Llama => "LlamaForCausalLM",
        Family::Qwen2 => "Qwen2ForCausalLM",
        Family::Phi => "PhiForCausalLM",
    };
    let mut config = json!({
        "model_type": arch.family.as_str(),
        "architectures": [class],
        "vocab_size": arch.vocab,
        "tie_word_embeddings": arch.tied_embeddings,
        "bos_token_id": arch.bos_id,
        "eos_token_id": arch.eos_ids.first(),
        "torch_dtype": dtype,
    });
    let own = match &arch.rope {
        None => json!({
            "n_layer": arch.n_layer,
            "n_embd": arch.n_embd,
            "n_head": arch.n_head,
            "n_inner": arch.n_inner,
            "n_positions": arch.n_positions,
            "activation_function": activation,
            "layer_norm_epsilon": arch.norm_eps,
        }),
        Some(rope) => {
            let eps = if arch.family == Family::Phi { "layer_norm_eps" } else { "rms_norm_eps" };
            #[expect(clippy::cast_precision_loss, reason = "a head is narrow")]
            let partial = rope.rotary_dims as f64 / arch.head_dim as f64;
            json!({
                "num_hidden_layers": arch.n_layer,
                "hidden_size": arch.n_embd,
                "num_attention_heads": arch.n_head,
                "num_key_value_heads": arch.n_kv_head,
                "head_dim": arch.head_dim,
                "intermediate_size": arch.n_inner,
                "max_position_embeddings": arch.n_positions,
                "hidden_act": activation,
                eps: arch.norm_eps,
                "rope_theta": rope.theta,
                "partial_rotary_factor": partial,
            })
        }
    };
    if let (Value::Object(config), Value::Object(own)) = (&mut config, own) {
        config.extend(own);
    }
    config
}

/// What a `config.json` calls a non-linearity; there are other names for some.
pub(super) fn activation_name(activation: Activation) -> &'static str {
    match activation {
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_new",
        Activation::Relu => "relu",
        Activation::Silu => "silu",
    }
}
