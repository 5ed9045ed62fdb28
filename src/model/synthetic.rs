//! Models of any shape with random weights: the same recipe gives the same bytes on every machine.
//!
//! Weights are initialised so that a random network can generate. Projections keep the scale of their input, query
//! and key are sharpened so that the past matters, and logits spread by `LOGIT_SPREAD`. With a tied output embedding
//! the last token would score itself highest for ever; random signs in the final norm take that advantage away without
//! a parameter more. Ids that do not print ([`tokenizer::is_unprintable`]) get small output rows and never win.
//! Greedy decoding may still fall into a cycle after some hundreds of tokens, and must where the network is so narrow
//! that few outputs are possible: after its norm, a width of 2 has only two states.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::hash::hex;

use super::tensors::{self, Role, TensorSpec};
use super::{Error, Result, cached, config, tokenizer};
use crate::terms::model::{Activation, Architecture, Biases, Dtype, Family, Rope, Synthetic};

/// Part of the hash a cached model is found by: raised whenever the same recipe gives other bytes.
const GENERATOR_VERSION: u32 = 1;

/// Standard deviation of biases, and of norm scales around 1.
const SMALL: f32 = 0.02;
/// Standard deviation of token embeddings: less than what the blocks add, but not lost in it.
const EMBEDDING: f32 = 0.2;
/// Standard deviation of learned positions: the same token at the next place is a clearly different input.
const POSITION: f32 = 0.3;
/// Query and key against a projection that keeps its input's scale: attention is then spread over a few tokens.
const ATTENTION_GAIN: f32 = 1.5;
/// Standard deviation of the logits.
const LOGIT_SPREAD: f32 = 2.0;
/// What is left of the output rows that should not win.
const DAMPED: f32 = 0.1;
/// Random numbers come in chunks of this many, each from its own stream, so that threads may share a tensor.
const CHUNK: usize = 1 << 16;

const MAX_LAYERS: usize = 1024;
const MAX_SIZE: usize = 1 << 20;

impl Synthetic {
    /// The shape, without generating anything. GPT-2 ties its output embedding, the others have their own.
    ///
    /// # Errors
    /// A field is out of range; the first one is named.
    pub fn architecture(&self) -> Result<Architecture> {
        let n_kv_head = self.n_kv_head.unwrap_or(self.n_head);
        let gated = matches!(self.family, Family::Llama | Family::Qwen2);
        // What is wider is refused below.
        let width = self.n_embd.min(MAX_SIZE);
        let inner = if gated { (8 * width).div_ceil(3).next_multiple_of(32) } else { 4 * width };
        let n_inner = self.n_inner.unwrap_or(inner);
        self.check(n_kv_head, n_inner)?;
        let head_dim = self.n_embd / self.n_head;
        let rotary_dims = if self.family == Family::Phi { head_dim / 2 } else { head_dim };
        let biased = matches!(self.family, Family::Gpt2 | Family::Phi);
        Ok(Architecture {
            family: self.family,
            n_layer: self.n_layer,
            n_embd: self.n_embd,
            n_head: self.n_head,
            n_kv_head,
            head_dim,
            n_inner,
            vocab: self.vocab,
            n_positions: self.n_positions,
            tied_embeddings: self.family == Family::Gpt2,
            norm_eps: 1e-5,
            rope: (self.family != Family::Gpt2).then_some(Rope { theta: 10_000.0, rotary_dims, scaling: None }),
            activation: if gated { Activation::Silu } else { Activation::GeluTanh },
            biases: Biases {
                qkv: biased || self.family == Family::Qwen2,
                attention_out: biased,
                mlp: biased,
                head: self.family == Family::Phi,
            },
            bos_id: Some(tokenizer::BOS),
            eos_ids: vec![tokenizer::EOS],
            dtype: self.dtype,
        })
    }

    fn check(&self, n_kv_head: usize, n_inner: usize) -> Result<()> {
        let between = |field, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(Error::Recipe { field, value: value.to_string(), allowed: format!("{least} to {most}") })
        };
        between("n_layer", self.n_layer, 1, MAX_LAYERS)?;
        between("n_embd", self.n_embd, 1, MAX_SIZE)?;
        between("n_head", self.n_head, 1, self.n_embd)?;
        between("n_kv_head", n_kv_head, 1, self.n_head)?;
        between("n_inner", n_inner, 1, 4 * MAX_SIZE)?;
        between("vocab", self.vocab, tokenizer::FIRST_WORD as usize, tokenizer::MAX_VOCAB)?;
        between("n_positions", self.n_positions, 2, MAX_SIZE)?;

        let refuse =
            |field, value: usize, allowed: String| Err(Error::Recipe { field, value: value.to_string(), allowed });
        if !self.n_embd.is_multiple_of(self.n_head) {
            return refuse("n_head", self.n_head, format!("divisors of n_embd ({})", self.n_embd));
        }
        let unit = match self.family {
            Family::Gpt2 => 1,
            Family::Llama | Family::Qwen2 => 2,
            // Half of each head is rotated, in pairs.
            Family::Phi => 4,
        };
        if !(self.n_embd / self.n_head).is_multiple_of(unit) {
            let allowed = format!("values for which n_embd / n_head ({}) is a multiple of {unit}", self.n_embd);
            return refuse("n_head", self.n_head, allowed);
        }
        if self.family == Family::Gpt2 && n_kv_head != self.n_head {
            return refuse("n_kv_head", n_kv_head, format!("n_head ({}), gpt2 does not share heads", self.n_head));
        }
        if !self.n_head.is_multiple_of(n_kv_head) {
            return refuse("n_kv_head", n_kv_head, format!("divisors of n_head ({})", self.n_head));
        }
        Ok(())
    }

    /// What the folder is found by in the cache: a hash of everything that decides its bytes. Unit: 32 hex digits.
    ///
    /// # Errors
    /// As [`Self::architecture`].
    pub fn content_hash(&self) -> Result<String> {
        let arch = self.architecture()?;
        Ok(hex(&self.digest(&arch, "folder", Some(arch.dtype)))[..32].to_owned())
    }

    /// The model folder, made in the cache unless it is there. Returns its path.
    ///
    /// # Errors
    /// An invalid recipe, or the file system refuses.
    pub fn materialise(&self, cache_root: &Path) -> Result<PathBuf> {
        let arch = self.architecture()?;
        let at = cache_root.join("models").join(self.content_hash()?);
        cached::folder(&at, cache_root, |folder| self.write(&arch, folder))?;
        Ok(at)
    }

    /// Writes the three files into an existing folder.
    fn write(&self, arch: &Architecture, folder: &Path) -> Result<()> {
        for (name, value) in
            [("config.json", config::write(arch)), ("tokenizer.json", tokenizer::synthetic_json(arch.vocab))]
        {
            let path = folder.join(name);
            fs::write(&path, format!("{value:#}\n")).map_err(Error::io("write", &path))?;
        }
        let path = folder.join("model.safetensors");
        let views = tensors::expected(arch).into_iter().map(|spec| {
            let seed = self.digest(arch, &spec.name, None);
            (spec.name.clone(), Generated { arch, spec, seed })
        });
        let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize_to_file(views, Some(format), &path).map_err(|e| Error::malformed(&path, e))
    }

    /// Hash of the resolved shape, the seed and `what`. The stored type is left out of tensor seeds, so that models
    /// which differ only in it hold the same numbers, rounded.
    fn digest(&self, arch: &Architecture, what: &str, dtype: Option<Dtype>) -> [u8; 32] {
        let text = format!(
            "{GENERATOR_VERSION}/{}/{}/{}/{}/{}/{}/{}/{}/{}/{what}/{}",
            arch.family,
            arch.n_layer,
            arch.n_embd,
            arch.n_head,
            arch.n_kv_head,
            arch.n_inner,
            arch.vocab,
            arch.n_positions,
            self.seed,
            dtype.map_or("", Dtype::as_str),
        );
        Sha256::digest(text.as_bytes()).into()
    }
}

/// A tensor that is generated when the writer asks for its bytes, so that only one is in memory.
struct Generated<'a> {
    arch: &'a Architecture,
    spec: TensorSpec,
    seed: [u8; 32],
}

impl safetensors::View for Generated<'_> {
    fn dtype(&self) -> safetensors::Dtype {
        match self.arch.dtype {
            Dtype::F32 => safetensors::Dtype::F32,
            Dtype::F16 => safetensors::Dtype::F16,
            Dtype::Bf16 => safetensors::Dtype::BF16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.spec.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let size = self.arch.dtype.bytes();
        let shape = Shaping::of(self.arch, &self.spec);
        let mut bytes = vec![0; self.data_len()];
        bytes.par_chunks_mut(CHUNK * size).enumerate().for_each(|(n, chunk)| {
            let mut random = ChaCha8Rng::from_seed(self.seed);
            random.set_stream(n as u64);
            for (i, out) in chunk.chunks_exact_mut(size).enumerate() {
                let value = shape.value(n * CHUNK + i, random.sample(StandardNormal));
                match self.arch.dtype {
                    Dtype::F32 => out.copy_from_slice(&value.to_le_bytes()),
                    Dtype::F16 => out.copy_from_slice(&f16::from_f32(value).to_le_bytes()),
                    Dtype::Bf16 => out.copy_from_slice(&bf16::from_f32(value).to_le_bytes()),
                }
            }
        });
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.spec.elements() * self.arch.dtype.bytes()
    }
}

/// How a tensor's values follow from normal random numbers: `mean + std × normal`, with exceptions by position.
struct Shaping {
    mean: f32,
    std: f32,
    exception: Exception,
}

enum Exception {
    None,
    /// Output rows of this width: some are damped.
    DampRows(usize),
    /// Rows of this width whose first columns, the queries and keys, are sharper.
    SharpColumns {
        width: usize,
        sharp: usize,
    },
    /// Only the sign of the random number counts; its value is `std`.
    Signs,
}

impl Shaping {
    #[expect(clippy::cast_precision_loss, reason = "widths are far below 2^24")]
    fn of(arch: &Architecture, spec: &TensorSpec) -> Self {
        let plain = |std| Self { mean: 0.0, std, exception: Exception::None };
        let width = arch.n_embd as f32;
        // The dimension that a projection sums over: the first of GPT-2's `[in, out]`, the last of all others.
        let summed = match arch.family {
            Family::Gpt2 => spec.shape.first(),
            Family::Llama | Family::Qwen2 | Family::Phi => spec.shape.last(),
        };
        let keeping = summed.map_or(SMALL, |&n| 1.0 / (n as f32).sqrt());
        match spec.role {
            Role::Embedding if arch.tied_embeddings => {
                Self { mean: 0.0, std: EMBEDDING, exception: Exception::DampRows(arch.n_embd) }
            }
            Role::Embedding => plain(EMBEDDING),
            Role::Positions => plain(POSITION),
            Role::Bias => plain(SMALL),
            Role::FinalNorm if arch.tied_embeddings => {
                Self { mean: 0.0, std: LOGIT_SPREAD / (EMBEDDING * width.sqrt()), exception: Exception::Signs }
            }
            Role::Norm | Role::FinalNorm => Self { mean: 1.0, std: SMALL, exception: Exception::None },
            Role::FusedQkv => {
                let exception = Exception::SharpColumns { width: 3 * arch.n_embd, sharp: 2 * arch.n_embd };
                Self { mean: 0.0, std: keeping, exception }
            }
            Role::QueryKey => plain(ATTENTION_GAIN * keeping),
            Role::Inner => plain(keeping),
            Role::Residual => plain(keeping / (2.0 * arch.n_layer as f32).sqrt()),
            Role::Head => {
                let std = LOGIT_SPREAD / width.sqrt();
                Self { mean: 0.0, std, exception: Exception::DampRows(arch.n_embd) }
            }
        }
    }

    fn value(&self, index: usize, normal: f32) -> f32 {
        let scale = match self.exception {
            Exception::None => 1.0,
            Exception::DampRows(width) if tokenizer::is_unprintable(index / width) => DAMPED,
            Exception::SharpColumns { width, sharp } if index % width < sharp => ATTENTION_GAIN,
            Exception::DampRows(_) | Exception::SharpColumns { .. } => 1.0,
            Exception::Signs => return self.std.copysign(normal),
        };
        self.mean + self.std * scale * normal
    }
}
