//! Writes a graph with its weights straight from the mapped folder into the file, one chunk in memory at a time.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::decoder;
use super::form::{
    DATA_FILE, EXPORTER_VERSION, FILE, IR_VERSION, META_ARG_MAX, META_DTYPE, META_FAMILY, META_PARAMETERS,
    META_WEIGHTS_ID, OPSET, Options,
};
use super::graph::{Dim, Graph, Weight, signed};
use super::proto::{self, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto};
use crate::files::UnfinishedFile;
use crate::model::folder::{Folder, Tensor};
use crate::model::precision::Precision;
use crate::model::{Error, Result, precision};

/// Weights in a file of their own begin at multiples of this, as mapping them needs.
const PAGE: u64 = 4096;
/// How many numbers are converted at a time.
const CHUNK: usize = 1 << 18;

/// Writes the graph file, and the weights beside it if they are more than `inline_limit` bytes.
pub(super) fn write(folder: &Folder, options: Options, into: &Path, inline_limit: u64) -> Result<()> {
    let graph = decoder::build(folder.architecture(), options);
    let size = options.precision.dtype().bytes() as u64;
    let weights: Vec<(u64, &Weight)> = graph.weights.iter().map(|w| (w.elements() as u64 * size, w)).collect();
    let inline = weights.iter().map(|(bytes, _)| bytes).sum::<u64>() <= inline_limit;

    let mut offset = 0;
    let tensors: Vec<(u64, TensorProto)> = weights
        .iter()
        .map(|&(bytes, weight)| {
            let tensor = describe(weight, options.precision, (!inline).then_some((offset, bytes)));
            offset = (offset + bytes).next_multiple_of(PAGE);
            (bytes, tensor)
        })
        .collect();
    let rest = GraphProto {
        node: graph.nodes.clone(),
        name: folder.architecture().family.to_string(),
        initializer: graph.constants.clone(),
        input: graph.inputs.clone(),
        output: graph.outputs.clone(),
    };
    let source = Source { folder, precision: options.precision };
    let data_path = into.join(DATA_FILE);
    if data_path.exists() {
        fs::remove_file(&data_path).map_err(Error::io("replace", &data_path))?;
    }
    // The graph comes last: where it is, its weights are.
    if !inline {
        let mut file = Output::new(&data_path)?;
        for (bytes, weight) in &weights {
            source.copy(weight, &mut file)?;
            let padding = bytes.next_multiple_of(PAGE) - bytes;
            file.put(&vec![0; usize::try_from(padding).unwrap_or(0)])?;
        }
        file.finish()?;
    }
    let path = into.join(FILE);
    let mut file = Output::new(&path)?;
    write_graph(&mut file, &model(folder, options)?, &rest, &tensors, inline, |file, n| {
        source.copy(&graph.weights[n], file)
    })?;
    file.finish()
}

/// Everything of the model but its graph.
fn model(folder: &Folder, options: Options) -> Result<ModelProto> {
    let arch = folder.architecture();
    let properties = [
        (META_WEIGHTS_ID, folder.weights_id()?),
        (META_FAMILY, arch.family.to_string()),
        (META_PARAMETERS, folder.parameters().to_string()),
        (META_DTYPE, options.precision.to_string()),
        (META_ARG_MAX, options.arg_max.to_string()),
    ];
    Ok(ModelProto {
        ir_version: IR_VERSION,
        producer_name: "phasebench".to_owned(),
        producer_version: EXPORTER_VERSION.to_string(),
        graph: None,
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: OPSET }],
        metadata_props: properties.into_iter().map(|(key, value)| entry(key, value)).collect(),
    })
}

fn entry(key: &str, value: impl ToString) -> StringStringEntryProto {
    StringStringEntryProto { key: key.to_owned(), value: value.to_string() }
}

/// A weight without its bytes; `external` is where they are in the other file: offset and length.
fn describe(weight: &Weight, precision: Precision, external: Option<(u64, u64)>) -> TensorProto {
    let data_type = match precision {
        Precision::F32 => proto::FLOAT,
        Precision::F16 => proto::FLOAT16,
    };
    TensorProto {
        dims: weight.dims.iter().map(|&n| signed(n)).collect(),
        data_type,
        name: weight.name.clone(),
        raw_data: None,
        external_data: external.map_or_else(Vec::new, |(offset, length)| {
            vec![entry("location", DATA_FILE), entry("offset", offset), entry("length", length)]
        }),
        data_location: external.map(|_| proto::EXTERNAL),
    }
}

/// Writes the model message by hand around the raw bytes, since its length must stand before it.
fn write_graph<'a>(
    file: &mut Output<'a>,
    model: &ModelProto,
    graph: &GraphProto,
    tensors: &[(u64, TensorProto)],
    inline: bool,
    copy: impl Fn(&mut Output<'a>, usize) -> Result<()>,
) -> Result<()> {
    let raw_field = |bytes: u64| (key_len(proto::TENSOR_RAW_DATA) + encoded_len_varint(bytes)) as u64 + bytes;
    let tensor_lengths: Vec<u64> = tensors
        .iter()
        .map(|(bytes, tensor)| tensor.encoded_len() as u64 + if inline { raw_field(*bytes) } else { 0 })
        .collect();
    let field = |tag, length: u64| (key_len(tag) + encoded_len_varint(length)) as u64 + length;
    let graph_length = graph.encoded_len() as u64
        + tensor_lengths.iter().map(|&length| field(proto::GRAPH_INITIALIZER, length)).sum::<u64>();

    let mut head = model.encode_to_vec();
    begin(&mut head, proto::MODEL_GRAPH, graph_length);
    head.extend(graph.encode_to_vec());
    file.put(&head)?;
    for (n, ((bytes, tensor), &length)) in tensors.iter().zip(&tensor_lengths).enumerate() {
        let mut head = Vec::new();
        begin(&mut head, proto::GRAPH_INITIALIZER, length);
        head.extend(tensor.encode_to_vec());
        if inline {
            begin(&mut head, proto::TENSOR_RAW_DATA, *bytes);
        }
        file.put(&head)?;
        if inline {
            copy(file, n)?;
        }
    }
    Ok(())
}

/// Tag and length of a field of known length.
fn begin(out: &mut Vec<u8>, tag: u32, length: u64) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(length, out);
}

/// A file being written, that knows its name for errors.
struct Output<'a> {
    out: BufWriter<UnfinishedFile>,
    path: &'a Path,
}

impl<'a> Output<'a> {
    /// A file that will be `path` once it is finished.
    fn new(path: &'a Path) -> Result<Self> {
        let file =
            UnfinishedFile::new_in(path.parent().unwrap_or(Path::new("."))).map_err(Error::io("create", path))?;
        Ok(Self { out: BufWriter::with_capacity(1 << 20, file), path })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(Error::io("write", self.path))
    }

    fn finish(self) -> Result<()> {
        let file = self.out.into_inner().map_err(|error| Error::io("write", self.path)(error.into_error()))?;
        file.finish(self.path).map_err(Error::io("write", self.path))
    }
}

/// The folder's tensors in the graph's precision.
struct Source<'a> {
    folder: &'a Folder,
    precision: Precision,
}

impl Source<'_> {
    fn copy(&self, weight: &Weight, file: &mut Output<'_>) -> Result<()> {
        let mut elements = 0;
        for name in &weight.tensors {
            let tensor = self.folder.tensor(name)?;
            elements += tensor.bytes.len() / tensor.dtype.bytes();
            if tensor.dtype == self.precision.dtype() {
                file.put(&tensor.bytes)?;
            } else {
                self.convert(&tensor, file)?;
            }
        }
        if elements == weight.elements() {
            return Ok(());
        }
        // The lengths in the file were promised before; a wrong one would shift everything after it.
        let message = format!("weight `{}` has {elements} elements, expected {}", weight.name, weight.elements());
        Err(Error::io("write", file.path)(io::Error::other(message)))
    }

    fn convert(&self, tensor: &Tensor, file: &mut Output<'_>) -> Result<()> {
        let mut converted = Vec::with_capacity(CHUNK * 4);
        for chunk in tensor.bytes.chunks(CHUNK * tensor.dtype.bytes()) {
            converted.clear();
            precision::convert(&tensor.name, tensor.dtype, chunk, self.precision, &mut converted)?;
            file.put(&converted)?;
        }
        Ok(())
    }
}

/// A model of one node, for trying whether a runtime can be set so at all.
pub(super) fn smallest() -> Vec<u8> {
    let mut graph = Graph::default();
    let input = graph.input("x", proto::FLOAT, &[Dim::Size(1)]);
    let output = graph.named("Neg", &[&input], &[], "y".to_owned());
    graph.output(&output, proto::FLOAT, &[Dim::Size(1)]);
    let graph = GraphProto {
        node: graph.nodes,
        name: "smallest".to_owned(),
        initializer: Vec::new(),
        input: graph.inputs,
        output: graph.outputs,
    };
    let model = ModelProto {
        ir_version: IR_VERSION,
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: OPSET }],
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::model::{Form, materialise};
    use crate::terms::model::{Family, Synthetic};

    #[test]
    fn weights_are_inline_or_beside_and_the_same_bytes() {
        let cache = tempfile::tempdir().unwrap();
        let recipe = Synthetic { vocab: 300, n_kv_head: Some(2), ..Synthetic::new(Family::Qwen2, 2, 32, 4) };
        let folder = materialise(&Form::Synthetic(recipe), cache.path()).unwrap();
        let mut joined: Vec<u8> = Vec::new();
        for part in ["q", "k", "v"] {
            let name = format!("model.layers.1.self_attn.{part}_proj.bias");
            joined.extend(folder.tensor(&name).unwrap().bytes);
        }
        let mut graphs = Vec::new();
        let into = tempfile::tempdir().unwrap();
        for limit in [1000, super::super::INLINE_LIMIT] {
            write(&folder, Options::default(), into.path(), limit).unwrap();
            let model = ModelProto::decode(&*fs::read(into.path().join(FILE)).unwrap()).unwrap();
            assert_eq!(model.metadata_props[0].value, folder.weights_id().unwrap());
            let graph = model.graph.unwrap();
            let data = fs::read(into.path().join(DATA_FILE)).ok();
            assert_eq!(data.is_some(), limit == 1000);
            let bytes = |t: &TensorProto| match &data {
                Some(data) if t.data_location == Some(proto::EXTERNAL) => {
                    let number = |n: usize| t.external_data[n].value.parse::<usize>().unwrap();
                    let (offset, length) = (number(1), number(2));
                    assert!(offset.is_multiple_of(4096), "{offset}");
                    data[offset..offset + length].to_vec()
                }
                _ => t.raw_data.clone().unwrap(),
            };
            let weights: Vec<_> =
                graph.initializer.iter().map(|t| (t.name.clone(), t.dims.clone(), bytes(t))).collect();
            let name = "model.layers.1.self_attn.qkv_proj.bias";
            assert_eq!(weights.iter().find(|w| w.0 == name).unwrap().2, joined);
            graphs.push((graph.node, weights));
        }
        assert!(graphs[0] == graphs[1], "where weights lie changes neither nodes nor weights");
    }
}
