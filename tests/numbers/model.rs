//! Model folders end to end: recipes, configurations, folders on disk, exports.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use half::bf16;
use phasebench::model::onnx::{self, ArgMax, Options, Precision, Weights};
use phasebench::model::{Folder, Form, architecture, config, materialise, prompt, tensors, tokenizer, verify};
use phasebench::terms::model::{Architecture, Dtype, Family, Synthetic};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

fn fixture(family: Family) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/same-weights/tiny-{family}"))
}

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

#[test]
fn a_recipe_gives_the_same_bytes_and_is_made_once() {
    let cache = tempfile::tempdir().unwrap();
    let recipe = Synthetic { vocab: 300, n_positions: 32, ..Synthetic::new(Family::Gpt2, 2, 16, 2) };
    let form = Form::Synthetic(recipe.clone());
    let folder = materialise(&form, cache.path()).unwrap();
    // A change of generator or of a random number crate must raise the generator's version.
    assert_eq!(folder.weights_id().unwrap(), "cd5ac994d74afbad9297a9ee50c0c8ed47449d809051aed45c129314df800fcd");
    let made = |f: &Folder| fs::metadata(f.path().join("model.safetensors")).unwrap().modified().unwrap();
    assert_eq!(made(&folder), made(&materialise(&form, cache.path()).unwrap()));
    assert_eq!(fs::read_dir(cache.path().join("models")).unwrap().count(), 1, "nothing unfinished is left");

    let other = Synthetic { seed: 1, ..recipe.clone() };
    assert_ne!(other.content_hash().unwrap(), recipe.content_hash().unwrap());
    let halved = Form::Synthetic(Synthetic { dtype: Dtype::Bf16, ..recipe });
    let halved = materialise(&halved, cache.path()).unwrap();
    assert_eq!((halved.architecture().dtype, halved.bytes()), (Dtype::Bf16, folder.bytes() / 2));
    let (whole, half) = (folder.tensor("wte.weight").unwrap(), halved.tensor("wte.weight").unwrap());
    for (whole, half) in whole.bytes.chunks_exact(4).zip(half.bytes.chunks_exact(2)) {
        let rounded = bf16::from_f32(f32::from_le_bytes(whole.try_into().unwrap()));
        assert_eq!(rounded.to_le_bytes(), half);
    }
}

#[test]
fn every_family_is_made_opened_and_exported() {
    let cache = tempfile::tempdir().unwrap();
    for &family in Family::ALL {
        let shared = if family == Family::Gpt2 { None } else { Some(2) };
        let recipe = Synthetic { vocab: 300, n_kv_head: shared, ..Synthetic::new(family, 2, 32, 4) };
        let form = Form::Synthetic(recipe.clone());
        let folder = materialise(&form, cache.path()).unwrap();
        assert_eq!(folder.architecture(), &recipe.architecture().unwrap());
        assert_eq!(folder.parameters(), recipe.architecture().unwrap().parameters());
        assert_eq!(folder.tokenizer().unwrap().get_vocab_size(true), 300);
        let export = onnx::export(&folder, Options::default(), cache.path()).unwrap();
        assert_eq!(export.bytes, fs::metadata(&export.path).unwrap().len());
        assert!(export.bytes > folder.bytes() && export.bytes < folder.bytes() + 100_000);
    }
}

/// A folder of `family`'s fixture whose weights went through `change`.
fn rewritten(
    family: Family,
    change: impl FnOnce(&mut BTreeMap<String, (safetensors::Dtype, Vec<usize>, Vec<u8>)>),
) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture(family).join("config.json"), folder.path().join("config.json")).unwrap();
    let file = fs::read(fixture(family).join("model.safetensors")).unwrap();
    let mut stored: BTreeMap<_, _> = SafeTensors::deserialize(&file)
        .unwrap()
        .iter()
        .map(|(name, t)| (name.to_owned(), (t.dtype(), t.shape().to_vec(), t.data().to_vec())))
        .collect();
    change(&mut stored);
    save(&stored, &folder.path().join("model.safetensors"));
    folder
}

fn save(stored: &BTreeMap<String, (safetensors::Dtype, Vec<usize>, Vec<u8>)>, path: &Path) {
    let views = stored
        .iter()
        .map(|(name, (dtype, shape, data))| (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
    safetensors::serialize_to_file(views, None, path).unwrap();
}

#[test]
fn a_tensor_that_is_wrong_is_named() {
    let cache = tempfile::tempdir().unwrap();
    let open = |folder: &tempfile::TempDir| Folder::open(folder.path(), cache.path()).unwrap_err().to_string();

    let folder = rewritten(Family::Gpt2, |t| drop(t.remove("h.1.mlp.c_fc.bias")));
    let expected = format!("{}: tensor `h.1.mlp.c_fc.bias` with shape [256] is missing", folder.path().display());
    assert_eq!(open(&folder), expected);

    let folder = rewritten(Family::Gpt2, |t| t.get_mut("h.0.attn.c_attn.weight").unwrap().1 = vec![192, 64]);
    assert!(open(&folder).ends_with("tensor `h.0.attn.c_attn.weight` has shape [192, 64], expected [64, 192]"));

    let folder = rewritten(Family::Llama, |t| t.get_mut("model.norm.weight").unwrap().0 = safetensors::Dtype::I32);
    assert!(open(&folder).ends_with("tensor `model.norm.weight` is stored as I32, supported: F32, F16, BF16"));

    let folder = rewritten(Family::Gpt2, |t| {
        let mut head = t["wte.weight"].clone();
        head.2[0] ^= 1;
        t.insert("lm_head.weight".to_owned(), head);
    });
    let told = open(&folder);
    assert!(told.contains("`tie_word_embeddings` is true, but `lm_head.weight` differs from `wte.weight`\n"), "{told}");
    assert!(told.contains("transformers 5 warns and uses both as stored, vLLM uses `wte.weight` for both"), "{told}");

    let folder = rewritten(Family::Llama, |t| drop(t.remove("lm_head.weight")));
    let told = open(&folder);
    assert!(told.contains("`tie_word_embeddings` is false, but there is no `lm_head.weight`\n"), "{told}");

    let folder = rewritten(Family::Gpt2, |_| {});
    let path = folder.path().join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    for length in [0, 7, 100, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(open(&folder).contains("model.safetensors"), "cut after {length} bytes");
    }
    fs::remove_file(&path).unwrap();
    assert!(open(&folder).ends_with("holds no weights, expected model.safetensors or model.safetensors.index.json"));
}

#[test]
fn prefixes_a_tied_head_and_buffers_change_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let folder = rewritten(Family::Gpt2, |t| {
        *t = std::mem::take(t).into_iter().map(|(name, tensor)| (format!("transformer.{name}"), tensor)).collect();
        let head = t["transformer.wte.weight"].clone();
        t.insert("lm_head.weight".to_owned(), head);
        t.insert("transformer.h.0.attn.bias".to_owned(), (safetensors::Dtype::U8, vec![1, 1, 2, 2], vec![1, 0, 1, 1]));
    });
    let plain = Folder::open(&fixture(Family::Gpt2), cache.path()).unwrap();
    let folder = Folder::open(folder.path(), cache.path()).unwrap();
    assert_eq!(folder.parameters(), plain.parameters());
    assert_eq!(folder.tensor("h.1.ln_2.bias").unwrap(), plain.tensor("h.1.ln_2.bias").unwrap());
    assert_ne!(folder.weights_id().unwrap(), plain.weights_id().unwrap());
}

#[test]
fn shards_in_bf16_are_read() {
    let cache = tempfile::tempdir().unwrap();
    let mut stored = BTreeMap::new();
    let folder = rewritten(Family::Qwen2, |t| {
        for (dtype, _, data) in t.values_mut() {
            let floats = data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            *data = floats.flat_map(|x| bf16::from_f32(x).to_le_bytes()).collect();
            *dtype = safetensors::Dtype::BF16;
        }
        stored.clone_from(t);
    });
    let whole = Folder::open(folder.path(), cache.path()).unwrap();
    let shards = tempfile::tempdir().unwrap();
    fs::copy(folder.path().join("config.json"), shards.path().join("config.json")).unwrap();
    let mut second = stored.clone();
    let first: BTreeMap<_, _> = stored.keys().step_by(2).map(|k| (k.clone(), second.remove(k).unwrap())).collect();
    let mut map = serde_json::Map::new();
    for (part, name) in [(&first, "model-00001-of-00002.safetensors"), (&second, "model-00002-of-00002.safetensors")] {
        save(part, &shards.path().join(name));
        map.extend(part.keys().map(|k| (k.clone(), json!(name))));
    }
    let index = shards.path().join("model.safetensors.index.json");
    fs::write(&index, json!({ "metadata": {}, "weight_map": map }).to_string()).unwrap();

    let sharded = Folder::open(shards.path(), cache.path()).unwrap();
    assert_eq!(sharded.architecture(), whole.architecture());
    assert_eq!(sharded.architecture().dtype, Dtype::Bf16);
    for spec in tensors::expected(whole.architecture()) {
        assert_eq!(sharded.tensor(&spec.name).unwrap(), whole.tensor(&spec.name).unwrap());
    }

    map.insert("lm_head.weight".to_owned(), json!("../model-00001-of-00002.safetensors"));
    fs::write(&index, json!({ "weight_map": map }).to_string()).unwrap();
    let error = Folder::open(shards.path(), cache.path()).unwrap_err().to_string();
    assert!(error.contains("expected a file name without a folder"), "{error}");
}

#[test]
fn the_weights_hash_is_remembered_and_follows_the_file() {
    let cache = tempfile::tempdir().unwrap();
    let folder = rewritten(Family::Phi, |_| {});
    let file = folder.path().join("model.safetensors");
    let id = || Folder::open(folder.path(), cache.path()).unwrap().weights_id().unwrap();
    let first = id();

    // Other content of the same size under the old time is found all the same: nobody can set the time of change.
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
    assert_ne!(id(), first);
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    assert_eq!(id(), first);
    assert!(!folder.path().join("weights").exists());
}

/// A hash is kept for files that have been at rest, here the fixtures of the checkout, and for no others.
#[test]
fn only_what_is_at_rest_is_remembered() {
    let cache = tempfile::tempdir().unwrap();
    let remembered = || fs::read_dir(cache.path().join("weights")).map_or(0, Iterator::count);
    let fresh = rewritten(Family::Phi, |_| {});
    Folder::open(fresh.path(), cache.path()).unwrap().weights_id().unwrap();
    assert_eq!(remembered(), 0, "a file that was written just now may change within one tick of its clock");
    let changed = fs::metadata(fixture(Family::Phi).join("model.safetensors")).unwrap().ctime();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    Folder::open(&fixture(Family::Phi), cache.path()).unwrap().weights_id().unwrap();
    assert_eq!(remembered(), usize::from(changed + 4 < now.cast_signed()));
}

/// What the cache holds is used only while it holds what was put into it.
#[test]
fn a_changed_or_cut_cache_entry_is_made_again() {
    let cache = tempfile::tempdir().unwrap();
    let folder = Folder::open(&fixture(Family::Gpt2), cache.path()).unwrap();
    let export = || onnx::export(&folder, Options::default(), cache.path()).unwrap().path;
    let graph = export();
    let good = fs::read(&graph).unwrap();
    let mut changed = good.clone();
    *changed.last_mut().unwrap() ^= 1;
    for damaged in [changed, good[..good.len() / 2].to_vec(), Vec::new()] {
        fs::write(&graph, damaged).unwrap();
        assert_eq!(fs::read(export()).unwrap(), good);
    }
    fs::write(graph.with_file_name("model.onnx_data"), "not of this export").unwrap();
    assert_eq!(fs::read(export()).unwrap(), good);
    assert!(!graph.with_file_name("model.onnx_data").exists());
    fs::remove_file(graph.with_file_name("content.json")).unwrap();
    assert_eq!(fs::read(export()).unwrap(), good);
    let left: Vec<_> = fs::read_dir(graph.parent().unwrap().parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");

    let form = Form::Synthetic(Synthetic { vocab: 300, ..Synthetic::new(Family::Llama, 1, 16, 2) });
    let made = materialise(&form, cache.path()).unwrap();
    let (id, file) = (made.weights_id().unwrap(), made.path().join("model.safetensors"));
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    assert_eq!(materialise(&form, cache.path()).unwrap().weights_id().unwrap(), id);
}

#[test]
fn weights_that_become_shorter_are_an_error() {
    let cache = tempfile::tempdir().unwrap();
    let on_disk = rewritten(Family::Llama, |_| {});
    let folder = Folder::open(on_disk.path(), cache.path()).unwrap();
    let file = on_disk.path().join("model.safetensors");
    fs::File::options().write(true).open(&file).unwrap().set_len(5000).unwrap();
    let error = folder.tensor("model.norm.weight").unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot read {}", file.display())), "{error}");
    assert!(onnx::export(&folder, Options::default(), cache.path()).is_err());
    let error = Folder::open(on_disk.path(), cache.path()).unwrap_err().to_string();
    assert!(error.contains("has 5000 bytes, and its header promises"), "{error}");
}

#[test]
fn a_pointer_a_pipe_and_a_hub_cache_are_called_what_they_are() {
    let cache = tempfile::tempdir().unwrap();
    let on_disk = rewritten(Family::Gpt2, |_| {});
    let open = || Folder::open(on_disk.path(), cache.path()).unwrap_err().to_string();
    let file = on_disk.path().join("model.safetensors");
    fs::write(&file, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n").unwrap();
    assert!(open().ends_with("is a Git LFS pointer, not the weights: fetch them with `git lfs pull`"));
    fs::remove_file(&file).unwrap();
    fs::create_dir(on_disk.path().join("snapshots")).unwrap();
    assert!(open().ends_with("it is a hub's cache, name the folder below its `snapshots`"));
    fs::remove_file(on_disk.path().join("config.json")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", on_disk.path().join("config.json")).unwrap();
    assert!(open().ends_with("config.json: is no regular file"));
}

#[test]
fn tensors_that_the_configuration_does_not_announce_are_refused_in_blocks_and_counted_elsewhere() {
    let cache = tempfile::tempdir().unwrap();
    for (family, name) in [
        (Family::Llama, "model.layers.1.self_attn.q_proj.bias"),
        (Family::Qwen2, "model.layers.0.self_attn.q_norm.weight"),
        (Family::Phi, "layers.0.mlp.fc3.weight"),
        (Family::Gpt2, "transformer.h.0.attn.q_norm.weight"),
    ] {
        let folder =
            rewritten(family, |t| drop(t.insert(name.to_owned(), (safetensors::Dtype::F32, vec![1], vec![0; 4]))));
        let error = Folder::open(folder.path(), cache.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("tensor `{name}` lies in a block that is used")), "{error}");
    }
    let folder = rewritten(Family::Llama, |t| {
        for name in
            ["model.layers.7.mlp.up_proj.weight", "score.weight", "model.layers.0.self_attn.rotary_emb.inv_freq"]
        {
            t.insert(name.to_owned(), (safetensors::Dtype::F32, vec![1], vec![0; 4]));
        }
    });
    let opened = Folder::open(folder.path(), cache.path()).unwrap();
    assert_eq!(opened.unused(), ["model.layers.7.mlp.up_proj.weight", "score.weight"]);
    assert_eq!(phasebench::model::unused_tensors(&Form::Folder(folder.path().to_owned())), opened.unused());
}

#[test]
fn subnormal_weights_are_counted() {
    let cache = tempfile::tempdir().unwrap();
    let folder = rewritten(Family::Gpt2, |t| {
        t.get_mut("ln_f.weight").unwrap().2[..8].copy_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
    });
    let folder = Folder::open(folder.path(), cache.path()).unwrap();
    let counted = folder.subnormal_share().unwrap() * folder.parameters() as f64;
    assert!((counted - 1.0).abs() < 1e-6, "{counted}");
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

/// A folder of the gpt2 fixture whose `tokenizer.json` went through `change`.
fn with_tokenizer(change: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let folder = rewritten(Family::Gpt2, |_| {});
    let text = fs::read_to_string(fixture(Family::Gpt2).join("tokenizer.json")).unwrap();
    let mut json: Value = serde_json::from_str(&text).unwrap();
    change(&mut json);
    fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
    folder
}

#[test]
fn a_tokenizer_neither_cuts_nor_pads_a_prompt() {
    let text = "the quick brown fox ".repeat(20);
    let plain = tokenizer(&Form::Folder(fixture(Family::Gpt2))).unwrap();
    let expected = prompt::from_text(&plain, Some(0), &text).unwrap();
    let folder = with_tokenizer(|t| {
        t["truncation"] = json!({ "direction": "Right", "max_length": 64, "strategy": "LongestFirst", "stride": 0 });
        t["padding"] = json!({ "strategy": { "Fixed": 128 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "x" });
    });
    let form = Form::Folder(folder.path().to_owned());
    let set = tokenizer(&form).unwrap();
    assert_eq!(prompt::from_text(&set, Some(0), &text).unwrap(), expected);
    assert_eq!(prompt::from_text(&set, Some(0), "the").unwrap(), prompt::from_text(&plain, Some(0), "the").unwrap());
    assert_eq!(phasebench::model::tokenizer_switched_off(&form), ["truncation", "padding"]);
    assert!(phasebench::model::tokenizer_switched_off(&Form::Folder(fixture(Family::Gpt2))).is_empty());
}

#[test]
fn a_token_beyond_the_vocabulary_is_named() {
    let folder = with_tokenizer(|t| {
        let added = json!({ "id": 320, "content": "<|extra|>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true });
        t["added_tokens"].as_array_mut().unwrap().push(added);
    });
    let form = Form::Folder(folder.path().to_owned());
    let (tokenizer, architecture) = (tokenizer(&form).unwrap(), architecture(&form).unwrap());
    let ids = prompt::from_text(&tokenizer, Some(0), "a <|extra|> b").unwrap();
    let error = prompt::within_vocabulary(&tokenizer, &architecture, &ids).unwrap_err().to_string();
    assert_eq!(error, "token 320 (`<|extra|>`) is beyond the vocabulary of 320, so the model has no row for it");
    let ids = prompt::from_text(&tokenizer, Some(0), "a b").unwrap();
    assert!(prompt::within_vocabulary(&tokenizer, &architecture, &ids).is_ok());
}

/// What a prompt takes from a file does not depend on how long the file is, and no more is read than it takes.
#[test]
fn a_prompt_reads_only_the_beginning_of_its_file() {
    let tokenizer = tokenizer(&Form::Folder(fixture(Family::Gpt2))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("long.txt");
    let sentence = "na\u{ef}ve words, and the rain in Spain; ";
    fs::write(&file, sentence.repeat(40)).unwrap();
    let whole = prompt::from_text(&tokenizer, Some(0), &sentence.repeat(40)).unwrap();
    assert_eq!(prompt::from_file(&tokenizer, Some(0), &file, 40).unwrap(), whole[..40]);
    // What stands far behind is never looked at: here it is not even text.
    let mut long = sentence.repeat(20_000).into_bytes();
    long.extend([0xff; 100]);
    fs::write(&file, long).unwrap();
    assert_eq!(prompt::from_file(&tokenizer, Some(0), &file, 40).unwrap(), whole[..40]);
    for endless in ["/dev/zero", "/dev/null"] {
        let error = prompt::from_file(&tokenizer, Some(0), Path::new(endless), 40).unwrap_err().to_string();
        assert_eq!(error, format!("{endless}: is no regular file"));
    }
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let error = prompt::from_file(&tokenizer, Some(0), &pipe, 40).unwrap_err().to_string();
    assert!(error.ends_with("pipe: is no regular file"), "{error}");
}

#[test]
fn a_weight_too_large_for_half_precision_is_named() {
    let cache = tempfile::tempdir().unwrap();
    let folder = rewritten(Family::Gpt2, |t| {
        t.get_mut("ln_f.weight").unwrap().2[..4].copy_from_slice(&70_000_f32.to_le_bytes());
    });
    let folder = Folder::open(folder.path(), cache.path()).unwrap();
    let half = Options { precision: Precision::F16, ..Options::default() };
    let error = onnx::export(&folder, half, cache.path()).unwrap_err().to_string();
    assert_eq!(error, "tensor `ln_f.weight` holds 70000, more than f16 can hold: export it as f32");
    assert_eq!(fs::read_dir(cache.path().join("onnx")).unwrap().count(), 0, "nothing half-written is left");
    assert!(onnx::export(&folder, Options::default(), cache.path()).is_ok());
}

#[test]
fn references_are_read_and_their_prompts_encode_to_their_ids() {
    for &family in Family::ALL {
        let references = verify::read(&fixture(family).join("reference.json")).unwrap();
        assert_eq!(references.len(), 6);
        assert!(references.iter().all(|r| r.steps.len() == 6));
        let form = Form::Folder(fixture(family));
        let (tokenizer, bos) = (tokenizer(&form).unwrap(), architecture(&form).unwrap().bos_id);
        for r in &references {
            assert_eq!(prompt::from_text(&tokenizer, bos, &r.prompt).unwrap(), r.prompt_ids);
        }
        assert!(references.iter().flat_map(|r| &r.steps).all(|s| s.token == s.top_ids[0] && s.top_ids.len() == 20));
    }
}

/// Left under the build folder for `scripts/check_onnx.py`.
#[test]
fn every_fixture_exports() {
    let exports = Path::new(env!("CARGO_TARGET_TMPDIR")).join("exports");
    let cache = tempfile::tempdir().unwrap();
    for &family in Family::ALL {
        let folder = Folder::open(&fixture(family), cache.path()).unwrap();
        for precision in [Precision::F32, Precision::F16] {
            for arg_max in [ArgMax::Outside, ArgMax::Inside] {
                let into = exports.join(format!("tiny-{family}-{precision}-{arg_max}"));
                fs::create_dir_all(&into).unwrap();
                onnx::write(&folder, Options { precision, arg_max }, Weights::Inside, &into).unwrap();
            }
        }
    }
}
