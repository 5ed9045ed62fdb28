//! Model folders end to end: recipes, configurations, folders on disk, exports.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use phasebench::terms::model::Family;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

mod config;
mod folders;
mod prompts;

fn fixture(family: Family) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/same-weights/tiny-{family}"))
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
