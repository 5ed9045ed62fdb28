//! The models of a run: which weights, and what each engine loaded in their place.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::terms::Dtype;
use crate::terms::model::{Architecture, ServedShape, Synthetic};
use crate::units::Bytes;

/// One model's weights, and what the engines load in their place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// Where its folder comes from.
    pub source: ModelOrigin,
    /// Hash of the weights, the same on every row measured with them; a backend that has others in their place says so in its
    /// form.
    pub weights_id: String,
    /// Parameters, a tied output embedding counted once. `None`: not known.
    pub params: Option<u64>,
    /// Shape. `None`: not known, or only a server tells it.
    pub architecture: Option<Architecture>,
    /// Shape as a server tells it. `None`: the folder tells.
    pub served: Option<ServedShape>,
    /// What each backend loads, by backend name.
    pub forms: BTreeMap<String, ModelForm>,
    /// What the folder says and the program does not do: `truncation` or `padding` of its tokenizer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokenizer_switched_off: Vec<String>,
    /// Tensors in the folder that the architecture has no place for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unused_tensors: Vec<String>,
}

impl ModelEntry {
    /// Hash of the weights that a backend's rows are measured with.
    #[must_use]
    pub fn weights_of(&self, backend: &str) -> &str {
        self.forms.get(backend).and_then(|form| form.weights_id.as_deref()).unwrap_or(&self.weights_id)
    }
}

/// Where a model's folder comes from, without its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ModelOrigin {
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
    /// Hash of what it has in the place of the weights, as a scripted engine does. `None`: it has the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_id: Option<String>,
    /// Quantisation as the engine names it. `None`: it has no name for it.
    pub quantisation: Option<String>,
    /// Size of what is loaded. `None`: not known.
    pub bytes: Option<Bytes>,
    /// SHA-256 of the files that are loaded, by file name. Empty: nothing on disk.
    pub file_sha256: BTreeMap<String, String>,
}
