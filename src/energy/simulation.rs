//! Estimators, grades and intervals against sensors whose truth is known.

#![expect(clippy::unwrap_used, clippy::cast_precision_loss, clippy::print_stdout, reason = "tests")]

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::energy::estimate::Window;
use crate::energy::{
    Calibration, Caps, Coverage, Estimate, Grade, Idle, IdleKind, Reason, Sample, Stretch, Surroundings, Trace,
    deviation, estimate, grade, legacy_gate, mean,
};
use crate::units::Nanos;
use fake_nvml::simulated::{Counter, Errors, Load, Sensor, Timing};

const SEEDS: u64 = 400;
const MS: u64 = 1_000_000;
const IDLE_W: f64 = 120.0;
const BUSY_W: f64 = 550.0;
/// Sensors of the published sheets: updates about every 100 ms.
const PERIOD: u64 = 100 * MS;
/// Latest that a tick of the sampler comes.
const LATE: u64 = MS / 5;
/// Where phases begin, far enough from the beginning for every window.
const BEGIN: u64 = 3000 * MS;

/// A board of one kind, at a moment that the seed decides.
struct Board {
    sensor: Sensor,
    random: ChaCha8Rng,
    calibration: Calibration,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Counter of all energy; power over the whole period.
    Full,
    /// Everything from readings that see a quarter of the time.
    Quarter,
    /// Power over the last second, as current drivers give it by default.
    Second,
}

impl Board {
    fn new(kind: Kind, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        // No two boards keep the same time, and none keeps the sampler's.
        let period = PERIOD + random.random_range(0..4 * MS) - MS;
        let window = match kind {
            Kind::Full => period,
            Kind::Quarter => 25 * MS,
            Kind::Second => 1000 * MS,
        };
        let timing = Timing { period, phase: random.random_range(0..period), window, delay: 0 };
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
            delay_ns: Nanos(0),
            rise_ns: Nanos(window),
            coverage,
            resolution_j: 1e-3,
            safe_poll_ns: None,
            counter_delay_ns: None,
            counter_window_ns: None,
        };
        Self { sensor: Sensor::new(timing, counter, errors), random, calibration }
    }

    /// What a sampler that looks every `poll` would have read up to `end`.
    fn trace(&mut self, load: &Load, poll: u64, end: u64) -> Trace {
        let first = self.random.random_range(0..poll);
        let mut trace = Trace::default();
        for due in (first..end).step_by(usize::try_from(poll).unwrap()) {
            let at = due + self.random.random_range(0..LATE);
            let sample = |value| Sample { begin: Nanos(at), end: Nanos(at), value: Some(value) };
            trace.counter.push(sample(self.sensor.energy(load, at)));
            trace.instant.push(sample(self.sensor.power(load, at)));
        }
        trace
    }
}

fn idle() -> Idle {
    Idle { kind: IdleKind::IdleCtx, watts: IDLE_W, u_watts: 0.05, seconds: 60.0, registers_differ: None, invalid: None }
}

fn around<'a>(calibration: &'a Calibration, poll: u64, idle: &'a Idle) -> Surroundings<'a> {
    let (quiet_since, quiet_until) = (Some(Nanos(0)), Some(Nanos(u64::MAX)));
    Surroundings { calibration, poll: Nanos(poll), idle: Some(idle), quiet_since, quiet_until }
}

/// How power moves in a phase.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shape {
    /// From first to last, relative to the mean.
    drift: f64,
    /// Standard deviation from one [`PIECE`] to the next, relative to the mean.
    rough: f64,
}

/// Steady power.
const STEADY: Shape = Shape { drift: 0.0, rough: 0.0 };

/// Stretch of constant power in a phase.
const PIECE: u64 = 20 * MS;

fn phase(load: &mut Load, random: &mut ChaCha8Rng, begin: u64, length: u64, shape: Shape) {
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
fn repetitions(load: &mut Load, begin: u64, period: u64, busy: u64, at_least: u64, groups: u32, pause: u64) -> Window {
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
    Window { begin: Nanos(begin), end: Nanos(at), repeats, idle: Nanos(pause * u64::from(groups - 1)), groups }
}

/// Five windows of a loop, as the harness makes them.
fn looped(board: &mut Board, period: u64, busy: u64, groups: u32) -> (f64, Result<Estimate, Reason>) {
    let mut load = Load::new(IDLE_W);
    let in_group = Nanos((5000 * MS / u64::from(groups)).div_ceil(period) * period);
    let pause = board.calibration.sweep_pause(in_group, groups).0;
    let (mut windows, mut begin) = (Vec::new(), BEGIN);
    for _ in 0..5 {
        // The harness does not know the sensor's phase either.
        begin += board.random.random_range(0..PERIOD);
        let window = repetitions(&mut load, begin, period, busy, 5000 * MS, groups, pause);
        begin = window.end.0 + 500 * MS;
        windows.push(window);
    }
    let trace = board.trace(&load, 20 * MS, begin + 2000 * MS);
    let all: f64 = windows.iter().map(|w| load.between(w.begin.0, w.end.0) - w.idle.as_secs() * IDLE_W).sum();
    let stretch = Stretch { windows, looped: true };
    let truth = all / f64::from(stretch.repeats());
    (truth, estimate(&stretch, &trace, &around(&board.calibration, 20 * MS, &idle())))
}

/// One phase as it comes.
fn natural(board: &mut Board, length: u64, shape: Shape, poll: u64, counter: bool) -> (f64, Result<Estimate, Reason>) {
    let begin = BEGIN + board.random.random_range(0..PERIOD);
    let mut load = Load::new(IDLE_W);
    phase(&mut load, &mut board.random, begin, length, shape);
    let mut trace = board.trace(&load, poll, begin + length + 2000 * MS);
    if !counter {
        trace.counter.clear();
    }
    let stretch = Stretch::natural(Nanos(begin), Nanos(begin + length));
    let found = estimate(&stretch, &trace, &around(&board.calibration, poll, &idle()));
    (load.between(begin, begin + length), found)
}

/// Relative errors over all seeds.
fn errors(mut one: impl FnMut(u64) -> (f64, Result<Estimate, Reason>)) -> Vec<f64> {
    (0..SEEDS)
        .filter_map(|seed| Some(one(seed)).and_then(|(truth, found)| Some(found.ok()?.gross_j / truth - 1.0)))
        .collect()
}

/// The reports' method, with its settings written down: a reading every 100 ms, held by the sensor until its next
/// update and counted as often as it is read, at least two inside the phase, idle power taken off.
fn baseline(kind: Kind, length: u64) -> f64 {
    let net_errors = (0..SEEDS).filter_map(|seed| {
        let mut board = Board::new(kind, seed);
        let begin = BEGIN + board.random.random_range(0..PERIOD);
        let mut load = Load::new(IDLE_W);
        phase(&mut load, &mut board.random, begin, length, STEADY);
        let trace = board.trace(&load, PERIOD, begin + length + PERIOD);
        let seconds = length as f64 / 1e9;
        let gross = legacy_gate(Nanos(begin), Nanos(begin + length), &trace.instant)?;
        Some((gross - IDLE_W * seconds) / ((BUSY_W - IDLE_W) * seconds) - 1.0)
    });
    mean(&net_errors.collect::<Vec<_>>())
}

#[test]
fn the_method_of_the_reports_is_as_low_as_it_was_found_to_be() {
    let (window, second) = (baseline(Kind::Full, 200 * MS), baseline(Kind::Second, 200 * MS));
    println!("net energy of 0.2 s by the reports' method: {:+.1} % and {:+.1} %", window * 100.0, second * 100.0);
    assert!((window + 0.51).abs() <= 0.03, "{window}");
    assert!((second + 0.94).abs() <= 0.02, "{second}");
}

#[test]
fn counter_updates_inside_a_phase_give_its_energy() {
    let found = errors(|seed| {
        natural(&mut Board::new(Kind::Full, seed), 2000 * MS, Shape { drift: 0.2, rough: 0.0 }, 20 * MS, true)
    });
    let (bias, spread) = (mean(&found), deviation(&found));
    println!("inner_edge, 2 s: bias {:+.2} %, sd {:.2} %, {} of {SEEDS}", bias * 100.0, spread * 100.0, found.len());
    assert!(found.len() as u64 == SEEDS && bias.abs() < 0.003 && spread < 0.008, "{bias} {spread}");
}

#[test]
fn an_isolated_short_phase_is_found_in_the_counter_around_it() {
    let found = errors(|seed| natural(&mut Board::new(Kind::Full, seed), 50 * MS, STEADY, 5 * MS, true));
    let (bias, spread) = (mean(&found), deviation(&found));
    println!("padded, 50 ms: bias {:+.2} %, sd {:.2} %, {} of {SEEDS}", bias * 100.0, spread * 100.0, found.len());
    assert!(found.len() as u64 == SEEDS && bias.abs() < 0.005 && spread < 0.015, "{bias} {spread}");
}

#[test]
fn a_steady_loop_is_exact() {
    let found = errors(|seed| looped(&mut Board::new(Kind::Full, seed), 53 * MS, 35 * MS, 1));
    let largest = found.iter().fold(0.0_f64, |largest, error| largest.max(error.abs()));
    println!("steady_slope, 5 x 5 s of 53 ms: largest error {:.2} %, {} of {SEEDS}", largest * 100.0, found.len());
    assert!(found.len() as u64 == SEEDS && largest < 0.005, "{largest}");
}

#[test]
fn a_loop_in_step_with_a_partial_sensor_is_never_trusted_unless_swept() {
    let mut swept = Vec::new();
    for seed in 0..SEEDS {
        let mut board = Board::new(Kind::Quarter, seed);
        let (_, found) = looped(&mut board, 100 * MS, 60 * MS, 1);
        let graded = grade(&found.unwrap(), &board.calibration, &Caps::default());
        assert!(graded.is_err() || graded == Ok(Grade::D), "seed {seed}: {graded:?}");
        let mut board = Board::new(Kind::Quarter, seed);
        let (truth, found) = looped(&mut board, 100 * MS, 60 * MS, 8);
        swept.push(found.unwrap().gross_j / truth - 1.0);
    }
    println!("swept: bias {:+.2} %, sd {:.2} %", mean(&swept) * 100.0, deviation(&swept) * 100.0);
    assert!(deviation(&swept) < 0.02, "{}", deviation(&swept));
}

#[test]
fn a_phase_too_short_has_no_figure() {
    for seed in 0..20 {
        let mut board = Board::new(Kind::Quarter, seed);
        let begin = Nanos(BEGIN);
        let trace = board.trace(&Load::new(IDLE_W), 20 * MS, BEGIN + 1000 * MS);
        let idle = idle();
        let busy = Surroundings { quiet_since: None, ..around(&board.calibration, 20 * MS, &idle) };
        let found = estimate(&Stretch::natural(begin, Nanos(BEGIN + 20 * MS)), &trace, &busy);
        assert_eq!(found, Err(Reason::TooShort));
    }
}

/// Relative error and uncertainty of every graded event.
fn population() -> BTreeMap<Grade, Vec<(f64, f64)>> {
    let mut pooled: BTreeMap<Grade, Vec<(f64, f64)>> = BTreeMap::new();
    let mut add = |calibration: &Calibration, truth: f64, found: Result<Estimate, Reason>| {
        let Ok(found) = found else { return };
        if let Ok(grade) = grade(&found, calibration, &Caps::default()) {
            pooled.entry(grade).or_default().push((found.gross_j / truth - 1.0, found.u_stat));
        }
    };
    for kind in [Kind::Full, Kind::Quarter] {
        for seed in 0..SEEDS {
            for length in [550, 700, 850, 1000, 1300, 1700, 2000, 2500, 3200, 5000] {
                for (drift, rough) in [(0.0, 0.05), (0.2, 0.05), (-0.2, 0.1), (0.1, 0.15)] {
                    for counter in [true, false] {
                        let mut board = Board::new(kind, seed * 1000 + length);
                        let shape = Shape { drift, rough };
                        let (truth, found) = natural(&mut board, length * MS, shape, 20 * MS, counter);
                        add(&board.calibration, truth, found);
                    }
                }
            }
            for (period, busy) in [(53, 35), (17, 10), (100, 60), (230, 150)] {
                let mut board = Board::new(kind, seed * 1000 + period);
                let groups = if kind == Kind::Full { 1 } else { 8 };
                let (truth, found) = looped(&mut board, period * MS, busy * MS, groups);
                add(&board.calibration, truth, found);
            }
        }
    }
    pooled
}

#[test]
fn intervals_hold_the_truth_and_are_not_merely_wide() {
    println!("| grade | events | inside ±2u, % | 2u, % | RMS error, % | 2u ÷ RMS |");
    println!("|---|---|---|---|---|---|");
    let mut bad = Vec::new();
    for (grade, events) in population() {
        let inside = events.iter().filter(|(error, u)| error.abs() <= 2.0 * u).count() as f64 / events.len() as f64;
        let width = 2.0 * mean(&events.iter().map(|event| event.1).collect::<Vec<_>>());
        let rms = mean(&events.iter().map(|event| event.0 * event.0).collect::<Vec<_>>()).sqrt();
        let n = events.len();
        println!(
            "| {grade} | {n} | {:.1} | {:.2} | {:.2} | {:.2} |",
            inside * 100.0,
            width * 100.0,
            rms * 100.0,
            width / rms
        );
        if grade <= Grade::C && (n < 5000 || inside < 0.93 || width > 3.0 * rms) {
            bad.push(grade);
        }
    }
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn grades_only_fall_as_phases_get_shorter() {
    for kind in [Kind::Full, Kind::Quarter] {
        let mut last = None;
        for length in [20_000, 10_000, 5000, 2000, 1000, 700, 500, 300, 100] {
            let mut grades: Vec<Option<Grade>> = (0..50)
                .map(|seed| {
                    let mut board = Board::new(kind, seed);
                    let shape = Shape { drift: 0.1, rough: 0.05 };
                    let (_, found) = natural(&mut board, length * MS, shape, 20 * MS, true);
                    found.and_then(|found| grade(&found, &board.calibration, &Caps::default())).ok()
                })
                .collect();
            // No figure is the worst of all.
            grades.sort_by_key(|grade| grade.map_or(9, |grade| grade as u8));
            let median = grades[grades.len() / 2].map_or(9, |grade| grade as u8);
            assert!(last.is_none_or(|last| median >= last), "{kind:?}, {length} ms: {median} after {last:?}");
            last = Some(median);
        }
    }
}
