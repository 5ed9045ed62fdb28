//! What a `config.json` says of the KV cache, also of families that nothing here can run.

use std::path::{Path, PathBuf};

use serde_json::Value;

use self::keys::Config;
use super::{Error, Result, bounded, mistaken};

mod keys;
mod layers;

pub use layers::Layers;

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
    /// What of the context each of its layers holds.
    pub layers: Layers,
}

/// Keys of models whose cache is not one key and one value per head and token.
const OTHER_CACHES: [(&str, &str); 3] = [
    ("kv_lora_rank", "a compressed cache (multi-head latent attention)"),
    ("ssm_cfg", "a state of fixed size instead of a cache"),
    ("state_size", "a state of fixed size instead of a cache"),
];

/// Where a folder has its configuration; a file is one itself.
#[must_use]
pub fn config_of(model: &Path) -> PathBuf {
    if model.is_dir() { model.join("config.json") } else { model.to_owned() }
}

/// What was perhaps given for a model where there is no such configuration. `None`: a file was meant.
fn folder_of(config: &Path) -> Option<&Path> {
    match config.file_name().map(Path::new) {
        Some(name) if name == Path::new("config.json") => config.parent(),
        Some(name) if name.extension().is_some_and(|ending| ending == "json") => None,
        _ => Some(config),
    }
}

/// Reads the cache's shape from a `config.json`.
///
/// # Errors
/// The file is missing or no JSON object; it says too little, or describes another kind of cache.
pub fn read(path: &Path) -> Result<CacheShape> {
    let mistaken = || folder_of(path).filter(|_| !path.exists()).and_then(mistaken::for_a_folder);
    let text = bounded::text(path, bounded::SETTINGS).map_err(|error| mistaken().unwrap_or(error))?;
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
    let n_layer = config.needed(&["num_hidden_layers", "n_layer"])?;
    let family = whole.get("model_type").and_then(Value::as_str);
    let of_text = config.map.get("model_type").and_then(Value::as_str);
    Ok(CacheShape {
        family: family.map(str::to_owned),
        n_layer,
        n_head,
        n_kv_head: config.size(&["num_key_value_heads"])?.unwrap_or(n_head),
        head_dim,
        n_positions: config.size(&["max_position_embeddings", "n_positions"])?,
        layers: Layers::read(&config, of_text.or(family), n_layer)?,
    })
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
            layers: Layers { whole: 32, windowed: 0, window: 0, without: 0, told_by: None },
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
