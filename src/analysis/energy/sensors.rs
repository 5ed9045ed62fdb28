//! The sensors of a run with what they said, ready to be asked about a stretch of time.

use std::collections::{BTreeMap, BTreeSet};

use crate::energy::response::period;
use crate::energy::{Boards, Caps, Idle, Rest, Sample, States, Trace, check, trace_of};
use crate::record::calibration::Calibration;
use crate::record::manifest::{Manifest, PowerEntry};
use crate::record::{BesideRecord, IdleRecord, IdleWhen, Line};
use crate::store::{Recording, TraceRow};
use crate::terms::energy::{IdleKind, NoFigure};
use crate::terms::sensor::{FoundSensors, Sensor};
use crate::terms::{Attribution, SensorKind};
use crate::units::Nanos;

use super::readings::Readings;
use super::rows::BaselineRow;

/// Stretch that a board's average power is the mean of.
///
/// Source: NVIDIA's header of its management library, on `nvmlDeviceGetPowerUsage`.
const AVERAGED: Nanos = Nanos(1_000_000_000);

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

/// A stretch in which everything was left alone.
struct IdleStretch {
    when: IdleWhen,
    /// The load after which it came. `None`: none.
    load_index: Option<u32>,
    /// `None`: the sensor said too little.
    idle: Option<Idle>,
}

impl IdleStretch {
    /// `None`: there is no idle power, or it may not be used.
    fn valid(&self) -> Option<&Idle> {
        self.idle.as_ref().filter(|idle| idle.invalid.is_none())
    }
}

impl Metered {
    /// A sensor with what it said, its readings moved to where its calibration says that they belong; nothing is known of
    /// idle power yet.
    fn of(sensor: &Sensor, entry: &PowerEntry, samples: Vec<Vec<Sample>>) -> Self {
        let trace = trace_of(sensor, samples);
        let measured = entry.calibrations.iter().find(|measured| measured.sensor == sensor.id);
        let calibration = measured.map_or_else(|| assumed(sensor, &trace), |measured| measured.calibration.clone());
        Self {
            sensor: sensor.clone(),
            trace: trace.aligned(&calibration),
            calibration,
            poll: entry.counter_period(&sensor.id),
            denied: false,
            idle_drifts: false,
            idles: Vec::new(),
        }
    }

    /// Idle power for calls of a load: with its model resident, else before anything was loaded. `None`: not measured,
    /// or not valid.
    pub fn idle(&self, load_index: u32) -> Option<&Idle> {
        let loaded = self.idles.iter().filter(|idle| idle.when == IdleWhen::Loaded);
        let mut of_load = loaded.filter(|idle| idle.load_index == Some(load_index));
        let mut before = self.idles.iter().filter(|idle| idle.when == IdleWhen::Before);
        of_load.find_map(IdleStretch::valid).or_else(|| before.find_map(IdleStretch::valid))
    }

    /// What limits the grade of what ran between two times.
    pub fn caps(&self, beside: &BesideRecord, begin: Nanos, end: Nanos) -> Caps {
        let near = self.near(begin, end);
        Caps {
            divided: self.sensor.divided == Some(true),
            foreign: self.sensor.kind != SensorKind::Rapl
                && beside.foreign_on(self.sensor.uuid.as_deref()).is_some_and(|n| n > 0),
            readings_missing: check::readings_missing(&near, self.poll, begin, end),
            registers_differ: check::registers_differ(&near, &self.calibration, self.poll, begin, end),
            average_only: (self.trace.counter.is_empty() && self.trace.instant.is_empty())
                || self.calibration.counter_averages(),
            reconstructed: false,
            events: 1,
        }
    }

    /// Readings between two times, with as many around them as an estimate looks at.
    pub fn near(&self, begin: Nanos, end: Nanos) -> Trace {
        self.trace.around(begin, end, Nanos(3 * self.calibration.settling().0 + 4 * self.poll.0))
    }

    /// Why nothing it said is of use.
    ///
    /// # Errors
    /// This user may not read it, or it tells of more than the program's share of the device.
    pub fn readable(&self) -> Result<(), NoFigure> {
        match (self.denied, self.sensor.divided) {
            (true, _) => Err(NoFigure::Permission),
            (false, Some(true)) => Err(NoFigure::Mig),
            _ => Ok(()),
        }
    }
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
        let mut readings = Readings::of(rows);
        let denied = denied(rows);
        let mut metered = BTreeMap::new();
        for (&epoch, entry) in &entries {
            for sensor in &entry.found.sensors {
                let samples = readings.take(epoch, sensor);
                let states = states(sensor, &samples);
                let mut meter = Metered::of(sensor, entry, samples);
                meter.denied = denied.contains(&(epoch, sensor.id.as_str()));
                (meter.idles, meter.idle_drifts) = idles(recording, epoch, &meter, &states);
                metered.insert((epoch, sensor.id.clone()), meter);
            }
        }
        Self { metered, entries, busy: busy(recording), ends: ends(rows) }
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
    ) -> Result<Vec<&Metered>, NoFigure> {
        let entry = self.entries.get(&epoch).ok_or(NoFigure::NoSensor)?;
        let FoundSensors { sensors, refused, .. } = &entry.found;
        // Where there is nothing to read at all, which device it was makes no difference.
        if sensors.is_empty() && refused.is_empty() {
            return Err(NoFigure::NoSensor);
        }
        let of_kind = |kind: SensorKind| sensors.iter().filter(move |sensor| sensor.kind == kind);
        let boards = Boards { sensors, unopened: entry.found.has_unopened(), cuda: &entry.cuda };
        let board = boards.of(attribution, &beside.boards);
        let wanted: &[SensorKind] = match &entry.charged {
            Some(kinds) => kinds,
            None if attribution.device().ok_or(NoFigure::Unattributed)?.is_none() => &[SensorKind::Rapl],
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
            let missing = if denied { NoFigure::Permission } else { NoFigure::NoSensor };
            return Err(if unproven { NoFigure::Unattributed } else { missing });
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
            metered.idles.iter().map(move |stretch| BaselineRow {
                sensor: id.clone(),
                simulated: metered.sensor.simulated,
                epoch: *epoch,
                when: stretch.when,
                load_index: stretch.load_index,
                idle: stretch.idle.clone(),
            })
        });
        rows.collect()
    }
}

/// Sensors, by process, that this user was refused at every reading.
fn denied(rows: &[TraceRow]) -> BTreeSet<(u32, &str)> {
    let (mut refused, mut others) = (BTreeSet::new(), BTreeSet::new());
    for row in rows {
        let of = if row.fault.as_deref() == Some("permission") { &mut refused } else { &mut others };
        of.insert((row.epoch, row.sensor.as_str()));
    }
    &refused - &others
}

/// End of the last reading of each process.
fn ends(rows: &[TraceRow]) -> BTreeMap<u32, Nanos> {
    let mut ends: BTreeMap<u32, Nanos> = BTreeMap::new();
    for row in rows {
        let end = ends.entry(row.epoch).or_default();
        *end = row.end_ns.max(*end);
    }
    ends
}

/// What is assumed of a sensor that was not measured; a board's update periods show in the trace itself.
fn assumed(sensor: &Sensor, trace: &Trace) -> Calibration {
    let mut calibration = Calibration::assumed_of(sensor.kind);
    if sensor.kind != SensorKind::Rapl {
        calibration.counter_period_ns = period(&trace.counter).unwrap_or(calibration.counter_period_ns);
        let power = period(&trace.instant).or_else(|| period(&trace.average));
        calibration.power_period_ns = power.unwrap_or(calibration.power_period_ns);
        if trace.instant.is_empty() && !trace.average.is_empty() {
            (calibration.window_ns, calibration.rise_ns) = (AVERAGED, AVERAGED);
        }
    }
    calibration
}

/// What a device said of itself.
fn states(sensor: &Sensor, read: &[Vec<Sample>]) -> States {
    let of = |name: &str| {
        let named = sensor.registers.iter().zip(read).find(|(register, _)| register.name == name);
        named.map(|(_, samples)| samples.clone()).unwrap_or_default()
    };
    States { temperature: of("temperature_c"), clock: of("sm_clock_mhz"), performance: of("performance_state") }
}

/// Idle stretches of one process, with what the one after the run leaves open of those before it; and whether that is
/// too much.
fn idles(recording: &Recording, epoch: u32, metered: &Metered, states: &States) -> (Vec<IdleStretch>, bool) {
    let usable = recording.idles().filter(|stretch| stretch.epoch == epoch && stretch.is_usable());
    let stretches: Vec<&IdleRecord> = usable.collect();
    let uuid = metered.sensor.uuid.as_deref();
    let foreign = foreign(recording, epoch, uuid);
    let measured = stretches.iter().map(|stretch| IdleStretch {
        when: stretch.when,
        load_index: stretch.load_index,
        idle: Idle::of(&rest(stretch, metered, states, &foreign)),
    });
    let mut found: Vec<IdleStretch> = measured.collect();
    let Some((drift, drifts)) = drift(&found).filter(|_| had_alike_contexts(&stretches, uuid)) else {
        return (found, false);
    };
    // The device itself moved by as much; so did it with a model resident, which nobody measures a second time.
    for stretch in found.iter_mut().filter(|stretch| stretch.when != IdleWhen::After) {
        stretch.idle = stretch.idle.take().map(|idle| idle.drifted(drift));
    }
    (found, drifts)
}

/// What is known of a device while it was left alone.
fn rest<'a>(stretch: &IdleRecord, metered: &'a Metered, states: &'a States, foreign: &[(Nanos, u32)]) -> Rest<'a> {
    let has_context = metered.sensor.uuid.as_deref().is_some_and(|uuid| holds_context(stretch, uuid));
    let is_bare = stretch.when != IdleWhen::Loaded && !has_context;
    Rest {
        kind: if is_bare { IdleKind::IdleBare } else { IdleKind::IdleCtx },
        trace: &metered.trace,
        states,
        poll: metered.poll,
        settling: metered.calibration.settling(),
        begin: stretch.begin_ns,
        end: stretch.end_ns,
        foreign: beside(foreign, stretch).filter(|_| metered.sensor.kind != SensorKind::Rapl),
    }
}

/// Whether a context of ours was on the board.
fn holds_context(stretch: &IdleRecord, uuid: &str) -> bool {
    stretch.contexts.iter().flatten().any(|board| board == uuid)
}

/// Whether the stretches before and after the run may be compared: a context of ours on the board draws power, so both
/// had one or neither did.
fn had_alike_contexts(stretches: &[&IdleRecord], uuid: Option<&str>) -> bool {
    let context = |wanted: IdleWhen| {
        let stretch = stretches.iter().find(|stretch| stretch.when == wanted)?;
        let known = stretch.contexts.is_some();
        uuid.filter(|_| known).map(|uuid| holds_context(stretch, uuid))
    };
    context(IdleWhen::Before) == context(IdleWhen::After)
}

/// How far idle power after the run is from that before it, and whether that is too much. `None`: one is not known.
fn drift(stretches: &[IdleStretch]) -> Option<(f64, bool)> {
    let of = |wanted: IdleWhen| stretches.iter().find(|stretch| stretch.when == wanted)?.idle.as_ref();
    Some(of(IdleWhen::Before)?.drift_to(of(IdleWhen::After)?))
}

/// When calls and loops of a process began, and how many processes of others were on the device beside each.
fn foreign(recording: &Recording, epoch: u32, uuid: Option<&str>) -> Vec<(Nanos, u32)> {
    let told = |at: Nanos, of: u32, beside: &BesideRecord| Some((at, beside.foreign_on(uuid)?)).filter(|_| of == epoch);
    let lines = recording.lines.iter().filter_map(|line| match line {
        Line::Call(call) => told(call.begin_ns, call.epoch, &call.beside),
        Line::Loop(looped) => told(looped.begin_ns, looped.epoch, &looped.beside),
        _ => None,
    });
    lines.collect()
}

/// Processes of others beside the work right before and right after an idle stretch, the larger of the two. `None`: not
/// told.
fn beside(foreign: &[(Nanos, u32)], stretch: &IdleRecord) -> Option<u32> {
    let before = foreign.iter().rev().find(|(at, _)| *at <= stretch.begin_ns);
    let after = foreign.iter().find(|(at, _)| *at >= stretch.end_ns);
    before.into_iter().chain(after).map(|(_, n)| *n).max()
}

/// When loads, compile steps and calls ran, by process.
fn busy(recording: &Recording) -> BTreeMap<u32, Vec<(Nanos, Nanos)>> {
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
