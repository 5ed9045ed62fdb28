//! Reads a GGUF file by the format's own description, sharing nothing with the exporter.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

/// A file in memory.
pub struct Read {
    /// Type and value of every key; of lists, the elements' type and the elements.
    pub metadata: BTreeMap<String, (u32, Value)>,
    pub tensors: BTreeMap<String, Tensor>,
    /// How many bytes follow the last tensor's padding.
    pub left: usize,
}

#[derive(Debug, PartialEq)]
pub struct Tensor {
    pub dims: Vec<u64>,
    /// 0: f32, 1: f16.
    pub kind: u32,
    pub data: Vec<u8>,
}

impl Tensor {
    pub fn elements(&self) -> u64 {
        self.dims.iter().product()
    }

    pub fn floats(&self) -> Vec<f32> {
        assert_eq!(self.kind, 0);
        self.data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }
}

impl Read {
    pub fn text(&self, key: &str) -> &str {
        self.metadata[key].1.as_str().unwrap()
    }

    pub fn texts(&self, key: &str) -> Vec<&str> {
        self.metadata[key].1.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect()
    }

    pub fn numbers(&self, key: &str) -> Vec<i64> {
        self.metadata[key].1.as_array().unwrap().iter().map(|v| v.as_i64().unwrap()).collect()
    }

    pub fn elements(&self) -> u64 {
        self.tensors.values().map(Tensor::elements).sum()
    }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n);
        self.0 = rest;
        taken
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().unwrap())
    }

    fn text(&mut self) -> String {
        let length = self.u64().try_into().unwrap();
        String::from_utf8(self.take(length).to_vec()).unwrap()
    }

    fn value(&mut self, kind: u32) -> Value {
        match kind {
            4 => json!(self.u32()),
            5 => json!(self.u32().cast_signed()),
            6 => json!(f32::from_bits(self.u32())),
            7 => json!(self.take(1) == [1]),
            8 => json!(self.text()),
            _ => panic!("type {kind} is not among those a model of ours has"),
        }
    }
}

/// Reads a file; every tensor's place is checked to be aligned and to hold nothing else.
pub fn read(path: &Path) -> Read {
    let file = std::fs::read(path).unwrap();
    let mut cursor = Cursor(&file);
    assert_eq!(cursor.take(4), b"GGUF");
    assert_eq!(cursor.u32(), 3);
    let (n_tensors, n_keys) = (cursor.u64(), cursor.u64());
    let mut metadata = BTreeMap::new();
    for _ in 0..n_keys {
        let (key, kind) = (cursor.text(), cursor.u32());
        let found = if kind == 9 {
            let (element, length) = (cursor.u32(), cursor.u64());
            (element, (0..length).map(|_| cursor.value(element)).collect())
        } else {
            (kind, cursor.value(kind))
        };
        assert!(metadata.insert(key, found).is_none(), "a key is there twice");
    }
    let mut listed = Vec::new();
    for _ in 0..n_tensors {
        let name = cursor.text();
        let dims: Vec<u64> = (0..cursor.u32()).map(|_| cursor.u64()).collect();
        listed.push((name, dims, cursor.u32(), cursor.u64()));
    }
    listed.sort_by_key(|&(.., offset)| offset);
    let begin = (file.len() - cursor.0.len()).next_multiple_of(32);
    let mut end = begin;
    let mut tensors = BTreeMap::new();
    for (name, dims, kind, offset) in listed {
        let size = match kind {
            0 => 4,
            1 => 2,
            _ => panic!("tensor {name} has type {kind}"),
        };
        let offset = begin + usize::try_from(offset).unwrap();
        assert_eq!(offset % 32, 0, "{name}");
        assert_eq!(offset, end, "{name} begins where the one before ends");
        let length = usize::try_from(dims.iter().product::<u64>()).unwrap() * size;
        end = (offset + length).next_multiple_of(32);
        let tensor = Tensor { dims, kind, data: file[offset..offset + length].to_vec() };
        assert!(file[offset + length..end].iter().all(|&b| b == 0), "padding after {name}");
        assert!(tensors.insert(name, tensor).is_none(), "a tensor is there twice");
    }
    Read { metadata, tensors, left: file.len() - end }
}
