//! Measures what a power sensor's readings mean in time, under a load of our own, so that figures made from them may be
//! graded better than from an assumption. Takes about a minute; the result holds for one boot, driver and power limit.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::backend::{CancelToken, Deadline};
use crate::clock::SharedClock;
use crate::energy::response::{self, WorkTimes};
use crate::energy::{Sample, Trace, trace_of};
use crate::record::calibration::{Calibration, Coverage, Measured, PaceSlope, PhaseSlope, Response};
use crate::telemetry::sampler::Sampler;
use crate::terms::sensor::Sensor;
use crate::units::Nanos;

pub mod kept;
pub mod known;
pub mod load;

pub use kept::Calibrator;
pub use load::{Device, Load, Prefills};

/// Time between two readings while timing is measured.
const POLL: Duration = Duration::from_millis(2);

/// How long a varying load is watched to find the pace of the updates.
const WATCHED: Duration = Duration::from_secs(3);

/// Phases of the update period at which pulses are tried.
const PHASES: u32 = 8;

/// A faster counter cannot be told from a complete one by pulses: they cannot be made short enough.
const SHORTEST_PULSED: Nanos = Nanos(8_000_000);

/// Paces at which a counter is read to see whether reading changes it.
const PACES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_millis(50), Duration::from_millis(20), Duration::from_millis(2)];

/// Points of a picture.
const PICTURE: usize = 600;

/// Why a sensor cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// No thread could be started.
    #[error("no thread to read the sensor: {0}")]
    Thread(#[from] io::Error),
    /// The sensor was there and is not any more.
    #[error("{0} is gone")]
    Gone(String),
    /// The load failed, or someone cancelled.
    #[error("the load that a sensor is measured under: {0}")]
    Load(String),
    /// Its registers did not change often enough to tell anything.
    #[error("{sensor}: its registers changed fewer than eight times in {WATCHED:?}")]
    Still {
        /// The sensor.
        sensor: String,
    },
}

/// Measures one sensor. `load` `None`: nothing can run on its device, so that only the pace of its updates is found.
/// `say` is told what is being done.
///
/// # Errors
/// See [`CalibrateError`].
pub fn calibrate<'a>(
    sensor: &'a Sensor,
    load: Option<&'a mut (dyn Load + 'a)>,
    clock: &'a SharedClock,
    cancel: &'a CancelToken,
    unix_ns: u64,
    say: &mut dyn FnMut(&str),
) -> Result<Measured, CalibrateError> {
    let name = load.as_ref().map(|load| load.name());
    let random = ChaCha8Rng::seed_from_u64(0);
    let mut bench = Bench { sensor, load, clock, cancel, random, counter_poll: POLL };
    let mut calibration = Calibration::assumed_of(sensor.kind);
    say("pace of the updates");
    bench.periods(&mut calibration)?;
    let shown = match bench.load {
        Some(_) => bench.under_load(&mut calibration, say)?,
        None => UnderLoad::default(),
    };
    let mut measured = Measured {
        sensor: sensor.id.clone(),
        device: sensor.device.clone(),
        uuid: sensor.uuid.clone(),
        driver: sensor.driver.clone(),
        limit_w: sensor.limit_w,
        simulated: sensor.simulated,
        boot_sha256: known::boot(),
        unix_ns,
        load: name,
        calibration,
        response: shown.response,
        counter_response: shown.counter_response,
        phases: shown.phases,
        paces: shown.paces,
        steps_ns: shown.steps_ns,
        steps_w: shown.steps_w,
    };
    measured.calibration.id = Some(known::id(&measured));
    Ok(measured)
}

/// What a sensor showed under a load; see [`Measured`] for each.
#[derive(Default)]
struct UnderLoad {
    response: Option<Response>,
    counter_response: Option<Response>,
    phases: Vec<PhaseSlope>,
    paces: Vec<PaceSlope>,
    steps_ns: Vec<(Nanos, Nanos)>,
    steps_w: Vec<(Nanos, f64)>,
}

/// What a measurement works with.
struct Bench<'a> {
    sensor: &'a Sensor,
    load: Option<&'a mut (dyn Load + 'a)>,
    clock: &'a SharedClock,
    cancel: &'a CancelToken,
    random: ChaCha8Rng,
    /// Time between two readings of the counter: longer than [`POLL`] where reading it so often changes it.
    counter_poll: Duration,
}

impl Bench<'_> {
    /// Everything that needs a load, one after the other.
    fn under_load(&mut self, found: &mut Calibration, say: &mut dyn FnMut(&str)) -> Result<UnderLoad, CalibrateError> {
        let mut shown = UnderLoad::default();
        if self.sensor.counts() {
            say("pace at which the counter may be read");
            shown.paces = self.paces(found)?;
            found.safe_poll_ns = response::safe_poll(&shown.paces);
            self.read_safely(found)?;
        }
        say("response to steps of a load");
        let (trace, work) = self.steps(found)?;
        let power = if trace.instant.is_empty() { &trace.average } else { &trace.instant };
        shown.response = response::response(power, &work);
        if let Some(response) = shown.response.as_ref().filter(|response| response.holds()) {
            found.window_ns = response.window_ns;
            found.delay_ns = response.delay_ns;
            found.rise_ns = response.rise_ns.unwrap_or(response.window_ns);
        }
        let every = power.len().div_ceil(PICTURE).max(1);
        let some = power.iter().step_by(every);
        shown.steps_w = some.filter_map(|sample| Some((sample.at(), sample.value?))).collect();
        if self.sensor.counts() && found.counter_period_ns >= SHORTEST_PULSED {
            shown.counter_response = response::counter_response(&trace.counter, self.counter_poll.into(), &work);
            let follows = shown.counter_response.as_ref().filter(|response| response.holds());
            found.counter_delay_ns = follows.map(|response| response.delay_ns);
            found.counter_window_ns = follows.map(|response| response.window_ns);
            say("share of time that the counter sees");
            let (phases, idle_w) = self.pulses(found)?;
            found.coverage = response::coverage(&phases, idle_w).unwrap_or(Coverage::Unknown);
            shown.phases = phases;
        }
        shown.steps_ns = work.0;
        Ok(shown)
    }

    /// Reads the sensor at a pace while `act` goes on.
    fn watch<T>(
        &mut self,
        poll: Duration,
        act: impl FnOnce(&mut Self) -> Result<T, CalibrateError>,
    ) -> Result<(Trace, T), CalibrateError> {
        let counters = BTreeMap::from([(self.sensor.id.clone(), self.counter_poll)]);
        let sampler = Sampler::start(&[self.sensor.kind], poll, counters, self.clock.clone())?;
        let number = sampler.found().sensors.iter().position(|sensor| sensor.id == self.sensor.id);
        let number = number.ok_or_else(|| CalibrateError::Gone(self.sensor.id.clone()))?;
        let done = act(self);
        let mut read: Vec<Vec<Sample>> = vec![Vec::new(); self.sensor.registers.len()];
        drop(sampler.finish(|entry| {
            let reading = entry.reading;
            if usize::from(entry.sensor) == number
                && let Some(samples) = read.get_mut(usize::from(reading.register))
            {
                samples.push(Sample { begin: reading.begin, end: reading.end, value: reading.value.ok() });
            }
        }));
        Ok((trace_of(self.sensor, read), done?))
    }

    /// Works for so long; `None` without a load. When it did.
    fn work(&mut self, length: Duration) -> Result<Option<(Nanos, Nanos)>, CalibrateError> {
        let Some(load) = self.load.as_mut() else {
            self.pause(length)?;
            return Ok(None);
        };
        let begin = self.clock.now();
        load.work(&**self.clock, begin + length.into()).map_err(CalibrateError::Load)?;
        Ok(Some((begin, self.clock.now())))
    }

    fn pause(&self, length: Duration) -> Result<(), CalibrateError> {
        self.cancel.wait(Deadline(length), || false);
        if self.cancel.is_cancelled() { Err(CalibrateError::Load("cancelled".to_owned())) } else { Ok(()) }
    }

    fn between(&mut self, least: Duration, most: Duration) -> Duration {
        least + (most.saturating_sub(least)).mul_f64(self.random.random_range(0.0..1.0))
    }

    /// Paces of both registers and the counter's step, under a load that is never the same for two updates.
    fn periods(&mut self, found: &mut Calibration) -> Result<(), CalibrateError> {
        let (trace, ()) = self.watch(POLL, |bench| {
            let begin = bench.clock.now();
            while bench.clock.now().since(begin).duration() < WATCHED {
                let (on, off) = (
                    bench.between(Duration::from_millis(5), Duration::from_millis(60)),
                    bench.between(Duration::from_millis(5), Duration::from_millis(60)),
                );
                bench.work(on)?;
                bench.pause(off)?;
            }
            Ok(())
        })?;
        let counter = response::period(&trace.counter);
        let power = response::period(&trace.instant).or_else(|| response::period(&trace.average));
        if counter.or(power).is_none() {
            return Err(CalibrateError::Still { sensor: self.sensor.id.clone() });
        }
        found.counter_period_ns = counter.or(power).unwrap_or(found.counter_period_ns);
        found.power_period_ns = power.or(counter).unwrap_or(found.power_period_ns);
        found.resolution_j = response::resolution(&trace.counter).unwrap_or(found.resolution_j);
        Ok(())
    }

    /// From here on reads the counter no faster than is safe; if that is slower than before, its pace is found again.
    fn read_safely(&mut self, found: &mut Calibration) -> Result<(), CalibrateError> {
        let Some(safe) = found.safe_poll_ns.map(Nanos::duration).filter(|safe| *safe > POLL) else { return Ok(()) };
        self.counter_poll = safe;
        // One that may only be read more slowly than it updates keeps the pace that the fast readings showed.
        if safe * 2 < found.counter_period_ns.duration() { self.periods(found) } else { Ok(()) }
    }

    /// A long step and then irregular ones.
    fn steps(&mut self, found: &Calibration) -> Result<(Trace, WorkTimes), CalibrateError> {
        let period = found.power_period_ns.duration();
        let long = (period * 12).clamp(Duration::from_millis(1200), Duration::from_secs(2));
        let least = (period * 3).clamp(Duration::from_millis(60), Duration::from_millis(300));
        self.watch(POLL, |bench| {
            let mut work = WorkTimes::default();
            bench.pause(long)?;
            work.0.extend(bench.work(long)?);
            bench.pause(long)?;
            for _ in 0..10 {
                let (on, off) = (bench.between(least, least * 3), bench.between(least, least * 3));
                work.0.extend(bench.work(on)?);
                bench.pause(off)?;
            }
            Ok(work)
        })
    }

    /// What the counter says of pulses of a quarter of its period, at every phase of it; and of no load.
    fn pulses(&mut self, found: &Calibration) -> Result<(Vec<PhaseSlope>, f64), CalibrateError> {
        let period = found.counter_period_ns;
        let settle = found.settling();
        let pulses = (Nanos(4_000_000_000).0 / period.0).clamp(10, 40);
        let first = self.clock.now() + settle;
        let (quiet, ()) = self.watch(POLL, |bench| bench.pause(settle.duration() + period.duration() * 10))?;
        let end = self.clock.now();
        let gone = || CalibrateError::Still { sensor: self.sensor.id.clone() };
        let idle_w = response::slope(&quiet.counter, self.counter_poll.into(), first, end).ok_or_else(gone)?.watts;
        let phases = (0..PHASES).map(|phase| self.pulses_at(phase, pulses, found, idle_w));
        // One that gave too few updates says nothing.
        let phases: Result<Vec<Option<PhaseSlope>>, CalibrateError> = phases.collect();
        Ok((phases?.into_iter().flatten().collect(), idle_w))
    }

    /// The same at one phase.
    fn pulses_at(
        &mut self,
        phase: u32,
        pulses: u64,
        found: &Calibration,
        idle_w: f64,
    ) -> Result<Option<PhaseSlope>, CalibrateError> {
        let (period, delay) = (found.counter_period_ns, found.counter_delay_ns.unwrap_or(found.delay_ns));
        let (trace, (work, begin, end)) = self.watch(POLL, |bench| {
            // Counted from the clock's beginning, so that each phase is the same place in the update period.
            let now = bench.clock.now().0 / period.0 + 1;
            let start = now * period.0 + period.0 * u64::from(phase) / u64::from(PHASES);
            let mut work = WorkTimes::default();
            for pulse in 0..pulses {
                let due = Nanos(start + pulse * period.0);
                bench.pause(due.since(bench.clock.now()).duration())?;
                work.0.extend(bench.work(period.duration() / 4)?);
            }
            Ok((work, Nanos(start) + delay, bench.clock.now() + delay))
        })?;
        let middle = Nanos(u64::midpoint(begin.0, end.0));
        let of = |begin, end| {
            let slope = response::slope(&trace.counter, self.counter_poll.into(), begin, end)?;
            let share = work.share(slope.begin.since(delay).as_secs(), slope.end.since(delay).as_secs());
            (share > 0.0).then(|| (slope.watts, share, (slope.watts - idle_w) / share))
        };
        let told = of(begin, end).zip(of(begin, middle)).zip(of(middle, end));
        Ok(told.map(|(((watts, share, pulse), (.., first)), (.., second))| PhaseSlope {
            phase: f64::from(phase) / f64::from(PHASES),
            share,
            watts,
            halves_differ: (second - first) / pulse,
        }))
    }

    /// A steady load by the counter, read at one pace after the other.
    fn paces(&mut self, found: &Calibration) -> Result<Vec<PaceSlope>, CalibrateError> {
        let settle = found.settling().duration();
        let mut paces = Vec::new();
        for poll in PACES {
            let length = (found.counter_period_ns.duration() * 25).max(poll * 8).max(Duration::from_secs(2));
            let (trace, begin) = self.watch(poll, |bench| {
                bench.work(settle)?;
                let begin = bench.clock.now();
                bench.work(length.min(Duration::from_secs(8)))?;
                Ok(begin)
            })?;
            let end = self.clock.now();
            let of = |begin, end| response::slope(&trace.counter, poll.into(), begin, end).map(|slope| slope.watts);
            let middle = Nanos(u64::midpoint(begin.0, end.0));
            if let (Some(watts), Some(first), Some(second)) = (of(begin, end), of(begin, middle), of(middle, end)) {
                paces.push(PaceSlope { poll_ns: poll.into(), watts, halves_differ: (second - first) / watts });
            }
        }
        Ok(paces)
    }
}

/// Calibrations by sensor: what was measured, else what is assumed.
#[must_use]
pub fn by_sensor(sensors: &[Sensor], measured: &[Measured]) -> BTreeMap<String, Calibration> {
    let of = |sensor: &Sensor| {
        let found = measured.iter().find(|one| one.sensor == sensor.id).map(|one| one.calibration.clone());
        (sensor.id.clone(), found.unwrap_or_else(|| Calibration::assumed_of(sensor.kind)))
    };
    sensors.iter().map(of).collect()
}
