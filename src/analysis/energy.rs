//! `energy_events.csv`, `energy_summary.csv` and the energy columns of `metrics.csv`: phases joined with the power trace.
//!
//! The join is pure, so it can be made again from the run's files. A call is charged to the sensor of the device that it
//! is proven to have run on, unless the scenario file names the sensors; a phase without a figure says why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::energy::{
    Caps, Estimate, Grade, Idle, IdleKind, Measured, Method, Reason, Stretch, Surroundings, estimate, grade,
    legacy_gate,
};
use crate::manifest::Manifest;
use crate::record::{BesideRecord, CallRecord, SpanRecord};
use crate::store::{Recording, TraceRow};
use crate::terms::{Flag, Phase, Role, SensorKind};
use crate::units::Nanos;

mod looped;
mod sensors;
mod summary;

pub use summary::EnergySummaryRow;
pub(super) use summary::{fill, summarise};

use sensors::{Metered, Meters};

/// Relative systematic uncertainty of a board's sensor that was never held against a meter: published sheets find gains
/// from 5.5 % low to 11 % high.
pub const U_SYS: f64 = 0.05;

/// Uncertainties are shown as so many standard ones: about 95 %.
pub const COVERAGE_FACTOR: f64 = 2.0;

/// One phase and one sensor: of one call, or of one of many repetitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnergyEventRow {
    /// The call, or the loop.
    pub call_id: String,
    /// The plan's cell.
    pub cell_id: String,
    /// Backend name.
    pub backend: String,
    /// Model name.
    pub model: String,
    /// Scenario name.
    pub scenario: String,
    /// What was done.
    pub phase: Phase,
    /// Why the call was made. `None`: a loop is no call.
    pub role: Option<Role>,
    /// `natural`: the phase as it came in a call. `looped`: one of the repetitions made for the sensor.
    pub scope: Scope,
    /// Repetitions that the figure is the mean of; 1 for `natural`.
    pub repeats: u32,
    /// Share of the windows, pauses left out, that was spent in phases; the rest is in the figure too. `None` for `natural`.
    pub busy: Option<f64>,
    /// Sensor it is charged to. `None`: none on this machine.
    pub sensor: Option<String>,
    /// Whether that sensor is scripted: then no figure of this row is a measurement. `None`: no sensor.
    pub simulated: Option<bool>,
    /// When it began, on the clock of `epoch`.
    pub begin_ns: u64,
    /// When it ended.
    pub end_ns: u64,
    /// Process of the run.
    pub epoch: u32,
    /// Energy, idle power included, in joules. `None`: see `reason`.
    pub energy_j: Option<f64>,
    /// The same without idle power over the phase. `None`: no figure, or no valid idle power.
    pub energy_net_j: Option<f64>,
    /// Which idle power. `None`: as above.
    pub idle_kind: Option<IdleKind>,
    /// Mean power over the phase. `None`: see `reason`.
    pub power_w: Option<f64>,
    /// Energy ÷ tokens of the phase. `None`: see `reason`, or no token count.
    pub j_per_token: Option<f64>,
    /// Standard uncertainty of the energy, relative, without the sensor's gain. `None`: no figure.
    pub u_stat: Option<f64>,
    /// Standard uncertainty of the sensor's gain, relative: the same in every row of one sensor. `None`: no figure.
    pub u_sys: Option<f64>,
    /// How it was obtained. `None`: no figure.
    pub method: Option<Method>,
    /// Sensor updates it rests on. `None`: no figure.
    pub updates: Option<u32>,
    /// What it may be used for. `None`: no figure.
    pub grade: Option<Grade>,
    /// Why there is no figure. `None`: there is.
    pub reason: Option<Reason>,
    /// Energy by the gate of the published reports, to compare with their tables only. `None`: fewer than two readings.
    pub legacy_gate_j: Option<f64>,
    /// Measurement of the sensor that the figure rests on. `None`: it was never measured, its timing is assumed.
    pub calibration_id: Option<String>,
    /// The call's flags, joined by `;`.
    pub flags: String,
}

/// What an event is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// A phase as it came.
    Natural,
    /// One of many repetitions without pause.
    Looped,
}

impl Scope {
    /// The name used in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Natural => "natural",
            Self::Looped => "looped",
        }
    }
}

impl EnergyEventRow {
    /// Gives the net figure beside the gross one, where both idle power and a figure are known.
    fn take_off(&mut self, idle: Option<&Idle>, seconds: f64, drifts: bool) {
        let (Some(energy), Some(idle)) = (self.energy_j, idle) else { return };
        self.energy_net_j = Some(energy - idle.watts * seconds);
        self.idle_kind = Some(idle.kind);
        if drifts {
            let separator = if self.flags.is_empty() { "" } else { ";" };
            self.flags = format!("{}{separator}{}", self.flags, Flag::IdleDrift);
        }
    }

    /// Whether the figure may enter aggregates.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.grade.is_some_and(|grade| grade <= Grade::C)
    }
}

/// Every phase of every call of a run that recorded power, in the record's order; and idle power by sensor.
pub(super) fn derive(
    recording: &Recording,
    manifest: &Manifest,
    trace: &[TraceRow],
) -> (Vec<EnergyEventRow>, Vec<BaselineRow>) {
    if manifest.epochs.iter().all(|epoch| epoch.power.is_none()) {
        return (Vec::new(), Vec::new());
    }
    let meters = Meters::new(recording, manifest, trace);
    let phases = recording.calls().flat_map(|call| call.spans.iter().flat_map(|span| events(call, span, &meters)));
    let looped = recording.loops().flat_map(|record| looped::events(record, recording, &meters));
    (phases.chain(looped).collect(), meters.baselines())
}

/// Calibrations of all processes of a run, each once.
pub(super) fn calibrations(manifest: &Manifest) -> Vec<Measured> {
    let mut found: Vec<Measured> = Vec::new();
    for measured in
        manifest.epochs.iter().filter_map(|epoch| epoch.power.as_ref()).flat_map(|power| &power.calibrations)
    {
        if !found.contains(measured) {
            found.push(measured.clone());
        }
    }
    found
}

/// `baseline.json`: one idle stretch and sensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineRow {
    /// Sensor.
    pub sensor: String,
    /// Whether it is scripted.
    pub simulated: bool,
    /// Process of the run.
    pub epoch: u32,
    /// `before`, `loaded` or `after`.
    pub when: crate::record::IdleWhen,
    /// The load it follows. `None`: nothing is loaded.
    pub load_index: Option<u32>,
    /// The figure. `None`: readings do not give one.
    pub idle: Option<crate::energy::Idle>,
}

fn events(call: &CallRecord, span: &SpanRecord, meters: &Meters<'_>) -> Vec<EnergyEventRow> {
    let charged = meters.charged(&call.attribution, &call.beside, call.epoch);
    match charged {
        Err(reason) => vec![row(call, span, None, Err(reason))],
        Ok(metered) => metered.into_iter().map(|metered| event(call, span, metered, meters)).collect(),
    }
}

fn event(call: &CallRecord, span: &SpanRecord, metered: &Metered, meters: &Meters<'_>) -> EnergyEventRow {
    let (begin, end) = (span.begin_ns, span.end_ns);
    let calibration = &metered.calibration;
    let idle = metered.idle(call.load_index);
    let (quiet_since, quiet_until) = if call.spans.len() == 1 {
        meters.quiet(call.epoch, call.begin_ns, call.begin_ns + call.total_wall_ns)
    } else {
        (None, None)
    };
    let around = Surroundings { calibration, poll: metered.poll, idle, quiet_since, quiet_until };
    let margin = Nanos(3 * calibration.settling().0 + 4 * metered.poll.0);
    let near = metered.trace.around(begin, end, margin);
    let found =
        if metered.denied { Err(Reason::Permission) } else { estimate(&Stretch::natural(begin, end), &near, &around) };
    let caps = caps(&call.beside, metered, begin, end);
    let graded = found.and_then(|found| Ok((found, grade(&found, calibration, &caps)?)));
    let mut row = row(call, span, Some(metered), graded);
    row.take_off(idle, end.since(begin).as_secs(), metered.idle_drifts);
    let power = if near.average.is_empty() { &near.instant } else { &near.average };
    row.legacy_gate_j = legacy_gate(begin, end, power);
    row
}

/// What limits the grade of a phase.
fn caps(beside: &BesideRecord, metered: &Metered, begin: Nanos, end: Nanos) -> Caps {
    Caps {
        divided: metered.sensor.divided == Some(true),
        foreign: metered.sensor.kind != SensorKind::Rapl
            && beside.foreign_on(metered.sensor.uuid.as_deref()).is_some_and(|n| n > 0),
        readings_missing: metered.readings_missing(begin, end),
        registers_differ: metered.registers_differ(begin, end),
        average_only: (metered.trace.counter.is_empty() && metered.trace.instant.is_empty())
            || metered.calibration.counter_averages(),
        events: 1,
    }
}

fn row(
    call: &CallRecord,
    span: &SpanRecord,
    metered: Option<&Metered>,
    graded: Result<(Estimate, Grade), Reason>,
) -> EnergyEventRow {
    let length = span.duration().as_secs();
    let told = graded.as_ref().ok();
    let energy = told.map(|(found, _)| found.gross_j);
    EnergyEventRow {
        call_id: call.call_id.clone(),
        cell_id: call.cell_id.0.clone(),
        backend: call.session.backend.clone(),
        model: call.session.model.clone(),
        scenario: call.scenario.clone(),
        phase: span.phase,
        role: Some(call.role),
        scope: Scope::Natural,
        repeats: 1,
        busy: None,
        sensor: metered.map(|metered| metered.sensor.id.clone()),
        simulated: metered.map(|metered| metered.sensor.simulated),
        begin_ns: span.begin_ns.0,
        end_ns: span.end_ns.0,
        epoch: call.epoch,
        energy_j: energy,
        energy_net_j: None,
        idle_kind: None,
        power_w: energy.filter(|_| length > 0.0).map(|energy| energy / length),
        j_per_token: energy.zip(tokens(call, span.phase)).map(|(energy, tokens)| energy / tokens),
        u_stat: told.map(|(found, _)| found.u_stat),
        u_sys: told.map(|_| U_SYS),
        method: told.map(|(found, _)| found.method),
        updates: told.map(|(found, _)| found.updates),
        grade: told.map(|(_, grade)| *grade),
        reason: graded.as_ref().err().copied(),
        legacy_gate_j: None,
        calibration_id: metered.and_then(|metered| metered.calibration.id.clone()),
        flags: call.flags.iter().map(|flag| flag.as_str()).collect::<Vec<_>>().join(";"),
    }
}

/// Tokens that the phase really worked on, over all rows. `None`: not told, or none.
fn tokens(call: &CallRecord, phase: Phase) -> Option<f64> {
    let tokens = match phase {
        Phase::Prefill => call.tokens.prompt_evaluated.or(call.tokens.prompt_sent)?,
        Phase::KvDecode | Phase::GenerateUncached => call.tokens.decode_steps_timed * call.batch,
    };
    (tokens > 0).then(|| f64::from(tokens))
}

/// Phases of calls by call and phase, of the sensor charged first.
fn by_call(events: &[EnergyEventRow]) -> BTreeMap<(&str, Phase), &EnergyEventRow> {
    let mut found = BTreeMap::new();
    for event in events.iter().filter(|event| event.scope == Scope::Natural) {
        found.entry((event.call_id.as_str(), event.phase)).or_insert(event);
    }
    found
}
