//! The element types that exports come in, and the way there from what a folder stores.

use std::fmt;
use std::str::FromStr;

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use super::{Error, Result};
use crate::terms::model::Dtype;

/// What an exported model's weights are held in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Single.
    #[default]
    F32,
    /// Half.
    F16,
}

impl Precision {
    /// The name in files and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.dtype().as_str()
    }

    /// The same as an element type.
    #[must_use]
    pub fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Precision {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            _ => Err(format!("unknown dtype `{text}`, known: f32, f16")),
        }
    }
}

/// Appends stored numbers to `into` in another type; `tensor` is only named in errors.
///
/// # Errors
/// A finite number is too large for half precision.
pub(super) fn convert(tensor: &str, from: Dtype, bytes: &[u8], to: Precision, into: &mut Vec<u8>) -> Result<()> {
    if from == to.dtype() {
        into.extend_from_slice(bytes);
        return Ok(());
    }
    for number in bytes.chunks_exact(from.bytes()) {
        let value = decode(from, number);
        match to {
            Precision::F32 => into.extend_from_slice(&value.to_le_bytes()),
            Precision::F16 => {
                let half = f16::from_f32(value);
                if half.is_infinite() && value.is_finite() {
                    return Err(Error::Overflow { name: tensor.to_owned(), value });
                }
                into.extend_from_slice(&half.to_le_bytes());
            }
        }
    }
    Ok(())
}

fn decode(dtype: Dtype, bytes: &[u8]) -> f32 {
    match (dtype, bytes) {
        (Dtype::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
        (Dtype::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
        (Dtype::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
        _ => f32::NAN,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_stored_type_is_read_and_written() {
        for (dtype, bytes, value) in [
            (Dtype::F32, 1.5_f32.to_le_bytes().to_vec(), 1.5),
            (Dtype::F16, f16::from_f32(-0.25).to_le_bytes().to_vec(), -0.25),
            (Dtype::Bf16, bf16::from_f32(3.0).to_le_bytes().to_vec(), 3.0),
        ] {
            let mut out = vec![7];
            convert("t", dtype, &bytes, Precision::F32, &mut out).unwrap();
            assert_eq!(out, [&[7][..], &f32::to_le_bytes(value)].concat(), "{dtype}");
            out.clear();
            convert("t", dtype, &bytes, Precision::F16, &mut out).unwrap();
            assert_eq!(out, f16::from_f32(value).to_le_bytes(), "{dtype}");
        }
        let error = convert("t", Dtype::F32, &70_000_f32.to_le_bytes(), Precision::F16, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "tensor `t` holds 70000, more than f16 can hold: export it as f32");
    }
}
