//! What a `config.json` says of the KV cache, also of families that nothing here can run.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{Error, Result, bounded};

/// The cache's shape by a configuration alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheShape {
    /// `model_type`. `None`: not told.
    pub family: Option<String>,
    /// Transformer blocks.
    pub n_layer: u64,
    /// Query heads.
    pub n_head: u64,
    /// Key-value heads.
    pub n_kv_head: u64,
    /// Width of one head.
    pub head_dim: u64,
    /// Longest context. Unit: tokens. `None`: not told.
    pub n_positions: Option<u64>,
}

/// Keys of models whose cache is not one key and one value per head and token.
const OTHER_CACHES: [(&str, &str); 3] = [
    ("kv_lora_rank", "a compressed cache (multi-head latent attention)"),
    ("ssm_cfg", "a state of fixed size instead of a cache"),
    ("state_size", "a state of fixed size instead of a cache"),
];

/// Larger sizes are taken for damage; the product of all still fits 64 bits.
const MAX_SIZE: u64 = 1 << 20;

/// Where a folder has its configuration; a file is one itself.
#[must_use]
pub fn config_of(model: &Path) -> PathBuf {
    if model.is_dir() { model.join("config.json") } else { model.to_owned() }
}

/// Reads the cache's shape from a `config.json`.
///
/// # Errors
/// The file is missing or no JSON object; it says too little, or describes another kind of cache.
pub fn read(path: &Path) -> Result<CacheShape> {
    let text = bounded::text(path, bounded::SETTINGS)?;
    let value: Value = serde_json::from_str(&text).map_err(|e| Error::malformed(path, format!("not JSON: {e}")))?;
    let Some(whole) = value.as_object() else { return Err(Error::malformed(path, "not a JSON object")) };
    // A model that also sees keeps what its text part is under a key of its own.
    let config = Config { path, map: whole.get("text_config").and_then(Value::as_object).unwrap_or(whole) };
    for (key, what) in OTHER_CACHES {
        if config.map.get(key).is_some_and(|value| !value.is_null()) {
            return Err(Error::malformed(path, format!("`{key}`: the model keeps {what}, which is not reckoned here")));
        }
    }
    let n_head = config.needed(&["num_attention_heads", "n_head"])?;
    let head_dim = match config.size(&["head_dim"])? {
        Some(width) => width,
        None => config.needed(&["hidden_size", "n_embd"])? / n_head,
    };
    Ok(CacheShape {
        family: whole.get("model_type").and_then(Value::as_str).map(str::to_owned),
        n_layer: config.needed(&["num_hidden_layers", "n_layer"])?,
        n_head,
        n_kv_head: config.size(&["num_key_value_heads"])?.unwrap_or(n_head),
        head_dim,
        n_positions: config.size(&["max_position_embeddings", "n_positions"])?,
    })
}

struct Config<'a> {
    path: &'a Path,
    map: &'a Map<String, Value>,
}

impl Config<'_> {
    /// The first of these keys that is there. `None`: none is.
    fn size(&self, keys: &[&str]) -> Result<Option<u64>> {
        let found = keys.iter().find_map(|key| self.map.get(*key).filter(|v| !v.is_null()).map(|value| (key, value)));
        let Some((key, value)) = found else { return Ok(None) };
        let size = value.as_u64().filter(|size| (1..=MAX_SIZE).contains(size));
        let wrong = || Error::malformed(self.path, format!("`{key}` is {value}, allowed: 1 to {MAX_SIZE}"));
        size.map(Some).ok_or_else(wrong)
    }

    fn needed(&self, keys: &[&'static str]) -> Result<u64> {
        let missing = || Error::MissingKey {
            path: self.path.to_owned(),
            key: keys.join("` or `"),
            expected: "a whole number".to_owned(),
        };
        self.size(keys)?.ok_or_else(missing)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn of(text: &str) -> std::result::Result<CacheShape, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        let shown = |error: Error| error.to_string().replace(&folder.path().display().to_string(), "");
        read(&config_of(folder.path())).map_err(shown)
    }

    #[test]
    fn families_that_nothing_here_runs_have_a_cache_too() {
        let mistral = of(r#"{"model_type": "mistral", "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": 8, "hidden_size": 4096, "head_dim": null, "max_position_embeddings": 32768}"#);
        let expected = CacheShape {
            family: Some("mistral".to_owned()),
            n_layer: 32,
            n_head: 32,
            n_kv_head: 8,
            head_dim: 128,
            n_positions: Some(32768),
        };
        assert_eq!(mistral, Ok(expected));
        let seeing = of(r#"{"model_type": "gemma3", "text_config": {"num_hidden_layers": 34, "num_attention_heads": 8,
            "num_key_value_heads": 4, "head_dim": 256}}"#)
        .unwrap();
        assert_eq!((seeing.n_layer, seeing.head_dim, seeing.n_positions), (34, 256, None));
    }

    #[test]
    fn what_cannot_be_reckoned_is_said() {
        for (text, said) in [
            ("[]", "/config.json: not a JSON object"),
            (
                r#"{"n_layer": 2}"#,
                "/config.json: key `num_attention_heads` or `n_head` is missing, expected a whole number",
            ),
            (r#"{"num_attention_heads": 0}"#, "/config.json: `num_attention_heads` is 0, allowed: 1 to 1048576"),
            (
                r#"{"kv_lora_rank": 512}"#,
                "/config.json: `kv_lora_rank`: the model keeps a compressed cache (multi-head latent attention), which is \
                 not reckoned here",
            ),
        ] {
            assert_eq!(of(text), Err(said.to_owned()));
        }
    }
}
