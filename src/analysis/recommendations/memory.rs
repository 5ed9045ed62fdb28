//! What fits into a memory: the longest context and the largest batch of every model.

use crate::analysis::kv_memory::{Known, KvEmpiricalRow, KvMemoryEmpirical, KvMemoryTheoretical, known};
use crate::analysis::table::Table as _;
use crate::kv::Cache;
use crate::record::manifest::Manifest;
use crate::record::plan::Plan;
use crate::units::Bytes;

use super::row::{RecommendationRow, Standing, Topic};

/// One row per model and element type that it was loaded in, for weights and cache in it. `context` is the longest request;
/// `None`: the model's longest context.
#[must_use]
pub fn for_memory(
    plan: &Plan,
    manifest: &Manifest,
    allocated: &[KvEmpiricalRow],
    memory: Bytes,
    context: Option<u64>,
) -> Vec<RecommendationRow> {
    let mut rows = Vec::new();
    for model in known(plan, manifest) {
        let own: Vec<&KvEmpiricalRow> = allocated.iter().filter(|row| row.key.model == model.name).collect();
        let loaded = manifest.models.get(model.name).into_iter().flat_map(|entry| entry.forms.values());
        let mut types: Vec<(&str, u64)> =
            loaded.filter_map(|form| Some((form.dtype.as_str(), form.dtype.bytes()?))).collect();
        types.sort_unstable();
        types.dedup();
        rows.extend(types.into_iter().map(|of| row(&model, of, &own, memory, context)));
    }
    rows
}

fn row(
    model: &Known<'_>,
    (element, width): (&str, u64),
    allocated: &[&KvEmpiricalRow],
    memory: Bytes,
    context: Option<u64>,
) -> RecommendationRow {
    let (cache, weights) = (Cache::of(model.shape, width), model.params.saturating_mul(width));
    let longest = model.shape.n_positions as u64;
    let asked = context.map_or(longest, |context| context.min(longest));
    let fits = cache.longest_context(memory.0, weights, 1).zip(cache.largest_batch(memory.0, weights, asked));
    let advice = match fits {
        None => "the weights alone do not fit".to_owned(),
        Some((0, _)) => "the weights fit, and no token beside them".to_owned(),
        Some((tokens, 0)) => format!("contexts of up to {tokens} tokens, one at a time; {asked} do not fit"),
        Some((tokens, batch)) => {
            format!("contexts of up to {tokens} tokens, one at a time; of {asked} tokens up to {batch} at once")
        }
    };
    let told: Vec<i64> = allocated.iter().filter_map(|row| row.difference).collect();
    let as_in_theory = !told.is_empty() && told.iter().all(|bytes| *bytes == 0);
    RecommendationRow {
        topic: Topic::Memory,
        about: format!("{} ({element}) in {memory}", model.name),
        standing: if as_in_theory { Standing::Decided } else { Standing::Hint },
        advice,
        figures: Some(format!("weights {}, cache {} a token", Bytes(weights), Bytes(cache.bytes_per_token()))),
        rows: [KvMemoryTheoretical::FILE, KvMemoryEmpirical::FILE].join("; "),
        overturned_by: "blocks, padding and pools of an engine; activations, which are in neither".to_owned(),
    }
}
