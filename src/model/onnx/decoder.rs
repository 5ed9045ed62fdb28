//! The decoder graph of every family.
//!
//! Rows of all sequences are laid below each other (`[batch × seq, width]`), so that every linear layer is one `Gemm`
//! with its bias inside and its matrix as it is stored. Query, key and value are one `Gemm`, so are gate and up.

use super::form::{
    ATTENTION_MASK, ArgMax, INPUT_IDS, LOGITS, NEXT_TOKEN, Options, POSITION_IDS, past_key, past_value, present_key,
    present_value,
};
use super::graph::{Dim, Graph, Value, float, int, signed, text};
use super::layers::Decoder;
use super::{attention, proto};
use crate::model::precision::Precision;
use crate::model::tensors;
use crate::terms::model::{Activation, Architecture, Family};

/// Builds the graph of an architecture.
pub(super) fn build(arch: &Architecture, options: Options) -> Graph {
    let mut decoder = Decoder::new(arch, options.precision);
    let mut hidden = decoder.embed();
    for layer in 0..arch.n_layer {
        hidden = match arch.family {
            Family::Gpt2 => decoder.gpt2_block(layer, &hidden),
            Family::Llama | Family::Qwen2 => decoder.llama_block(layer, &hidden),
            Family::Phi => decoder.phi_block(layer, &hidden),
        };
    }
    decoder.head(&hidden, options.arg_max);
    decoder.declare_cache_outputs();
    decoder.graph
}

/// How a matrix is stored.
#[derive(Clone, Copy)]
enum Layout {
    /// `[in, out]`.
    InOut,
    /// `[out, in]`.
    OutIn,
}

impl<'a> Decoder<'a> {
    fn new(arch: &'a Architecture, precision: Precision) -> Self {
        let element = match precision {
            Precision::F32 => proto::FLOAT,
            Precision::F16 => proto::FLOAT16,
        };
        let mut graph = Graph::default();
        let (batch, seq, past, total) =
            (Dim::Named("batch"), Dim::Named("seq"), Dim::Named("past"), Dim::Named("past + seq"));
        let ids = graph.input(INPUT_IDS, proto::INT64, &[batch, seq]);
        let mask = graph.input(ATTENTION_MASK, proto::INT64, &[batch, total]);
        let positions = graph.input(POSITION_IDS, proto::INT64, &[batch, seq]);
        let cached = [batch, Dim::Size(arch.n_kv_head), past, Dim::Size(arch.head_dim)];
        for layer in 0..arch.n_layer {
            graph.input(past_key(layer), element, &cached);
            graph.input(past_value(layer), element, &cached);
        }
        graph.enter("shape");
        let rows = graph.op("Shape", &[&ids], &[]);
        let hidden_scores = attention::causal_mask(&mut graph, &rows, &mask);
        let mut decoder = Self { arch, precision, element, graph, ids, positions, rows, hidden_scores, rotation: None };
        decoder.rotation = decoder.rotation_table();
        decoder
    }

    fn embed(&mut self) -> Value {
        let a = self.arch;
        self.graph.enter("embed");
        let table = self.graph.weight(tensors::embedding_name(a.family), &[a.vocab, a.n_embd]);
        let mut hidden = self.graph.op("Gather", &[&table, &self.ids.clone()], &[]);
        if a.rope.is_none() {
            let table = self.graph.weight("wpe.weight", &[a.n_positions, a.n_embd]);
            let positions = self.graph.op("Gather", &[&table, &self.positions.clone()], &[]);
            hidden = self.add(&hidden, &positions);
        }
        self.reshape(&hidden, &[-1, signed(a.n_embd)])
    }

    /// `x · matrix + bias`; the tensors are laid below each other and must sum to `dims_out`.
    fn linear(&mut self, x: &Value, parts: &Parts, dims_in: usize, dims_out: usize, bias: bool) -> Value {
        let (dims, transposed) = match parts.layout {
            Layout::InOut => ([dims_in, dims_out], 0),
            Layout::OutIn => ([dims_out, dims_in], 1),
        };
        let matrix = self.graph.joined_weight(&format!("{}.weight", parts.name), &dims, parts.tensors("weight"));
        let mut inputs = vec![x, &matrix];
        let bias =
            bias.then(|| self.graph.joined_weight(&format!("{}.bias", parts.name), &[dims_out], parts.tensors("bias")));
        inputs.extend(&bias);
        self.graph.op("Gemm", &inputs, &[int("transB", transposed)])
    }

    fn layer_norm(&mut self, x: &Value, name: &str) -> Value {
        let width = [self.arch.n_embd];
        let scale = self.graph.weight(&format!("{name}.weight"), &width);
        let bias = self.graph.weight(&format!("{name}.bias"), &width);
        let attributes = [int("axis", -1), float("epsilon", self.epsilon())];
        self.graph.op("LayerNormalization", &[x, &scale, &bias], &attributes)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the graph computes in f32")]
    fn epsilon(&self) -> f32 {
        self.arch.norm_eps as f32
    }

    /// `x / sqrt(mean(x²) + ε) · scale`, spelled out in the order that ONNX Runtime recognises and fuses.
    fn rms_norm(&mut self, x: &Value, name: &str) -> Value {
        let scale = self.graph.weight(&format!("{name}.weight"), &[self.arch.n_embd]);
        let (two, epsilon, last) = (self.graph.float(2.0), self.graph.float(self.epsilon()), self.graph.ints(&[-1]));
        let wide = self.widen(x);
        let squares = self.graph.op("Pow", &[&wide, &two], &[]);
        let mean = self.graph.op("ReduceMean", &[&squares, &last], &[int("keepdims", 1)]);
        let mean = self.add(&mean, &epsilon);
        let root = self.graph.op("Sqrt", &[&mean], &[]);
        let unit = self.graph.op("Div", &[&wide, &root], &[]);
        let unit = self.narrow(&unit);
        self.mul(&unit, &scale)
    }

    fn activate(&mut self, x: &Value) -> Value {
        match self.arch.activation {
            Activation::Gelu => self.graph.op("Gelu", &[x], &[text("approximate", "none")]),
            Activation::GeluTanh => self.graph.op("Gelu", &[x], &[text("approximate", "tanh")]),
            Activation::Relu => self.graph.op("Relu", &[x], &[]),
            Activation::Silu => {
                let sigmoid = self.graph.op("Sigmoid", &[x], &[]);
                self.mul(x, &sigmoid)
            }
        }
    }

    fn gpt2_block(&mut self, layer: usize, hidden: &Value) -> Value {
        let a = self.arch;
        let name = format!("h.{layer}");
        self.graph.enter(format!("{name}.attn"));
        let x = self.layer_norm(hidden, &format!("{name}.ln_1"));
        let qkv = Parts::single(format!("{name}.attn.c_attn"), Layout::InOut);
        let qkv = self.linear(&x, &qkv, a.n_embd, 3 * a.n_embd, true);
        let x = self.attention(layer, &qkv);
        let out = Parts::single(format!("{name}.attn.c_proj"), Layout::InOut);
        let x = self.linear(&x, &out, a.n_embd, a.n_embd, true);
        let hidden = self.add(hidden, &x);

        self.graph.enter(format!("{name}.mlp"));
        let x = self.layer_norm(&hidden, &format!("{name}.ln_2"));
        let x = self.linear(&x, &Parts::single(format!("{name}.mlp.c_fc"), Layout::InOut), a.n_embd, a.n_inner, true);
        let x = self.activate(&x);
        let x = self.linear(&x, &Parts::single(format!("{name}.mlp.c_proj"), Layout::InOut), a.n_inner, a.n_embd, true);
        self.add(&hidden, &x)
    }

    fn llama_block(&mut self, layer: usize, hidden: &Value) -> Value {
        let (a, b) = (self.arch, self.arch.biases);
        let name = format!("model.layers.{layer}");
        self.graph.enter(format!("{name}.self_attn"));
        let x = self.rms_norm(hidden, &format!("{name}.input_layernorm"));
        let x = self.attend(layer, &name, &x, "o_proj");
        let hidden = self.add(hidden, &x);

        self.graph.enter(format!("{name}.mlp"));
        let x = self.rms_norm(&hidden, &format!("{name}.post_attention_layernorm"));
        let gate_up = Parts::joined(&format!("{name}.mlp"), "gate_up_proj", &["gate_proj", "up_proj"]);
        let x = self.linear(&x, &gate_up, a.n_embd, 2 * a.n_inner, b.mlp);
        let [gate, up] = self.graph.split(&x, -1, [a.n_inner; 2]);
        let gate = self.activate(&gate);
        let x = self.mul(&gate, &up);
        let x =
            self.linear(&x, &Parts::single(format!("{name}.mlp.down_proj"), Layout::OutIn), a.n_inner, a.n_embd, b.mlp);
        self.add(&hidden, &x)
    }

    fn phi_block(&mut self, layer: usize, hidden: &Value) -> Value {
        let (a, b) = (self.arch, self.arch.biases);
        let name = format!("model.layers.{layer}");
        self.graph.enter(format!("{name}.self_attn"));
        let normed = self.layer_norm(hidden, &format!("{name}.input_layernorm"));
        let attended = self.attend(layer, &name, &normed, "dense");

        self.graph.enter(format!("{name}.mlp"));
        let x =
            self.linear(&normed, &Parts::single(format!("{name}.mlp.fc1"), Layout::OutIn), a.n_embd, a.n_inner, b.mlp);
        let x = self.activate(&x);
        let x = self.linear(&x, &Parts::single(format!("{name}.mlp.fc2"), Layout::OutIn), a.n_inner, a.n_embd, b.mlp);
        let x = self.add(&attended, &x);
        self.add(hidden, &x)
    }

    /// Attention with separate query, key and value matrices, which are joined, and the projection behind it.
    fn attend(&mut self, layer: usize, name: &str, x: &Value, out: &str) -> Value {
        let (a, b) = (self.arch, self.arch.biases);
        let qkv = Parts::joined(&format!("{name}.self_attn"), "qkv_proj", &["q_proj", "k_proj", "v_proj"]);
        let qkv = self.linear(x, &qkv, a.n_embd, a.query_dims() + 2 * a.kv_dims(), b.qkv);
        let x = self.attention(layer, &qkv);
        let out = Parts::single(format!("{name}.self_attn.{out}"), Layout::OutIn);
        self.linear(&x, &out, a.query_dims(), a.n_embd, b.attention_out)
    }

    /// Output embedding of the last position of every row.
    fn head(&mut self, hidden: &Value, arg_max: ArgMax) {
        let a = self.arch;
        self.graph.enter("head");
        let width = self.graph.ints(&[signed(a.n_embd)]);
        let by_row = self.graph.op("Concat", &[&self.rows.clone(), &width], &[int("axis", 0)]);
        let hidden = self.graph.op("Reshape", &[hidden, &by_row], &[]);
        let last = self.graph.index(-1);
        let hidden = self.graph.op("Gather", &[&hidden, &last], &[int("axis", 1)]);
        let x = match a.family {
            Family::Gpt2 => self.layer_norm(&hidden, "ln_f"),
            Family::Llama | Family::Qwen2 => self.rms_norm(&hidden, "model.norm"),
            Family::Phi => self.layer_norm(&hidden, "model.final_layernorm"),
        };
        let table = if a.tied_embeddings { tensors::embedding_name(a.family) } else { tensors::HEAD_NAME };
        let table = self.graph.weight(table, &[a.vocab, a.n_embd]);
        let bias = a.biases.head.then(|| self.graph.weight(tensors::HEAD_BIAS_NAME, &[a.vocab]));
        let mut inputs = vec![&x, &table];
        inputs.extend(&bias);
        let logits = self.graph.op("Gemm", &inputs, &[int("transB", 1)]);
        let (batch, one) = (Dim::Named("batch"), Dim::Size(1));
        match arg_max {
            ArgMax::Outside => {
                let axis = self.graph.ints(&[1]);
                self.graph.named("Unsqueeze", &[&logits, &axis], &[], LOGITS.to_owned());
                self.graph.output(LOGITS, self.element, &[batch, one, Dim::Size(a.vocab)]);
            }
            ArgMax::Inside => {
                let attributes = [int("axis", 1), int("keepdims", 1)];
                self.graph.named("ArgMax", &[&logits], &attributes, NEXT_TOKEN.to_owned());
                self.graph.output(NEXT_TOKEN, proto::INT64, &[batch, one]);
            }
        }
    }

    fn declare_cache_outputs(&mut self) {
        let dims = [
            Dim::Named("batch"),
            Dim::Size(self.arch.n_kv_head),
            Dim::Named("past + seq"),
            Dim::Size(self.arch.head_dim),
        ];
        for layer in 0..self.arch.n_layer {
            self.graph.output(present_key(layer), self.element, &dims);
            self.graph.output(present_value(layer), self.element, &dims);
        }
    }
}

/// A linear layer's tensors in the folder and its name in the graph.
struct Parts {
    name: String,
    sources: Vec<String>,
    layout: Layout,
}

impl Parts {
    fn single(name: String, layout: Layout) -> Self {
        Self { sources: vec![name.clone()], name, layout }
    }

    /// Layers with the same input whose outputs stand side by side: rows of `[out, in]` matrices below each other.
    fn joined(module: &str, name: &str, sources: &[&str]) -> Self {
        let within = |part: &str| format!("{module}.{part}");
        Self { name: within(name), sources: sources.iter().map(|s| within(s)).collect(), layout: Layout::OutIn }
    }

    fn tensors(&self, kind: &str) -> Vec<String> {
        self.sources.iter().map(|source| format!("{source}.{kind}")).collect()
    }
}
