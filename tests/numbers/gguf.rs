//! GGUF exports: against files that real servers were seen to run, and by their own promises.

mod reader;
mod vocabulary;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use half::f16;
use phasebench::hash::sha256_file;
use phasebench::model::gguf::{self, FILE, HASH_FILE, META_WEIGHTS_ID};
use phasebench::model::{Folder, Form, Precision, materialise, tokenizer};
use phasebench::terms::model::{Dtype, Family, Synthetic};
use reader::{Read, read};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

fn fixture(family: Family) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/same-weights/tiny-{family}"))
}

fn exported(folder: &Path, precision: Precision) -> Read {
    let cache = tempfile::tempdir().unwrap();
    let folder = Folder::open(folder, cache.path()).unwrap();
    read(&gguf::export(&folder, precision, cache.path()).unwrap().path)
}

fn synthetic(recipe: Synthetic, cache: &Path) -> Folder {
    materialise(&Form::Synthetic(recipe), cache).unwrap()
}

/// A fixture in a folder of its own, to be changed.
fn copy(family: Family) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(fixture(family).join(name), folder.path().join(name)).unwrap();
    }
    folder
}

fn edit(file: &Path, change: impl FnOnce(&mut Value)) {
    let mut json = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    change(&mut json);
    fs::write(file, json.to_string()).unwrap();
}

/// Overwrites the first bytes of a tensor in place.
fn patch(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join("model.safetensors");
    let mut file = fs::read(&path).unwrap();
    let stored = SafeTensors::deserialize(&file).unwrap();
    let begin = stored.tensor(name).unwrap().data().as_ptr().addr() - file.as_ptr().addr();
    file[begin..begin + bytes.len()].copy_from_slice(bytes);
    fs::write(&path, file).unwrap();
}

/// Why exporting a folder in single precision fails.
fn refused(folder: &Path) -> String {
    let cache = tempfile::tempdir().unwrap();
    let folder = Folder::open(folder, cache.path()).unwrap();
    let error = gguf::export(&folder, Precision::F32, cache.path()).unwrap_err().to_string();
    let left = fs::read_dir(cache.path().join("gguf")).unwrap().count();
    assert_eq!(left, 0, "nothing half-written is left");
    error
}

/// Keys whose values differ from the reference files on purpose.
const DIFFERENT: [(&str, &str); 2] = [
    ("general.name", "a free text; ours follows from the weights, so that the same weights give the same file"),
    (
        "tokenizer.ggml.pre",
        "`default` splits digits in threes and punctuation apart; the folder's tokenizer.json does not, `gpt-2` is it",
    ),
];

#[test]
fn files_are_those_that_servers_were_seen_to_run() {
    for &family in Family::ALL {
        let reference = read(&fixture(family).join(FILE));
        let ours = exported(&fixture(family), Precision::F32);
        assert!(reference.tensors.len() > 20 && ours.left == 0);
        assert!(ours.tensors.keys().eq(reference.tensors.keys()), "{family}: {:?}", ours.tensors.keys());
        for (name, expected) in &reference.tensors {
            let found = &ours.tensors[name];
            assert_eq!((&found.dims, found.kind), (&expected.dims, expected.kind), "{family} {name}");
            assert!(found.data == expected.data, "{family} {name}: other numbers");
        }
        for (key, expected) in &reference.metadata {
            let equal = ours.metadata.get(key) == Some(expected);
            let listed = DIFFERENT.iter().any(|(known, _)| known == key);
            assert_eq!(equal, !listed, "{family} {key}: {:?}, reference {expected:?}", ours.metadata.get(key));
        }
        assert_eq!(ours.text("tokenizer.ggml.pre"), "gpt-2");
        assert_eq!(ours.text(META_WEIGHTS_ID).len(), 64);
    }
}

#[test]
fn half_precision_is_for_matrices() {
    for &family in Family::ALL {
        let single = exported(&fixture(family), Precision::F32);
        let half = exported(&fixture(family), Precision::F16);
        assert_eq!(
            (&single.metadata["general.file_type"].1, &half.metadata["general.file_type"].1),
            (&json!(0), &json!(1))
        );
        assert!(half.tensors.keys().eq(single.tensors.keys()) && half.left == 0);
        for (name, tensor) in &half.tensors {
            let wide = &single.tensors[name];
            assert_eq!(tensor.dims, wide.dims);
            if tensor.dims.len() == 1 || name == "position_embd.weight" {
                assert_eq!(tensor, wide, "{family} {name}");
            } else {
                let halves: Vec<u8> = wide.floats().into_iter().flat_map(|x| f16::from_f32(x).to_le_bytes()).collect();
                assert_eq!(tensor.kind, 1, "{family} {name}");
                assert!(tensor.data == halves, "{family} {name}");
            }
        }
    }
}

#[test]
fn a_published_shape_is_counted_once_and_its_words_are_words() {
    let cache = tempfile::tempdir().unwrap();
    let recipe = Synthetic::new(Family::Gpt2, 2, 2, 2);
    let architecture = recipe.architecture().unwrap();
    let folder = synthetic(recipe, cache.path());
    let file = read(&gguf::export(&folder, Precision::F32, cache.path()).unwrap().path);
    assert_eq!((file.elements(), architecture.parameters()), (102_714, 102_714));
    assert!(!file.tensors.contains_key("output.weight"));

    let (tokens, types) = (file.texts("tokenizer.ggml.tokens"), file.numbers("tokenizer.ggml.token_type"));
    assert_eq!((tokens.len(), types.len()), (50_257, 50_257));
    assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), 50_257, "every token has a text of its own");
    assert_eq!(types[..2], [3, 3]);
    assert!(types[2..].iter().all(|&kind| kind == 1));
    let folders = folder.tokenizer().unwrap();
    for (id, text) in (0..).zip(&tokens) {
        assert_eq!(folders.id_to_token(id).as_deref(), Some(*text));
        if id >= tokenizer::FIRST_WORD {
            let word = text.strip_prefix('Ġ').unwrap();
            assert!(!word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase()), "{text:?}");
        }
    }
    assert_eq!(file.texts("tokenizer.ggml.merges").len(), 50_257 - tokenizer::FIRST_WORD as usize);
}

#[test]
fn other_stored_types_are_converted() {
    let cache = tempfile::tempdir().unwrap();
    for dtype in [Dtype::F16, Dtype::Bf16] {
        let recipe = Synthetic { vocab: 300, dtype, ..Synthetic::new(Family::Gpt2, 1, 8, 2) };
        let folder = synthetic(recipe, cache.path());
        let file = read(&gguf::export(&folder, Precision::F32, cache.path()).unwrap().path);
        let stored = folder.tensor("wte.weight").unwrap();
        assert_eq!(stored.dtype, dtype);
        let bits = stored.bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        let expected: Vec<f32> = match dtype {
            Dtype::Bf16 => bits.map(|b| f32::from_bits(u32::from(b) << 16)).collect(),
            _ => bits.map(|b| f16::from_bits(b).to_f32()).collect(),
        };
        assert_eq!(file.tensors["token_embd.weight"].floats(), expected);
    }
}

fn tied(family: Family) -> tempfile::TempDir {
    let folder = copy(family);
    let file = fs::read(folder.path().join("model.safetensors")).unwrap();
    let stored = SafeTensors::deserialize(&file).unwrap();
    patch(folder.path(), "lm_head.weight", stored.tensor("model.embed_tokens.weight").unwrap().data());
    edit(&folder.path().join("config.json"), |c| c["tie_word_embeddings"] = json!(true));
    folder
}

#[test]
fn tied_heads_are_left_out() {
    let cache = tempfile::tempdir().unwrap();
    for family in [Family::Llama, Family::Qwen2] {
        let folder = tied(family);
        let parameters = Folder::open(folder.path(), cache.path()).unwrap().parameters();
        let file = exported(folder.path(), Precision::F32);
        assert!(!file.tensors.contains_key("output.weight"));
        assert_eq!(file.elements(), parameters);
    }
    let error = refused(tied(Family::Phi).path());
    assert!(error.contains("`tie_word_embeddings` is true, supported: false for phi (in GGUF)"), "{error}");
}

#[test]
fn stretched_wavelengths_of_llama_come_with_the_file() {
    let scaling = json!({ "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64 });
    let folder = copy(Family::Llama);
    edit(&folder.path().join("config.json"), |c| c["rope_scaling"] = scaling.clone());
    let file = exported(folder.path(), Precision::F16);
    let factors = &file.tensors["rope_freqs.weight"];
    assert_eq!(factors.dims, [8]);
    let factors = factors.floats();
    // Ten turns within 64 positions are kept; a wavelength of 20 thousand positions is stretched wholly.
    assert!((factors[0] - 1.0).abs() < 1e-6 && (factors[7] - 32.0).abs() < 1e-4, "{factors:?}");
    assert!(factors.is_sorted());
}

/// A folder whose two heads of 32 are together wider than the residual stream of 32. Their numbers count upwards.
fn wide_heads(family: Family) -> tempfile::TempDir {
    let cache = tempfile::tempdir().unwrap();
    let recipe = Synthetic { vocab: 300, n_inner: Some(32), ..Synthetic::new(family, 1, 32, 2) };
    let narrow = synthetic(recipe, cache.path());
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "tokenizer.json"] {
        fs::copy(narrow.path().join(name), folder.path().join(name)).unwrap();
    }
    edit(&folder.path().join("config.json"), |c| c["head_dim"] = json!(32));
    let bytes: Vec<u8> = (0..64 * 32).flat_map(|n: u16| f32::from(n).to_le_bytes()).collect();
    let file = fs::read(narrow.path().join("model.safetensors")).unwrap();
    let stored = SafeTensors::deserialize(&file).unwrap();
    let views = stored.tensors().into_iter().map(|(name, view)| {
        let shape = match name.as_str() {
            n if n.contains("o_proj") => vec![32, 64],
            n if n.contains("self_attn") && n.ends_with("bias") => vec![64],
            n if n.contains("self_attn") => vec![64, 32],
            _ => return (name, view),
        };
        let bytes = &bytes[..4 * shape.iter().product::<usize>()];
        (name, TensorView::new(safetensors::Dtype::F32, shape, bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
    folder
}

#[test]
fn heads_wider_than_their_share_are_said() {
    let plain = exported(&fixture(Family::Llama), Precision::F32);
    assert!(!plain.metadata.contains_key("llama.attention.key_length"));
    let file = exported(wide_heads(Family::Llama).path(), Precision::F32);
    assert_eq!(file.metadata["llama.attention.key_length"], (4, json!(32)));
    assert_eq!(file.metadata["llama.attention.value_length"], (4, json!(32)));
    let firsts = file.tensors["blk.0.attn_q.weight"].floats().into_iter().step_by(32);
    let rows: Vec<f32> = firsts.map(|x| x / 32.0).collect();
    assert_eq!(rows[..4], [0.0, 16.0, 1.0, 17.0]);
    assert_eq!(rows[32..36], [32.0, 48.0, 33.0, 49.0]);

    let error = refused(wide_heads(Family::Qwen2).path());
    assert!(error.contains("`head_dim` is 32, supported: hidden_size / num_attention_heads for qwen2"), "{error}");
}

#[test]
fn what_the_server_computes_otherwise_is_refused_by_name() {
    let scaling = json!({ "rope_type": "llama3", "factor": 2.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64 });
    for (family, key, value, message) in [
        (Family::Gpt2, "activation_function", json!("relu"), "is \"relu\", supported: gelu_new (in GGUF)"),
        (Family::Llama, "hidden_act", json!("gelu"), "is \"gelu\", supported: silu (in GGUF)"),
        (Family::Llama, "partial_rotary_factor", json!(0.5), "is 8 of 16 dimensions, supported: 1 for llama"),
        (Family::Qwen2, "rope_scaling", scaling.clone(), "supported: null but for llama"),
        (Family::Phi, "rope_scaling", scaling, "supported: null but for llama"),
        (Family::Gpt2, "eos_token_id", json!(null), "is missing, expected a token id"),
    ] {
        let folder = copy(family);
        edit(&folder.path().join("config.json"), |c| c[key] = value);
        let error = refused(folder.path());
        assert!(error.contains("config.json: ") && error.contains(key) && error.contains(message), "{error}");
    }
}

#[test]
fn without_a_bos_the_server_adds_none() {
    let folder = copy(Family::Gpt2);
    edit(&folder.path().join("config.json"), |c| c["bos_token_id"] = json!(null));
    let file = exported(folder.path(), Precision::F32);
    assert_eq!(file.metadata["tokenizer.ggml.add_bos_token"], (7, json!(false)));
    assert!(!file.metadata.contains_key("tokenizer.ggml.bos_token_id"));
}

#[test]
fn a_failed_export_leaves_nothing_behind() {
    let large = 70_000_f32.to_le_bytes();
    let folder = copy(Family::Gpt2);
    patch(folder.path(), "ln_f.weight", &large);
    // A vector stays in single precision, where it fits.
    let file = exported(folder.path(), Precision::F16);
    assert!((file.tensors["output_norm.weight"].floats()[0] - 70_000.0).abs() < 1e-3);

    patch(folder.path(), "h.1.mlp.c_proj.weight", &large);
    let cache = tempfile::tempdir().unwrap();
    let folder = Folder::open(folder.path(), cache.path()).unwrap();
    let message = "tensor `h.1.mlp.c_proj.weight` holds 70000, more than f16 can hold: export it as f32";
    let error = gguf::export(&folder, Precision::F16, cache.path()).unwrap_err().to_string();
    assert_eq!(error, message);
    assert_eq!(fs::read_dir(cache.path().join("gguf")).unwrap().count(), 0, "nothing half-written is left");

    let into = tempfile::tempdir().unwrap();
    let before = gguf::write(&folder, Precision::F32, into.path()).unwrap();
    let error = gguf::write(&folder, Precision::F16, into.path()).unwrap_err().to_string();
    assert_eq!(error, message);
    assert_eq!(sha256_file(&before.path).unwrap(), before.sha256, "what was there is still there");
    assert_eq!(fs::read_dir(into.path()).unwrap().count(), 2);
}

#[test]
fn an_export_is_made_once_and_knows_its_hash() {
    let cache = tempfile::tempdir().unwrap();
    let folder = copy(Family::Qwen2);
    let open = || Folder::open(folder.path(), cache.path()).unwrap();
    let first = gguf::export(&open(), Precision::F32, cache.path()).unwrap();
    assert_eq!(first.sha256, sha256_file(&first.path).unwrap());
    assert_eq!(first.bytes, fs::metadata(&first.path).unwrap().len());
    assert_eq!((&first.weights_id, first.precision), (&open().weights_id().unwrap(), Precision::F32));
    let hash = fs::read_to_string(first.path.with_file_name(HASH_FILE)).unwrap();
    assert_eq!(hash, format!("{}  {FILE}\n", first.sha256));

    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let made = inode(&first.path);
    assert_eq!(gguf::export(&open(), Precision::F32, cache.path()).unwrap(), first);
    assert_eq!(inode(&first.path), made, "it was not made again");
    let elsewhere = copy(Family::Qwen2);
    let same = gguf::export(&Folder::open(elsewhere.path(), cache.path()).unwrap(), Precision::F32, cache.path());
    assert_eq!(same.unwrap(), first);

    let mut others = BTreeSet::from([first.path]);
    others.insert(gguf::export(&open(), Precision::F16, cache.path()).unwrap().path);
    edit(&folder.path().join("tokenizer.json"), |t| t["model"]["merges"] = json!([]));
    others.insert(gguf::export(&open(), Precision::F32, cache.path()).unwrap().path);
    edit(&folder.path().join("config.json"), |c| c["max_position_embeddings"] = json!(128));
    others.insert(gguf::export(&open(), Precision::F32, cache.path()).unwrap().path);
    assert_eq!(others.len(), 4, "{others:?}");
}

#[test]
fn the_command_takes_exactly_one_form() {
    let cache = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
        command.env("PHASEBENCH_CACHE", cache.path()).args(["models", "export"]).args(arguments);
        command.arg(fixture(Family::Phi)).output().unwrap()
    };
    for wrong in [&[][..], &["--onnx", "--gguf"], &["--gguf", "--arg-max", "inside"]] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
    let into = cache.path().join("out").display().to_string();
    let output = run(&["--gguf", "--dtype", "f16", "--out", &into]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{into}/{FILE}\n"));
    assert_eq!(read(&Path::new(&into).join(FILE)).text("general.architecture"), "phi2");

    let output = run(&["--gguf"]);
    let path = String::from_utf8(output.stdout).unwrap();
    assert!(Path::new(path.trim_end()).starts_with(cache.path().join("gguf")), "{path}");
    assert_eq!(read(Path::new(path.trim_end())).text("general.architecture"), "phi2");
}
