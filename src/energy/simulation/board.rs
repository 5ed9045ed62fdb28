//! Boards whose truth is known, what a sampler reads of them, and loads.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::energy::estimate::Window;
use crate::energy::{Caps, Estimate, Idle, Sample, Stretch, StretchContext, Trace, check, estimate, grade};
use crate::record::calibration::{Calibration, Coverage};
use crate::terms::energy::{Grade, IdleKind, NoFigure};
use crate::units::Nanos;
use fake_nvml::simulated::{Counter, Errors, Load, Sensor, Timing};

pub const MS: u64 = 1_000_000;
pub const IDLE_W: f64 = 120.0;
pub const BUSY_W: f64 = 550.0;
/// Sensors of the published sheets: updates about every 100 ms.
pub const PERIOD: u64 = 100 * MS;
/// Where phases begin, far enough from the beginning for every window.
pub const BEGIN: u64 = 3000 * MS;

/// A board of one kind, at a moment that the seed decides.
pub struct Board {
    sensor: Sensor,
    pub random: ChaCha8Rng,
    pub calibration: Calibration,
    sampling: Sampling,
}

/// How a sampler reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Latest that a tick comes.
    pub late: u64,
    /// Share of ticks that are not taken.
    pub dropped: f64,
    /// Share of readings without a value.
    pub failed: f64,
    /// Share of power readings that say 0 W.
    pub zero: f64,
}

/// As on a machine that has time for it.
const SMOOTH: Sampling = Sampling { late: MS / 5, dropped: 0.0, failed: 0.0, zero: 0.0 };

/// As on one that has not, with a driver that fails now and then.
pub const ROUGH: Sampling = Sampling { late: 5 * MS, dropped: 0.01, failed: 0.01, zero: 0.01 };

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Counter of all energy; power over the whole period.
    Full,
    /// Everything from readings that see a quarter of the time.
    Quarter,
    /// Power over the last second, as current drivers give it by default.
    Second,
}

impl Board {
    pub fn new(kind: Kind, seed: u64) -> Self {
        Self::late(kind, seed, 0)
    }

    /// The same, whose registers are late by `delay`, as its calibration knows.
    pub fn late(kind: Kind, seed: u64, delay: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        // No two boards keep the same time, and none keeps the sampler's.
        let period = PERIOD + random.random_range(0..4 * MS) - MS;
        let window = match kind {
            Kind::Full => period,
            Kind::Quarter => 25 * MS,
            Kind::Second => 1000 * MS,
        };
        let timing = Timing { period, phase: random.random_range(0..period), window, delay };
        let (counter, coverage) = match kind {
            Kind::Full => (Counter::OfEnergy, Coverage::Full),
            Kind::Quarter => (Counter::OfReadings, Coverage::Partial),
            Kind::Second => (Counter::OfReadings, Coverage::Unknown),
        };
        let errors = Errors { noise_w: 2.0, seed, ..Errors::default() };
        let calibration = Calibration {
            id: Some("simulated".to_owned()),
            counter_period_ns: Nanos(period),
            power_period_ns: Nanos(period),
            window_ns: Nanos(window),
            delay_ns: Nanos(delay),
            rise_ns: Nanos(window),
            coverage,
            resolution_j: 1e-3,
            safe_poll_ns: None,
            counter_delay_ns: None,
            counter_window_ns: None,
        };
        Self { sensor: Sensor::new(timing, counter, errors), random, calibration, sampling: SMOOTH }
    }

    /// Read in another way.
    pub fn read(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// What a sampler that looks every `poll` would have read up to `end`.
    pub fn trace(&mut self, load: &Load, poll: u64, end: u64) -> Trace {
        let Sampling { late, dropped, failed, zero } = self.sampling;
        let first = self.random.random_range(0..poll);
        let mut trace = Trace::default();
        for due in (first..end).step_by(usize::try_from(poll).unwrap()) {
            let at = due + self.random.random_range(0..late);
            if self.random.random_bool(dropped) {
                continue;
            }
            let sample = |value: Option<f64>| Sample { begin: Nanos(at), end: Nanos(at), value };
            let told = |random: &mut ChaCha8Rng, value| (!random.random_bool(failed)).then_some(value);
            let joules = told(&mut self.random, self.sensor.energy(load, at));
            let watts = told(&mut self.random, self.sensor.power(load, at));
            trace.counter.push(sample(joules));
            trace.instant.push(sample(if self.random.random_bool(zero) { Some(0.0) } else { watts }));
        }
        trace
    }
}

/// What was found of a load whose truth is known.
pub struct Seen {
    pub truth: f64,
    pub found: Result<Estimate, NoFigure>,
    pub caps: Caps,
}

impl Seen {
    fn of(board: &Board, truth: f64, stretch: &Stretch, trace: &Trace, poll: u64) -> Self {
        let (begin, end) = (stretch.windows[0].begin, stretch.windows.last().unwrap().end);
        let (calibration, poll_ns) = (&board.calibration, Nanos(poll));
        let caps = Caps {
            readings_missing: check::readings_missing(trace, poll_ns, begin, end),
            registers_differ: !stretch.looped && check::registers_differ(trace, calibration, poll_ns, begin, end),
            events: 1,
            ..Caps::default()
        };
        Self { truth, found: estimate(stretch, trace, &around(calibration, poll, &idle())), caps }
    }

    pub fn grade(&self, calibration: &Calibration) -> Result<Grade, NoFigure> {
        grade(&self.found?, calibration, &self.caps)
    }

    /// Relative.
    pub fn error(&self) -> Option<f64> {
        Some(self.found.ok()?.gross_j / self.truth - 1.0)
    }
}

pub fn idle() -> Idle {
    Idle { kind: IdleKind::IdleCtx, watts: IDLE_W, u_watts: 0.05, seconds: 60.0, registers_differ: None, invalid: None }
}

pub fn around<'a>(calibration: &'a Calibration, poll: u64, idle: &'a Idle) -> StretchContext<'a> {
    let (quiet_since, quiet_until) = (Some(Nanos(0)), Some(Nanos(u64::MAX)));
    StretchContext { calibration, poll: Nanos(poll), idle: Some(idle), quiet_since, quiet_until }
}

/// How power moves in a phase.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// From first to last, relative to the mean.
    pub drift: f64,
    /// Standard deviation from one [`PIECE`] to the next, relative to the mean.
    pub rough: f64,
}

/// Steady power.
pub const STEADY: Shape = Shape { drift: 0.0, rough: 0.0 };

/// Stretch of constant power in a phase.
const PIECE: u64 = 20 * MS;

pub fn phase(load: &mut Load, random: &mut ChaCha8Rng, begin: u64, length: u64, shape: Shape) {
    let pieces = length.div_ceil(PIECE);
    for piece in 0..pieces {
        let along = (piece as f64 + 0.5) / pieces as f64 - 0.5;
        // Uniform with the standard deviation asked for.
        let rough = shape.rough * 3.0_f64.sqrt() * random.random_range(-1.0..=1.0);
        load.push(begin + piece * PIECE, BUSY_W * (1.0 + shape.drift * along + rough));
    }
    load.push(begin + length, IDLE_W);
}

/// Repetitions of `busy` out of `period` nanoseconds, in groups with a pause between.
pub fn repetitions(
    load: &mut Load,
    begin: u64,
    period: u64,
    busy: u64,
    at_least: u64,
    groups: u32,
    pause: u64,
) -> Window {
    let in_group = (at_least / u64::from(groups)).div_ceil(period);
    let mut at = begin;
    for group in 0..groups {
        for _ in 0..in_group {
            load.push(at, BUSY_W);
            load.push(at + busy, IDLE_W + 100.0);
            at += period;
        }
        if group + 1 < groups {
            load.push(at, IDLE_W);
            at += pause;
        }
    }
    load.push(at, IDLE_W);
    let repeats = u32::try_from(in_group).unwrap() * groups;
    Window {
        begin: Nanos(begin),
        end: Nanos(at),
        repeats,
        idle: Nanos(pause * u64::from(groups - 1)),
        groups,
        uncertainty: Nanos(0),
    }
}

/// Windows of a loop, as the harness makes them: five of them, and one after the other for tests of one.
pub fn looped(board: &mut Board, (period, busy): (u64, u64), groups: u32, windows: u32) -> Seen {
    let mut load = Load::new(IDLE_W);
    let in_group = Nanos((5000 * MS / u64::from(groups)).div_ceil(period) * period);
    let pause = board.calibration.sweep_pause(in_group, groups).0;
    let (mut made, mut begin) = (Vec::new(), BEGIN);
    for _ in 0..windows {
        // The harness does not know the sensor's phase either.
        begin += board.random.random_range(0..PERIOD);
        let window = repetitions(&mut load, begin, period, busy, 5000 * MS, groups, pause);
        begin = window.end.0 + 500 * MS;
        made.push(window);
    }
    let trace = board.trace(&load, 20 * MS, begin + 2000 * MS);
    let all: f64 = made.iter().map(|w| load.between(w.begin.0, w.end.0) - w.idle.as_secs() * IDLE_W).sum();
    let stretch = Stretch { windows: made, looped: true };
    let truth = all / f64::from(stretch.repeats());
    Seen::of(board, truth, &stretch, &trace, 20 * MS)
}

/// One phase as it comes.
pub fn natural(board: &mut Board, length: u64, shape: Shape, poll: u64, counter: bool) -> Seen {
    let begin = BEGIN + board.random.random_range(0..PERIOD);
    let mut load = Load::new(IDLE_W);
    phase(&mut load, &mut board.random, begin, length, shape);
    let mut trace = board.trace(&load, poll, begin + length + 2000 * MS);
    if !counter {
        trace.counter.clear();
    }
    let stretch = Stretch::natural(Nanos(begin), Nanos(begin + length), Nanos(0));
    Seen::of(board, load.between(begin, begin + length), &stretch, &trace, poll)
}
