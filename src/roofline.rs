//! What a model asks of a machine at least, reckoned from its shape: bytes that a decode step must read, operations that a
//! prefill must make, and how long both take at the machine's own speed.
//!
//! Source: Williams, Waterman and Patterson, Roofline (2009): time ≥ max(bytes ÷ bytes per second, operations ÷ operations
//! per second).

use crate::terms::model::{Architecture, Family};

/// A model's weights by what a step does with them. Unit: elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// Read whole by every step, a tied output embedding once.
    pub read: u64,
    /// Tables of which a step reads a row for each token: an input embedding that is not the output's, learned positions.
    pub looked_up: u64,
    /// Of those that are read: matrices inside the blocks, which every token is multiplied by.
    pub matrices: u64,
    /// Of those that are read: the output embedding, which the last token of each row is multiplied by.
    pub head: u64,
}

impl Weights {
    /// Of a model. `read` and `looked_up` together are all its parameters.
    #[must_use]
    pub fn of(shape: &Architecture) -> Self {
        let (width, inner) = (shape.n_embd, shape.n_inner);
        let embedding = shape.vocab * width;
        let attention = width * (2 * shape.query_dims() + 2 * shape.kv_dims());
        let (positions, block) = match shape.family {
            Family::Gpt2 => (shape.n_positions * width, 4 * width * width + 2 * width * inner),
            Family::Llama | Family::Qwen2 => (0, attention + 3 * width * inner),
            Family::Phi => (0, attention + 2 * width * inner),
        };
        let looked_up = (positions + if shape.tied_embeddings { 0 } else { embedding }) as u64;
        Self {
            read: shape.parameters() - looked_up,
            looked_up,
            matrices: (shape.n_layer * block) as u64,
            head: embedding as u64,
        }
    }
}

/// What one prefill, or one decode step, asks for at least.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    /// Weights that are read. Unit: bytes.
    pub weights_bytes: f64,
    /// Keys and values that are read, over all rows. Unit: bytes.
    pub kv_bytes: f64,
    /// Floating-point operations; a multiply-add is two.
    pub operations: f64,
}

/// How a cell's calls use a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Use {
    /// Bytes of an element of weights and cache.
    pub element_bytes: u64,
    /// Rows at once.
    pub batch: u32,
    /// Tokens of a row's prompt, padding included: padded positions are computed and kept as any other.
    pub prompt: u32,
    /// Decode steps; 0 for a prefill alone.
    pub steps: u32,
}

impl Demand {
    /// Of a prefill: the weights once; every token of every row through every matrix, the last one of each row through the
    /// output embedding; scores and sums of attention over what stands before, `4 × layers × heads × width of a head × p(p + 1)/2`.
    #[must_use]
    pub fn of_prefill(shape: &Architecture, of: Use) -> Self {
        let weights = Weights::of(shape);
        let (rows, prompt) = (f64::from(of.batch), f64::from(of.prompt));
        let linear = 2.0 * rows * (prompt * weights.matrices as f64 + weights.head as f64);
        let attention = attention_per_position(shape) * rows * prompt * (prompt + 1.0) / 2.0;
        Self { weights_bytes: (weights.read * of.element_bytes) as f64, kv_bytes: 0.0, operations: linear + attention }
    }

    /// Of the mean decode step: the weights once, the keys and values of all positions before the step's own, `p + (g − 1)/2`
    /// on average; every row's token through every matrix and the output embedding.
    #[must_use]
    pub fn of_step(shape: &Architecture, of: Use) -> Self {
        let weights = Weights::of(shape);
        let rows = f64::from(of.batch);
        let before = f64::from(of.prompt) + (f64::from(of.steps.max(1)) - 1.0) / 2.0;
        let linear = 2.0 * rows * (weights.matrices + weights.head) as f64;
        Self {
            weights_bytes: (weights.read * of.element_bytes) as f64,
            kv_bytes: rows * before * (shape.kv_elements_per_token() * of.element_bytes) as f64,
            operations: linear + attention_per_position(shape) * rows * (before + 1.0),
        }
    }

    /// Everything that is read. Unit: bytes.
    #[must_use]
    pub fn bytes(&self) -> f64 {
        self.weights_bytes + self.kv_bytes
    }
}

/// Operations of one query on one position, over all layers and heads: its score and its share of the sum.
fn attention_per_position(shape: &Architecture) -> f64 {
    (4 * shape.n_layer * shape.query_dims()) as f64
}
