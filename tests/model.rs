//! Model folders end to end: recipes, folders on disk, exports.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use phasebench::model::onnx::{self, ArgMax, Options, Precision};
use phasebench::model::{Dtype, Family, Folder, Form, Synthetic, architecture, materialise};

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
        if parameters < 10_000_000 {
            let folder = materialise(&Form::Synthetic(recipe), cache.path()).unwrap();
            assert_eq!(folder.parameters(), parameters);
            assert_eq!(folder.bytes(), 4 * parameters);
            let file = fs::read(folder.path().join("model.safetensors")).unwrap();
            let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
            let counted: usize = tensors.iter().map(|(_, t)| t.shape().iter().product::<usize>()).sum();
            assert_eq!(counted as u64, parameters);
        }
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
                onnx::write(&folder, Options { precision, arg_max }, &into).unwrap();
            }
        }
    }
}
