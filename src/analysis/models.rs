//! `model_architecture.csv`: what was measured, from the manifest.

use crate::record::manifest::{Manifest, ModelEntry, ModelOrigin};
use crate::terms::Dtype;

use super::columns::columns;
use super::table::{Sources, Table};

columns! {
    /// One model as one backend loads it.
    pub struct ModelRow {
        /// Model name.
        model: String,
        /// Backend name.
        backend: String,
        /// `synthetic`, or the name of the folder.
        source: String,
        /// Hash of the weights.
        weights_id: String,
        /// Which graph it is, by this program's name or by the server's. `None`: not known.
        family: Option<String>,
        /// Parameters counted from the weights, a tied output embedding once. `None`: not counted.
        params: Option<u64>,
        /// The same in millions; counted from the configuration where the weights were not. `None`: neither is known.
        /// Unit: millions.
        params_millions_effective: Option<f64>,
        /// Transformer blocks. `None`, here and below: not known.
        n_layer: Option<u64>,
        /// Width of the residual stream.
        n_embd: Option<u64>,
        /// Query heads.
        n_head: Option<u64>,
        /// Key-value heads.
        n_kv_head: Option<u64>,
        /// Width of one head.
        head_dim: Option<u64>,
        /// Width inside the MLP.
        n_inner: Option<u64>,
        /// Token ids.
        vocab: Option<u64>,
        /// Longest context in tokens.
        n_positions: Option<u64>,
        /// Whether the output embedding is the input embedding.
        tied_embeddings: Option<bool>,
        /// Element type as loaded.
        dtype: Option<Dtype>,
        /// Quantisation as the engine names it. `None`: it has no name for it.
        quantisation: Option<String>,
        /// Size of what is loaded.
        bytes: Option<u64>,
        /// What one token of one row adds to the KV cache, in theory.
        kv_bytes_per_token: Option<u64>,
    }
}

columns! {
    /// What tables say about the model of a row.
    #[derive(Copy, Default)]
    pub struct ArchitectureColumns {
        /// Parameters in millions: counted from the weights, else from the configuration. `None`: neither is known, or
        /// the row was measured with other weights than the manifest names.
        params_millions: Option<f64>,
        /// Transformer blocks. `None`: as `params_millions`.
        n_layer: Option<u64>,
        /// Width of the residual stream. `None`: as `params_millions`.
        n_embd: Option<u64>,
        /// Query heads. `None`: as `params_millions`.
        n_head: Option<u64>,
        /// Key-value heads. `None`: as `params_millions`.
        n_kv_head: Option<u64>,
    }
}

impl ArchitectureColumns {
    /// Of a row's model, if the manifest's entry is of the weights that were measured.
    pub(super) fn measured(manifest: &Manifest, model: &str, weights_id: &str) -> Self {
        let of_weights = |entry: &&ModelEntry| {
            entry.weights_id == weights_id || entry.forms.keys().any(|backend| entry.weights_of(backend) == weights_id)
        };
        manifest.models.get(model).filter(of_weights).map(Self::of).unwrap_or_default()
    }

    fn of(entry: &ModelEntry) -> Self {
        let params_millions = params_millions(entry);
        if let Some(shape) = &entry.architecture {
            return Self {
                params_millions,
                n_layer: Some(shape.n_layer as u64),
                n_embd: Some(shape.n_embd as u64),
                n_head: Some(shape.n_head as u64),
                n_kv_head: Some(shape.n_kv_head as u64),
            };
        }
        let told = entry.served.clone().unwrap_or_default();
        let (n_layer, n_embd, n_head, n_kv_head) = (told.n_layer, told.n_embd, told.n_head, told.n_kv_head);
        Self { params_millions, n_layer, n_embd, n_head, n_kv_head }
    }
}

/// Counted from the weights, else from the configuration.
fn params_millions(entry: &ModelEntry) -> Option<f64> {
    let configured = || entry.architecture.as_ref().map(|shape| shape.parameters());
    entry.params.or_else(configured).map(|params| params as f64 / 1e6)
}

/// `analysis/model_architecture.csv`.
pub struct ModelArchitecture;

impl Table for ModelArchitecture {
    type Row = ModelRow;
    const FILE: &'static str = "analysis/model_architecture.csv";
    const ABOUT: &'static str = "Every model as each backend loads it, in the plan's order.";

    fn derive(from: &Sources<'_>) -> Vec<ModelRow> {
        let rows = from.plan.sessions.iter().filter_map(|session| {
            let entry = from.manifest.models.get(&session.key.model)?;
            Some(row(&session.key.model, &session.key.backend, entry))
        });
        rows.collect()
    }
}

fn row(model: &str, backend: &str, entry: &ModelEntry) -> ModelRow {
    let facts = ArchitectureColumns::of(entry);
    let shape = entry.architecture.as_ref();
    let form = entry.forms.get(backend);
    ModelRow {
        model: model.to_owned(),
        backend: backend.to_owned(),
        source: match &entry.source {
            ModelOrigin::Synthetic(_) => "synthetic".to_owned(),
            ModelOrigin::Folder(name) | ModelOrigin::Served(name) => name.clone(),
        },
        weights_id: entry.weights_id.clone(),
        family: shape.map(|shape| shape.family.to_string()).or_else(|| entry.served.clone()?.architecture),
        params: entry.params,
        params_millions_effective: facts.params_millions,
        n_layer: facts.n_layer,
        n_embd: facts.n_embd,
        n_head: facts.n_head,
        n_kv_head: facts.n_kv_head,
        head_dim: shape.map(|shape| shape.head_dim as u64),
        n_inner: shape.map(|shape| shape.n_inner as u64),
        vocab: shape.map(|shape| shape.vocab as u64),
        n_positions: shape.map(|shape| shape.n_positions as u64).or_else(|| entry.served.as_ref()?.n_positions),
        tied_embeddings: shape.map(|shape| shape.tied_embeddings),
        dtype: form.map(|form| form.dtype),
        quantisation: form.and_then(|form| form.quantisation.clone()),
        bytes: form.and_then(|form| form.bytes).map(|bytes| bytes.0),
        kv_bytes_per_token: shape
            .zip(form)
            .and_then(|(shape, form)| Some(shape.kv_elements_per_token().saturating_mul(form.dtype.bytes()?))),
    }
}
