//! The models of a run: which weights, and what each engine loaded in their place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::backend::{Prepared, Shape};
use crate::hash::sha256_file;
use crate::model::{self, Architecture, Form, ModelSource, Synthetic};
use crate::terms::Dtype;
use crate::units::Bytes;

/// One model's weights, and what the engines load in their place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// Where its folder comes from.
    pub source: Source,
    /// Hash of the weights, the same on every row measured with them.
    pub weights_id: String,
    /// Parameters, a tied output embedding counted once. `None`: not known.
    pub params: Option<u64>,
    /// Shape. `None`: not known, or only a server tells it.
    pub architecture: Option<Architecture>,
    /// Shape as a server tells it. `None`: the folder tells.
    pub served: Option<Shape>,
    /// What each backend loads, by backend name.
    pub forms: BTreeMap<String, ModelForm>,
    /// What the folder says and the program does not do: `truncation` or `padding` of its tokenizer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokenizer_switched_off: Vec<String>,
    /// Tensors in the folder that the architecture has no place for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unused_tensors: Vec<String>,
}

/// Where a model's folder comes from, without its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// Made from this recipe.
    Synthetic(Synthetic),
    /// A folder of this name.
    Folder(String),
    /// A server's own model of this name.
    Served(String),
}

/// A model as one backend loads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelForm {
    /// Element type as loaded.
    pub dtype: Dtype,
    /// Quantisation as the engine names it. `None`: it has no name for it.
    pub quantisation: Option<String>,
    /// Size of what is loaded. `None`: not known.
    pub bytes: Option<Bytes>,
    /// SHA-256 of the files that are loaded, by file name. Empty: nothing on disk.
    pub file_sha256: BTreeMap<String, String>,
}

impl ModelEntry {
    /// A model as prepared by one engine; the others are added with [`ModelEntry::add_form`].
    #[must_use]
    pub fn new(source: &ModelSource, prepared: &Prepared) -> Self {
        let named = match &source.form {
            Form::Synthetic(recipe) => Source::Synthetic(recipe.clone()),
            Form::Folder(path) => {
                let name = path.canonicalize().unwrap_or_else(|_| path.clone());
                Source::Folder(name.file_name().unwrap_or_default().to_string_lossy().into_owned())
            }
            Form::Served(name) => Source::Served(name.clone()),
        };
        Self {
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
    pub fn add_form(&mut self, backend: &str, prepared: &Prepared) {
        let file_sha256 = prepared.path.as_deref().map(file_hashes).unwrap_or_default();
        let form = ModelForm {
            dtype: prepared.dtype,
            quantisation: prepared.quantisation.clone(),
            bytes: prepared.bytes,
            file_sha256,
        };
        self.forms.insert(backend.to_owned(), form);
    }
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

    #[test]
    fn a_model_names_its_recipe_and_hashes_what_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.onnx"), b"abc").unwrap();
        let recipe = Synthetic::new(model::Family::Gpt2, 2, 8, 2);
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
        let mut entry = ModelEntry::new(&source, &prepared);
        entry.add_form("a", &prepared);
        prepared.path = Some(folder.path().join("model.onnx"));
        entry.add_form("b", &prepared);
        prepared.path = None;
        entry.add_form("c", &prepared);
        assert_eq!(entry.source, Source::Synthetic(recipe));
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
        let prepared = Prepared {
            model: "m".to_owned(),
            weights_id: "w".to_owned(),
            dtype: Dtype::F32,
            params: None,
            bytes: None,
            path: None,
            shape: None,
            quantisation: None,
            inner: Box::new(()),
        };
        assert_eq!(ModelEntry::new(&source, &prepared).source, Source::Folder("Some-1B".to_owned()));
    }
}
