//! The file format: everything before the weights, little endian throughout.

use crate::model::Precision;

/// Version of the file format.
pub const FORMAT_VERSION: u32 = 3;

/// Tensors begin at multiples of this. Unit: bytes.
pub const ALIGNMENT: u64 = 32;

const MAGIC: &[u8; 4] = b"GGUF";

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// A whole number.
    U32(u32),
    /// A number.
    F32(f32),
    /// Yes or no.
    Bool(bool),
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// A list of whole numbers.
    Numbers(Vec<i32>),
}

/// The metadata in the order it is written.
pub(super) type Metadata = Vec<(String, Value)>;

/// A tensor as the file lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TensorInfo {
    /// Its name.
    pub(super) name: String,
    /// Its shape, the dimension whose elements lie side by side first.
    pub(super) dims: Vec<u64>,
    /// What it is held in.
    pub(super) precision: Precision,
}

impl TensorInfo {
    /// Its size without padding. Unit: bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.dims.iter().product::<u64>() * self.precision.dtype().bytes() as u64
    }
}

const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const BOOL: u32 = 7;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// The head of the file: metadata and list of tensors, padded to where the first tensor begins.
pub(super) fn head<'a>(metadata: &Metadata, tensors: impl ExactSizeIterator<Item = &'a TensorInfo>) -> Vec<u8> {
    let mut head = Head { bytes: MAGIC.to_vec() };
    head.u32(FORMAT_VERSION);
    head.u64(tensors.len() as u64);
    head.u64(metadata.len() as u64);
    for (key, value) in metadata {
        head.text(key);
        head.value(value);
    }
    let mut offset = 0;
    for tensor in tensors {
        head.text(&tensor.name);
        head.count(tensor.dims.len());
        tensor.dims.iter().for_each(|&n| head.u64(n));
        head.u32(match tensor.precision {
            Precision::F32 => 0,
            Precision::F16 => 1,
        });
        head.u64(offset);
        offset += tensor.bytes().next_multiple_of(ALIGNMENT);
    }
    let mut bytes = head.bytes;
    bytes.resize(bytes.len() + padding(bytes.len() as u64), 0);
    bytes
}

/// How many bytes are missing to the next place where a tensor may begin.
pub(super) fn padding(length: u64) -> usize {
    usize::try_from(length.next_multiple_of(ALIGNMENT) - length).unwrap_or(0)
}

struct Head {
    bytes: Vec<u8>,
}

impl Head {
    fn u32(&mut self, n: u32) {
        self.bytes.extend(n.to_le_bytes());
    }

    fn u64(&mut self, n: u64) {
        self.bytes.extend(n.to_le_bytes());
    }

    /// A count that the format keeps in 32 bits.
    fn count(&mut self, n: usize) {
        self.u32(u32::try_from(n).unwrap_or(u32::MAX));
    }

    fn text(&mut self, text: &str) {
        self.u64(text.len() as u64);
        self.bytes.extend(text.as_bytes());
    }

    fn array(&mut self, element: u32, length: usize) {
        self.u32(ARRAY);
        self.u32(element);
        self.u64(length as u64);
    }

    /// Type and content.
    fn value(&mut self, value: &Value) {
        match value {
            Value::U32(n) => {
                self.u32(U32);
                self.u32(*n);
            }
            Value::F32(x) => {
                self.u32(F32);
                self.bytes.extend(x.to_le_bytes());
            }
            Value::Bool(yes) => {
                self.u32(BOOL);
                self.bytes.push(u8::from(*yes));
            }
            Value::Text(text) => {
                self.u32(TEXT);
                self.text(text);
            }
            Value::Texts(texts) => {
                self.array(TEXT, texts.len());
                texts.iter().for_each(|text| self.text(text));
            }
            Value::Numbers(numbers) => {
                self.array(I32, numbers.len());
                numbers.iter().for_each(|n| self.bytes.extend(n.to_le_bytes()));
            }
        }
    }
}
