//! `energy_soak.csv`: what power and temperature did over the stages of a run, and whether a steady load became one.
//!
//! A stage is a stretch left alone, calls that follow each other without a pause, or a loop for the sensor. A figure of a
//! device that still warms up holds for that moment only; so of each stage of work it is told whether power and
//! temperature stood still at its end.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::energy::edges::Edges;
use crate::energy::{Sample, mean, trace_of};
use crate::record::manifest::Manifest;
use crate::store::TraceRow;
use crate::terms::sensor::{RegisterKind, Sensor};
use crate::units::Nanos;

use super::columns::columns;
use super::energy::EnergyEvents;
use super::energy::readings::Readings;
use super::table::{Sources, Table};

mod stages;

use stages::{BLOCKS, Stretch, stretches};
pub use stages::{STEADY_S, Stage};

/// Largest difference of a block's power from their mean, relative.
pub const STEADY_POWER: f64 = 0.005;

/// Largest difference of the temperature from the middle of its range, in degrees.
pub const STEADY_C: f64 = 1.0;

columns! {
    /// One stage of the run and one sensor.
    pub struct SoakRow {
        /// Process of the run.
        epoch: u32,
        /// What went on.
        stage: Stage,
        /// Models at work or resident, joined by `;`. Empty: nothing is loaded.
        models: String,
        /// Scenarios at work, joined by `;`. Empty: idle.
        scenarios: String,
        /// Sensor that the work is charged to.
        sensor: String,
        /// Whether it is scripted: then no figure of this row is a measurement.
        simulated: bool,
        /// When it began, on the clock of `epoch`.
        begin_ns: u64,
        /// When it ended.
        end_ns: u64,
        /// Mean power in watts. `None`: the sensor said too little.
        power_w: Option<f64>,
        /// The same over the first 10 s, or the first third of a shorter stage. `None`: as above.
        power_begin_w: Option<f64>,
        /// The same over the last 10 s, or the last third. `None`: as above.
        power_end_w: Option<f64>,
        /// Mean temperature over the first 10 s or third, in °C. `None`: the sensor tells none.
        temperature_begin_c: Option<f64>,
        /// Mean temperature over the last 10 s or third. `None`: as above.
        temperature_end_c: Option<f64>,
        /// Largest difference of three blocks of the last 30 s from their mean, relative. `None`: the stage is shorter, idle, or
        /// the sensor said too little.
        /// Unit: fraction.
        power_moved: Option<f64>,
        /// Half of the temperature's range over the same time, in degrees. `None`: as above.
        temperature_moved_c: Option<f64>,
        /// Whether power and temperature stood still at the end. `None`: no work was done.
        equilibrium: Option<Equilibrium>,
        /// Why not. Empty: they did, or no work was done.
        why: String,
    }
}

/// Whether a steady load was one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Equilibrium {
    /// Power and temperature stood still over its last 30 s.
    Equilibrated,
    /// They did not, or it cannot be told that they did.
    NotEquilibrated,
}

impl Equilibrium {
    /// The name used in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equilibrated => "equilibrated",
            Self::NotEquilibrated => "not_equilibrated",
        }
    }
}

/// `analysis/energy_soak.csv`.
pub struct EnergySoak;

impl Table for EnergySoak {
    type Row = SoakRow;
    const FILE: &'static str = "analysis/energy_soak.csv";
    const ABOUT: &'static str = "Power and temperature stage by stage, once for each sensor that the stage's work, or the run's, is charged to. Only where power was recorded.";
    const NEEDS_POWER: bool = true;

    fn derive(from: &Sources<'_>) -> Vec<SoakRow> {
        let histories = histories(from.manifest, from.trace);
        if histories.is_empty() {
            return Vec::new();
        }
        let events = from.rows::<EnergyEvents>();
        let mut charged: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut of_epoch: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
        for event in events.iter() {
            if let Some(sensor) = event.sensor.as_deref() {
                charged.entry(&event.call_id).or_default().insert(sensor);
                of_epoch.entry(event.epoch).or_default().insert(sensor);
            }
        }
        let mut rows = Vec::new();
        for stretch in stretches(from.recording) {
            let own: BTreeSet<&str> = stretch.ids.iter().filter_map(|id| charged.get(id)).flatten().copied().collect();
            let is_idle = stretch.ids.is_empty();
            let sensors = if is_idle { of_epoch.get(&stretch.epoch).cloned().unwrap_or_default() } else { own };
            let told = sensors.into_iter().filter_map(|sensor| histories.get(&(stretch.epoch, sensor)));
            rows.extend(told.map(|told| told.row(&stretch)));
        }
        rows
    }
}

/// What one sensor said in one process.
struct SensorHistory<'a> {
    sensor: &'a Sensor,
    edges: Edges,
    /// The reading over the shortest time that it gives, in watts.
    power: Vec<Sample>,
    /// In °C.
    temperature: Vec<Sample>,
}

/// Every sensor of a run, by process and name.
fn histories<'a>(manifest: &'a Manifest, trace: &[TraceRow]) -> BTreeMap<(u32, &'a str), SensorHistory<'a>> {
    let mut readings = Readings::of(trace);
    let mut found = BTreeMap::new();
    for (epoch, number) in manifest.epochs.iter().zip(0_u32..) {
        let Some(power) = &epoch.power else { continue };
        for sensor in &power.found.sensors {
            let told = SensorHistory::of(sensor, power.period_ns, readings.take(number, sensor));
            found.insert((number, sensor.id.as_str()), told);
        }
    }
    found
}

/// Whether a register holds the device's own temperature, and not its memory's.
#[must_use]
pub fn is_temperature(register: &crate::terms::sensor::Register) -> bool {
    register.kind == RegisterKind::State
        && register.name.ends_with("temperature_c")
        && !register.name.starts_with("memory")
}

impl<'a> SensorHistory<'a> {
    /// What a sensor that is read every `poll` said, register by register.
    fn of(sensor: &'a Sensor, poll: Nanos, samples: Vec<Vec<Sample>>) -> Self {
        let warm = sensor.registers.iter().zip(&samples).find(|(register, _)| is_temperature(register));
        let temperature = warm.map(|(_, samples)| samples.clone()).unwrap_or_default();
        let trace = trace_of(sensor, samples);
        let edges = Edges::of(&trace.counter, poll);
        let power = if trace.instant.is_empty() { trace.average } else { trace.instant };
        Self { sensor, edges, power, temperature }
    }

    fn row(&self, stretch: &Stretch<'_>) -> SoakRow {
        let (begin, end, part) = (stretch.begin, stretch.end, stretch.part());
        let works = matches!(stretch.stage, Stage::Calls | Stage::Loop);
        let blocks = stretch.blocks().filter(|_| works);
        let power_moved = blocks.as_deref().and_then(|ends| self.power_moved(ends));
        let temperature_moved_c = blocks.as_deref().and_then(|ends| self.temperature_moved(ends));
        let why = match &blocks {
            _ if !works => String::new(),
            None => format!("too short: {STEADY_S:.0} s of whole calls are needed"),
            Some(_) => unsteady(power_moved, temperature_moved_c),
        };
        let join = |names: &BTreeSet<&str>| names.iter().copied().collect::<Vec<_>>().join(";");
        SoakRow {
            epoch: stretch.epoch,
            stage: stretch.stage,
            models: join(&stretch.models),
            scenarios: join(&stretch.scenarios),
            sensor: self.sensor.id.clone(),
            simulated: self.sensor.simulated,
            begin_ns: begin.0,
            end_ns: end.0,
            power_w: self.watts(begin, end),
            power_begin_w: self.watts(begin, begin + part),
            power_end_w: self.watts(end.since(part), end),
            temperature_begin_c: level(&self.temperature, begin, begin + part),
            temperature_end_c: level(&self.temperature, end.since(part), end),
            power_moved,
            temperature_moved_c,
            equilibrium: works.then_some(match why.as_str() {
                "" => Equilibrium::Equilibrated,
                _ => Equilibrium::NotEquilibrated,
            }),
            why,
        }
    }

    /// Mean power between two times: by the counter, else by the readings. `None`: neither tells.
    fn watts(&self, begin: Nanos, end: Nanos) -> Option<f64> {
        let counted = || {
            let whole = !self.edges.reset_in(begin, end);
            let joules = self.joules(end)? - self.joules(begin)?;
            (whole && end > begin).then(|| joules / end.since(begin).as_secs())
        };
        counted().or_else(|| level(&self.power, begin, end))
    }

    /// The counter at a time, between the updates on either side. `None`: it has none there.
    fn joules(&self, at: Nanos) -> Option<f64> {
        let edges = &self.edges.edges;
        let next = edges.partition_point(|edge| edge.at <= at);
        let (before, after) = (edges.get(next.checked_sub(1)?)?, edges.get(next)?);
        let share = at.since(before.at).as_secs() / after.at.since(before.at).as_secs();
        Some(before.joules + (after.joules - before.joules) * share)
    }

    fn power_moved(&self, ends: &[Nanos]) -> Option<f64> {
        let blocks: Option<Vec<f64>> = ends.windows(2).map(|pair| self.watts(pair[0], pair[1])).collect();
        let blocks = blocks?;
        let middle = mean(&blocks);
        let largest = blocks.iter().map(|watts| (watts - middle).abs()).fold(0.0, f64::max);
        (middle > 0.0).then(|| largest / middle)
    }

    fn temperature_moved(&self, ends: &[Nanos]) -> Option<f64> {
        let (begin, end) = (*ends.first()?, *ends.last()?);
        let degrees: Vec<f64> = between(&self.temperature, begin, end).collect();
        let (low, high) = degrees.iter().fold((f64::MAX, f64::MIN), |(low, high), &c| (low.min(c), high.max(c)));
        (degrees.len() >= BLOCKS).then(|| (high - low) / 2.0)
    }
}

/// Why a load is not in equilibrium; empty where it is.
fn unsteady(power: Option<f64>, temperature: Option<f64>) -> String {
    let mut why = Vec::new();
    match power {
        None => why.push("its power was not told throughout".to_owned()),
        Some(moved) if moved > STEADY_POWER => {
            why.push(format!("power moved by {:.1} %, at most {:.1} % are steady", moved * 100.0, STEADY_POWER * 100.0))
        }
        Some(_) => {}
    }
    match temperature {
        None => why.push("the sensor tells no temperature".to_owned()),
        Some(moved) if moved > STEADY_C => {
            why.push(format!("temperature moved by {moved:.1} degrees, at most {STEADY_C:.0} is steady"));
        }
        Some(_) => {}
    }
    why.join("; ")
}

fn between(samples: &[Sample], begin: Nanos, end: Nanos) -> impl Iterator<Item = f64> {
    let from = samples.partition_point(|sample| sample.at() < begin);
    let to = samples.partition_point(|sample| sample.at() <= end);
    samples.get(from..to).unwrap_or_default().iter().filter_map(|sample| sample.value)
}

/// Mean of readings between two times. `None`: there is none.
fn level(samples: &[Sample], begin: Nanos, end: Nanos) -> Option<f64> {
    let values: Vec<f64> = between(samples, begin, end).collect();
    (!values.is_empty()).then(|| mean(&values))
}

#[cfg(test)]
mod tests;
