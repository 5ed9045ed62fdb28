//! Configurations and recipes: what they say of a shape, and what is refused.

use std::fs;
use std::path::Path;

use phasebench::model::{Form, config, materialise};
use phasebench::terms::model::{Architecture, Dtype, Family, Synthetic};
use safetensors::SafeTensors;
use serde_json::{Value, json};

use super::fixture;

/// The seven published shapes and their exact parameter counts.
const SHAPES: [(usize, usize, usize, u64); 7] = [
    (2, 2, 2, 102_714),
    (12, 80, 2, 5_036_720),
    (3, 384, 2, 25_016_064),
    (6, 512, 8, 45_171_200),
    (8, 512, 2, 51_475_968),
    (5, 768, 2, 74_824_704),
    (8, 768, 2, 96_088_320),
];

#[test]
fn published_shapes_have_the_published_parameters() {
    let cache = tempfile::tempdir().unwrap();
    for (n_layer, n_embd, n_head, parameters) in SHAPES {
        let recipe = Synthetic::new(Family::Gpt2, n_layer, n_embd, n_head);
        assert_eq!(recipe.architecture().unwrap().parameters(), parameters);
        // All are written and counted again by what measures them; here those that are written in seconds.
        if parameters < 30_000_000 {
            let folder = materialise(&Form::Synthetic(recipe), cache.path()).unwrap();
            assert_eq!((folder.parameters(), folder.bytes()), (parameters, 4 * parameters));
            let file = fs::read(folder.path().join("model.safetensors")).unwrap();
            let stored = SafeTensors::deserialize(&file).unwrap();
            let counted: usize = stored.iter().map(|(_, t)| t.shape().iter().product::<usize>()).sum();
            assert_eq!(counted as u64, parameters);
        }
    }
}

/// Configurations of published models: what they say about shape, and nothing else.
fn published() -> Vec<(Value, u64, u64)> {
    let llama = |hidden, layers, heads, inner| {
        json!({ "model_type": "llama", "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": 8, "intermediate_size": inner, "vocab_size": 128_256, "rms_norm_eps": 1e-5,
            "max_position_embeddings": 131_072, "rope_theta": 500_000.0, "tie_word_embeddings": true,
            "bos_token_id": 128_000, "eos_token_id": [128_001, 128_008, 128_009], "torch_dtype": "bfloat16",
            "rope_scaling": { "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                "original_max_position_embeddings": 8192, "rope_type": "llama3" } })
    };
    let gpt2 = json!({ "model_type": "gpt2", "n_layer": 12, "n_embd": 768, "n_head": 12, "n_positions": 1024,
        "vocab_size": 50_257, "bos_token_id": 50_256, "eos_token_id": 50_256, "attn_pdrop": 0.1 });
    let qwen = json!({ "model_type": "qwen2", "hidden_size": 1536, "num_hidden_layers": 28, "num_attention_heads": 12,
        "num_key_value_heads": 2, "intermediate_size": 8960, "vocab_size": 151_936, "rms_norm_eps": 1e-6,
        "max_position_embeddings": 131_072, "rope_theta": 1_000_000.0, "tie_word_embeddings": true,
        "sliding_window": 131_072, "use_sliding_window": false, "use_mrope": false, "bos_token_id": 151_643 });
    let phi = json!({ "model_type": "phi", "hidden_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 32,
        "intermediate_size": 10_240, "vocab_size": 51_200, "layer_norm_eps": 1e-5, "max_position_embeddings": 2048,
        "partial_rotary_factor": 0.4, "rope_scaling": null, "qk_layernorm": false, "tie_word_embeddings": false });
    vec![
        (gpt2, 124_439_808, 36_864),
        (llama(2048, 16, 32, 8192), 1_235_814_400, 32_768),
        (llama(3072, 28, 24, 8192), 3_212_749_824, 114_688),
        (qwen, 1_543_714_304, 28_672),
        (phi, 2_779_683_840, 327_680),
    ]
}

#[test]
fn published_models_are_counted_right() {
    for (json, parameters, kv_bytes) in published() {
        let arch = config::parse(Path::new("config.json"), &json.to_string()).unwrap();
        assert_eq!((arch.parameters(), arch.kv_bytes_per_token(Dtype::F16)), (parameters, kv_bytes), "{json}");
    }
}

/// `family`'s fixture configuration with one key changed (or, with null, taken away).
fn changed(family: Family, key: &str, value: &Value) -> Result<Architecture, String> {
    let text = fs::read_to_string(fixture(family).join("config.json")).unwrap();
    let mut json: Value = serde_json::from_str(&text).unwrap();
    json[key] = value.clone();
    config::parse(Path::new("config.json"), &json.to_string()).map_err(|e| e.to_string())
}

#[test]
fn what_no_exporter_can_do_is_refused_by_name() {
    use Family::{Gpt2, Llama, Phi, Qwen2};
    let table = [
        (Gpt2, "scale_attn_by_inverse_layer_idx", json!(true), "is true, supported: false, null"),
        (Gpt2, "reorder_and_upcast_attn", json!(true), "is true, supported: false, null"),
        (Gpt2, "scale_attn_weights", json!(false), "is false, supported: true, null"),
        (Gpt2, "add_cross_attention", json!(true), "is true, supported: false, null"),
        (Gpt2, "activation_function", json!("tanh"), "is \"tanh\", supported: gelu, gelu_new"),
        (Gpt2, "quantization_config", json!({ "bits": 4 }), "is {\"bits\":4}, supported: null"),
        (Gpt2, "model_type", json!("bloom"), "is \"bloom\", supported: gpt2, llama, qwen2, phi"),
        (Gpt2, "n_head", json!(5), "is 5, supported: divisors of n_embd (64)"),
        (Gpt2, "n_layer", json!(0), "is 0, supported: a whole number from 1 to 1024"),
        (Gpt2, "eos_token_id", json!(320), "is 320, supported: token ids below vocab_size (320)"),
        (Gpt2, "hidden_size", json!(128), "is 128, supported: the same as `n_embd`, which is 64, or one of the two"),
        (Llama, "text_config", json!({ "hidden_size": 64 }), "supported: null"),
        (Llama, "hidden_size", json!(66), "supported: divisors of hidden_size (66)"),
        (
            Llama,
            "rope_scaling",
            json!({ "factor": 2.0 }),
            "`rope_scaling.rope_type` is missing, expected default or llama3",
        ),
        (
            Llama,
            "rope_parameters",
            json!({ "full_attention": { "rope_theta": 1e6 } }),
            "supported: one set of rotary positions for all layers",
        ),
        (Gpt2, "torch_dtype", json!("float8_e4m3fn"), "supported: float32, float16, bfloat16"),
        (Llama, "sliding_window", json!(4096), "is 4096, supported: null"),
        (Llama, "num_key_value_heads", json!(3), "is 3, supported: divisors of num_attention_heads (4)"),
        (Llama, "rope_scaling", json!({ "type": "linear", "factor": 2.0 }), "supported: default, llama3"),
        (Llama, "rope_scaling", json!({ "rope_type": "llama3", "factor": 2.0 }), "missing, expected a positive number"),
        (Llama, "rope_parameters", json!({ "rope_type": "yarn" }), "is \"yarn\", supported: default, llama3"),
        (Llama, "layer_types", json!(["sliding_attention"]), "supported: a list of \"full_attention\""),
        (Llama, "rms_norm_eps", json!(null), "key `rms_norm_eps` is missing, expected a positive number"),
        (Qwen2, "use_sliding_window", json!(true), "is true, supported: false, null"),
        (Qwen2, "use_mrope", json!(true), "is true, supported: false, null"),
        (Phi, "qk_layernorm", json!(true), "is true, supported: false, null"),
        (Phi, "partial_rotary_factor", json!(0.2), "gives an even number of dimensions"),
    ];
    for (family, key, value, message) in table {
        let error = changed(family, key, &value).unwrap_err();
        assert!(error.starts_with("config.json: ") && error.contains(key) && error.contains(message), "{error}");
    }
}

#[test]
fn what_changes_nothing_is_accepted() {
    for (family, key, value) in [
        (Family::Gpt2, "attn_pdrop", json!(0.1)),
        (Family::Gpt2, "eos_token_id", json!([1, 2])),
        (Family::Llama, "rope_scaling", json!({ "rope_type": "default" })),
        (Family::Llama, "rope_parameters", json!({ "rope_type": "default", "rope_theta": 500_000.0 })),
        (Family::Llama, "layer_types", json!(["full_attention", "full_attention"])),
        (Family::Llama, "attention_bias", json!(true)),
        (Family::Qwen2, "sliding_window", json!(4096)),
    ] {
        let arch = changed(family, key, &value).unwrap();
        assert_eq!(arch.family, family);
        if key == "rope_parameters" {
            assert!((arch.rope.unwrap().theta - 500_000.0).abs() < 1e-9);
        }
    }
}

/// As transformers 5.23 reads these files: which key counts, and what an absent one means.
#[test]
fn keys_count_in_the_order_that_transformers_gives_them() {
    let read = |family: Family, change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let text = fs::read_to_string(fixture(family).join("config.json")).unwrap();
        let mut json: Value = serde_json::from_str(&text).unwrap();
        change(json.as_object_mut().unwrap());
        config::parse(Path::new("config.json"), &json.to_string())
    };
    let llama3 = |factor: f64| json!({ "rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0 });
    let both = read(Family::Llama, &|c| {
        c.insert("rope_scaling".to_owned(), llama3(8.0));
        c.insert("rope_parameters".to_owned(), llama3(2.0));
    });
    let rope = both.unwrap().rope.unwrap();
    let scaling = rope.scaling.unwrap();
    assert_eq!((scaling.factor, scaling.original_positions), (8.0, 256), "the older key, and the longest context");
    let inside = read(Family::Llama, &|c| drop(c.insert("rope_parameters".to_owned(), json!({ "rope_theta": 5e5 }))));
    assert_eq!(inside.unwrap().rope.unwrap().theta, 5e5, "not the 10000 beside it");
    let beside = read(Family::Llama, &|c| {
        c.insert("rope_parameters".to_owned(), json!({ "rope_type": "default" }));
        c.insert("rope_theta".to_owned(), json!(7e4));
    });
    assert_eq!(beside.unwrap().rope.unwrap().theta, 7e4);
    let absent = read(Family::Qwen2, &|c| drop(c.remove("num_key_value_heads")));
    assert!(absent.unwrap_err().to_string().contains("num_key_value_heads"), "32 by default, and the file has 4 heads");
    let null = read(Family::Qwen2, &|c| drop(c.insert("num_key_value_heads".to_owned(), Value::Null)));
    assert_eq!(null.unwrap().n_kv_head, 4);
    let unnamed = read(Family::Llama, &|c| drop((c.remove("bos_token_id"), c.remove("eos_token_id")))).unwrap();
    assert_eq!((unnamed.bos_id, unnamed.eos_ids), (Some(1), vec![2]));
    let none = read(Family::Llama, &|c| drop(c.insert("bos_token_id".to_owned(), Value::Null))).unwrap();
    assert_eq!(none.bos_id, None);
    let small = read(Family::Gpt2, &|c| drop(c.remove("bos_token_id"))).unwrap();
    assert_eq!(small.bos_id, None, "50256 is beyond this vocabulary");
}

#[test]
fn recipes_that_cannot_be_are_refused_by_field() {
    let base = Synthetic { vocab: 300, ..Synthetic::new(Family::Llama, 2, 64, 4) };
    let with = |change: &dyn Fn(&mut Synthetic)| {
        let mut recipe = base.clone();
        change(&mut recipe);
        recipe.architecture().unwrap_err().to_string()
    };
    for (error, message) in [
        (with(&|r| r.n_layer = 0), "`n_layer` is 0, allowed: 1 to 1024"),
        (with(&|r| r.n_head = 5), "`n_head` is 5, allowed: divisors of n_embd (64)"),
        (with(&|r| r.n_head = 64), "`n_head` is 64, allowed: values for which n_embd / n_head (64) is a multiple of 2"),
        (with(&|r| r.n_kv_head = Some(3)), "`n_kv_head` is 3, allowed: divisors of n_head (4)"),
        (with(&|r| r.vocab = 257), "`vocab` is 257, allowed: 258 to 475512"),
        (with(&|r| r.n_positions = 1), "`n_positions` is 1, allowed: 2 to 1048576"),
        (
            with(&|r| (r.family, r.n_kv_head) = (Family::Gpt2, Some(2))),
            "`n_kv_head` is 2, allowed: n_head (4), gpt2 does not share heads",
        ),
    ] {
        assert_eq!(error, format!("synthetic model: {message}"));
    }
}
