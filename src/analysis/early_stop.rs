//! `early_stop_summary.csv`: how often an engine ended a call before all decode steps were made, and what became of it.

use std::collections::BTreeMap;

use crate::record::plan::{Cell, Plan};
use crate::terms::{Degraded, EarlyStop, Mode, Role};

use super::columns::columns;
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
        let calls: Vec<&MetricRow> = metrics.iter().filter(|row| is_decode(row.mode)).collect();
        let scopes = scopes(from.plan);
        scopes.iter().map(|scope| row(from.plan.early_stop, scope, &scope.among(&calls))).collect()
    }
}

/// The calls that a row is about: all but those that a name excludes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Selection<'a> {
    backend: Option<&'a str>,
    model: Option<&'a str>,
    scenario: Option<&'a str>,
}

impl Selection<'_> {
    fn among<'a>(&self, calls: &[&'a MetricRow]) -> Vec<&'a MetricRow> {
        calls.iter().copied().filter(|call| self.holds(call)).collect()
    }

    fn holds(&self, call: &MetricRow) -> bool {
        self.backend.is_none_or(|name| name == call.key.backend)
            && self.model.is_none_or(|name| name == call.key.model)
            && self.scenario.is_none_or(|name| name == call.key.scenario)
    }
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
    let mut found = vec![Selection::default()];
    for scope in backends.chain(scenarios) {
        if !found.contains(&scope) {
            found.push(scope);
        }
    }
    found
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

/// The last try of every timed call.
fn last_tries<'a>(calls: &[&'a MetricRow]) -> Vec<&'a MetricRow> {
    let timed = calls.iter().filter(|row| row.role == Role::Timed);
    let by_call: BTreeMap<(&str, u32), &MetricRow> =
        timed.map(|row| ((row.key.cell_id.as_str(), row.index), *row)).collect();
    by_call.into_values().collect()
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn row(rule: EarlyStop, scope: &Selection<'_>, calls: &[&MetricRow]) -> EarlyStopRow {
    let early_stops = calls.iter().filter(|row| row.scaled || is_left_out(row)).count();
    // Tries that something outside disturbed are none of this.
    let disturbed = |row: &MetricRow| row.made_again && !is_left_out(row);
    let tries = calls.iter().filter(|row| row.role == Role::Timed && !disturbed(row)).count();
    let last = last_tries(calls);
    EarlyStopRow {
        backend: scope.backend.map(str::to_owned),
        model: scope.model.map(str::to_owned),
        scenario: scope.scenario.map(str::to_owned),
        calls: calls.len(),
        early_stops,
        share: share(early_stops, calls.len()),
        timed_calls: last.len(),
        tries_per_timed_call: share(tries, last.len()),
        scaled: calls.iter().filter(|row| row.scaled).count(),
        too_short: calls.iter().filter(|row| row.degraded_kind == Some(Degraded::TooShort)).count(),
        unfinished: last.iter().filter(|row| is_left_out(row) && row.attempt >= rule.retries).count(),
    }
}
