//! Which tensors the file has, and how each comes from the folder's.

use super::format::TensorInfo;
use crate::model::folder::Folder;
use crate::model::tensors::{self, TensorSpec};
use crate::model::{Error, Precision, Result};
use crate::terms::model::{Architecture, Family, Rope};

/// A tensor of the file and where its numbers come from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weight {
    /// How the file lists it.
    pub(super) info: TensorInfo,
    /// Its numbers.
    pub(super) content: Content,
}

/// Where a tensor's numbers come from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    /// From the folder's tensor of this name.
    Stored(String, NumberOrder),
    /// From the configuration.
    Computed(Vec<f32>),
}

/// In which order a stored tensor's numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberOrder {
    /// As they are stored.
    AsStored,
    /// Columns become rows.
    Transposed,
    /// The rows of each head alternate between its first and its second half: what rotates together is stored half a
    /// head apart and comes to lie side by side.
    Interleaved {
        /// Rows of one head.
        head_dim: usize,
    },
}

/// Every tensor of the file, in the order of the forward pass.
///
/// # Errors
/// A tensor that the format has no name for.
pub(super) fn weights(folder: &Folder, precision: Precision) -> Result<Vec<Weight>> {
    let arch = folder.architecture();
    let mut weights: Vec<Weight> = tensors::expected(arch)
        .into_iter()
        .map(|spec| {
            let unknown = || Error::malformed(folder.path(), format!("tensor `{}` has no name in GGUF", spec.name));
            let name = name(&spec.name).ok_or_else(unknown)?;
            Ok(weight(arch, precision, name, spec))
        })
        .collect::<Result<_>>()?;
    weights.extend(arch.rope.as_ref().and_then(stretching));
    Ok(weights)
}

fn weight(arch: &Architecture, precision: Precision, name: String, spec: TensorSpec) -> Weight {
    let matrix = spec.shape.len() > 1;
    let in_block = name.starts_with("blk.");
    let order = match arch.family {
        Family::Gpt2 if matrix && in_block => NumberOrder::Transposed,
        Family::Llama if name.contains(".attn_q.") || name.contains(".attn_k.") => {
            NumberOrder::Interleaved { head_dim: arch.head_dim }
        }
        _ => NumberOrder::AsStored,
    };
    let mut dims: Vec<u64> = spec.shape.iter().map(|&n| n as u64).collect();
    if order != NumberOrder::Transposed {
        dims.reverse();
    }
    // The server adds vectors and positions to f32 and expects them so.
    let precision = if matrix && name != "position_embd.weight" { precision } else { Precision::F32 };
    Weight { info: TensorInfo { name, dims, precision }, content: Content::Stored(spec.name, order) }
}

/// By how much each rotated pair's wavelength is stretched. `None`: not at all.
fn stretching(rope: &Rope) -> Option<Weight> {
    rope.scaling?;
    let plain = Rope { scaling: None, ..*rope }.inverse_frequencies();
    #[expect(clippy::cast_possible_truncation, reason = "the format holds single precision")]
    let factors: Vec<f32> =
        plain.into_iter().zip(rope.inverse_frequencies()).map(|(plain, slower)| (plain / slower) as f32).collect();
    let dims = vec![factors.len() as u64];
    let info = TensorInfo { name: "rope_freqs.weight".to_owned(), dims, precision: Precision::F32 };
    Some(Weight { info, content: Content::Computed(factors) })
}

/// What GGUF calls a tensor. `None`: it has no such tensor.
fn name(stored: &str) -> Option<String> {
    let (stem, kind) = stored.rsplit_once('.')?;
    let block = stem.strip_prefix("h.").or_else(|| stem.strip_prefix("model.layers."));
    let Some((layer, part)) = block.and_then(|rest| rest.split_once('.')) else {
        let name = match stem {
            "wte" | "model.embed_tokens" => "token_embd",
            "wpe" => "position_embd",
            "ln_f" | "model.norm" | "model.final_layernorm" => "output_norm",
            "lm_head" => "output",
            _ => return None,
        };
        return Some(format!("{name}.{kind}"));
    };
    let name = match part {
        "ln_1" | "input_layernorm" => "attn_norm",
        "ln_2" | "post_attention_layernorm" => "ffn_norm",
        "attn.c_attn" => "attn_qkv",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "attn.c_proj" | "self_attn.o_proj" | "self_attn.dense" => "attn_output",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.c_fc" | "mlp.up_proj" | "mlp.fc1" => "ffn_up",
        "mlp.c_proj" | "mlp.down_proj" | "mlp.fc2" => "ffn_down",
        _ => return None,
    };
    Some(format!("blk.{layer}.{name}.{kind}"))
}
