//! The head of a GGUF file: what `/api/show` says of an imported model.

use serde_json::{Map, Value, json};

/// Longer lists are not shown; those of the vocabulary are never.
const SHOWN_ITEMS: u64 = 64;

/// The metadata of a file, with the number of parameters counted from its tensors.
///
/// `None`: it is not a GGUF file of version 2 or 3, or it ends inside its head.
pub(super) fn info(file: &[u8]) -> Option<Map<String, Value>> {
    let mut head = Head { rest: file };
    if head.take(4)? != b"GGUF" || !matches!(head.u32()?, 2 | 3) {
        return None;
    }
    let (tensors, pairs) = (head.u64()?, head.u64()?);
    let mut info = Map::new();
    for _ in 0..pairs {
        let key = head.string()?;
        let kind = head.u32()?;
        let value = head.value(kind)?;
        let shown = if key.starts_with("tokenizer.") && value.is_array() { Value::Null } else { value };
        info.insert(key, shown);
    }
    let mut parameters = 0_u64;
    for _ in 0..tensors {
        head.string()?;
        let dimensions = head.u32()?;
        let items = (0..dimensions).try_fold(1_u64, |items, _| items.checked_mul(head.u64()?))?;
        parameters = parameters.checked_add(items)?;
        // Type and place.
        head.take(4 + 8)?;
    }
    info.insert("general.parameter_count".to_owned(), json!(parameters));
    info.sort_keys();
    Some(info)
}

struct Head<'a> {
    rest: &'a [u8],
}

impl<'a> Head<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.number().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.number().map(u64::from_le_bytes)
    }

    fn string(&mut self) -> Option<String> {
        let bytes = usize::try_from(self.u64()?).ok()?;
        Some(String::from_utf8_lossy(self.take(bytes)?).into_owned())
    }

    fn value(&mut self, kind: u32) -> Option<Value> {
        Some(match kind {
            0 => json!(self.number().map(u8::from_le_bytes)?),
            1 => json!(self.number().map(i8::from_le_bytes)?),
            2 => json!(self.number().map(u16::from_le_bytes)?),
            3 => json!(self.number().map(i16::from_le_bytes)?),
            4 => json!(self.u32()?),
            5 => json!(self.number().map(i32::from_le_bytes)?),
            // Through its shortest text: 0.00001 stays 0.00001.
            6 => json!(self.number().map(f32::from_le_bytes)?.to_string().parse::<f64>().ok()?),
            7 => json!(self.number::<1>()? != [0]),
            8 => json!(self.string()?),
            9 => self.list()?,
            10 => json!(self.u64()?),
            11 => json!(self.number().map(i64::from_le_bytes)?),
            12 => json!(self.number().map(f64::from_le_bytes)?),
            _ => return None,
        })
    }

    fn list(&mut self) -> Option<Value> {
        let (kind, items) = (self.u32()?, self.u64()?);
        let mut shown = Vec::new();
        for index in 0..items {
            let item = self.value(kind)?;
            if index < SHOWN_ITEMS {
                shown.push(item);
            }
        }
        Some(if items > SHOWN_ITEMS { Value::Null } else { Value::Array(shown) })
    }
}
