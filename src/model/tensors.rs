//! Which tensors an architecture consists of, under their Hugging Face names.

use crate::terms::model::{Architecture, Family};

/// What a tensor is for; decides how a synthetic one is initialised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Token embedding, one row per token.
    Embedding,
    /// Learned positions, one row per position.
    Positions,
    /// Scale of a norm inside the network.
    Norm,
    /// Scale of the norm before the output embedding.
    FinalNorm,
    /// An additive vector, of a norm or of a linear layer.
    Bias,
    /// Query, key and value in one matrix, `[in, out]` (GPT-2).
    FusedQkv,
    /// Query or key projection.
    QueryKey,
    /// A projection inside a block.
    Inner,
    /// A projection back to the residual stream.
    Residual,
    /// Output embedding, one row per token.
    Head,
}

/// One tensor as an architecture needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name in `model.safetensors`.
    pub name: String,
    /// Its shape: `[out, in]` for matrices, but `[in, out]` for those of GPT-2 blocks.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
}

impl TensorSpec {
    /// How many numbers it holds.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Name of the token embedding.
#[must_use]
pub fn embedding_name(family: Family) -> &'static str {
    match family {
        Family::Gpt2 => "wte.weight",
        Family::Llama | Family::Qwen2 | Family::Phi => "model.embed_tokens.weight",
    }
}

/// Name of the output embedding, where there is one of its own.
pub const HEAD_NAME: &str = "lm_head.weight";

/// Name of the output embedding's bias.
pub const HEAD_BIAS_NAME: &str = "lm_head.bias";

/// The block that a stored tensor belongs to, from 0, whatever prefix its file leaves out or puts in front. `None`: to none.
#[must_use]
pub fn block(family: Family, name: &str) -> Option<usize> {
    let inside = match family {
        Family::Gpt2 => name.strip_prefix("transformer.").unwrap_or(name).strip_prefix("h."),
        Family::Llama | Family::Qwen2 | Family::Phi => {
            name.strip_prefix("model.").unwrap_or(name).strip_prefix("layers.")
        }
    };
    inside?.split('.').next()?.parse().ok()
}

/// Whether a stored tensor holds constants that every implementation computes for itself: masks, and the frequencies of
/// rotary positions.
#[must_use]
pub fn is_buffer(name: &str) -> bool {
    let names = [".attn.bias", ".attn.masked_bias", "rotary_emb.inv_freq"];
    names.iter().any(|end| name.ends_with(end))
}

/// Every tensor of an architecture, in the order of the forward pass. A tied output embedding is left out.
#[must_use]
pub fn expected(arch: &Architecture) -> Vec<TensorSpec> {
    let mut list = List { arch, tensors: Vec::new() };
    match arch.family {
        Family::Gpt2 => list.gpt2(),
        Family::Llama | Family::Qwen2 => list.llama(),
        Family::Phi => list.phi(),
    }
    list.tensors
}

struct List<'a> {
    arch: &'a Architecture,
    tensors: Vec<TensorSpec>,
}

impl List<'_> {
    fn add(&mut self, name: impl Into<String>, shape: &[usize], role: Role) {
        self.tensors.push(TensorSpec { name: name.into(), shape: shape.to_vec(), role });
    }

    fn layer_norm(&mut self, name: &str, role: Role) {
        self.add(format!("{name}.weight"), &[self.arch.n_embd], role);
        self.add(format!("{name}.bias"), &[self.arch.n_embd], Role::Bias);
    }

    /// A GPT-2 `Conv1D`: stored `[in, out]`, always with a bias.
    fn conv1d(&mut self, name: &str, dims_in: usize, dims_out: usize, role: Role) {
        self.add(format!("{name}.weight"), &[dims_in, dims_out], role);
        self.add(format!("{name}.bias"), &[dims_out], Role::Bias);
    }

    /// A linear layer: stored `[out, in]`.
    fn linear(&mut self, name: &str, dims_in: usize, dims_out: usize, role: Role, bias: bool) {
        self.add(format!("{name}.weight"), &[dims_out, dims_in], role);
        if bias {
            self.add(format!("{name}.bias"), &[dims_out], Role::Bias);
        }
    }

    fn gpt2(&mut self) {
        let a = self.arch;
        self.add(embedding_name(a.family), &[a.vocab, a.n_embd], Role::Embedding);
        self.add("wpe.weight", &[a.n_positions, a.n_embd], Role::Positions);
        for i in 0..a.n_layer {
            self.layer_norm(&format!("h.{i}.ln_1"), Role::Norm);
            self.conv1d(&format!("h.{i}.attn.c_attn"), a.n_embd, 3 * a.n_embd, Role::FusedQkv);
            self.conv1d(&format!("h.{i}.attn.c_proj"), a.n_embd, a.n_embd, Role::Residual);
            self.layer_norm(&format!("h.{i}.ln_2"), Role::Norm);
            self.conv1d(&format!("h.{i}.mlp.c_fc"), a.n_embd, a.n_inner, Role::Inner);
            self.conv1d(&format!("h.{i}.mlp.c_proj"), a.n_inner, a.n_embd, Role::Residual);
        }
        self.layer_norm("ln_f", Role::FinalNorm);
        self.head();
    }

    fn attention(&mut self, layer: &str, out: &str) {
        let (a, b) = (self.arch, self.arch.biases);
        self.linear(&format!("{layer}.self_attn.q_proj"), a.n_embd, a.query_dims(), Role::QueryKey, b.qkv);
        self.linear(&format!("{layer}.self_attn.k_proj"), a.n_embd, a.kv_dims(), Role::QueryKey, b.qkv);
        self.linear(&format!("{layer}.self_attn.v_proj"), a.n_embd, a.kv_dims(), Role::Inner, b.qkv);
        self.linear(&format!("{layer}.self_attn.{out}"), a.query_dims(), a.n_embd, Role::Residual, b.attention_out);
    }

    fn llama(&mut self) {
        let (a, b) = (self.arch, self.arch.biases);
        self.add(embedding_name(a.family), &[a.vocab, a.n_embd], Role::Embedding);
        for i in 0..a.n_layer {
            let layer = format!("model.layers.{i}");
            self.add(format!("{layer}.input_layernorm.weight"), &[a.n_embd], Role::Norm);
            self.attention(&layer, "o_proj");
            self.add(format!("{layer}.post_attention_layernorm.weight"), &[a.n_embd], Role::Norm);
            self.linear(&format!("{layer}.mlp.gate_proj"), a.n_embd, a.n_inner, Role::Inner, b.mlp);
            self.linear(&format!("{layer}.mlp.up_proj"), a.n_embd, a.n_inner, Role::Inner, b.mlp);
            self.linear(&format!("{layer}.mlp.down_proj"), a.n_inner, a.n_embd, Role::Residual, b.mlp);
        }
        self.add("model.norm.weight", &[a.n_embd], Role::FinalNorm);
        self.head();
    }

    fn phi(&mut self) {
        let (a, b) = (self.arch, self.arch.biases);
        self.add(embedding_name(a.family), &[a.vocab, a.n_embd], Role::Embedding);
        for i in 0..a.n_layer {
            let layer = format!("model.layers.{i}");
            self.layer_norm(&format!("{layer}.input_layernorm"), Role::Norm);
            self.attention(&layer, "dense");
            self.linear(&format!("{layer}.mlp.fc1"), a.n_embd, a.n_inner, Role::Inner, b.mlp);
            self.linear(&format!("{layer}.mlp.fc2"), a.n_inner, a.n_embd, Role::Residual, b.mlp);
        }
        self.layer_norm("model.final_layernorm", Role::FinalNorm);
        self.head();
    }

    fn head(&mut self) {
        if !self.arch.tied_embeddings {
            self.add(HEAD_NAME, &[self.arch.vocab, self.arch.n_embd], Role::Head);
        }
        if self.arch.biases.head {
            self.add(HEAD_BIAS_NAME, &[self.arch.vocab], Role::Bias);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::model::{Biases, Synthetic};

    /// Both count the same thing in two ways.
    #[test]
    #[expect(clippy::unwrap_used, reason = "a valid recipe")]
    fn a_model_has_as_many_parameters_as_its_tensors_have_elements() {
        for &family in Family::ALL {
            for bits in 0..32_u32 {
                let has = |bit: u32| bits & (1 << bit) != 0;
                let mut arch = Synthetic { vocab: 300, ..Synthetic::new(family, 3, 64, 4) }.architecture().unwrap();
                arch.tied_embeddings = has(0);
                arch.biases = Biases { qkv: has(1), attention_out: has(2), mlp: has(3), head: has(4) };
                if family != Family::Gpt2 {
                    (arch.n_kv_head, arch.head_dim) = (2, 24);
                }
                let elements: usize = expected(&arch).iter().map(TensorSpec::elements).sum();
                assert_eq!(arch.parameters(), elements as u64, "{family} {bits:b}");
            }
        }
    }
}
