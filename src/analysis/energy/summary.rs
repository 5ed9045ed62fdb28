//! Energy per call and mode, and per cell.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::energy::{deviation, mean, together};
use crate::store::Recording;
use crate::terms::energy::{Grade, IdleKind};
use crate::terms::{Flag, Mode};

use super::EnergyEvents;
use super::rows::{ByCall, COVERAGE_FACTOR, EnergyEventRow, EnergyScope, U_SYS, by_call};
use crate::analysis::columns::columns;
use crate::analysis::groups::{Group, by_cell};
use crate::analysis::key::CellKey;
use crate::analysis::metrics::MetricRow;
use crate::analysis::metrics::Metrics;
use crate::analysis::table::{Sources, Table};

columns! {
    /// Energy of one cell in one phase mode, from one sensor.
    pub struct EnergySummaryRow {
        ..key: Arc<CellKey> { cell_id, backend, model, dtype },
        /// Parameters in millions. `None`: not known.
        params_millions: Option<f64>,
        ..key { scenario, batch, gen_tokens },
        /// What is timed.
        mode: Mode,
        /// `natural`: over the cell's calls. `looped`: over the windows in which it was repeated for the sensor. `isolated`: the
        /// mean of calls that stood alone, each too short by itself.
        scope: EnergyScope,
        /// Sensor. `None`: none on this machine.
        sensor: Option<String>,
        /// Whether it is scripted: then no figure of this row is a measurement. `None`: no sensor.
        simulated: Option<bool>,
        /// Calls of the cell that count; of a looped row its windows.
        calls: usize,
        /// Of these, left out because heat or a brake lowered the clocks.
        throttled: usize,
        /// Of the rest, those with a figure of grade A to C.
        graded: usize,
        /// Worst grade among them. `None`: there is none.
        grade: Option<Grade>,
        /// Mean energy of a call in this mode, idle power included, in joules. `None`: no graded call.
        energy_j: Option<f64>,
        /// Lower end of its 95 % interval, the sensor's gain included. `None`: as above.
        /// Source: two standard uncertainties, those of chance and gain added in squares.
        energy_low_j: Option<f64>,
        /// Upper end. `None`: as above.
        /// Source: as the lower end.
        energy_high_j: Option<f64>,
        /// Mean energy without idle power. `None`: no graded call, or no valid idle power.
        energy_net_j: Option<f64>,
        /// Lower end of its 95 % interval, idle power's uncertainty and the sensor's gain included. `None`: as above.
        energy_net_low_j: Option<f64>,
        /// Upper end. `None`: as above.
        energy_net_high_j: Option<f64>,
        /// Which idle power, joined by `;`. Empty: no net energy.
        idle_kind: String,
        /// Mean power. `None`: no graded call.
        power_w: Option<f64>,
        /// Energy per token. `None`: no graded call.
        j_per_token: Option<f64>,
        /// Lower end of its interval. `None`: as above.
        j_per_token_low: Option<f64>,
        /// Upper end. `None`: as above.
        j_per_token_high: Option<f64>,
        /// Standard uncertainty of the mean, relative, without the sensor's gain. `None`: no graded call.
        /// Unit: fraction.
        u_stat: Option<f64>,
        /// The same of the mean net energy, relative to its size. `None`: no net energy, or it is 0.
        /// Unit: fraction.
        u_net: Option<f64>,
        /// Sensor updates: of calls the fewest that one of them rests on, else of all together. `None`: no graded call.
        updates: Option<u32>,
        /// How, joined by `;`.
        methods: String,
        /// Why calls have no graded figure, most frequent first, joined by `;`.
        reasons: String,
    }
}

/// `analysis/energy_summary.csv`.
pub struct EnergySummary;

impl Table for EnergySummary {
    type Row = EnergySummaryRow;
    const FILE: &'static str = "analysis/energy_summary.csv";
    const ABOUT: &'static str = "Per cell and phase mode, where power was recorded, in the plan's order.";

    fn derive(from: &Sources<'_>) -> Vec<EnergySummaryRow> {
        let metrics = from.rows::<Metrics>();
        let events = from.rows::<EnergyEvents>();
        let natural = natural(from, &metrics, &events);
        let repeated = repeated(from.recording, &events, &natural);
        let mut rows = Vec::with_capacity(natural.len() + repeated.len());
        for row in natural {
            let of_cell = |one: &&EnergySummaryRow| one.mode == row.mode && one.key.cell_id == row.key.cell_id;
            let own: Vec<EnergySummaryRow> = repeated.iter().filter(of_cell).cloned().collect();
            rows.push(row);
            rows.extend(own);
        }
        rows
    }
}

/// Rows of what was repeated for the sensor, or stood alone; from the sensor charged first.
fn repeated(recording: &Recording, events: &[EnergyEventRow], natural: &[EnergySummaryRow]) -> Vec<EnergySummaryRow> {
    let windows: BTreeMap<&str, usize> =
        recording.loops().map(|record| (record.loop_id.as_str(), record.windows.len())).collect();
    let mut found: Vec<EnergySummaryRow> = Vec::new();
    for event in events {
        let parts = match event.scope {
            EnergyScope::Natural => continue,
            EnergyScope::Looped => windows.get(event.call_id.as_str()).copied().unwrap_or_default(),
            EnergyScope::Isolated => usize::try_from(event.repeats).unwrap_or_default(),
        };
        let Some(row) = of_event(event, parts, natural) else { continue };
        let same = |one: &EnergySummaryRow| {
            (one.mode, one.scope) == (row.mode, row.scope) && one.key.cell_id == row.key.cell_id
        };
        if !found.iter().any(same) {
            found.push(row);
        }
    }
    found
}

/// The row of a loop of so many windows, or of so many isolated phases. `None`: its cell has no row.
fn of_event(event: &EnergyEventRow, parts: usize, natural: &[EnergySummaryRow]) -> Option<EnergySummaryRow> {
    let mode = event.phase.mode();
    let cell = natural.iter().find(|row| row.key.cell_id == event.key.cell_id && row.mode == mode)?;
    let throttled = event.flags.contains(Flag::Throttled);
    let counts = event.counts() && !throttled;
    let value = |value: Option<f64>| value.filter(|_| counts);
    let energy = Interval::of(value(event.energy_j), event.u_stat);
    let net = Interval::of(value(event.energy_net_j), event.u_net);
    let per_token = Interval::of(value(event.j_per_token), event.u_stat);
    Some(EnergySummaryRow {
        scope: event.scope,
        sensor: event.sensor.clone(),
        simulated: event.simulated,
        calls: parts,
        throttled: if throttled { parts } else { 0 },
        graded: if counts { parts } else { 0 },
        grade: event.grade.filter(|_| counts),
        energy_j: value(event.energy_j),
        energy_low_j: energy.low,
        energy_high_j: energy.high,
        energy_net_j: value(event.energy_net_j),
        energy_net_low_j: net.low,
        energy_net_high_j: net.high,
        idle_kind: event.idle_kind.filter(|_| counts).map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
        power_w: value(event.power_w),
        j_per_token: value(event.j_per_token),
        j_per_token_low: per_token.low,
        j_per_token_high: per_token.high,
        u_stat: value(event.u_stat),
        u_net: value(event.u_net),
        updates: event.updates.filter(|_| counts),
        methods: event.method.filter(|_| counts).map(|method| method.as_str().to_owned()).unwrap_or_default(),
        reasons: match (event.grade, event.reason) {
            (Some(Grade::D), _) => GRADE_D.to_owned(),
            (_, Some(reason)) => reason.as_str().to_owned(),
            (_, None) if throttled => THROTTLED.to_owned(),
            (_, None) => String::new(),
        },
        ..cell.clone()
    })
}

/// Ends of a 95 % interval.
#[derive(Debug, Clone, Copy, Default)]
struct Interval {
    low: Option<f64>,
    high: Option<f64>,
}

impl Interval {
    fn of(value: Option<f64>, u_stat: Option<f64>) -> Self {
        let ends = value.zip(u_stat).map(|(value, u_stat)| (value, value.abs() * half_width(u_stat)));
        Self { low: ends.map(|(value, half)| value - half), high: ends.map(|(value, half)| value + half) }
    }
}

/// Half of the 95 % interval, relative, the sensor's gain included.
fn half_width(u_stat: f64) -> f64 {
    COVERAGE_FACTOR * together(&[u_stat, U_SYS])
}

/// What stands as reason of a figure that is too uncertain to count.
const GRADE_D: &str = "grade_d";

/// What stands as reason where heat or a brake lowered the clocks in every call.
const THROTTLED: &str = "throttled";

/// One row per cell and phase mode, from its calls.
fn natural(from: &Sources<'_>, metrics: &[MetricRow], events: &[EnergyEventRow]) -> Vec<EnergySummaryRow> {
    if !metrics.par_iter().any(has_power) {
        return Vec::new();
    }
    let events = by_call(events);
    let groups = by_cell(from, metrics, |row| row.mode != Mode::E2eKv).into_iter();
    groups.filter_map(|group| of_calls(&group, &events)).collect()
}

/// Whether power was recorded beside a row's call.
fn has_power(row: &MetricRow) -> bool {
    row.energy().energy_sensor.is_some() || row.energy().energy_reason.is_some()
}

/// The row of a cell's calls in one mode. `None`: no power was recorded beside them.
fn of_calls(group: &Group<'_>, events: &ByCall<'_>) -> Option<EnergySummaryRow> {
    let counted = group.counted();
    let first = *counted.iter().find(|row| has_power(row))?;
    let (throttled, cool): (Vec<&MetricRow>, Vec<&MetricRow>) =
        counted.iter().copied().partition(|row| row.flags.contains(Flag::Throttled));
    let graded: Vec<&MetricRow> =
        cool.iter().copied().filter(|row| row.energy().energy_grade.is_some_and(|grade| grade <= Grade::C)).collect();
    let phase = group.mode.phases()[0];
    let calls = graded.iter().filter_map(|row| CallFigures::of(row, events.get(&(row.call_id.as_str(), phase))?));
    let figures = Figures::of(&calls.collect::<Vec<_>>());
    let energy = Interval::of(figures.energy, figures.u_stat);
    let net = Interval::of(figures.net, figures.u_net);
    let per_token = Interval::of(figures.j_per_token, figures.u_stat);
    let methods = graded.iter().filter_map(|row| row.energy().energy_method);
    let idle_kinds = graded.iter().filter(|_| figures.net.is_some()).filter_map(|row| row.energy().energy_idle_kind);
    Some(EnergySummaryRow {
        key: group.key(),
        params_millions: first.architecture.params_millions,
        mode: group.mode,
        scope: EnergyScope::Natural,
        sensor: first.energy().energy_sensor.clone(),
        simulated: first.energy().energy_simulated,
        calls: counted.len(),
        throttled: throttled.len(),
        graded: graded.len(),
        grade: graded.iter().filter_map(|row| row.energy().energy_grade).max(),
        energy_j: figures.energy,
        energy_low_j: energy.low,
        energy_high_j: energy.high,
        energy_net_j: figures.net,
        energy_net_low_j: net.low,
        energy_net_high_j: net.high,
        idle_kind: frequent(idle_kinds.map(IdleKind::as_str)),
        power_w: figures.power,
        j_per_token: figures.j_per_token,
        j_per_token_low: per_token.low,
        j_per_token_high: per_token.high,
        u_stat: figures.u_stat,
        u_net: figures.u_net,
        updates: graded.iter().filter_map(|row| row.energy().energy_updates).min(),
        methods: frequent(methods.map(|method| method.as_str())),
        reasons: if cool.is_empty() {
            THROTTLED.to_owned()
        } else {
            frequent(cool.iter().filter_map(|row| reason(row)))
        },
    })
}

/// Why a call gives no figure, or one too uncertain to count. `None`: it gives one.
fn reason(row: &MetricRow) -> Option<&'static str> {
    match (row.energy().energy_grade, row.energy().energy_reason) {
        (Some(Grade::D), _) => Some(GRADE_D),
        (_, reason) => reason.map(|reason| reason.as_str()),
    }
}

/// What a call gives to its cell's means.
#[derive(Debug, Clone, Copy)]
struct CallFigures {
    energy: f64,
    net: Option<f64>,
    power: Option<f64>,
    j_per_token: Option<f64>,
    /// Standard uncertainty of the energy, in joules: what is new in every call.
    random: f64,
    /// What is the same in all of them.
    shared: f64,
    /// What idle power leaves open of the net energy; the same in all of them.
    idle: Option<f64>,
}

impl CallFigures {
    /// Of a row and the event it is from. `None`: no figure.
    fn of(row: &MetricRow, event: &EnergyEventRow) -> Option<Self> {
        let energy = row.energy().energy_j?;
        let (u_stat, u_shared) = (event.u_stat?, event.u_shared?);
        Some(Self {
            energy,
            net: row.energy().energy_net_j,
            power: row.energy().energy_power_w,
            j_per_token: row.energy().j_per_token,
            random: (u_stat.powi(2) - u_shared.powi(2)).max(0.0).sqrt() * energy,
            shared: u_shared * energy,
            // The row's energy may be scaled.
            idle: event.u_idle_j().zip(event.energy_j).map(|(idle, of)| idle * energy / of),
        })
    }
}

/// Means over calls that are graded well enough. `None`: there is none.
#[derive(Debug, Default, PartialEq)]
struct Figures {
    energy: Option<f64>,
    net: Option<f64>,
    power: Option<f64>,
    j_per_token: Option<f64>,
    /// Relative standard uncertainty of the mean energy.
    u_stat: Option<f64>,
    /// The same of the mean net energy.
    u_net: Option<f64>,
}

impl Figures {
    #[expect(clippy::cast_precision_loss, reason = "counts of calls")]
    fn of(calls: &[CallFigures]) -> Self {
        let each = |part: fn(&CallFigures) -> f64| calls.iter().map(part).collect::<Vec<f64>>();
        let all = |part: fn(&CallFigures) -> Option<f64>| -> Option<f64> {
            let values: Option<Vec<f64>> = calls.iter().map(part).collect();
            values.map(|values| mean(&values))
        };
        let (energies, n) = (each(|call| call.energy), calls.len() as f64);
        let energy = mean(&energies);
        if calls.is_empty() || energy <= 0.0 {
            return Self::default();
        }
        // What calls have in common is in their mean as it is in each of them; the rest gets smaller.
        let random = (mean(&each(|call| call.random.powi(2))) / n).sqrt();
        let shared = mean(&each(|call| call.shared));
        // What calls scatter shows more than their own uncertainties do, where it is larger.
        let scatter = if calls.len() < 3 { 0.0 } else { deviation(&energies) / n.sqrt() };
        let uncertain = together(&[random.max(scatter), shared]);
        let net = all(|call| call.net);
        let of_net = net.filter(|net| *net != 0.0).zip(all(|call| call.idle));
        Self {
            energy: Some(energy),
            net,
            power: all(|call| call.power),
            j_per_token: all(|call| call.j_per_token),
            u_stat: Some(uncertain / energy),
            u_net: of_net.map(|(net, idle)| together(&[uncertain, idle]) / net.abs()),
        }
    }
}

/// Names, each once, the most frequent first; equally frequent ones in alphabetical order.
fn frequent<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let mut names: Vec<(&str, usize)> = counts.into_iter().collect();
    names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    names.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests;
