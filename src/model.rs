//! The model folder.

use std::path::PathBuf;

/// A model of a scenario file: its name and where its folder comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSource {
    /// Name, unique in the file.
    pub name: String,
    /// Where the folder comes from.
    pub form: Form,
}

/// Where a model's folder comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// Made by us.
    Synthetic(Synthetic),
    /// A Hugging Face folder on disk.
    Folder(PathBuf),
}

/// Recipe of a synthetic model.
#[derive(Debug, Clone, PartialEq)]
pub struct Synthetic {}
