//! A graph in the making: nodes that name their results, constants that exist once, weights still to be read.

use std::collections::HashMap;

use super::proto::{
    self, AttributeProto, DimensionProto, NodeProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto,
};

/// The name of a value in the graph.
pub(super) type Value = String;

/// A weight of the graph: tensors of the folder, one after the other.
#[derive(Debug)]
pub(super) struct Weight {
    /// Its name in the graph.
    pub name: Value,
    /// Its shape in the graph.
    pub dims: Vec<usize>,
    /// The tensors whose elements it consists of.
    pub tensors: Vec<String>,
}

impl Weight {
    pub(super) fn elements(&self) -> usize {
        self.dims.iter().product()
    }
}

/// A dimension of an input or output.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dim {
    Size(usize),
    Named(&'static str),
}

#[derive(Debug, Default)]
pub(super) struct Graph {
    pub nodes: Vec<NodeProto>,
    pub constants: Vec<TensorProto>,
    pub weights: Vec<Weight>,
    pub inputs: Vec<ValueInfoProto>,
    pub outputs: Vec<ValueInfoProto>,
    /// Put before the names of nodes, so that a viewer or profiler shows where they belong.
    scope: String,
    known: HashMap<(i32, Vec<usize>, Vec<u8>), Value>,
}

impl Graph {
    /// What the following nodes belong to.
    pub(super) fn enter(&mut self, scope: impl Into<String>) {
        self.scope = scope.into();
    }

    /// Adds a node with one result and returns that.
    pub(super) fn op(&mut self, op: &str, inputs: &[&Value], attributes: &[AttributeProto]) -> Value {
        let name = self.node(op, inputs, attributes);
        if let Some(node) = self.nodes.last_mut() {
            node.output.push(name.clone());
        }
        name
    }

    /// Adds a node whose one result has a given name: an output of the graph.
    pub(super) fn named(
        &mut self,
        op: &str,
        inputs: &[&Value],
        attributes: &[AttributeProto],
        result: String,
    ) -> Value {
        self.node(op, inputs, attributes);
        if let Some(node) = self.nodes.last_mut() {
            node.output.push(result.clone());
        }
        result
    }

    /// Splits a value along an axis into parts of these sizes.
    pub(super) fn split<const N: usize>(&mut self, value: &Value, axis: i64, sizes: [usize; N]) -> [Value; N] {
        let sizes = self.ints(&sizes.map(signed));
        let name = self.node("Split", &[value, &sizes], &[int("axis", axis)]);
        let results = std::array::from_fn(|n| format!("{name}.{n}"));
        if let Some(node) = self.nodes.last_mut() {
            node.output.extend_from_slice(&results);
        }
        results
    }

    fn node(&mut self, op: &str, inputs: &[&Value], attributes: &[AttributeProto]) -> Value {
        let name = format!("{}/{op}_{}", self.scope, self.nodes.len());
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|&v| v.clone()).collect(),
            output: Vec::new(),
            name: name.clone(),
            op_type: op.to_owned(),
            attribute: attributes.to_vec(),
        });
        name
    }

    /// A list of integers.
    pub(super) fn ints(&mut self, values: &[i64]) -> Value {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(proto::INT64, vec![values.len()], bytes)
    }

    /// One integer without a dimension.
    pub(super) fn index(&mut self, value: i64) -> Value {
        self.constant(proto::INT64, Vec::new(), value.to_le_bytes().to_vec())
    }

    /// One float without a dimension.
    pub(super) fn float(&mut self, value: f32) -> Value {
        self.constant(proto::FLOAT, Vec::new(), value.to_le_bytes().to_vec())
    }

    /// One half-precision float without a dimension.
    pub(super) fn half(&mut self, value: half::f16) -> Value {
        self.constant(proto::FLOAT16, Vec::new(), value.to_le_bytes().to_vec())
    }

    /// A list of floats.
    pub(super) fn floats(&mut self, values: &[f32]) -> Value {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(proto::FLOAT, vec![values.len()], bytes)
    }

    fn constant(&mut self, data_type: i32, dims: Vec<usize>, bytes: Vec<u8>) -> Value {
        let name = format!("constant.{}", self.constants.len());
        let known = self.known.entry((data_type, dims.clone(), bytes.clone())).or_insert(name);
        if known == &format!("constant.{}", self.constants.len()) {
            self.constants.push(TensorProto {
                dims: dims.into_iter().map(signed).collect(),
                data_type,
                name: known.clone(),
                raw_data: Some(bytes),
                external_data: Vec::new(),
                data_location: None,
            });
        }
        known.clone()
    }

    /// A weight that is one tensor of the folder, under its name.
    pub(super) fn weight(&mut self, tensor: &str, dims: &[usize]) -> Value {
        self.joined_weight(tensor, dims, vec![tensor.to_owned()])
    }

    /// A weight made of several tensors; one that exists already is used again.
    pub(super) fn joined_weight(&mut self, name: &str, dims: &[usize], tensors: Vec<String>) -> Value {
        if !self.weights.iter().any(|w| w.name == name) {
            self.weights.push(Weight { name: name.to_owned(), dims: dims.to_vec(), tensors });
        }
        name.to_owned()
    }

    pub(super) fn input(&mut self, name: impl Into<String>, element: i32, dims: &[Dim]) -> Value {
        let name = name.into();
        self.inputs.push(value_info(name.clone(), element, dims));
        name
    }

    pub(super) fn output(&mut self, name: impl Into<String>, element: i32, dims: &[Dim]) {
        self.outputs.push(value_info(name.into(), element, dims));
    }
}

/// Sizes are far below 2^63.
pub(super) fn signed(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn value_info(name: String, elem_type: i32, dims: &[Dim]) -> ValueInfoProto {
    let dim = dims
        .iter()
        .map(|dim| match dim {
            Dim::Size(n) => DimensionProto { dim_value: Some(signed(*n)), dim_param: None },
            Dim::Named(name) => DimensionProto { dim_value: None, dim_param: Some((*name).to_owned()) },
        })
        .collect();
    let tensor_type = TensorTypeProto { elem_type, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name, r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}

/// An integer attribute.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), i: Some(value), r#type: proto::ATTRIBUTE_INT, ..AttributeProto::default() }
}

/// A float attribute.
pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        f: Some(value),
        r#type: proto::ATTRIBUTE_FLOAT,
        ..AttributeProto::default()
    }
}

/// A text attribute.
pub(super) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        s: Some(value.as_bytes().to_vec()),
        r#type: proto::ATTRIBUTE_STRING,
        ..AttributeProto::default()
    }
}

/// An attribute that lists integers.
pub(super) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        ints: values.to_vec(),
        r#type: proto::ATTRIBUTE_INTS,
        ..AttributeProto::default()
    }
}
