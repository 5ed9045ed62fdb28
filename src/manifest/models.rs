//! Describes the models of a run: which weights, and what each engine loaded in their place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::backend::Prepared;
use crate::hash::sha256_file;
use crate::model::{self, Form, ModelSource};
use crate::record::manifest::{ModelEntry, ModelForm, ModelOrigin};

/// A model as prepared by one engine; the others are added with [`add_form`].
#[must_use]
pub fn entry(source: &ModelSource, prepared: &Prepared) -> ModelEntry {
    let named = match &source.form {
        Form::Synthetic(recipe) => ModelOrigin::Synthetic(recipe.clone()),
        Form::Folder(path) => {
            let name = path.canonicalize().unwrap_or_else(|_| path.clone());
            ModelOrigin::Folder(name.file_name().unwrap_or_default().to_string_lossy().into_owned())
        }
        Form::Served(name) => ModelOrigin::Served(name.clone()),
    };
    ModelEntry {
        source: named,
        weights_id: prepared.weights_id.clone(),
        params: prepared.params,
        architecture: model::architecture(&source.form).ok(),
        served: prepared.shape.clone(),
        forms: BTreeMap::new(),
        tokenizer_switched_off: model::tokenizer_switched_off(&source.form),
        unused_tensors: model::unused_tensors(&source.form),
    }
}

/// Adds what one backend loads. Hashes its files: takes a second per gigabyte or so.
pub fn add_form(entry: &mut ModelEntry, backend: &str, prepared: &Prepared) {
    let file_sha256 = prepared.path.as_deref().map(file_hashes).unwrap_or_default();
    let form = ModelForm {
        dtype: prepared.dtype,
        weights_id: Some(prepared.weights_id.clone()).filter(|id| *id != entry.weights_id),
        quantisation: prepared.quantisation.clone(),
        bytes: prepared.bytes,
        file_sha256,
    };
    entry.forms.insert(backend.to_owned(), form);
}

/// Hashes a file, or the files right below a folder, by name. What cannot be read is left out.
fn file_hashes(path: &Path) -> BTreeMap<String, String> {
    let files: Vec<PathBuf> = match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect(),
        Err(_) => vec![path.to_owned()],
    };
    let hashed = files.iter().filter_map(|file| {
        let name = file.file_name()?.to_string_lossy().into_owned();
        Some((name, sha256_file(file).ok()?))
    });
    hashed.collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::hash::sha256_hex;
    use crate::terms::Dtype;
    use crate::terms::model::{Family, Synthetic};

    #[test]
    fn a_model_names_its_recipe_and_hashes_what_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.onnx"), b"abc").unwrap();
        let recipe = Synthetic::new(Family::Gpt2, 2, 8, 2);
        let source = ModelSource { name: "m".to_owned(), form: Form::Synthetic(recipe.clone()) };
        let mut prepared = Prepared {
            model: "m".to_owned(),
            weights_id: "w".to_owned(),
            dtype: Dtype::F32,
            params: Some(7),
            bytes: None,
            path: Some(folder.path().to_owned()),
            shape: None,
            quantisation: None,
            inner: Box::new(()),
        };
        let mut entry = super::entry(&source, &prepared);
        add_form(&mut entry, "a", &prepared);
        prepared.path = Some(folder.path().join("model.onnx"));
        add_form(&mut entry, "b", &prepared);
        prepared.path = None;
        add_form(&mut entry, "c", &prepared);
        assert_eq!(entry.source, ModelOrigin::Synthetic(recipe));
        assert_eq!(entry.architecture.as_ref().unwrap().n_layer, 2);
        assert_eq!(entry.forms["a"].file_sha256["model.onnx"], sha256_hex(b"abc"));
        assert_eq!(entry.forms["a"].file_sha256, entry.forms["b"].file_sha256);
        assert!(entry.forms["c"].file_sha256.is_empty());
        let text = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<ModelEntry>(&text).unwrap(), entry);
    }

    #[test]
    fn a_folder_is_named_without_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("Some-1B");
        std::fs::create_dir(&inside).unwrap();
        let source = ModelSource { name: "m".to_owned(), form: Form::Folder(inside) };
        let prepared = Prepared::bare("m");
        assert_eq!(entry(&source, &prepared).source, ModelOrigin::Folder("Some-1B".to_owned()));
    }
}
