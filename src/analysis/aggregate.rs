//! `summary_by_model_backend_mode_agg.csv`: across the scenarios of one shape.

use crate::stats::LEVEL;
use crate::stats::interval::Interval;
use crate::stats::log_estimate::LogEstimate;
use crate::stats::summary::geometric_mean;
use crate::terms::Dtype;
use crate::terms::Mode;

use super::columns::columns;
use super::metric_row::tokens_per_s;
use super::models::ArchitectureColumns;
use super::summary::Summary;
use super::summary::SummaryRow;
use super::table::{Sources, Table};

/// How latency is aggregated.
pub const LATENCY_RULE: &str = "geometric mean of the scenarios' median latencies";
/// How throughput is aggregated.
pub const THROUGHPUT_RULE: &str = "geometric mean of tokens / geometric mean of median latencies";

columns! {
    /// One model on one backend in one mode, over all scenarios of the same batch and decode length that prove where they
    /// ran.
    pub struct AggregateRow {
        /// Backend name.
        backend: String,
        /// Model name.
        model: String,
        /// Hash of the weights.
        weights_id: String,
        /// Element type of the session.
        dtype: Dtype,
        /// What is timed.
        mode: Mode,
        /// Rows decoded together.
        batch: u32,
        /// Timed decode steps.
        gen_tokens: u32,
        /// Scenarios aggregated.
        n_scenarios: usize,
        /// Their names, joined by `;`.
        scenarios: String,
        /// Scenarios that other models of the same backend, mode and shape have and this one lacks, joined by `;`. Where
        /// there is one, the row must not be compared with theirs.
        missing_scenarios: String,
        /// Those of the missing ones that are left out because nothing proves where their calls ran, joined by `;`.
        unattributed_scenarios: String,
        /// Calls behind the medians.
        n_calls: usize,
        ..architecture: ArchitectureColumns,
        /// Aggregated by `latency_rule`.
        latency_ms: f64,
        /// Geometric mean of the tokens per call. `None`: a scenario has none.
        /// Unit: tokens.
        tokens: Option<f64>,
        /// Aggregated by `throughput_rule`. `None`: no tokens.
        tokens_per_s: Option<f64>,
        /// Geometric mean of the medians per token. `None` for `e2e_kv`.
        ms_per_token: Option<f64>,
        /// Geometric mean of the scenarios' locations per token. `None`, here and in the two below: for `e2e_kv`, or a scenario
        /// has no interval.
        location_ms_per_token: Option<f64>,
        /// Lower end of its 95 % interval. The scenarios are these and no sample of others: how they differ is not in it.
        /// Source: Student's t on the mean of the scenarios' logarithms with their own errors, degrees of freedom after Welch and Satterthwaite; from several sessions as if the scenarios shared all errors, since they share the sessions.
        ci_low_ms_per_token: Option<f64>,
        /// Upper end.
        ci_high_ms_per_token: Option<f64>,
        /// How latencies are aggregated.
        latency_rule: String,
        /// How throughput is aggregated.
        throughput_rule: String,
    }
}

/// `analysis/summary_by_model_backend_mode_agg.csv`.
pub struct Aggregate;

impl Table for Aggregate {
    type Row = AggregateRow;
    const FILE: &'static str = "analysis/summary_by_model_backend_mode_agg.csv";
    const ABOUT: &'static str = "Over the scenarios of one batch and decode length: one row per backend, model, mode and shape with a proven scenario, in the order of the summary.";

    fn derive(from: &Sources<'_>) -> Vec<AggregateRow> {
        let summary = from.rows::<Summary>();
        let mut members: Vec<Vec<&SummaryRow>> = Vec::new();
        for row in summary.iter().filter(|row| row.is_proven()) {
            match members.iter_mut().find(|rows| same_aggregate(rows[0], row)) {
                Some(rows) => rows.push(row),
                None => members.push(vec![row]),
            }
        }
        let rows = members.iter().filter_map(|rows| {
            let missing =
                summary.iter().filter(|other| comparable(rows[0], other)).map(|other| other.key.scenario.as_str());
            let missing = missing.filter(|scenario| rows.iter().all(|row| row.key.scenario != *scenario));
            let unproven = summary.iter().filter(|other| same_aggregate(rows[0], other) && !other.is_proven());
            let unproven = distinct(unproven.map(|other| other.key.scenario.as_str()));
            Some(AggregateRow { unattributed_scenarios: unproven.join(";"), ..row(rows, &distinct(missing))? })
        });
        rows.collect()
    }
}

/// Whether two medians differ in nothing but model and scenario.
pub(super) fn comparable(a: &SummaryRow, b: &SummaryRow) -> bool {
    a.key.backend == b.key.backend
        && a.key.dtype == b.key.dtype
        && a.mode == b.mode
        && a.key.batch == b.key.batch
        && a.key.gen_tokens == b.key.gen_tokens
}

fn same_aggregate(a: &SummaryRow, b: &SummaryRow) -> bool {
    comparable(a, b) && a.key.model == b.key.model && a.key.weights_id == b.key.weights_id
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
    let locations: Option<Vec<LogEstimate>> = rows.iter().map(|row| location_per_token(row)).collect();
    let of_sessions = rows.iter().any(|row| row.interval_kind.is_of_sessions());
    let location = locations.and_then(|locations| match of_sessions {
        true => LogEstimate::mean_of_dependent(&locations),
        false => LogEstimate::mean(&locations),
    });
    let interval = location.and_then(|location| location.interval(LEVEL));
    Some(AggregateRow {
        backend: first.key.backend.clone(),
        model: first.key.model.clone(),
        weights_id: first.key.weights_id.clone(),
        dtype: first.key.dtype,
        mode: first.mode,
        batch: first.key.batch,
        gen_tokens: first.key.gen_tokens,
        n_scenarios: rows.len(),
        scenarios: rows.iter().map(|row| row.key.scenario.as_str()).collect::<Vec<_>>().join(";"),
        missing_scenarios: missing.join(";"),
        unattributed_scenarios: String::new(),
        n_calls: rows.iter().map(|row| row.n).sum(),
        architecture: first.architecture,
        latency_ms,
        tokens,
        tokens_per_s: tokens.and_then(|tokens| tokens_per_s(tokens, latency_ms)),
        ms_per_token: per_token.and_then(|values| geometric_mean(&values)),
        location_ms_per_token: location.map(|location| location.value()),
        ci_low_ms_per_token: interval.map(|interval| interval.low),
        ci_high_ms_per_token: interval.map(|interval| interval.high),
        latency_rule: LATENCY_RULE.to_owned(),
        throughput_rule: THROUGHPUT_RULE.to_owned(),
    })
}

/// A cell's location per token with its error. `None`: no tokens, or too few calls for an interval.
fn location_per_token(row: &SummaryRow) -> Option<LogEstimate> {
    let per_token = row.ms_per_token? / row.median_ms;
    let interval = Interval { low: row.ci_low_ms? * per_token, high: row.ci_high_ms? * per_token };
    LogEstimate::of_interval(row.location_ms? * per_token, interval, LEVEL, row.n_effective? - 1.0)
}
