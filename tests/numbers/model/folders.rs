//! Folders on disk: made, hashed, opened, exported, and what is wrong with them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use half::bf16;
use phasebench::model::onnx::{self, ArgMax, Options, Precision, Weights};
use phasebench::model::{Folder, Form, materialise, tensors, verify};
use phasebench::terms::model::{Dtype, Family, Synthetic};
use serde_json::json;

use super::{fixture, rewritten, save};

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

/// Whatever of a model was not fetched is said in the same words.
#[test]
fn every_file_of_a_model_may_be_a_pointer() {
    let cache = tempfile::tempdir().unwrap();
    let on_disk = rewritten(Family::Llama, |_| {});
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    let put = |name: &str| fs::write(on_disk.path().join(name), pointer).unwrap();
    let words = |name: &str| {
        let path = on_disk.path().join(name);
        format!("{}: is a Git LFS pointer, not the file: fetch it with `git lfs pull`", path.display())
    };
    put("tokenizer.json");
    let folder = Folder::open(on_disk.path(), cache.path()).unwrap();
    assert_eq!(folder.tokenizer().unwrap_err().to_string(), words("tokenizer.json"));
    put("reference.json");
    let error = verify::read(&on_disk.path().join("reference.json")).unwrap_err();
    assert_eq!(error.to_string(), words("reference.json"));
    let open = || Folder::open(on_disk.path(), cache.path()).unwrap_err().to_string();
    fs::remove_file(on_disk.path().join("model.safetensors")).unwrap();
    put("model.safetensors.index.json");
    assert_eq!(open(), words("model.safetensors.index.json"));
    put("config.json");
    assert_eq!(open(), words("config.json"));
    let error = phasebench::model::cache_shape::read(&on_disk.path().join("config.json")).unwrap_err();
    assert_eq!(error.to_string(), words("config.json"));
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
