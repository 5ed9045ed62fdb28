//! `kv_memory_theoretical.csv`, `kv_memory_empirical.csv`, `kv_crossover_points.csv`: what the KV cache takes in theory,
//! what engines allocated, and when it is as large as the weights.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::kv::{Cache, MIB, multi_head_of_equal_size};
use crate::record::manifest::{Manifest, ModelEntry};
use crate::record::plan::Plan;
use crate::terms::model::Architecture;
use crate::terms::{Mode, Procedure};

use super::columns::columns;
use super::groups::{Group, by_cell};
use super::key::CellKey;
use super::metrics::{MetricRow, Metrics};
use super::table::{Sources, Table};

/// Contexts that theory is told for, as TR123 does.
pub const CONTEXTS: [u64; 6] = [64, 128, 256, 512, 1024, 2048];

columns! {
    /// One model's cache of one element type at one context, for one sequence.
    pub struct KvTheoryRow {
        /// Model name.
        model: String,
        /// Element type of the cache: `f32`, `f16`, or `8-bit`, whose scales are not counted.
        element: String,
        /// What one token of one sequence adds.
        /// Unit: bytes.
        /// Source: technical report TR123, `2 × n_layers × n_kv_heads × head_dim × bytes_per_element`.
        kv_bytes_per_token: u64,
        /// Tokens of the context.
        context: u64,
        /// Whether that is more than the model's longest context, which is then what is held.
        beyond_longest: bool,
        /// The cache.
        /// Unit: MiB.
        kv_mib: f64,
        /// Cache ÷ weights of the same element type. `None`: an 8-bit cache, whose weights are of another type.
        /// Unit: fraction.
        share_of_weights: Option<f64>,
    }
}

columns! {
    /// One cell: its cache in theory beside what the engine allocated.
    pub struct KvEmpiricalRow {
        ..key: Arc<CellKey>,
        /// Calls that count and tell their cache.
        n: usize,
        /// Tokens of a row that the cache holds at a call's end: prompt, padding included, and decode steps.
        tokens_held: u64,
        /// The cache of all rows in theory, in the session's element type. `None`: the model's shape or that type is not known.
        /// Source: technical report TR123, as `kv_memory_theoretical.csv`.
        theory_bytes: Option<u64>,
        /// The largest that a call allocated.
        allocated_bytes: u64,
        /// Allocated − theory: blocks, padding, pools. `None`: no theory.
        /// Unit: bytes.
        difference: Option<i64>,
        /// The same ÷ theory. `None`: no theory.
        difference_relative: Option<f64>,
    }
}

columns! {
    /// One model's cache of one element type against its weights.
    pub struct KvCrossoverRow {
        /// Model name.
        model: String,
        /// Element type of cache and weights.
        element: String,
        /// Parameters × bytes of the element type.
        weights_bytes: u64,
        /// What one token of one sequence adds.
        /// Unit: bytes.
        kv_bytes_per_token: u64,
        /// Whole tokens of one sequence whose cache is as large as the weights.
        /// Source: technical report TR123, `floor(weights ÷ bytes per token)`.
        /// Unit: tokens.
        crossover: u64,
        /// Whether that is more than the model's longest context.
        beyond_longest: bool,
        /// Longest context.
        /// Unit: tokens.
        longest_context: u64,
        /// What a token would take with as many key-value heads as query heads, the MLP narrower by as many parameters. `None`:
        /// heads are not grouped.
        /// Unit: bytes.
        multi_head_kv_bytes_per_token: Option<u64>,
        /// The MLP's width in that model. `None`: as above.
        multi_head_n_inner: Option<u64>,
        /// How many times as large that cache would be. `None`: as above.
        /// Unit: ratio.
        multi_head_ratio: Option<f64>,
    }
}

/// A model whose shape is known, with the width of every element type that its cache may have.
pub(super) struct Known<'a> {
    pub(super) name: &'a str,
    pub(super) shape: &'a Architecture,
    pub(super) params: u64,
    /// Name and bytes; the last one is 8-bit.
    elements: Vec<(&'static str, u64)>,
}

/// Models whose shape is known, in the plan's order, with the types that their sessions have, f16, and 8-bit.
pub(super) fn known<'a>(plan: &'a Plan, manifest: &'a Manifest) -> impl Iterator<Item = Known<'a>> {
    let mut seen = BTreeSet::new();
    let names = plan.sessions.iter().map(|session| session.key.model.as_str());
    names.filter(move |name| seen.insert(*name)).filter_map(|name| {
        let entry = manifest.models.get(name)?;
        let shape = entry.architecture.as_ref()?;
        let loaded = loaded(entry);
        let mut elements: Vec<(&str, u64)> =
            [("f32", 4), ("f16", 2)].into_iter().filter(|of| loaded.contains(of)).collect();
        if !elements.contains(&("f16", 2)) {
            elements.push(("f16", 2));
        }
        elements.push((EIGHT_BIT, 1));
        Some(Known { name, shape, params: entry.params.unwrap_or_else(|| shape.parameters()), elements })
    })
}

const EIGHT_BIT: &str = "8-bit";

fn loaded(entry: &ModelEntry) -> BTreeSet<(&'static str, u64)> {
    entry.forms.values().filter_map(|form| Some((form.dtype.as_str(), form.dtype.bytes()?))).collect()
}

/// `analysis/kv_memory_theoretical.csv`.
pub struct KvMemoryTheoretical;

impl Table for KvMemoryTheoretical {
    type Row = KvTheoryRow;
    const FILE: &'static str = "analysis/kv_memory_theoretical.csv";
    const ABOUT: &'static str =
        "Every model whose shape is known, by element type of the cache and context; one sequence.";

    fn derive(from: &Sources<'_>) -> Vec<KvTheoryRow> {
        let mut rows = Vec::new();
        for model in known(from.plan, from.manifest) {
            for (element, bytes) in &model.elements {
                rows.extend(CONTEXTS.iter().map(|context| theory(&model, element, *bytes, *context)));
            }
        }
        rows
    }
}

fn theory(model: &Known<'_>, element: &str, bytes: u64, context: u64) -> KvTheoryRow {
    let cache = Cache::of(model.shape, bytes);
    let held = cache.bytes(1, context) as f64;
    let weights = model.params.saturating_mul(bytes) as f64;
    KvTheoryRow {
        model: model.name.to_owned(),
        element: element.to_owned(),
        kv_bytes_per_token: cache.bytes_per_token(),
        context,
        beyond_longest: context > model.shape.n_positions as u64,
        kv_mib: held / MIB,
        share_of_weights: (element != EIGHT_BIT && weights > 0.0).then(|| held / weights),
    }
}

/// `analysis/kv_memory_empirical.csv`.
pub struct KvMemoryEmpirical;

impl Table for KvMemoryEmpirical {
    type Row = KvEmpiricalRow;
    const FILE: &'static str = "analysis/kv_memory_empirical.csv";
    const ABOUT: &'static str = "Every cell whose engine tells what it allocated, in the plan's order.";

    fn derive(from: &Sources<'_>) -> Vec<KvEmpiricalRow> {
        let metrics = from.rows::<Metrics>();
        // A call tells its cache at its end, so of a call that decodes only that row is looked at.
        let last = |group: &&Group<'_>| match group.cell.procedure {
            Procedure::Prefill => group.mode == Mode::Prefill,
            _ => group.mode == Mode::KvDecode,
        };
        let all = by_cell(from, &metrics, |_| true);
        all.iter().filter(last).filter_map(|group| empirical(group, from.manifest)).collect()
    }
}

fn empirical(group: &Group<'_>, manifest: &Manifest) -> Option<KvEmpiricalRow> {
    let counted = group.counted();
    let told: Vec<&MetricRow> =
        counted.iter().copied().filter(|row| row.kv_bytes().is_some_and(|bytes| bytes > 0)).collect();
    let allocated = told.iter().filter_map(|row| row.kv_bytes()).max()?;
    let held =
        told.iter().map(|row| Some(u64::from(row.prompt_padded()?) + u64::from(row.decode_steps_timed()))).max()??;
    let shape = manifest.models.get(&group.key.model).and_then(|entry| entry.architecture.as_ref());
    let theory = shape.zip(group.key.dtype.bytes()).map(|(shape, bytes)| Cache::of(shape, bytes));
    let theory = theory.map(|cache| cache.bytes(u64::from(group.key.batch), held));
    let difference = theory.and_then(|theory| Some(i64::try_from(allocated).ok()? - i64::try_from(theory).ok()?));
    let of_theory = theory.filter(|theory| *theory > 0).zip(difference);
    Some(KvEmpiricalRow {
        key: group.key(),
        n: told.len(),
        tokens_held: held,
        theory_bytes: theory,
        allocated_bytes: allocated,
        difference,
        difference_relative: of_theory.map(|(theory, difference)| difference as f64 / theory as f64),
    })
}

/// `analysis/kv_crossover_points.csv`.
pub struct KvCrossoverPoints;

impl Table for KvCrossoverPoints {
    type Row = KvCrossoverRow;
    const FILE: &'static str = "analysis/kv_crossover_points.csv";
    const ABOUT: &'static str = "Every model whose shape is known, by element type of cache and weights.";

    fn derive(from: &Sources<'_>) -> Vec<KvCrossoverRow> {
        let rows = known(from.plan, from.manifest).flat_map(|model| {
            let elements = model.elements.iter().filter(|(element, _)| *element != EIGHT_BIT);
            elements.filter_map(|(element, bytes)| crossover(&model, element, *bytes)).collect::<Vec<_>>()
        });
        rows.collect()
    }
}

fn crossover(model: &Known<'_>, element: &str, bytes: u64) -> Option<KvCrossoverRow> {
    let cache = Cache::of(model.shape, bytes);
    let weights = model.params * bytes;
    let tokens = cache.crossover_tokens(weights)?;
    let multi = multi_head_of_equal_size(model.shape);
    let multi_per_token = multi.as_ref().map(|shape| Cache::of(shape, bytes).bytes_per_token());
    Some(KvCrossoverRow {
        model: model.name.to_owned(),
        element: element.to_owned(),
        weights_bytes: weights,
        kv_bytes_per_token: cache.bytes_per_token(),
        crossover: tokens,
        beyond_longest: tokens > model.shape.n_positions as u64,
        longest_context: model.shape.n_positions as u64,
        multi_head_kv_bytes_per_token: multi_per_token,
        multi_head_n_inner: multi.map(|shape| shape.n_inner as u64),
        multi_head_ratio: multi_per_token.map(|bytes| bytes as f64 / cache.bytes_per_token() as f64),
    })
}
