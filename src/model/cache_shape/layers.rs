//! Which layers of a model hold keys and values, and how many tokens of them.

use serde_json::Value;

use super::keys::Config;
use crate::model::Result;

/// How many layers hold what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    /// Those that hold the whole context.
    pub whole: u64,
    /// Those that hold the last [`window`](Self::window) tokens of it.
    pub windowed: u64,
    /// Unit: tokens; 0 where no layer is windowed.
    pub window: u64,
    /// Those that hold a state of fixed size, or nothing.
    pub without: u64,
    /// The key of the configuration that says so. `None`: none does, so all hold the whole context.
    pub told_by: Option<&'static str>,
}

/// Families in which `sliding_window` alone means every layer.
const ALL_WINDOWED: [&str; 4] = ["mistral", "mixtral", "phi3", "starcoder2"];

/// Families in which `sliding_window` means nothing unless `use_sliding_window` is true.
const SWITCHED_ON: [&str; 4] = ["qwen2", "qwen2_moe", "qwen3", "qwen3_moe"];

/// Keys of models whose layers differ in a way that nothing here reckons.
const OTHERWISE: [(&str, &str); 4] = [
    ("layers_block_type", "its layers are of several kinds"),
    ("hybrid_override_pattern", "its layers are of several kinds"),
    ("block_types", "its layers are of several kinds"),
    ("attention_chunk_size", "some layers see a part of the context"),
];

impl Layers {
    fn all(layers: u64) -> Self {
        Self { whole: layers, windowed: 0, window: 0, without: 0, told_by: None }
    }

    /// Those of a configuration with so many layers.
    ///
    /// # Errors
    /// It says that layers differ, and not how, or in a way that is not reckoned here: the key is named.
    pub(super) fn read(config: &Config<'_>, family: Option<&str>, layers: u64) -> Result<Self> {
        const SHARED: &str = "num_kv_shared_layers";
        if config.there(SHARED).is_some_and(|value| value != 0) {
            return Err(config.not_reckoned(SHARED, "some layers use the cache of others"));
        }
        if let Some(types) = config.there("layer_types") {
            return listed(config, types, layers);
        }
        for (key, what) in OTHERWISE {
            if config.there(key).is_some() {
                return Err(config.not_reckoned(key, what));
            }
        }
        if let Some(period) = config.size(&["attn_layer_period"])? {
            let first = config.whole_number("attn_layer_offset")?;
            let attending = (0..layers).filter(|layer| layer % period == first).count() as u64;
            return Ok(Self::attending(attending, layers, "attn_layer_period"));
        }
        if let Some(indices) = config.there("attn_layer_indices") {
            let Some(indices) = indices.as_array().filter(|list| list.len() as u64 <= layers) else {
                return Err(config.not_reckoned("attn_layer_indices", "it is no list of layers"));
            };
            return Ok(Self::attending(indices.len() as u64, layers, "attn_layer_indices"));
        }
        if let Some(interval) = config.size(&["full_attention_interval"])? {
            return Ok(Self::attending(layers / interval, layers, "full_attention_interval"));
        }
        windowed(config, family, layers)
    }

    /// So many layers attend to the whole context, the others keep a state of fixed size.
    fn attending(attending: u64, layers: u64, told_by: &'static str) -> Self {
        Self { whole: attending, without: layers - attending, told_by: Some(told_by), ..Self::all(0) }
    }
}

/// From a list of what each layer is.
fn listed(config: &Config<'_>, types: &Value, layers: u64) -> Result<Layers> {
    const KEY: &str = "layer_types";
    let types = types.as_array().map(Vec::as_slice).unwrap_or_default();
    if types.len() as u64 != layers {
        return Err(config.not_reckoned(KEY, &format!("it names {} layers of {layers}", types.len())));
    }
    let mut found = Layers { told_by: Some(KEY), ..Layers::all(0) };
    for kind in types {
        let window_of = match kind.as_str() {
            Some("full_attention" | "attention") => {
                found.whole += 1;
                continue;
            }
            Some("linear_attention" | "conv" | "mamba") => {
                found.without += 1;
                continue;
            }
            Some("sliding_attention") => "sliding_window",
            Some("chunked_attention") => "attention_chunk_size",
            _ => return Err(config.not_reckoned(KEY, &format!("it has layers that are {kind}"))),
        };
        let window = config.needed(&[window_of])?;
        if found.windowed > 0 && found.window != window {
            return Err(config.not_reckoned(KEY, "it has windows of several lengths"));
        }
        (found.windowed, found.window) = (found.windowed + 1, window);
    }
    Ok(found)
}

/// From the length of a window, and what says which layers have it.
fn windowed(config: &Config<'_>, family: Option<&str>, layers: u64) -> Result<Layers> {
    const KEY: &str = "sliding_window";
    let Some(window) = config.size(&[KEY])? else { return Ok(Layers::all(layers)) };
    let known = |families: &[&str]| family.is_some_and(|family| families.contains(&family));
    let switch = config.there("use_sliding_window").and_then(Value::as_bool);
    if switch == Some(false) || (switch.is_none() && known(&SWITCHED_ON)) {
        let told_by = if switch.is_some() { "use_sliding_window" } else { KEY };
        return Ok(Layers { told_by: Some(told_by), ..Layers::all(layers) });
    }
    let whole = if let Some(pattern) = config.size(&["sliding_window_pattern", "_sliding_window_pattern"])? {
        layers / pattern
    } else if switch == Some(true) && config.there("max_window_layers").is_some() {
        config.whole_number("max_window_layers")?.min(layers)
    } else if known(&ALL_WINDOWED) {
        0
    } else {
        let what = "it does not say which layers have the window, as `layer_types` or `sliding_window_pattern` do";
        return Err(config.not_reckoned(KEY, what));
    };
    Ok(Layers { whole, windowed: layers - whole, window, without: 0, told_by: Some(KEY) })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::Path;

    use super::*;

    fn of(text: &str, layers: u64) -> std::result::Result<Layers, String> {
        let value: Value = serde_json::from_str(text).unwrap();
        let config = Config { path: Path::new("config.json"), map: value.as_object().unwrap() };
        let family = value.get("model_type").and_then(Value::as_str);
        Layers::read(&config, family, layers).map_err(|error| error.to_string())
    }

    /// The published configurations of Jamba, Qwen3-Next, Gemma 3, gpt-oss, Mistral 7B, Qwen2.5 and Bamba.
    #[test]
    fn layers_that_attend_and_windows_are_counted() {
        let alternating = ["\"sliding_attention\"", "\"full_attention\""].repeat(12).join(", ");
        let alternating = format!(r#"{{"sliding_window": 128, "layer_types": [{alternating}]}}"#);
        for (text, layers, (whole, windowed, window), told_by) in [
            (r#"{"attn_layer_period": 8, "attn_layer_offset": 4}"#, 32, (4, 0, 0), Some("attn_layer_period")),
            (r#"{"attn_layer_period": 8, "attn_layer_offset": 0}"#, 9, (2, 0, 0), Some("attn_layer_period")),
            (r#"{"full_attention_interval": 4}"#, 48, (12, 0, 0), Some("full_attention_interval")),
            (r#"{"attn_layer_indices": [9, 18, 27]}"#, 32, (3, 0, 0), Some("attn_layer_indices")),
            (r#"{"sliding_window": 1024, "sliding_window_pattern": 6}"#, 62, (10, 52, 1024), Some("sliding_window")),
            (alternating.as_str(), 24, (12, 12, 128), Some("layer_types")),
            (r#"{"model_type": "mistral", "sliding_window": 4096}"#, 32, (0, 32, 4096), Some("sliding_window")),
            (r#"{"model_type": "mistral", "sliding_window": null}"#, 32, (32, 0, 0), None),
            (r#"{"sliding_window": 9, "use_sliding_window": false}"#, 28, (28, 0, 0), Some("use_sliding_window")),
            (r#"{"model_type": "qwen2", "sliding_window": 9}"#, 28, (28, 0, 0), Some("sliding_window")),
            (
                r#"{"sliding_window": 9, "use_sliding_window": true, "max_window_layers": 20}"#,
                28,
                (20, 8, 9),
                Some("sliding_window"),
            ),
            (r#"{"layer_types": ["conv", "full_attention"]}"#, 2, (1, 0, 0), Some("layer_types")),
            ("{}", 12, (12, 0, 0), None),
        ] {
            let without = layers - whole - windowed;
            assert_eq!(of(text, layers), Ok(Layers { whole, windowed, window, without, told_by }), "{text}");
        }
    }

    #[test]
    fn what_says_too_little_is_refused_by_its_key() {
        for (text, said) in [
            (r#"{"sliding_window": 4096}"#, "`sliding_window`: it does not say which layers have the window"),
            (r#"{"attn_layer_period": 8}"#, "key `attn_layer_offset` is missing"),
            (r#"{"layer_types": ["full_attention"]}"#, "`layer_types`: it names 1 layers of 2"),
            (r#"{"layer_types": ["hybrid", "hybrid"]}"#, "`layer_types`: it has layers that are \"hybrid\""),
            (
                r#"{"layer_types": ["sliding_attention", "full_attention"]}"#,
                "key `sliding_window` is missing, expected a whole number",
            ),
            (r#"{"num_kv_shared_layers": 1}"#, "`num_kv_shared_layers`: some layers use the cache of others"),
            (
                r#"{"layers_block_type": ["mamba", "attention"]}"#,
                "`layers_block_type`: its layers are of several kinds",
            ),
        ] {
            let error = of(text, 2).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert_eq!(of(r#"{"num_kv_shared_layers": 0}"#, 2).unwrap().whole, 2);
    }
}
