//! Energy per call and mode, and per cell.

use serde::{Deserialize, Serialize};

use crate::energy::{Grade, deviation, mean, together};
use crate::plan::Plan;
use crate::record::LoopRecord;
use crate::spec::Dtype;
use crate::store::Recording;
use crate::terms::{Flag, Mode};

use super::{COVERAGE_FACTOR, EnergyEventRow, Scope, U_SYS, by_call};
use crate::analysis::groups::groups;
use crate::analysis::metrics::{MetricRow, phases};

/// Writes the figures of the sensor charged first into the rows of calls.
pub fn fill(metrics: &mut [MetricRow], events: &[EnergyEventRow]) {
    let of = by_call(events);
    for row in metrics {
        let found: Option<Vec<&EnergyEventRow>> =
            phases(row.mode).iter().map(|&phase| of.get(&(row.call_id.as_str(), phase)).copied()).collect();
        let Some(found) = found else { continue };
        row.energy_sensor = found[0].sensor.clone();
        row.energy_simulated = found[0].simulated;
        row.energy_reason = found.iter().find_map(|event| event.reason);
        if row.energy_reason.is_some() {
            continue;
        }
        let sum = |part: fn(&EnergyEventRow) -> Option<f64>| found.iter().map(|event| part(event)).sum::<Option<f64>>();
        let energy = sum(|event| event.energy_j);
        let uncertain: Option<Vec<f64>> = found.iter().map(|event| Some(event.u_stat? * event.energy_j?)).collect();
        let length: f64 = found.iter().map(|event| (event.end_ns - event.begin_ns) as f64 / 1e9).sum();
        row.energy_j = energy;
        row.energy_net_j = sum(|event| event.energy_net_j);
        row.energy_power_w = energy.filter(|_| length > 0.0).map(|energy| energy / length);
        row.energy_u_stat = uncertain.zip(energy).map(|(parts, energy)| together(&parts) / energy);
        row.energy_grade = found.iter().filter_map(|event| event.grade).max();
        row.energy_updates = found.iter().map(|event| event.updates).sum();
        // Two phases have no token in common.
        if let [event] = found[..] {
            row.energy_method = event.method;
            row.j_per_token = event.j_per_token;
        }
    }
}

/// Energy of one cell in one phase mode, from one sensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnergySummaryRow {
    /// The plan's cell.
    pub cell_id: String,
    /// Backend name.
    pub backend: String,
    /// Model name.
    pub model: String,
    /// Element type.
    pub dtype: Dtype,
    /// Parameters in millions. `None`: not known.
    pub params_millions: Option<f64>,
    /// Scenario name.
    pub scenario: String,
    /// Rows.
    pub batch: u32,
    /// Timed decode steps.
    pub gen_tokens: u32,
    /// What is timed.
    pub mode: Mode,
    /// `natural`: over the cell's calls. `looped`: over the windows in which it was repeated for the sensor.
    pub scope: Scope,
    /// Sensor. `None`: none on this machine.
    pub sensor: Option<String>,
    /// Whether it is scripted: then no figure of this row is a measurement. `None`: no sensor.
    pub simulated: Option<bool>,
    /// Calls of the cell that count; of a looped row its windows.
    pub calls: usize,
    /// Of these, left out because heat or a brake lowered the clocks.
    pub throttled: usize,
    /// Of the rest, those with a figure of grade A to C.
    pub graded: usize,
    /// Worst grade among them. `None`: there is none.
    pub grade: Option<Grade>,
    /// Mean energy of a call in this mode, idle power included, in joules. `None`: no graded call.
    pub energy_j: Option<f64>,
    /// Lower end of its 95 % interval, the sensor's gain included. `None`: as above.
    pub energy_low_j: Option<f64>,
    /// Upper end. `None`: as above.
    pub energy_high_j: Option<f64>,
    /// Mean energy without idle power. `None`: no graded call, or no valid idle power.
    pub energy_net_j: Option<f64>,
    /// Mean power. `None`: no graded call.
    pub power_w: Option<f64>,
    /// Energy per token. `None`: no graded call.
    pub j_per_token: Option<f64>,
    /// Lower end of its interval. `None`: as above.
    pub j_per_token_low: Option<f64>,
    /// Upper end. `None`: as above.
    pub j_per_token_high: Option<f64>,
    /// Standard uncertainty of the mean, relative, without the sensor's gain. `None`: no graded call.
    pub u_stat: Option<f64>,
    /// How, joined by `;`.
    pub methods: String,
    /// Why calls have no graded figure, most frequent first, joined by `;`.
    pub reasons: String,
}

/// One row per cell and phase mode of a run that recorded power, in the plan's order.
#[must_use]
pub fn summarise(
    plan: &Plan,
    metrics: &[MetricRow],
    recording: &Recording,
    events: &[EnergyEventRow],
) -> Vec<EnergySummaryRow> {
    let natural = natural(plan, metrics);
    let looped: Vec<EnergySummaryRow> =
        recording.loops().filter_map(|record| looped(record, events, &natural)).collect();
    let mut rows = Vec::with_capacity(natural.len() + looped.len());
    for row in natural {
        let own = looped.iter().find(|one| (&one.cell_id, one.mode) == (&row.cell_id, row.mode)).cloned();
        rows.push(row);
        rows.extend(own);
    }
    rows
}

/// The row of a loop, from the sensor charged first. `None`: its cell has no row.
fn looped(record: &LoopRecord, events: &[EnergyEventRow], natural: &[EnergySummaryRow]) -> Option<EnergySummaryRow> {
    let event = events.iter().find(|event| event.call_id == record.loop_id)?;
    let mode = event.phase.mode();
    let cell = natural.iter().find(|row| row.cell_id == event.cell_id && row.mode == mode)?;
    let throttled = record.flags.contains(&Flag::Throttled);
    let counts = event.counts() && !throttled;
    let windows = record.windows.len();
    let value = |value: Option<f64>| value.filter(|_| counts);
    let spread = event.u_stat.map(half_width);
    let low = |of: Option<f64>| value(of).zip(spread).map(|(value, spread)| value * (1.0 - spread));
    let high = |of: Option<f64>| value(of).zip(spread).map(|(value, spread)| value * (1.0 + spread));
    Some(EnergySummaryRow {
        scope: Scope::Looped,
        sensor: event.sensor.clone(),
        simulated: event.simulated,
        calls: windows,
        throttled: if throttled { windows } else { 0 },
        graded: if counts { windows } else { 0 },
        grade: event.grade.filter(|_| counts),
        energy_j: value(event.energy_j),
        energy_low_j: low(event.energy_j),
        energy_high_j: high(event.energy_j),
        energy_net_j: value(event.energy_net_j),
        power_w: value(event.power_w),
        j_per_token: value(event.j_per_token),
        j_per_token_low: low(event.j_per_token),
        j_per_token_high: high(event.j_per_token),
        u_stat: value(event.u_stat),
        methods: event.method.filter(|_| counts).map(|method| method.as_str().to_owned()).unwrap_or_default(),
        reasons: match (event.grade, event.reason) {
            (Some(Grade::D), _) => GRADE_D.to_owned(),
            (_, reason) => reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
        },
        ..cell.clone()
    })
}

/// Half of the 95 % interval, relative, the sensor's gain included.
fn half_width(u_stat: f64) -> f64 {
    COVERAGE_FACTOR * together(&[u_stat, U_SYS])
}

/// What stands as reason of a figure that is too uncertain to count.
const GRADE_D: &str = "grade_d";

/// One row per cell and phase mode, from its calls.
fn natural(plan: &Plan, metrics: &[MetricRow]) -> Vec<EnergySummaryRow> {
    let rows = groups(plan, metrics).into_iter().filter(|group| group.mode != Mode::E2eKv).filter_map(|group| {
        let counted = group.counted();
        let first = *counted.iter().find(|row| row.energy_sensor.is_some() || row.energy_reason.is_some())?;
        let hot = |row: &&MetricRow| row.flags.split(';').any(|flag| flag == Flag::Throttled.as_str());
        let (throttled, rest): (Vec<&MetricRow>, Vec<&MetricRow>) = counted.iter().copied().partition(hot);
        let graded: Vec<&MetricRow> =
            rest.iter().copied().filter(|row| row.energy_grade.is_some_and(|grade| grade <= Grade::C)).collect();
        let figures = Figures::of(&graded);
        let net: Option<Vec<f64>> = graded.iter().map(|row| row.energy_net_j).collect();
        let all = |value: Option<f64>| value.filter(|_| figures.is_some());
        let spread = figures.as_ref().map(|figures| half_width(figures.u_stat));
        let energy = all(figures.as_ref().map(|figures| figures.energy));
        let per_token = all(figures.as_ref().and_then(|figures| figures.j_per_token));
        let low = |value: Option<f64>| value.zip(spread).map(|(value, spread)| value * (1.0 - spread));
        let high = |value: Option<f64>| value.zip(spread).map(|(value, spread)| value * (1.0 + spread));
        Some(EnergySummaryRow {
            cell_id: group.cell.id.0.clone(),
            backend: group.cell.session.backend.clone(),
            model: group.cell.session.model.clone(),
            dtype: group.dtype,
            params_millions: first.params_millions,
            scenario: group.cell.scenario.clone(),
            batch: group.cell.batch,
            gen_tokens: group.cell.gen_tokens,
            mode: group.mode,
            scope: Scope::Natural,
            sensor: first.energy_sensor.clone(),
            simulated: first.energy_simulated,
            calls: counted.len(),
            throttled: throttled.len(),
            graded: graded.len(),
            grade: graded.iter().filter_map(|row| row.energy_grade).max(),
            energy_j: energy,
            energy_low_j: low(energy),
            energy_high_j: high(energy),
            energy_net_j: net.filter(|net| !net.is_empty()).map(|net| mean(&net)),
            power_w: figures.as_ref().map(|figures| figures.power),
            j_per_token: per_token,
            j_per_token_low: low(per_token),
            j_per_token_high: high(per_token),
            u_stat: figures.as_ref().map(|figures| figures.u_stat),
            methods: frequent(graded.iter().filter_map(|row| row.energy_method).map(|method| method.as_str())),
            reasons: frequent(rest.iter().filter_map(|row| match (row.energy_grade, row.energy_reason) {
                (Some(Grade::D), _) => Some(GRADE_D),
                (_, reason) => reason.map(|reason| reason.as_str()),
            })),
        })
    });
    rows.collect()
}

/// Figures of calls that are graded well enough.
struct Figures {
    energy: f64,
    power: f64,
    j_per_token: Option<f64>,
    /// Relative standard uncertainty of the mean.
    u_stat: f64,
}

impl Figures {
    #[expect(clippy::cast_precision_loss, reason = "counts of calls")]
    fn of(graded: &[&MetricRow]) -> Option<Self> {
        let energies: Vec<f64> = graded.iter().filter_map(|row| row.energy_j).collect();
        let energy = mean(&energies);
        if energies.is_empty() || energy <= 0.0 {
            return None;
        }
        let n = energies.len() as f64;
        let each: Vec<f64> = graded.iter().filter_map(|row| row.energy_u_stat).collect();
        // What calls scatter shows more than their own uncertainties do, where it is larger.
        let own = (mean(&each.iter().map(|u| u * u).collect::<Vec<_>>()) / n).sqrt();
        let scatter = if energies.len() < 3 { 0.0 } else { deviation(&energies) / energy / n.sqrt() };
        let powers: Vec<f64> = graded.iter().filter_map(|row| row.energy_power_w).collect();
        let per_token: Option<Vec<f64>> = graded.iter().map(|row| row.j_per_token).collect();
        Some(Self {
            energy,
            power: mean(&powers),
            j_per_token: per_token.map(|values| mean(&values)),
            u_stat: own.max(scatter),
        })
    }
}

/// Names, each once, the most frequent first; equally frequent ones in alphabetical order.
fn frequent<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut counts: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let mut names: Vec<(&str, usize)> = counts.into_iter().collect();
    names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    names.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(";")
}
