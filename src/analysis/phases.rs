//! `decode_fraction.csv`, `decode_fraction_summary.csv`: how an answer's time divides into prefill and decode.

use serde::{Deserialize, Serialize};

use crate::record::plan::Plan;
use crate::stats::summary::median;
use crate::terms::{Dtype, Mode};

use super::groups::{Group, groups};
use super::metrics::MetricRow;

/// One cell whose calls prefill and decode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecodeFractionRow {
    /// The plan's cell.
    pub cell_id: String,
    /// Backend name.
    pub backend: String,
    /// Model name.
    pub model: String,
    /// Hash of the weights.
    pub weights_id: String,
    /// Element type of the session.
    pub dtype: Dtype,
    /// Scenario name.
    pub scenario: String,
    /// Rows decoded together.
    pub batch: u32,
    /// Timed decode steps.
    pub gen_tokens: u32,
    /// Calls behind the median.
    pub n: usize,
    /// Median over calls of decode time ÷ end-to-end time, 0 to 1.
    pub decode_fraction: f64,
}

/// The cells of one backend and decode length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecodeFractionSummaryRow {
    /// Backend name.
    pub backend: String,
    /// Element type of the sessions.
    pub dtype: Dtype,
    /// Rows decoded together.
    pub batch: u32,
    /// Timed decode steps.
    pub gen_tokens: u32,
    /// Cells behind the median.
    pub n_cells: usize,
    /// Median of the cells' fractions.
    pub decode_fraction_median: f64,
}

/// One row per cell with a call that counts in both modes, in the plan's order.
pub(super) fn derive(plan: &Plan, metrics: &[MetricRow]) -> Vec<DecodeFractionRow> {
    let of_call = |row: &&MetricRow| matches!(row.mode, Mode::KvDecode | Mode::E2eKv);
    let all = groups(plan, metrics.iter().filter(of_call));
    let decodes = all.iter().filter(|group| group.mode == Mode::KvDecode);
    let rows = decodes.filter_map(|decode| {
        let same = |g: &&Group<'_>| {
            g.cell.id == decode.cell.id && g.weights_id == decode.weights_id && g.dtype == decode.dtype
        };
        let whole = all.iter().filter(|group| group.mode == Mode::E2eKv).find(same)?;
        row(decode, &whole.counted())
    });
    rows.collect()
}

fn row(decode: &Group<'_>, whole: &[&MetricRow]) -> Option<DecodeFractionRow> {
    let shares: Vec<f64> = decode
        .counted()
        .iter()
        .filter_map(|part| {
            let whole = whole.iter().find(|row| row.call_id == part.call_id)?.latency_ms?;
            (whole > 0.0).then_some(part.latency_ms? / whole)
        })
        .collect();
    Some(DecodeFractionRow {
        cell_id: decode.cell.id.0.clone(),
        backend: decode.cell.session.backend.clone(),
        model: decode.cell.session.model.clone(),
        weights_id: decode.weights_id.to_owned(),
        dtype: decode.dtype,
        scenario: decode.cell.scenario.clone(),
        batch: decode.cell.batch,
        gen_tokens: decode.cell.gen_tokens,
        n: shares.len(),
        decode_fraction: median(&shares)?,
    })
}

/// One row per backend, element type, batch and decode length, in the order of the rows.
pub(super) fn summarise(rows: &[DecodeFractionRow]) -> Vec<DecodeFractionSummaryRow> {
    let mut members: Vec<Vec<&DecodeFractionRow>> = Vec::new();
    for row in rows {
        let key = |r: &DecodeFractionRow| (r.backend.clone(), r.dtype, r.batch, r.gen_tokens);
        match members.iter_mut().find(|rows| key(rows[0]) == key(row)) {
            Some(rows) => rows.push(row),
            None => members.push(vec![row]),
        }
    }
    let summaries = members.iter().filter_map(|rows| {
        let fractions: Vec<f64> = rows.iter().map(|row| row.decode_fraction).collect();
        let first = rows.first()?;
        Some(DecodeFractionSummaryRow {
            backend: first.backend.clone(),
            dtype: first.dtype,
            batch: first.batch,
            gen_tokens: first.gen_tokens,
            n_cells: rows.len(),
            decode_fraction_median: median(&fractions)?,
        })
    });
    summaries.collect()
}
