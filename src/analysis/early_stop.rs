//! `early_stop_summary.csv`: how often an engine ended a call before all decode steps were made, and what became of it.

use std::collections::BTreeMap;

use crate::record::plan::{Cell, Plan};
use crate::terms::{Degraded, Mode, Role};

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
        let decodes = |cell: &&Cell| cell.procedure.modes().iter().any(|&mode| is_decode(mode));
        let cells: Vec<&Cell> = from.plan.cells.iter().filter(decodes).collect();
        let backends = cells.iter().map(|cell| [Some(cell.session.backend.as_str()), None, None]);
        let scenarios = cells.iter().map(|cell| {
            let names = [&cell.session.backend, &cell.session.model, &cell.scenario];
            names.map(|name| Some(name.as_str()))
        });
        let mut keys: Vec<[Option<&str>; 3]> = Vec::new();
        for key in std::iter::once([None; 3]).chain(backends).chain(scenarios) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let of = |key: &[Option<&str>; 3]| {
            let matches = |row: &&&MetricRow| {
                let names = [&row.key.backend, &row.key.model, &row.key.scenario];
                key.iter().zip(names).all(|(wanted, name)| wanted.is_none_or(|wanted| wanted == name))
            };
            row(from.plan, key, &calls.iter().filter(matches).copied().collect::<Vec<_>>())
        };
        keys.iter().map(of).collect()
    }
}

/// Of the rows of a call that decodes exactly one has such a mode.
fn is_decode(mode: Mode) -> bool {
    matches!(mode, Mode::KvDecode | Mode::GenerateUncached)
}

fn row(plan: &Plan, [backend, model, scenario]: &[Option<&str>; 3], calls: &[&MetricRow]) -> EarlyStopRow {
    let left_out = |row: &MetricRow| matches!(row.degraded_kind, Some(Degraded::EarlyStop | Degraded::TooShort));
    let count = |counts: &dyn Fn(&MetricRow) -> bool| calls.iter().filter(|row| counts(row)).count();
    let early_stops = count(&|row| row.scaled || left_out(row));
    let timed = || calls.iter().filter(|row| row.role == Role::Timed);
    let last: BTreeMap<(&str, u32), &MetricRow> =
        timed().map(|row| ((row.key.cell_id.as_str(), row.index), *row)).collect();
    let share = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
    EarlyStopRow {
        backend: backend.map(str::to_owned),
        model: model.map(str::to_owned),
        scenario: scenario.map(str::to_owned),
        calls: calls.len(),
        early_stops,
        share: share(early_stops, calls.len()),
        timed_calls: last.len(),
        tries_per_timed_call: share(timed().count(), last.len()),
        scaled: count(&|row| row.scaled),
        too_short: count(&|row| row.degraded_kind == Some(Degraded::TooShort)),
        unfinished: last.values().filter(|row| left_out(row) && row.attempt >= plan.early_stop.retries).count(),
    }
}
