//! `decode_fraction.csv`, `decode_fraction_summary.csv`: how an answer's time divides into prefill and decode.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::stats::summary::median;
use crate::terms::Dtype;
use crate::terms::Mode;

use super::columns::columns;
use super::groups::{Group, by_cell};
use super::key::CellKey;
use super::metrics::MetricRow;
use super::metrics::Metrics;
use super::table::{Sources, Table};

columns! {
    /// One cell whose calls prefill and decode.
    pub struct DecodeFractionRow {
        ..key: Arc<CellKey>,
        /// Calls behind the median.
        n: usize,
        /// Median over calls of decode time ÷ end-to-end time, 0 to 1.
        /// Unit: fraction.
        decode_fraction: f64,
    }
}

columns! {
    /// The cells of one backend and decode length.
    pub struct DecodeFractionSummaryRow {
        /// Backend name.
        backend: String,
        /// Element type of the sessions.
        dtype: Dtype,
        /// Rows decoded together.
        batch: u32,
        /// Timed decode steps.
        gen_tokens: u32,
        /// Cells behind the median.
        n_cells: usize,
        /// Median of the cells' fractions.
        /// Unit: fraction.
        decode_fraction_median: f64,
    }
}

/// `analysis/decode_fraction.csv`.
pub struct DecodeFraction;

impl Table for DecodeFraction {
    type Row = DecodeFractionRow;
    const FILE: &'static str = "analysis/decode_fraction.csv";
    const ABOUT: &'static str = "Per cell with a call that counts in both modes, in the plan's order.";

    fn derive(from: &Sources<'_>) -> Vec<DecodeFractionRow> {
        let metrics = from.rows::<Metrics>();
        let of_call = |row: &MetricRow| matches!(row.mode, Mode::KvDecode | Mode::E2eKv);
        let all = by_cell(from, &metrics, of_call);
        let cells: Vec<&[Group<'_>]> = all.chunk_by(|a, b| a.cell.id == b.cell.id).collect();
        cells.par_iter().flat_map_iter(|groups| of_cell(groups)).collect()
    }
}

/// A row for every decode of a cell that has end-to-end times too.
fn of_cell(groups: &[Group<'_>]) -> Vec<DecodeFractionRow> {
    let decodes = groups.iter().filter(|group| group.mode == Mode::KvDecode);
    let rows = decodes.filter_map(|decode| {
        let whole = groups.iter().find(|group| group.mode == Mode::E2eKv && group.key == decode.key)?;
        row(decode, &whole.counted())
    });
    rows.collect()
}

fn row(decode: &Group<'_>, whole: &[&MetricRow]) -> Option<DecodeFractionRow> {
    let wholes: HashMap<&str, &MetricRow> = whole.iter().rev().map(|row| (row.call_id.as_str(), *row)).collect();
    let shares: Vec<f64> = decode
        .counted()
        .iter()
        .filter_map(|part| {
            let whole = wholes.get(part.call_id.as_str())?.latency_ms?;
            (whole > 0.0).then_some(part.latency_ms? / whole)
        })
        .collect();
    Some(DecodeFractionRow { key: decode.key(), n: shares.len(), decode_fraction: median(&shares)? })
}

/// `analysis/decode_fraction_summary.csv`.
pub struct DecodeFractionSummary;

impl Table for DecodeFractionSummary {
    type Row = DecodeFractionSummaryRow;
    const FILE: &'static str = "analysis/decode_fraction_summary.csv";
    const ABOUT: &'static str = "Over the cells of a backend, element type, batch and decode length.";

    fn derive(from: &Sources<'_>) -> Vec<DecodeFractionSummaryRow> {
        let decode_fraction = from.rows::<DecodeFraction>();
        let mut members: Vec<Vec<&DecodeFractionRow>> = Vec::new();
        for row in decode_fraction.iter() {
            let key = |r: &DecodeFractionRow| (r.key.backend.clone(), r.key.dtype, r.key.batch, r.key.gen_tokens);
            match members.iter_mut().find(|rows| key(rows[0]) == key(row)) {
                Some(rows) => rows.push(row),
                None => members.push(vec![row]),
            }
        }
        let summaries = members.iter().filter_map(|rows| {
            let fractions: Vec<f64> = rows.iter().map(|row| row.decode_fraction).collect();
            let first = rows.first()?;
            Some(DecodeFractionSummaryRow {
                backend: first.key.backend.clone(),
                dtype: first.key.dtype,
                batch: first.key.batch,
                gen_tokens: first.key.gen_tokens,
                n_cells: rows.len(),
                decode_fraction_median: median(&fractions)?,
            })
        });
        summaries.collect()
    }
}
