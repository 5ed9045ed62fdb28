//! `early_stop_summary.csv`: how often an engine ended a call before all decode steps were made, and what became of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::record::plan::{Cell, Plan};
use crate::terms::{Degraded, EarlyStop, Mode, Role};

use super::columns::columns;
use super::key::CellKey;
use super::metrics::MetricRow;
use super::metrics::Metrics;
use super::table::{Sources, Table};

columns! {
    /// The calls that decode of the run, of one backend, or of one backend, model and scenario.
    pub struct EarlyStopRow {
        /// Backend name. `None`: the whole run.
        backend: Option<String>,
        /// Model name. `None`, here and below: all of them.
        model: Option<String>,
        /// Scenario name.
        scenario: Option<String>,
        /// Calls of every role, each try by itself.
        calls: usize,
        /// Of these, ended at a stop token before all steps were made, and not degraded for another reason.
        early_stops: usize,
        /// `early_stops` ÷ `calls`. `None`: no call.
        /// Unit: fraction.
        share: Option<f64>,
        /// Timed calls; the tries of one are one call.
        timed_calls: usize,
        /// Tries ÷ timed calls. `None`: no timed call.
        /// Unit: tries per call.
        tries_per_timed_call: Option<f64>,
        /// Calls that count with their decode time scaled.
        scaled: usize,
        /// Calls with too few steps to be scaled.
        too_short: usize,
        /// Timed calls whose last try ended early and does not count.
        unfinished: usize,
    }
}

/// `analysis/early_stop_summary.csv`.
pub struct EarlyStops;

impl Table for EarlyStops {
    type Row = EarlyStopRow;
    const FILE: &'static str = "analysis/early_stop_summary.csv";
    const ABOUT: &'static str = "The run, every backend, then every backend, model and scenario, in the plan's order.";

    fn derive(from: &Sources<'_>) -> Vec<EarlyStopRow> {
        let metrics = from.rows::<Metrics>();
        let of_cells = decoding_calls(&metrics);
        let rule = from.plan.early_stop;
        let of_cell = |calls: &Vec<&MetricRow>| Counts::of(rule, calls);
        let mut counts: HashMap<Selection<'_>, Counts> = HashMap::new();
        for (calls, of_cell) in of_cells.iter().zip(of_cells.par_iter().map(of_cell).collect::<Vec<_>>()) {
            for selection in Selection::of(calls[0]) {
                counts.entry(selection).or_default().add(of_cell);
            }
        }
        let scopes = scopes(from.plan);
        scopes.iter().map(|scope| row(scope, counts.get(scope).copied().unwrap_or_default())).collect()
    }
}

/// The calls that a row is about: all but those that a name excludes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Selection<'a> {
    backend: Option<&'a str>,
    model: Option<&'a str>,
    scenario: Option<&'a str>,
}

impl<'a> Selection<'a> {
    /// Those that a call is in.
    fn of(call: &'a MetricRow) -> [Self; 3] {
        let key = &call.key;
        let of_backend = Self { backend: Some(&key.backend), ..Self::default() };
        [Self::default(), of_backend, Self { model: Some(&key.model), scenario: Some(&key.scenario), ..of_backend }]
    }
}

/// The rows of calls that decode, cell by cell, whether the plan has it or not.
fn decoding_calls(metrics: &[MetricRow]) -> Vec<Vec<&MetricRow>> {
    let mut of_cells: Vec<Vec<&MetricRow>> = Vec::new();
    let mut by_name: HashMap<(&str, Selection<'_>), usize> = HashMap::new();
    // Rows of one cell share their key: a million of them need not look for the cell by name.
    let mut by_key: HashMap<*const CellKey, usize> = HashMap::new();
    for call in metrics.iter().filter(|row| is_decode(row.mode)) {
        let find = || {
            let [.., own] = Selection::of(call);
            *by_name.entry((&call.key.cell_id, own)).or_insert_with(|| {
                of_cells.push(Vec::new());
                of_cells.len() - 1
            })
        };
        let place = *by_key.entry(Arc::as_ptr(&call.key)).or_insert_with(find);
        of_cells[place].push(call);
    }
    of_cells
}

/// The run, every backend, then every backend, model and scenario of which a call decodes.
fn scopes(plan: &Plan) -> Vec<Selection<'_>> {
    let decode: Vec<&Cell> = plan.cells.iter().filter(|cell| decodes(cell)).collect();
    let backends = decode.iter().map(|cell| Selection { backend: Some(&cell.session.backend), ..Selection::default() });
    let scenarios = decode.iter().map(|cell| Selection {
        backend: Some(&cell.session.backend),
        model: Some(&cell.session.model),
        scenario: Some(&cell.scenario),
    });
    let mut seen = HashSet::new();
    let all = std::iter::once(Selection::default()).chain(backends).chain(scenarios);
    all.filter(|scope| seen.insert(*scope)).collect()
}

fn decodes(cell: &Cell) -> bool {
    cell.procedure.modes().iter().any(|&mode| is_decode(mode))
}

/// Of the rows of a call that decodes exactly one has such a mode.
fn is_decode(mode: Mode) -> bool {
    matches!(mode, Mode::KvDecode | Mode::GenerateUncached)
}

/// Whether a call ended early and is in no figure for it.
fn is_left_out(row: &MetricRow) -> bool {
    matches!(row.degraded_kind, Some(Degraded::EarlyStop | Degraded::TooShort))
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// What is counted of calls.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    calls: usize,
    early_stops: usize,
    /// Tries of timed calls, those that something outside disturbed aside.
    tries: usize,
    timed_calls: usize,
    scaled: usize,
    too_short: usize,
    unfinished: usize,
}

impl Counts {
    /// Of the calls of one cell.
    fn of(rule: EarlyStop, calls: &[&MetricRow]) -> Self {
        // Tries that something outside disturbed are none of this.
        let disturbed = |row: &MetricRow| row.made_again && !is_left_out(row);
        let timed = calls.iter().filter(|row| row.role == Role::Timed);
        // The last try of every timed call.
        let last: HashMap<u32, &MetricRow> = timed.clone().map(|row| (row.index, *row)).collect();
        Self {
            calls: calls.len(),
            early_stops: calls.iter().filter(|row| row.scaled || is_left_out(row)).count(),
            tries: timed.filter(|row| !disturbed(row)).count(),
            timed_calls: last.len(),
            scaled: calls.iter().filter(|row| row.scaled).count(),
            too_short: calls.iter().filter(|row| row.degraded_kind == Some(Degraded::TooShort)).count(),
            unfinished: last.values().filter(|row| is_left_out(row) && row.attempt >= rule.retries).count(),
        }
    }

    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.early_stops += other.early_stops;
        self.tries += other.tries;
        self.timed_calls += other.timed_calls;
        self.scaled += other.scaled;
        self.too_short += other.too_short;
        self.unfinished += other.unfinished;
    }
}

fn row(scope: &Selection<'_>, counts: Counts) -> EarlyStopRow {
    EarlyStopRow {
        backend: scope.backend.map(str::to_owned),
        model: scope.model.map(str::to_owned),
        scenario: scope.scenario.map(str::to_owned),
        calls: counts.calls,
        early_stops: counts.early_stops,
        share: share(counts.early_stops, counts.calls),
        timed_calls: counts.timed_calls,
        tries_per_timed_call: share(counts.tries, counts.timed_calls),
        scaled: counts.scaled,
        too_short: counts.too_short,
        unfinished: counts.unfinished,
    }
}
