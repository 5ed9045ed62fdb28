//! What the file says about the model beside its weights, and which models the server computes otherwise.

use super::format::{Metadata, Value};
use super::vocabulary::Vocabulary;
use crate::model::config::activation_name;
use crate::model::folder::Folder;
use crate::model::{Error, Precision, Result};
use crate::terms::model::{Activation, Architecture, Family};

/// Metadata key: [`Folder::weights_id`], which a server repeats when it is asked about the model.
pub const META_WEIGHTS_ID: &str = "phasebench.weights_id";

/// The metadata of an export.
///
/// # Errors
/// The server has no such graph, or would end sequences at a token that is no eos.
pub(super) fn of(folder: &Folder, precision: Precision, vocabulary: Vocabulary) -> Result<Metadata> {
    let arch = folder.architecture();
    check(folder, arch)?;
    let weights_id = folder.weights_id()?;
    let mut metadata = general(arch, precision, weights_id);
    metadata.extend(shape(arch));
    metadata.extend(tokenizer(folder, arch, vocabulary)?);
    Ok(metadata)
}

fn general(arch: &Architecture, precision: Precision, weights_id: String) -> Metadata {
    let file_type = match precision {
        Precision::F32 => 0,
        Precision::F16 => 1,
    };
    vec![
        ("general.architecture".to_owned(), Value::Text(name(arch.family).to_owned())),
        // The same weights give the same file, wherever their folder lies and whatever it is called.
        ("general.name".to_owned(), Value::Text(format!("{} {:.12}", arch.family, weights_id))),
        ("general.file_type".to_owned(), Value::U32(file_type)),
        (META_WEIGHTS_ID.to_owned(), Value::Text(weights_id)),
    ]
}

fn name(family: Family) -> &'static str {
    match family {
        Family::Gpt2 => "gpt2",
        Family::Llama => "llama",
        Family::Qwen2 => "qwen2",
        Family::Phi => "phi2",
    }
}

fn shape(arch: &Architecture) -> Metadata {
    let mut sizes = vec![
        ("context_length", arch.n_positions),
        ("embedding_length", arch.n_embd),
        ("block_count", arch.n_layer),
        ("feed_forward_length", arch.n_inner),
        ("attention.head_count", arch.n_head),
        ("attention.head_count_kv", arch.n_kv_head),
        ("vocab_size", arch.vocab),
    ];
    if arch.query_dims() != arch.n_embd {
        sizes.extend([("attention.key_length", arch.head_dim), ("attention.value_length", arch.head_dim)]);
    }
    let epsilon = match arch.family {
        Family::Gpt2 | Family::Phi => "attention.layer_norm_epsilon",
        Family::Llama | Family::Qwen2 => "attention.layer_norm_rms_epsilon",
    };
    let mut numbers = vec![(epsilon, arch.norm_eps)];
    if let Some(rope) = &arch.rope {
        sizes.push(("rope.dimension_count", rope.rotary_dims));
        numbers.push(("rope.freq_base", rope.theta));
    }
    let sizes = sizes.into_iter().map(|(key, n)| (key, Value::U32(u32::try_from(n).unwrap_or(u32::MAX))));
    #[expect(clippy::cast_possible_truncation, reason = "the format holds single precision")]
    let numbers = numbers.into_iter().map(|(key, x)| (key, Value::F32(x as f32)));
    sizes.chain(numbers).map(|(key, value)| (format!("{}.{key}", name(arch.family)), value)).collect()
}

fn tokenizer(folder: &Folder, arch: &Architecture, vocabulary: Vocabulary) -> Result<Metadata> {
    let Some(&eos) = arch.eos_ids.first() else {
        return Err(Error::MissingKey {
            path: folder.path().join("config.json"),
            key: "eos_token_id".to_owned(),
            expected: "a token id, without which the server ends at token 11".to_owned(),
        });
    };
    let mut metadata = vec![
        ("model", Value::Text("gpt2".to_owned())),
        ("pre", Value::Text(vocabulary.pre.to_owned())),
        ("tokens", Value::Texts(vocabulary.tokens)),
        ("token_type", Value::Numbers(vocabulary.types)),
        ("merges", Value::Texts(vocabulary.merges)),
        ("eos_token_id", Value::U32(eos)),
        ("add_bos_token", Value::Bool(arch.bos_id.is_some())),
    ];
    metadata.extend(arch.bos_id.map(|id| ("bos_token_id", Value::U32(id))));
    Ok(metadata.into_iter().map(|(key, value)| (format!("tokenizer.ggml.{key}"), value)).collect())
}

/// Refuses what llama.cpp's graph of the architecture fixes and the folder has otherwise.
fn check(folder: &Folder, arch: &Architecture) -> Result<()> {
    let refuse = |wrong: bool, key: &str, value: String, supported: &str| {
        if !wrong {
            return Ok(());
        }
        let path = folder.path().join("config.json");
        Err(Error::Unsupported { path, key: key.to_owned(), value, supported: format!("{supported} (in GGUF)") })
    };
    let (key, activation) = match arch.family {
        Family::Gpt2 => ("activation_function", Activation::GeluTanh),
        Family::Phi => ("hidden_act", Activation::GeluTanh),
        Family::Llama | Family::Qwen2 => ("hidden_act", Activation::Silu),
    };
    let found = activation_name(arch.activation);
    refuse(arch.activation != activation, key, format!("{found:?}"), activation_name(activation))?;

    let llama = arch.family == Family::Llama;
    let other_width = !llama && arch.query_dims() != arch.n_embd;
    let width = format!("hidden_size / num_attention_heads for {}", arch.family);
    refuse(other_width, "head_dim", arch.head_dim.to_string(), &width)?;
    if let Some(rope) = &arch.rope {
        let partial = arch.family != Family::Phi && rope.rotary_dims != arch.head_dim;
        let whole = format!("1 for {}", arch.family);
        let share = format!("{} of {} dimensions", rope.rotary_dims, arch.head_dim);
        refuse(partial, "partial_rotary_factor", share, &whole)?;
        refuse(!llama && rope.scaling.is_some(), "rope_scaling", "\"llama3\"".to_owned(), "null but for llama")?;
    }
    let tied = arch.family == Family::Phi && arch.tied_embeddings;
    refuse(tied, "tie_word_embeddings", "true".to_owned(), "false for phi")
}
