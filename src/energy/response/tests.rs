#![expect(clippy::unwrap_used, reason = "tests")]

use fake_nvml::simulated::{Counter, Errors, Load, Sensor, Timing};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const MS: u64 = 1_000_000;
const POLL: u64 = 2 * MS;
const IDLE_W: f64 = 80.0;
const BUSY_W: f64 = 400.0;

/// A load of these pulses.
fn load(pulses: &[(u64, u64)]) -> (Load, WorkTimes) {
    let mut load = Load::new(IDLE_W);
    pulses.iter().for_each(|&(begin, end)| load.pulse(begin, end, BUSY_W));
    (load, WorkTimes(pulses.iter().map(|&(begin, end)| (Nanos(begin), Nanos(end))).collect()))
}

/// Steps of irregular length, one of them long, up to about ten seconds.
fn steps(random: &mut ChaCha8Rng) -> Vec<(u64, u64)> {
    let (mut pulses, mut at) = (vec![(MS * 500, MS * 2500)], MS * 4000);
    while at < MS * 10_000 {
        let (on, off) = (random.random_range(200..700) * MS, random.random_range(200..700) * MS);
        pulses.push((at, at + on));
        at += on + off;
    }
    pulses
}

fn sensor(timing: Timing, counter: Counter) -> Sensor {
    Sensor::new(timing, counter, Errors { noise_w: 1.0, seed: 3, ..Errors::default() })
}

fn read(sensor: &mut Sensor, load: &Load, end: u64) -> (Vec<Sample>, Vec<Sample>) {
    let sample = |at, value| Sample { begin: Nanos(at), end: Nanos(at), value: Some(value) };
    let ticks = (0..end).step_by(usize::try_from(POLL).unwrap());
    ticks.map(|at| (sample(at, sensor.energy(load, at)), sample(at, sensor.power(load, at)))).unzip()
}

#[test]
fn timing_is_found_whatever_it_is() {
    for seed in 0..12 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let period_ns = random.random_range(15..120) * MS;
        let window = [period_ns, period_ns / 4, 1000 * MS][usize::try_from(seed).unwrap() % 3];
        let timing = Timing {
            period: period_ns,
            phase: random.random_range(0..period_ns),
            window,
            delay: random.random_range(0..40) * MS,
        };
        let (load, work) = load(&steps(&mut random));
        let (counter, power) = read(&mut sensor(timing, Counter::OfEnergy), &load, 11_000 * MS);
        for register in [&counter, &power] {
            let found = period(register).unwrap();
            assert!(found.0.abs_diff(period_ns) * 100 <= period_ns, "seed {seed}: {found} is not {period_ns} ns");
        }
        let found = response(&power, &work).unwrap();
        let near = |found: Nanos, truth: u64, tolerance: u64| found.0.abs_diff(truth) <= tolerance;
        assert!(near(found.window_ns, window, 4 * MS + window / 20), "seed {seed}: {timing:?} {found:?}");
        assert!(near(found.delay_ns, timing.delay, 4 * MS + window / 20), "seed {seed}: {timing:?} {found:?}");
        assert!((found.idle_w - IDLE_W).abs() < 3.0 && (found.busy_w - BUSY_W).abs() < 5.0, "seed {seed}: {found:?}");
        let rise = found.rise_ns.unwrap();
        assert!(
            rise.0 <= window + 2 * period_ns && rise.0 + 2 * period_ns >= window * 8 / 10,
            "seed {seed}: {found:?}"
        );
    }
}

#[test]
fn a_counter_has_a_window_and_a_delay_of_its_own() {
    for seed in 0..6 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let period = [40, 100][usize::try_from(seed).unwrap() % 2] * MS;
        let delay = random.random_range(1..8) * 20 * MS;
        let timing = Timing { period, phase: 0, window: period, delay };
        let (load, work) = load(&steps(&mut random));
        let (counter, _) = read(&mut sensor(timing, Counter::OfEnergy), &load, 11_000 * MS);
        let found = counter_response(&counter, Nanos(POLL), &work).unwrap();
        let near = |found: Nanos, truth: u64| found.0.abs_diff(truth) <= 6 * MS + period / 10;
        assert!(near(found.delay_ns, delay) && near(found.window_ns, period), "seed {seed}: {timing:?} {found:?}");
        assert!(found.holds(), "seed {seed}: {found:?}");
        // One that adds averages of a second.
        let slow = Timing { window: 1000 * MS, ..timing };
        let (counter, _) = read(&mut sensor(slow, Counter::OfReadings), &load, 11_000 * MS);
        let found = counter_response(&counter, Nanos(POLL), &work).unwrap();
        assert!(found.window_ns.0 > 800 * MS, "seed {seed}: {found:?}");
    }
}

#[test]
fn a_register_that_follows_something_else_does_not_hold() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let timing = Timing { period: 100 * MS, phase: 0, window: 100 * MS, delay: 0 };
    let (_, work) = load(&steps(&mut random));
    let (other, _) = load(&steps(&mut random));
    let (_, power) = read(&mut sensor(timing, Counter::OfEnergy), &other, 11_000 * MS);
    let found = response(&power, &work);
    assert!(found.is_none_or(|found| !found.holds()), "{found:?}");
}

#[test]
fn coverage_is_told_from_pulses_at_every_phase() {
    for (counter, window, expected) in [
        (Counter::OfEnergy, 25, Coverage::Full),
        (Counter::OfReadings, 100, Coverage::Full),
        (Counter::OfReadings, 25, Coverage::Partial),
    ] {
        let period = 100 * MS;
        let timing = Timing { period, phase: 13 * MS, window: window * MS, delay: 0 };
        let phases: Vec<PhaseSlope> = (0..8_u32)
            .map(|phase| {
                let first = 1000 * MS + u64::from(phase) * period / 8;
                let pulses: Vec<_> = (0..40).map(|i| (first + i * period, first + i * period + period / 4)).collect();
                let (load, work) = load(&pulses);
                let (read, _) = read(&mut sensor(timing, counter), &load, 5100 * MS);
                let (begin, end) = (1000 * MS, 4900 * MS);
                let found = slope(&read, Nanos(POLL), Nanos(begin), Nanos(end)).unwrap();
                let share = work.share(found.begin.as_secs(), found.end.as_secs());
                PhaseSlope { phase: f64::from(phase) / 8.0, share, watts: found.watts, halves_differ: 0.001 }
            })
            .collect();
        assert_eq!(coverage(&phases, IDLE_W), Some(expected), "{counter:?} {window} ms: {phases:?}");
    }
    assert_eq!(coverage(&[], IDLE_W), None);
    // A load as uneven as its differences tells nothing.
    let uneven =
        |i: u32| PhaseSlope { phase: 0.0, share: 0.25, watts: IDLE_W + 80.0 + f64::from(i), halves_differ: 0.08 };
    assert_eq!(coverage(&(0..8).map(uneven).collect::<Vec<_>>(), IDLE_W), None);
}

#[test]
fn steps_of_a_counter_are_multiples_of_its_resolution() {
    let sample = |value| Sample { begin: Nanos(0), end: Nanos(0), value: Some(value) };
    let read: Vec<Sample> = [0.0, 12.005, 12.005, 30.010, 31.015].map(sample).to_vec();
    assert_eq!(resolution(&read), Some(0.005));
    assert_eq!(resolution(&read[..1]), None);
}

#[test]
fn a_pace_that_changes_what_it_reads_is_not_safe() {
    let pace = |ms: u64, watts| PaceSlope { poll_ns: Nanos(ms * MS), watts, halves_differ: 0.002 };
    let paces = [pace(2, 290.0), pace(20, 300.5), pace(50, 301.0), pace(1000, 300.0)];
    assert_eq!(safe_poll(&paces), Some(Nanos(20 * MS)));
    assert_eq!(safe_poll(&paces[3..]), None);
    assert_eq!(safe_poll(&paces.map(|pace| PaceSlope { halves_differ: 0.05, ..pace })), None, "an uneven load");
    assert_eq!(safe_poll(&[pace(2, 200.0), pace(1000, 300.0)]), Some(Nanos(1000 * MS)));
}
