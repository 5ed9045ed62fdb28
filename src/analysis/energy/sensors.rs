//! The sensors of a run with what they said, ready to be asked about a stretch of time.

use std::collections::BTreeMap;

use crate::energy::response::period;
use crate::energy::{Calibration, Idle, IdleKind, Reason, Sample, Trace, mean};
use crate::manifest::{Manifest, PowerEntry};
use crate::record::{BesideRecord, IdleWhen};
use crate::store::{Recording, TraceRow};
use crate::telemetry::board::Boards;
use crate::telemetry::sampler::Found;
use crate::telemetry::sensor::Sensor;
use crate::terms::{Attribution, SensorKind};
use crate::units::Nanos;

use super::BaselineRow;

/// Share of the readings due in a phase below which its grade is capped.
const LEAST_READINGS: f64 = 0.95;

/// Readings that must be due for their share to mean anything.
const FEWEST_READINGS: f64 = 20.0;

/// One sensor in one process of the run.
pub struct Metered {
    /// The sensor.
    pub sensor: Sensor,
    /// Its timing.
    pub calibration: Calibration,
    /// Polling period.
    pub poll: Nanos,
    /// What it said.
    pub trace: Trace,
    /// Whether this user may not read it.
    pub denied: bool,
    /// Whether idle power moved over the process by more than idle power does.
    pub idle_drifts: bool,
    idles: Vec<IdleStretch>,
}

/// When, after which load, and what it gave.
type IdleStretch = (IdleWhen, Option<u32>, Option<Idle>);

impl Metered {
    /// Idle power for calls of a load: with its model resident, else before anything was loaded. `None`: not measured,
    /// or not valid.
    pub fn idle(&self, load_index: u32) -> Option<&Idle> {
        let valid = |wanted: &dyn Fn(IdleWhen, Option<u32>) -> bool| {
            let mut found = self.idles.iter().filter(|(when, load, _)| wanted(*when, *load));
            found.find_map(|(_, _, idle)| idle.as_ref().filter(|idle| idle.invalid.is_none()))
        };
        valid(&|when, load| when == IdleWhen::Loaded && load == Some(load_index))
            .or_else(|| valid(&|when, _| when == IdleWhen::Before))
    }

    /// Whether fewer readings came in a stretch than were due.
    #[expect(clippy::cast_precision_loss, reason = "counts of readings")]
    pub fn readings_missing(&self, begin: Nanos, end: Nanos) -> bool {
        let due = end.since(begin).as_secs() / self.poll.as_secs();
        let register = if self.trace.counter.is_empty() { &self.trace.instant } else { &self.trace.counter };
        let came = inside(register, begin, end).filter(|sample| sample.value.is_some()).count() as f64;
        due >= FEWEST_READINGS && came < LEAST_READINGS * due
    }

    /// Whether counter and power reading differ by more than 5 % over a stretch long enough to tell.
    pub fn registers_differ(&self, begin: Nanos, end: Nanos) -> bool {
        let settled = begin + self.calibration.settling();
        if end < settled + Nanos(10 * self.calibration.power_period_ns.0) {
            return false;
        }
        let level: Vec<f64> = inside(&self.trace.instant, settled, end).filter_map(|sample| sample.value).collect();
        let counted: Vec<(Nanos, f64)> =
            inside(&self.trace.counter, settled, end).filter_map(|sample| Some((sample.at(), sample.value?))).collect();
        let (Some(first), Some(last), false) = (counted.first(), counted.last(), level.is_empty()) else {
            return false;
        };
        let slope = (last.1 - first.1) / last.0.since(first.0).as_secs();
        (slope - mean(&level)).abs() > 0.05 * mean(&level)
    }
}

fn inside(samples: &[Sample], begin: Nanos, end: Nanos) -> impl Iterator<Item = &Sample> {
    samples.iter().filter(move |sample| sample.begin >= begin && sample.end <= end)
}

/// Every sensor of a run.
pub struct Meters<'a> {
    /// By process and sensor.
    metered: BTreeMap<(u32, String), Metered>,
    entries: BTreeMap<u32, &'a PowerEntry>,
    /// When anything of ours worked, by process, in order.
    busy: BTreeMap<u32, Vec<(Nanos, Nanos)>>,
    /// Last reading of each process.
    ends: BTreeMap<u32, Nanos>,
}

impl<'a> Meters<'a> {
    /// Sorts what was read.
    pub fn new(recording: &Recording, manifest: &'a Manifest, rows: &[TraceRow]) -> Self {
        let epochs = manifest.epochs.iter().zip(0_u32..);
        let entries: BTreeMap<u32, &PowerEntry> =
            epochs.filter_map(|(epoch, number)| Some((number, epoch.power.as_ref()?))).collect();
        let mut read: BTreeMap<(u32, &str, &str), Vec<Sample>> = BTreeMap::new();
        let mut ends: BTreeMap<u32, Nanos> = BTreeMap::new();
        let mut denied: BTreeMap<(u32, &str), bool> = BTreeMap::new();
        for row in rows {
            let sample = Sample { begin: row.begin_ns, end: row.end_ns, value: row.value };
            read.entry((row.epoch, &row.sensor, &row.register)).or_default().push(sample);
            let end = ends.entry(row.epoch).or_default();
            *end = (*end).max(row.end_ns);
            let refused = row.fault.as_deref() == Some("permission");
            let all = denied.entry((row.epoch, &row.sensor)).or_insert(true);
            *all &= refused;
        }
        let mut metered = BTreeMap::new();
        for (&epoch, entry) in &entries {
            for sensor in &entry.found.sensors {
                let registers = sensor.registers.iter();
                let samples = registers.map(|r| read.remove(&(epoch, &sensor.id, &r.name)).unwrap_or_default());
                let trace = sensor.trace(samples.collect());
                let measured = entry.calibrations.iter().find(|one| one.sensor == sensor.id);
                let calibration = measured.map_or_else(|| assumed(sensor, &trace), |one| one.calibration.clone());
                let trace = calibration.aligned(trace);
                let denied = denied.get(&(epoch, sensor.id.as_str())).copied().unwrap_or(false);
                let poll = entry.counter_period(&sensor.id);
                let (idles, idle_drifts) = idles(recording, epoch, sensor, &trace, poll);
                let sensor = sensor.clone();
                let key = (epoch, sensor.id.clone());
                metered.insert(key, Metered { sensor, calibration, poll, trace, denied, idle_drifts, idles });
            }
        }
        Self { metered, entries, busy: busy(recording), ends }
    }

    /// Sensors that a call is charged to, the first one first; of several boards the one that the call is proven to have
    /// run on.
    ///
    /// # Errors
    /// Why there is none.
    pub fn charged(
        &self,
        attribution: &Attribution,
        beside: &BesideRecord,
        epoch: u32,
    ) -> Result<Vec<&Metered>, Reason> {
        let entry = self.entries.get(&epoch).ok_or(Reason::NoSensor)?;
        let Found { sensors, refused, .. } = &entry.found;
        // Where there is nothing to read at all, which device it was makes no difference.
        if sensors.is_empty() && refused.is_empty() {
            return Err(Reason::NoSensor);
        }
        let of_kind = |kind: SensorKind| sensors.iter().filter(move |sensor| sensor.kind == kind);
        let boards = Boards { sensors, unopened: entry.found.has_unopened(), cuda: &entry.cuda };
        let board = boards.of(attribution, &beside.boards);
        let wanted: &[SensorKind] = match &entry.charged {
            Some(kinds) => kinds,
            None if attribution.device().ok_or(Reason::Unattributed)?.is_none() => &[SensorKind::Rapl],
            None if of_kind(SensorKind::Nvml).next().is_some() => &[SensorKind::Nvml],
            None => &[SensorKind::Hwmon],
        };
        let (mut found, mut unproven) = (Vec::new(), false);
        for &kind in wanted {
            let all: Vec<&Sensor> = of_kind(kind).collect();
            match (all.as_slice(), board.filter(|board| board.kind == kind)) {
                (_, Some(board)) => found.push(board),
                ([], _) => {}
                // One that the scenario file names needs no proof.
                ([only], None) if entry.charged.is_some() || kind == SensorKind::Rapl => found.push(only),
                (_, None) => unproven = true,
            }
        }
        if found.is_empty() {
            let denied = wanted.iter().any(|kind| refused.contains(kind));
            let missing = if denied { Reason::Permission } else { Reason::NoSensor };
            return Err(if unproven { Reason::Unattributed } else { missing });
        }
        Ok(found.iter().filter_map(|sensor| self.metered.get(&(epoch, sensor.id.clone()))).collect())
    }

    /// Since when and until when nothing of ours ran around a stretch.
    pub fn quiet(&self, epoch: u32, begin: Nanos, end: Nanos) -> (Option<Nanos>, Option<Nanos>) {
        let busy = self.busy.get(&epoch).map_or(&[][..], Vec::as_slice);
        let before = busy.iter().map(|(_, until)| *until).filter(|until| *until <= begin).max();
        let after = busy.iter().map(|(since, _)| *since).filter(|since| *since >= end).min();
        (Some(before.unwrap_or_default()), after.or_else(|| self.ends.get(&epoch).copied()))
    }

    /// Idle power of every stretch that was left alone.
    pub fn baselines(&self) -> Vec<BaselineRow> {
        let rows = self.metered.iter().flat_map(|((epoch, id), metered)| {
            metered.idles.iter().map(move |(when, load_index, idle)| BaselineRow {
                sensor: id.clone(),
                simulated: metered.sensor.simulated,
                epoch: *epoch,
                when: *when,
                load_index: *load_index,
                idle: idle.clone(),
            })
        });
        rows.collect()
    }
}

/// What is assumed of a sensor that was not measured; a board's update periods show in the trace itself.
fn assumed(sensor: &Sensor, trace: &Trace) -> Calibration {
    let mut calibration = Calibration::assumed_of(sensor.kind);
    if sensor.kind != SensorKind::Rapl {
        calibration.counter_period_ns = period(&trace.counter).unwrap_or(calibration.counter_period_ns);
        calibration.power_period_ns = period(&trace.instant).unwrap_or(calibration.power_period_ns);
    }
    calibration
}

/// Idle stretches of one process; those before the run with what the one after it adds, and whether that is too much.
///
/// A context of ours on the board draws power, so that two stretches are compared only where both had one or neither.
fn idles(recording: &Recording, epoch: u32, sensor: &Sensor, trace: &Trace, poll: Nanos) -> (Vec<IdleStretch>, bool) {
    let context = |wanted: IdleWhen| {
        let mut stretches = recording.idles().filter(|idle| idle.epoch == epoch && idle.when == wanted);
        let contexts = stretches.next().and_then(|idle| idle.contexts.as_ref());
        contexts.zip(sensor.uuid.as_ref()).map(|(boards, uuid)| boards.contains(uuid))
    };
    let alike = context(IdleWhen::Before) == context(IdleWhen::After);
    let stretches = recording.idles().filter(|idle| idle.epoch == epoch);
    let found = stretches.map(|stretch| {
        let held = stretch.contexts.iter().flatten().any(|board| Some(board) == sensor.uuid.as_ref());
        let bare = stretch.when != IdleWhen::Loaded && !held;
        let kind = if bare { IdleKind::IdleBare } else { IdleKind::IdleCtx };
        (stretch.when, stretch.load_index, Idle::of(kind, trace, poll, stretch.begin_ns, stretch.end_ns))
    });
    let mut found: Vec<IdleStretch> = found.collect();
    let mut drifts = false;
    let after = found.iter().find(|(when, ..)| *when == IdleWhen::After).and_then(|(.., idle)| idle.clone());
    if let Some(after) = after.filter(|_| alike) {
        for (when, _, idle) in &mut found {
            if *when == IdleWhen::Before
                && let Some((drifted, flagged)) = idle.take().map(|idle| idle.drifted(&after))
            {
                *idle = Some(drifted);
                drifts |= flagged;
            }
        }
    }
    (found, drifts)
}

/// When loads, compile steps and calls ran, by process.
fn busy(recording: &Recording) -> BTreeMap<u32, Vec<(Nanos, Nanos)>> {
    use crate::record::Line;
    let mut found: BTreeMap<u32, Vec<(Nanos, Nanos)>> = BTreeMap::new();
    let mut epoch = 0;
    for line in &recording.lines {
        match line {
            Line::Opened(opened) => epoch = opened.epoch,
            Line::Load(load) => {
                let compiled = load.compiled.iter().map(|step| (step.begin_ns, step.begin_ns + step.duration_ns));
                let all = found.entry(epoch).or_default();
                all.push((load.begin_ns, load.begin_ns + load.duration_ns));
                all.extend(compiled);
            }
            Line::Loop(looped) => found.entry(epoch).or_default().push((looped.begin_ns, looped.end_ns)),
            Line::Call(call) => {
                found.entry(epoch).or_default().push((call.begin_ns, call.begin_ns + call.total_wall_ns));
            }
            _ => {}
        }
    }
    found
}
