//! Attention on the KV cache: rotation to positions, shared key-value heads, the causal mask.

use super::form::{past_key, past_value, present_key, present_value};
use super::graph::{Graph, Value, int, signed};
use super::layers::Decoder;
use super::proto;

/// Added to the scores of what may not be seen: far below any score, and still a number where nothing may be seen.
const HIDDEN: f32 = -1e9;

impl Decoder<'_> {
    /// Cosine and sine of position × frequency, in f32 whatever the precision: positions do not fit an f16.
    pub(super) fn rotation_table(&mut self) -> Option<(Value, Value)> {
        let rope = self.arch.rope?;
        #[expect(clippy::cast_possible_truncation, reason = "the graph computes in f32")]
        let frequencies: Vec<f32> = rope.inverse_frequencies().iter().map(|&f| f as f32).collect();
        self.graph.enter("rotation");
        let frequencies = self.graph.floats(&frequencies);
        let positions = self.positions.clone();
        let positions = self.cast(&positions, proto::FLOAT);
        let axes = self.graph.ints(&[1, 3]);
        let positions = self.graph.op("Unsqueeze", &[&positions, &axes], &[]);
        let angles = self.graph.op("Mul", &[&positions, &frequencies], &[]);
        let cos = self.graph.op("Cos", &[&angles], &[]);
        let sin = self.graph.op("Sin", &[&angles], &[]);
        Some((self.narrow(&cos), self.narrow(&sin)))
    }

    /// From `[batch × seq, (n_head + 2 n_kv_head) × head_dim]` to `[batch × seq, n_head × head_dim]`.
    pub(super) fn attention(&mut self, layer: usize, qkv: &Value) -> Value {
        let a = self.arch;
        let (heads, kv_heads, dim) = (signed(a.n_head), signed(a.n_kv_head), signed(a.head_dim));
        let by_head = self.graph.ints(&[heads + 2 * kv_heads, dim]);
        let by_head = self.graph.op("Concat", &[&self.rows.clone(), &by_head], &[int("axis", 0)]);
        let qkv = self.graph.op("Reshape", &[qkv, &by_head], &[]);
        let qkv = self.transpose(&qkv, [0, 2, 1, 3]);
        let [query, key, value] = self.rotated(&qkv);

        let along = [int("axis", 2)];
        let key = self.graph.named("Concat", &[&past_key(layer), &key], &along, present_key(layer));
        let value = self.graph.named("Concat", &[&past_value(layer), &value], &along, present_value(layer));

        #[expect(clippy::cast_precision_loss, reason = "a head is narrow")]
        let scale = self.number(1.0 / (a.head_dim as f32).sqrt());
        let mut query = self.mul(&query, &scale);
        let shared = a.n_kv_head < a.n_head;
        if shared {
            // The heads that share a key stand below each other, so that the key is read once for all of them.
            query = self.reshape(&query, &[0, kv_heads, -1, dim]);
        }
        let key = self.transpose(&key, [0, 1, 3, 2]);
        let mut scores = self.graph.op("MatMul", &[&query, &key], &[]);
        if shared {
            scores = self.reshape(&scores, &[0, heads, -1, 0]);
        }
        let scores = self.widen(&scores);
        let scores = self.add(&scores, &self.hidden_scores.clone());
        let shares = self.graph.op("Softmax", &[&scores], &[int("axis", -1)]);
        let mut shares = self.narrow(&shares);
        if shared {
            shares = self.reshape(&shares, &[0, kv_heads, -1, 0]);
        }
        let mut seen = self.graph.op("MatMul", &[&shares, &value], &[]);
        if shared {
            seen = self.reshape(&seen, &[0, heads, -1, dim]);
        }
        let seen = self.transpose(&seen, [0, 2, 1, 3]);
        self.reshape(&seen, &[-1, heads * dim])
    }

    /// Splits `[batch, heads, seq, head_dim]` into query, key and value, the first two rotated to their positions.
    fn rotated(&mut self, qkv: &Value) -> [Value; 3] {
        let a = self.arch;
        let (Some((cos, sin)), Some(rope)) = (self.rotation.clone(), a.rope) else {
            return self.graph.split(qkv, 1, [a.n_head, a.n_kv_head, a.n_kv_head]);
        };
        let [query_key, value] = self.graph.split(qkv, 1, [a.n_head + a.n_kv_head, a.n_kv_head]);
        let half = rope.rotary_dims / 2;
        let rest = a.head_dim - rope.rotary_dims;
        let (x, y, rest) = if rest == 0 {
            let [x, y] = self.graph.split(&query_key, -1, [half, half]);
            (x, y, None)
        } else {
            let [x, y, rest] = self.graph.split(&query_key, -1, [half, half, rest]);
            (x, y, Some(rest))
        };
        let (x_cos, y_sin) = (self.mul(&x, &cos), self.mul(&y, &sin));
        let (y_cos, x_sin) = (self.mul(&y, &cos), self.mul(&x, &sin));
        let turned_x = self.graph.op("Sub", &[&x_cos, &y_sin], &[]);
        let turned_y = self.add(&y_cos, &x_sin);
        let mut parts = vec![&turned_x, &turned_y];
        parts.extend(&rest);
        let turned = self.graph.op("Concat", &parts, &[int("axis", -1)]);
        let [query, key] = self.graph.split(&turned, 1, [a.n_head, a.n_kv_head]);
        [query, key, value]
    }
}

/// 0 where a query may see a key, [`HIDDEN`] elsewhere: `[batch, 1, seq, past + seq]`.
///
/// A query may see itself and what came before it, unless that is padding.
pub(super) fn causal_mask(graph: &mut Graph, rows: &Value, mask: &Value) -> Value {
    let (zero, one) = (graph.index(0), graph.index(1));
    let mask_shape = graph.op("Shape", &[mask], &[]);
    let total = graph.op("Gather", &[&mask_shape, &one], &[int("axis", 0)]);
    let seq = graph.op("Gather", &[rows, &one], &[int("axis", 0)]);
    let past = graph.op("Sub", &[&total, &seq], &[]);
    let keys = graph.op("Range", &[&zero, &total, &one], &[]);
    let queries = graph.op("Range", &[&past, &total, &one], &[]);
    let as_column = graph.ints(&[1]);
    let queries = graph.op("Unsqueeze", &[&queries, &as_column], &[]);
    let earlier = graph.op("LessOrEqual", &[&keys, &queries], &[]);
    let real = graph.op("Cast", &[mask], &[int("to", i64::from(proto::BOOL))]);
    let between = graph.ints(&[1, 2]);
    let real = graph.op("Unsqueeze", &[&real, &between], &[]);
    let visible = graph.op("And", &[&earlier, &real], &[]);
    let (shown, hidden) = (graph.float(0.0), graph.float(HIDDEN));
    graph.op("Where", &[&visible, &shown, &hidden], &[])
}
