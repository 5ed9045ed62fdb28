//! Keys of a configuration, with the errors that name them.

use std::path::Path;

use serde_json::{Map, Value};

use crate::model::{Error, Result};

/// Larger sizes are taken for damage; the product of all still fits 64 bits.
const MAX_SIZE: u64 = 1 << 20;

/// A configuration, or the part of one that is about text.
pub(super) struct Config<'a> {
    pub(super) path: &'a Path,
    pub(super) map: &'a Map<String, Value>,
}

impl Config<'_> {
    /// The value of a key. `None`: it is not there, or null.
    pub(super) fn there(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// The first of these keys that is there. `None`: none is.
    pub(super) fn size(&self, keys: &[&str]) -> Result<Option<u64>> {
        let found = keys.iter().find_map(|key| self.there(key).map(|value| (key, value)));
        let Some((key, value)) = found else { return Ok(None) };
        let size = value.as_u64().filter(|size| (1..=MAX_SIZE).contains(size));
        let wrong = || Error::malformed(self.path, format!("`{key}` is {value}, allowed: 1 to {MAX_SIZE}"));
        size.map(Some).ok_or_else(wrong)
    }

    /// The same of a key that must be there.
    pub(super) fn needed(&self, keys: &[&'static str]) -> Result<u64> {
        self.size(keys)?.ok_or_else(|| self.missing(&keys.join("` or `")))
    }

    /// A number that may be 0, and must be there.
    pub(super) fn whole_number(&self, key: &str) -> Result<u64> {
        self.there(key).and_then(Value::as_u64).ok_or_else(|| self.missing(key))
    }

    /// What keeps a cache from being reckoned, by its key.
    pub(super) fn not_reckoned(&self, key: &str, what: &str) -> Error {
        Error::malformed(self.path, format!("`{key}`: {what}, so that the cache is not reckoned here"))
    }

    fn missing(&self, key: &str) -> Error {
        Error::MissingKey { path: self.path.to_owned(), key: key.to_owned(), expected: "a whole number".to_owned() }
    }
}
