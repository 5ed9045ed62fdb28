//! The model folder: one logical model is one Hugging Face folder (`config.json`, `model.safetensors`, `tokenizer.json`).
//!
//! [`synthetic`] makes such a folder from a recipe, [`folder`] opens one, [`onnx`] and [`gguf`] derive what an engine
//! loads from it, [`prompt`] makes token-exact prompts for it and [`verify`] compares an engine's numbers with a reference.
//! All engines load from the same folder, so all run the same weights.

mod bounded;
pub mod cache_shape;
mod cached;
pub mod config;
mod content;
mod error;
pub mod folder;
pub mod gguf;
mod guarded;
pub mod mistaken;
pub mod onnx;
mod precision;
pub mod prompt;
mod shard;
pub mod synthetic;
pub mod tensors;
pub mod tokenizer;
pub mod verify;

use std::path::{Path, PathBuf};

use tokenizers::Tokenizer;

use crate::terms::model::{Architecture, Synthetic};

pub use error::{Error, Result};
pub use folder::Folder;
pub use precision::Precision;

/// A model as a scenario names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelSource {
    /// The name used in every table.
    pub name: String,
    /// Where its folder comes from.
    pub form: Form,
}

/// Where a model folder comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Form {
    /// Made from a recipe, in the cache.
    Synthetic(Synthetic),
    /// A folder on disk, with weights somebody trained.
    Folder(PathBuf),
    /// A model that only a server has, by its name there.
    Served(String),
}

/// The shape of a model, without touching its weights. Cheap.
///
/// For a [`Form::Folder`] the `dtype` is what `config.json` claims; an opened [`Folder`] knows what is stored.
///
/// # Errors
/// An invalid recipe; a missing or malformed `config.json`; a feature that is not supported.
pub fn architecture(form: &Form) -> Result<Architecture> {
    match form {
        Form::Synthetic(recipe) => recipe.architecture(),
        Form::Folder(path) => config::read(&path.join("config.json")),
        Form::Served(name) => Err(Error::NoFolder(name.clone())),
    }
}

/// The opened model folder; a synthetic one is generated first unless the cache has it.
///
/// `cache_root` is the program's cache folder, see [`crate::cache::root`]. Nothing is written into a user's folder.
///
/// # Errors
/// As [`architecture()`]; also missing or misshapen tensors and anything the file system refuses.
pub fn materialise(form: &Form, cache_root: &Path) -> Result<Folder> {
    match form {
        Form::Synthetic(recipe) => Folder::open(&recipe.materialise(cache_root)?, cache_root),
        Form::Folder(path) => Folder::open(path, cache_root),
        Form::Served(name) => Err(Error::NoFolder(name.clone())),
    }
}

/// The tokenizer of a model. A synthetic one is made in memory; no weights are generated.
///
/// # Errors
/// An invalid recipe; a `tokenizer.json` that is missing or that the tokenizers crate refuses.
pub fn tokenizer(form: &Form) -> Result<Tokenizer> {
    match form {
        Form::Synthetic(recipe) => tokenizer::synthetic(recipe.architecture()?.vocab),
        Form::Folder(path) => tokenizer::read(&path.join("tokenizer.json")),
        Form::Served(name) => Err(Error::NoFolder(name.clone())),
    }
}

/// What the folder's `tokenizer.json` says that [`tokenizer()`] switches off. Empty: nothing, or there is no folder.
#[must_use]
pub fn tokenizer_switched_off(form: &Form) -> Vec<String> {
    match form {
        Form::Folder(path) => tokenizer::switched_off(&path.join("tokenizer.json")),
        Form::Synthetic(_) | Form::Served(_) => Vec::new(),
    }
}

/// Tensors of the folder that the architecture has no place for. Empty: none, or there is no folder that can be read.
#[must_use]
pub fn unused_tensors(form: &Form) -> Vec<String> {
    match form {
        // Only the headers are read, so that nothing is kept in a cache.
        Form::Folder(path) => Folder::open(path, Path::new("")).map(|f| f.unused().to_vec()).unwrap_or_default(),
        Form::Synthetic(_) | Form::Served(_) => Vec::new(),
    }
}
