//! A decoder graph being built, and the operations that all its layers are made of.

use super::graph::{Graph, Value, int, ints};
use super::proto;
use crate::model::precision::Precision;
use crate::terms::model::Architecture;

pub(super) struct Decoder<'a> {
    pub(super) arch: &'a Architecture,
    pub(super) precision: Precision,
    /// Element type of weights, cache and logits.
    pub(super) element: i32,
    pub(super) graph: Graph,
    pub(super) ids: Value,
    pub(super) positions: Value,
    /// `[batch, seq]`.
    pub(super) rows: Value,
    /// Added to the scores, `[batch, 1, seq, past + seq]`, f32.
    pub(super) hidden_scores: Value,
    /// Cosine and sine by position, `[batch, 1, seq, rotary_dims / 2]`. `None`: positions are learned.
    pub(super) rotation: Option<(Value, Value)>,
}

impl Decoder<'_> {
    pub(super) fn cast(&mut self, value: &Value, to: i32) -> Value {
        self.graph.op("Cast", &[value], &[int("to", i64::from(to))])
    }

    /// From f32 to the graph's precision.
    pub(super) fn narrow(&mut self, value: &Value) -> Value {
        match self.precision {
            Precision::F32 => value.clone(),
            Precision::F16 => self.cast(value, proto::FLOAT16),
        }
    }

    /// From the graph's precision to f32.
    pub(super) fn widen(&mut self, value: &Value) -> Value {
        match self.precision {
            Precision::F32 => value.clone(),
            Precision::F16 => self.cast(value, proto::FLOAT),
        }
    }

    /// A number in the graph's precision.
    pub(super) fn number(&mut self, value: f32) -> Value {
        match self.precision {
            Precision::F32 => self.graph.float(value),
            Precision::F16 => self.graph.half(half::f16::from_f32(value)),
        }
    }

    pub(super) fn reshape(&mut self, value: &Value, shape: &[i64]) -> Value {
        let shape = self.graph.ints(shape);
        self.graph.op("Reshape", &[value, &shape], &[])
    }

    pub(super) fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.graph.op("Add", &[a, b], &[])
    }

    pub(super) fn mul(&mut self, a: &Value, b: &Value) -> Value {
        self.graph.op("Mul", &[a, b], &[])
    }

    pub(super) fn transpose(&mut self, value: &Value, order: [i64; 4]) -> Value {
        self.graph.op("Transpose", &[value], &[ints("perm", &order)])
    }
}
