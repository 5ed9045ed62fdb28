//! What a model asks of a machine: reckoned from its shape, held against the files that its weights lie in.

use std::fs;
use std::path::Path;

use phasebench::model::{Folder, Form, architecture, config, tensors};
use phasebench::roofline::{Demand, Use, Weights};
use phasebench::terms::model::{Architecture, Dtype, Family, Synthetic};
use safetensors::tensor::TensorView;

/// A folder with the configuration of a small model, its head tied or not, and all its tensors, full of zeros.
fn folder_of(recipe: &Synthetic, tied: bool, at: &Path) -> Folder {
    let made = recipe.materialise(&at.join("cache")).unwrap();
    let text = fs::read_to_string(made.join("config.json")).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["tie_word_embeddings"] = tied.into();
    let folder = at.join("model");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("config.json"), value.to_string()).unwrap();
    let shape = config::read(&folder.join("config.json")).unwrap();
    assert_eq!(shape.tied_embeddings, tied);
    let specs = tensors::expected(&shape);
    let (stored, width) = match shape.dtype {
        Dtype::F32 => (safetensors::Dtype::F32, 4),
        Dtype::F16 => (safetensors::Dtype::F16, 2),
        Dtype::Bf16 => (safetensors::Dtype::BF16, 2),
    };
    let zeros: Vec<Vec<u8>> = specs.iter().map(|spec| vec![0; spec.elements() * width]).collect();
    let views = specs.iter().zip(&zeros);
    let views =
        views.map(|(spec, data)| (spec.name.as_str(), TensorView::new(stored, spec.shape.clone(), data).unwrap()));
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
    Folder::open(&folder, &at.join("cache")).unwrap()
}

/// Bytes of the tensors in a file: all of it but the header and the header's length.
fn tensor_bytes(file: &Path) -> u64 {
    let bytes = fs::read(file).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    bytes.len() as u64 - 8 - header
}

/// To the byte: what the formula reads and what it looks up are what the weights file holds.
#[test]
fn every_byte_of_the_weights_is_read_or_looked_up() {
    for family in Family::ALL {
        for tied in [true, false] {
            for dtype in [Dtype::F32, Dtype::F16] {
                let at = tempfile::tempdir().unwrap();
                let recipe = Synthetic { dtype, vocab: 320, n_positions: 64, ..Synthetic::new(*family, 2, 32, 4) };
                let folder = folder_of(&recipe, tied, at.path());
                let what = format!("{family} tied {tied} {dtype:?}");
                let weights = Weights::of(folder.architecture());
                let width = dtype.bytes() as u64;
                let stored = tensor_bytes(&folder.path().join("model.safetensors"));
                assert_eq!((weights.read + weights.looked_up) * width, stored, "{what}");
                assert_eq!(folder.bytes(), stored, "{what}");
                let step =
                    Demand::of_step(folder.architecture(), Use { element_bytes: width, batch: 1, prompt: 1, steps: 1 });
                assert_eq!(step.weights_bytes, (stored - weights.looked_up * width) as f64, "{what}");
                let shapes = tensors::expected(folder.architecture());
                let in_block = |name: &str| tensors::block(*family, name).is_some();
                let matrices = shapes.iter().filter(|spec| spec.shape.len() == 2 && in_block(&spec.name));
                assert_eq!(weights.matrices, matrices.map(|spec| spec.elements() as u64).sum::<u64>(), "{what}");
                assert_eq!(weights.head, 320 * 32, "{what}");
            }
        }
    }
}

fn gpt2() -> Architecture {
    architecture(&Form::Synthetic(Synthetic::new(Family::Gpt2, 2, 8, 2))).unwrap()
}

/// By hand: two blocks of 4·8² + 2·8·32 elements in matrices.
#[test]
fn a_small_model_is_reckoned_as_by_hand() {
    let shape = gpt2();
    let weights = Weights::of(&shape);
    assert_eq!(weights.matrices, 2 * (4 * 64 + 2 * 8 * 32));
    assert_eq!(weights.looked_up, (shape.n_positions * 8) as u64);
    let prefill = Demand::of_prefill(&shape, Use { element_bytes: 4, batch: 3, prompt: 5, steps: 0 });
    let linear = 2 * 3 * (5 * weights.matrices + weights.head);
    assert_eq!(prefill.operations, (linear + 4 * 2 * 8 * 3 * 15) as f64);
    assert_eq!(prefill.bytes(), (4 * weights.read) as f64);
    let step = Demand::of_step(&shape, Use { element_bytes: 2, batch: 3, prompt: 5, steps: 4 });
    assert_eq!(step.kv_bytes, 3.0 * 6.5 * (2.0 * 2.0 * 8.0) * 2.0);
    assert_eq!(step.operations, (2 * 3 * (weights.matrices + weights.head)) as f64 + 4.0 * 16.0 * 3.0 * 7.5);
}

/// Heads that are shared shrink the cache and its reading, not the operations on it.
#[test]
fn grouped_heads_read_less() {
    let of = Use { element_bytes: 2, batch: 1, prompt: 64, steps: 1 };
    let recipe = Synthetic { n_kv_head: Some(2), ..Synthetic::new(Family::Llama, 2, 64, 8) };
    let grouped = architecture(&Form::Synthetic(recipe)).unwrap();
    let multi = Architecture { n_kv_head: 8, ..grouped.clone() };
    let (few, many) = (Demand::of_step(&grouped, of), Demand::of_step(&multi, of));
    assert_eq!(4.0 * few.kv_bytes, many.kv_bytes);
}
