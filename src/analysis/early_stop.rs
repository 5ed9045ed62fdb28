//! `early_stop_summary.csv`: how often an engine ended a call before all decode steps were made, and what became of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::record::plan::{Cell, Plan};
use crate::terms::{Degraded, Mode, Role};

use super::metrics::MetricRow;

/// The calls that decode of the run, of one backend, or of one backend, model and scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EarlyStopRow {
    /// Backend name. `None`: the whole run.
    pub backend: Option<String>,
    /// Model name. `None`, here and below: all of them.
    pub model: Option<String>,
    /// Scenario name.
    pub scenario: Option<String>,
    /// Calls of every role, each try by itself.
    pub calls: usize,
    /// Of these, ended at a stop token before all steps were made, and not degraded for another reason.
    pub early_stops: usize,
    /// `early_stops` ÷ `calls`. `None`: no call.
    pub share: Option<f64>,
    /// Timed calls; the tries of one are one call.
    pub timed_calls: usize,
    /// Tries ÷ timed calls. `None`: no timed call.
    pub tries_per_timed_call: Option<f64>,
    /// Calls that count with their decode time scaled.
    pub scaled: usize,
    /// Calls with too few steps to be scaled.
    pub too_short: usize,
    /// Timed calls whose last try ended early and does not count.
    pub unfinished: usize,
}

/// The run, every backend, then every backend, model and scenario, in the plan's order.
pub(super) fn derive(plan: &Plan, metrics: &[MetricRow]) -> Vec<EarlyStopRow> {
    let calls: Vec<&MetricRow> = metrics.iter().filter(|row| is_decode(row.mode)).collect();
    let decodes = |cell: &&Cell| cell.procedure.modes().iter().any(|&mode| is_decode(mode));
    let cells: Vec<&Cell> = plan.cells.iter().filter(decodes).collect();
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
            let names = [&row.backend, &row.model, &row.scenario];
            key.iter().zip(names).all(|(wanted, name)| wanted.is_none_or(|wanted| wanted == name))
        };
        row(plan, key, &calls.iter().filter(matches).copied().collect::<Vec<_>>())
    };
    keys.iter().map(of).collect()
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
        timed().map(|row| ((row.cell_id.as_str(), row.index), *row)).collect();
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
