//! The sensors of a run with what they said, ready to be asked about a stretch of time.

use std::collections::BTreeMap;

use crate::energy::edges::unwrapped;
use crate::energy::{Calibration, Idle, IdleKind, Reason, Sample, Trace, calibration, mean};
use crate::manifest::{Manifest, PowerEntry};
use crate::record::{CallRecord, IdleWhen};
use crate::store::{Recording, TraceRow};
use crate::telemetry::sensor::{RegisterKind, Sensor, rapl};
use crate::terms::SensorKind;
use crate::units::Nanos;

use super::{BaselineRow, assumed};

/// Most watts a processor package may draw, to tell one wrap of its counter from two.
const MOST_WATTS: f64 = 1000.0;

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
    idles: Vec<(IdleWhen, Option<u32>, Option<Idle>)>,
}

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
                let trace = trace(sensor, samples.collect());
                let mut calibration = assumed(sensor.kind);
                if sensor.kind == SensorKind::Nvml || sensor.kind == SensorKind::Hwmon {
                    own_periods(&mut calibration, &trace);
                }
                let denied = denied.get(&(epoch, sensor.id.as_str())).copied().unwrap_or(false);
                let idles = idles(recording, epoch, &trace, entry.period_ns);
                let found =
                    Metered { sensor: sensor.clone(), calibration, poll: entry.period_ns, trace, denied, idles };
                metered.insert((epoch, sensor.id.clone()), found);
            }
        }
        Self { metered, entries, busy: busy(recording), ends }
    }

    /// Sensors that a call is charged to, the first one first.
    ///
    /// # Errors
    /// Why there is none.
    pub fn charged(&self, call: &CallRecord) -> Result<Vec<&Metered>, Reason> {
        let entry = self.entries.get(&call.epoch).ok_or(Reason::NoSensor)?;
        if entry.found.sensors.is_empty() {
            return Err(Reason::NoSensor);
        }
        let of_epoch =
            || self.metered.range((call.epoch, String::new())..).take_while(|((epoch, _), _)| *epoch == call.epoch);
        let of_kind = |kind: SensorKind| of_epoch().map(|(_, metered)| metered).filter(move |m| m.sensor.kind == kind);
        let found: Vec<&Metered> = match &entry.charged {
            Some(kinds) => kinds.iter().flat_map(|&kind| of_kind(kind)).collect(),
            None => match call.attribution.device().ok_or(Reason::Unattributed)? {
                None => of_kind(SensorKind::Rapl).collect(),
                Some(number) => {
                    let at = usize::try_from(number).unwrap_or(usize::MAX);
                    let board = of_kind(SensorKind::Nvml).nth(at).or_else(|| of_kind(SensorKind::Hwmon).nth(at));
                    board.into_iter().collect()
                }
            },
        };
        if found.is_empty() { Err(Reason::NoSensor) } else { Ok(found) }
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

/// A sensor's registers as counter, instant and average; packages of a processor are added up.
fn trace(sensor: &Sensor, read: Vec<Vec<Sample>>) -> Trace {
    let mut trace = Trace::default();
    for (register, samples) in sensor.registers.iter().zip(read) {
        match register.kind {
            RegisterKind::Counter if sensor.kind == SensorKind::Rapl => {
                if rapl::is_package(&register.name) {
                    add(&mut trace.counter, &unwrapped(&samples, register.range_j, MOST_WATTS));
                }
            }
            RegisterKind::Counter if register.range_j.is_some() => {
                trace.counter = unwrapped(&samples, register.range_j, MOST_WATTS);
            }
            RegisterKind::Counter => trace.counter = samples,
            RegisterKind::Instant => trace.instant = samples,
            RegisterKind::Average => trace.average = samples,
            RegisterKind::State => {}
        }
    }
    trace
}

/// Adds readings of the same ticks; one that is missing makes its sum missing.
fn add(sum: &mut Vec<Sample>, more: &[Sample]) {
    if sum.is_empty() {
        sum.extend_from_slice(more);
        return;
    }
    for (sum, more) in sum.iter_mut().zip(more) {
        sum.end = more.end;
        sum.value = sum.value.zip(more.value).map(|(sum, more)| sum + more);
    }
}

/// Update periods as they show in the trace itself, where they are slower than the assumed ones they stay.
fn own_periods(calibration: &mut Calibration, trace: &Trace) {
    if let Some(period) = calibration::update_period(&trace.counter) {
        calibration.counter_period_ns = period;
    }
    if let Some(period) = calibration::update_period(&trace.instant) {
        calibration.power_period_ns = period;
    }
}

fn idles(recording: &Recording, epoch: u32, trace: &Trace, poll: Nanos) -> Vec<(IdleWhen, Option<u32>, Option<Idle>)> {
    let stretches = recording.idles().filter(|idle| idle.epoch == epoch);
    let found = stretches.map(|stretch| {
        let kind = if stretch.when == IdleWhen::Loaded { IdleKind::IdleCtx } else { IdleKind::IdleBare };
        (stretch.when, stretch.load_index, Idle::of(kind, trace, poll, stretch.begin_ns, stretch.end_ns))
    });
    let mut found: Vec<_> = found.collect();
    let after = found.iter().find(|(when, ..)| *when == IdleWhen::After).and_then(|(.., idle)| idle.clone());
    if let Some(after) = after {
        for (when, _, idle) in &mut found {
            if *when == IdleWhen::Before {
                *idle = idle.take().map(|idle| idle.drifted(&after).0);
            }
        }
    }
    found
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
            Line::Call(call) => {
                found.entry(epoch).or_default().push((call.begin_ns, call.begin_ns + call.total_wall_ns));
            }
            _ => {}
        }
    }
    found
}
