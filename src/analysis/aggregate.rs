//! `summary_by_model_backend_mode_agg.csv`: across the scenarios of one shape.

use serde::{Deserialize, Serialize};

use crate::stats::summary::geometric_mean;
use crate::terms::{Dtype, Mode};

use super::metrics::tokens_per_s;
use super::summary::SummaryRow;

/// How latency is aggregated.
pub const LATENCY_RULE: &str = "geometric mean of the scenarios' median latencies";
/// How throughput is aggregated.
pub const THROUGHPUT_RULE: &str = "geometric mean of tokens / geometric mean of median latencies";

/// One model on one backend in one mode, over all scenarios of the same batch and decode length that prove where they
/// ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AggregateRow {
    /// Backend name.
    pub backend: String,
    /// Model name.
    pub model: String,
    /// Hash of the weights.
    pub weights_id: String,
    /// Element type of the session.
    pub dtype: Dtype,
    /// What is timed.
    pub mode: Mode,
    /// Rows decoded together.
    pub batch: u32,
    /// Timed decode steps.
    pub gen_tokens: u32,
    /// Scenarios aggregated.
    pub n_scenarios: usize,
    /// Their names, joined by `;`.
    pub scenarios: String,
    /// Scenarios that other models of the same backend, mode and shape have and this one lacks, joined by `;`. Where
    /// there is one, the row must not be compared with theirs.
    pub missing_scenarios: String,
    /// Those of the missing ones that are left out because nothing proves where their calls ran, joined by `;`.
    pub unattributed_scenarios: String,
    /// Calls behind the medians.
    pub n_calls: usize,
    /// Parameters in millions, see [`super::MetricRow::params_millions`].
    pub params_millions: Option<f64>,
    /// Transformer blocks.
    pub n_layer: Option<u64>,
    /// Width of the residual stream.
    pub n_embd: Option<u64>,
    /// Query heads.
    pub n_head: Option<u64>,
    /// Key-value heads.
    pub n_kv_head: Option<u64>,
    /// Aggregated by `latency_rule`.
    pub latency_ms: f64,
    /// Geometric mean of the tokens per call. `None`: a scenario has none.
    pub tokens: Option<f64>,
    /// Aggregated by `throughput_rule`. `None`: no tokens.
    pub tokens_per_s: Option<f64>,
    /// Geometric mean of the medians per token. `None` for `e2e_kv`.
    pub ms_per_token: Option<f64>,
    /// [`LATENCY_RULE`].
    pub latency_rule: String,
    /// [`THROUGHPUT_RULE`].
    pub throughput_rule: String,
}

/// One row per backend, model, mode and shape with a proven scenario, in the order of the summary.
pub(super) fn derive(summary: &[SummaryRow]) -> Vec<AggregateRow> {
    let mut members: Vec<Vec<&SummaryRow>> = Vec::new();
    for row in summary.iter().filter(|row| row.is_proven()) {
        match members.iter_mut().find(|rows| same_aggregate(rows[0], row)) {
            Some(rows) => rows.push(row),
            None => members.push(vec![row]),
        }
    }
    let rows = members.iter().filter_map(|rows| {
        let missing = summary.iter().filter(|other| comparable(rows[0], other)).map(|other| other.scenario.as_str());
        let missing = missing.filter(|scenario| rows.iter().all(|row| row.scenario != *scenario));
        let unproven = summary.iter().filter(|other| same_aggregate(rows[0], other) && !other.is_proven());
        let unproven = distinct(unproven.map(|other| other.scenario.as_str()));
        Some(AggregateRow { unattributed_scenarios: unproven.join(";"), ..row(rows, &distinct(missing))? })
    });
    rows.collect()
}

/// Whether two medians differ in nothing but model and scenario.
pub(super) fn comparable(a: &SummaryRow, b: &SummaryRow) -> bool {
    a.backend == b.backend
        && a.dtype == b.dtype
        && a.mode == b.mode
        && a.batch == b.batch
        && a.gen_tokens == b.gen_tokens
}

fn same_aggregate(a: &SummaryRow, b: &SummaryRow) -> bool {
    comparable(a, b) && a.model == b.model && a.weights_id == b.weights_id
}

/// The names in order of their first appearance, each once.
#[must_use]
pub fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

fn row(rows: &[&SummaryRow], missing: &[&str]) -> Option<AggregateRow> {
    let first = rows.first()?;
    let medians: Vec<f64> = rows.iter().map(|row| row.median_ms).collect();
    let latency_ms = geometric_mean(&medians)?;
    let tokens: Option<Vec<f64>> = rows.iter().map(|row| row.tokens.map(|tokens| tokens as f64)).collect();
    let tokens = tokens.and_then(|tokens| geometric_mean(&tokens));
    let per_token: Option<Vec<f64>> = rows.iter().map(|row| row.ms_per_token).collect();
    Some(AggregateRow {
        backend: first.backend.clone(),
        model: first.model.clone(),
        weights_id: first.weights_id.clone(),
        dtype: first.dtype,
        mode: first.mode,
        batch: first.batch,
        gen_tokens: first.gen_tokens,
        n_scenarios: rows.len(),
        scenarios: rows.iter().map(|row| row.scenario.as_str()).collect::<Vec<_>>().join(";"),
        missing_scenarios: missing.join(";"),
        unattributed_scenarios: String::new(),
        n_calls: rows.iter().map(|row| row.n).sum(),
        params_millions: first.params_millions,
        n_layer: first.n_layer,
        n_embd: first.n_embd,
        n_head: first.n_head,
        n_kv_head: first.n_kv_head,
        latency_ms,
        tokens,
        tokens_per_s: tokens.and_then(|tokens| tokens_per_s(tokens, latency_ms)),
        ms_per_token: per_token.and_then(|values| geometric_mean(&values)),
        latency_rule: LATENCY_RULE.to_owned(),
        throughput_rule: THROUGHPUT_RULE.to_owned(),
    })
}
