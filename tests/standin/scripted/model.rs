//! A model as the server lists it.

use phasebench::hash::sha256_hex;
use serde_json::{Map, Value, json};

use super::full_name;

/// A model in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Full name, tag included.
    pub name: String,
    /// Size of its file. Unit: bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal.
    pub digest: String,
    /// What `/api/show` says under `model_info`.
    pub info: Map<String, Value>,
}

/// The measures of a transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// `llama`, `qwen2`, …
    pub architecture: &'static str,
    /// Parameters.
    pub parameters: u64,
    /// Layers.
    pub layers: u64,
    /// Width.
    pub width: u64,
    /// Attention heads, of keys and values too.
    pub heads: u64,
    /// Longest context.
    pub context: u64,
}

impl Model {
    /// A model in 16 bits. `name` may lack its tag.
    #[must_use]
    pub fn new(name: &str, shape: &Shape) -> Self {
        let of = |key: &str| format!("{}.{key}", shape.architecture);
        let info = [
            ("general.architecture".to_owned(), json!(shape.architecture)),
            ("general.file_type".to_owned(), json!(1)),
            ("general.parameter_count".to_owned(), json!(shape.parameters)),
            (of("attention.head_count"), json!(shape.heads)),
            (of("attention.head_count_kv"), json!(shape.heads)),
            (of("block_count"), json!(shape.layers)),
            (of("context_length"), json!(shape.context)),
            (of("embedding_length"), json!(shape.width)),
        ];
        let info = info.into_iter().collect();
        Self { name: full_name(name), size: 2 * shape.parameters, digest: sha256_hex(name.as_bytes()), info }
    }

    fn text(&self, key: &str) -> &str {
        self.info.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn measure(&self, key: &str) -> Option<&Value> {
        self.info.get(&format!("{}.{key}", self.text("general.architecture")))
    }

    /// What the lists say under `details`; `with_shape` adds what `/api/tags` says from 0.30 on.
    pub(super) fn details(&self, with_shape: bool) -> Value {
        let family = self.text("general.architecture");
        let parameters = self.info.get("general.parameter_count").and_then(Value::as_u64).unwrap_or(0);
        let level = match self.info.get("general.file_type").and_then(Value::as_u64) {
            Some(1) => "F16",
            // So the real server says of 32 bits.
            _ => "unknown",
        };
        let mut details = json!({
            "parent_model": "",
            "format": "gguf",
            "family": family,
            "families": [family],
            "parameter_size": short(parameters),
            "quantization_level": level,
        });
        for key in ["context_length", "embedding_length"] {
            if let Some(value) = self.measure(key).filter(|_| with_shape) {
                details[key] = value.clone();
            }
        }
        details
    }
}

/// A count as the server shortens it: `205K`, `1.25M`, `4.3B`.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn short(count: u64) -> String {
    let (unit, digits, letter) = match count {
        1_000_000_000.. => (1e9, 1, "B"),
        1_000_000.. => (1e6, 2, "M"),
        1_000.. => (1e3, 0, "K"),
        _ => return count.to_string(),
    };
    let digits = if count.is_multiple_of(unit as u64) { 0 } else { digits };
    format!("{:.digits$}{letter}", count as f64 / unit)
}
