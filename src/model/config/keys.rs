//! The keys of a `config.json`, one by one: present, absent or null, of the type and within the limits they must have.

use std::path::Path;

use serde_json::{Map, Value};

use crate::model::{Error, Result};

/// Larger sizes are taken for damage.
pub(super) const MAX_SIZE: u64 = crate::terms::model::LARGEST_SIZE;

/// A JSON object with typed access that names file, key and value when something is wrong.
pub(super) struct Config<'a> {
    pub(super) path: &'a Path,
    /// Put before keys in errors: `rope_scaling.` inside that object.
    pub(super) prefix: &'a str,
    pub(super) map: &'a Map<String, Value>,
}

impl Config<'_> {
    /// Which of two names of one key the file uses.
    pub(super) fn either<'k>(&self, key: &'k str, alias: &'k str) -> Result<&'k str> {
        match (self.get(key), self.get(alias)) {
            (Some(a), Some(b)) if a != b => {
                Err(self.unsupported(alias, format!("the same as `{key}`, which is {a}, or one of the two")))
            }
            (None, Some(_)) => Ok(alias),
            _ => Ok(key),
        }
    }

    /// The value of a key. `None`: absent or null, which mean the same in these files but where it is said.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    pub(super) fn missing(&self, key: &str, expected: &str) -> Error {
        let key = format!("{}{key}", self.prefix);
        Error::MissingKey { path: self.path.to_owned(), key, expected: expected.to_owned() }
    }

    pub(super) fn unsupported(&self, key: &str, supported: impl Into<String>) -> Error {
        Error::Unsupported {
            path: self.path.to_owned(),
            key: format!("{}{key}", self.prefix),
            value: self.map.get(key).map_or_else(|| "absent".to_owned(), Value::to_string),
            supported: supported.into(),
        }
    }

    /// Accepts a key that is absent, null or one of `allowed`.
    pub(super) fn only(&self, key: &str, allowed: &[Value]) -> Result<()> {
        match self.get(key) {
            Some(value) if !allowed.contains(value) => {
                let mut names: Vec<_> = allowed.iter().map(Value::to_string).collect();
                names.push("null".to_owned());
                Err(self.unsupported(key, names.join(", ")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn text(&self, key: &str) -> Result<&str> {
        let value = self.get(key).ok_or_else(|| self.missing(key, "a string"))?;
        value.as_str().ok_or_else(|| self.unsupported(key, "a string"))
    }

    pub(super) fn size(&self, key: &str, max: u64) -> Result<usize> {
        let expected = format!("a whole number from 1 to {max}");
        let value = self.get(key).ok_or_else(|| self.missing(key, &expected))?;
        value
            .as_u64()
            .filter(|n| (1..=max).contains(n))
            .and_then(|n| usize::try_from(n).ok())
            .ok_or_else(|| self.unsupported(key, expected))
    }

    pub(super) fn size_or(&self, key: &str, default: usize) -> Result<usize> {
        if self.get(key).is_some() { self.size(key, MAX_SIZE) } else { Ok(default) }
    }

    pub(super) fn number(&self, key: &str, default: Option<f64>) -> Result<f64> {
        match (self.get(key), default) {
            (Some(value), _) => value
                .as_f64()
                .filter(|x| x.is_finite() && *x > 0.0)
                .ok_or_else(|| self.unsupported(key, "a positive number")),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(self.missing(key, "a positive number")),
        }
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            Some(value) => value.as_bool().ok_or_else(|| self.unsupported(key, "true, false")),
            None => Ok(default),
        }
    }

    pub(super) fn divided(&self, key: &str, whole: usize, by_key: &str, parts: usize) -> Result<usize> {
        if !whole.is_multiple_of(parts) {
            return Err(self.unsupported(by_key, format!("divisors of {key} ({whole})")));
        }
        Ok(whole / parts)
    }

    /// One token id or a list of them; an absent key is `default`, unless that is beyond the vocabulary. Empty: none.
    pub(super) fn ids(&self, key: &str, vocab: usize, default: Option<u32>) -> Result<Vec<u32>> {
        if !self.map.contains_key(key) {
            return Ok(default.into_iter().filter(|&id| (id as usize) < vocab).collect());
        }
        let one = |v: &Value| {
            let id = v.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|&id| (id as usize) < vocab);
            id.ok_or_else(|| self.unsupported(key, format!("token ids below vocab_size ({vocab})")))
        };
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => list.iter().map(one).collect(),
            Some(value) => Ok(vec![one(value)?]),
        }
    }

    pub(super) fn object(&self, key: &str) -> Result<Option<&Map<String, Value>>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(self.unsupported(key, "an object")),
        }
    }
}
