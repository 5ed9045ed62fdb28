use fake_nvml::simulated::{Counter, Errors, Load, Sensor, Timing};

use super::*;

const MS: u64 = 1_000_000;

fn at(ms: u64, value: Option<f64>) -> Sample {
    Sample { begin: Nanos(ms * MS), end: Nanos(ms * MS), value }
}

/// Readings every 20 ms for `ms`, but for those at `without`.
fn readings(ms: u64, without: &[u64]) -> Trace {
    let times = (0..=ms / 20).map(|tick| tick * 20);
    let counter = times.map(|ms| at(ms, (!without.contains(&ms)).then_some(1.0))).collect();
    Trace { counter, ..Trace::default() }
}

#[test]
fn one_reading_that_is_missing_counts_for_as_much_as_it_is_of_the_phase() {
    let missing = |ms: u64, without: &[u64]| {
        readings_missing(&readings(ms + 200, without), Nanos(20 * MS), Nanos(100 * MS), Nanos((100 + ms) * MS))
    };
    assert!(!missing(200, &[]));
    assert!(missing(200, &[200]), "one of ten");
    assert!(!missing(1000, &[200]), "one of fifty");
    assert!(missing(1000, &[200, 220, 400, 800]), "four of fifty");
    assert!(!missing(200, &[20, 40, 340]), "before and after it");
    assert!(missing(60, &[120, 140]));
}

#[test]
fn a_trace_that_ends_or_begins_in_the_phase_is_missing_readings() {
    let missing =
        |trace: &Trace, from: u64, to: u64| readings_missing(trace, Nanos(20 * MS), Nanos(from * MS), Nanos(to * MS));
    assert!(missing(&readings(300, &[]), 100, 600));
    let mut late = readings(1000, &[]);
    late.counter.drain(..20);
    assert!(missing(&late, 100, 600));
    assert!(missing(&Trace::default(), 0, 100), "nothing was read at all");
}

/// A steady load on a board that updates every `period` and is read every 20 ms.
fn board(period: u64, seed: u64, gain: f64) -> (Trace, Calibration) {
    let timing =
        Timing { period: period * MS, phase: seed * 7919 * 1000 % (period * MS), window: period * MS, delay: 0 };
    let errors = |gain| Errors { gain, noise_w: 2.0, seed, ..Errors::default() };
    let load = Load::new(550.0);
    let mut counter = Sensor::new(timing, Counter::OfEnergy, errors(gain));
    let power = Sensor::new(timing, Counter::OfEnergy, errors(1.0));
    let first = seed * 104_729 * 1000 % (20 * MS);
    let mut trace = Trace::default();
    for due in (first..6000 * MS).step_by(20_000_000) {
        let sample = |value| Sample { begin: Nanos(due), end: Nanos(due), value: Some(value) };
        trace.counter.push(sample(counter.energy(&load, due)));
        trace.instant.push(sample(power.power(&load, due)));
    }
    let period = Nanos(period * MS);
    let calibration = Calibration {
        counter_period_ns: period,
        power_period_ns: period,
        window_ns: period,
        rise_ns: period,
        ..Calibration::assumed()
    };
    (trace, calibration)
}

#[test]
fn registers_that_agree_are_never_said_to_differ_and_those_that_do_not_are() {
    for period in [20, 100] {
        let mut missed = 0;
        for seed in 0..400 {
            let differ = |gain, length: u64| {
                let (trace, calibration) = board(period, seed, gain);
                let end = Nanos(1000 * MS) + calibration.settling() + Nanos(length * MS);
                registers_differ(&trace, &calibration, Nanos(20 * MS), Nanos(1000 * MS), end)
            };
            for length in [10 * period, 12 * period, 16 * period, 2000] {
                assert!(!differ(1.0, length), "seed {seed}, period {period} ms, {length} ms");
            }
            missed += u32::from(!differ(0.92, 2000)) + u32::from(!differ(1.08, 2000));
        }
        assert_eq!(missed, 0, "period {period} ms");
    }
}

#[test]
fn a_register_stands_still_when_it_keeps_its_value_for_longer_than_between_updates() {
    let values =
        |n: u64| (0..20).map(|i| at(i * 20, Some(if i < n { i as f64 } else { n as f64 }))).collect::<Vec<_>>();
    let still = |samples: &[Sample], from: u64, to: u64| {
        stands_still(samples, Nanos(from * MS), Nanos(to * MS), Nanos(60 * MS))
    };
    assert!(!still(&values(20), 0, 380));
    assert!(still(&values(10), 0, 380));
    assert!(!still(&values(10), 0, 240), "not long enough yet");
    assert!(!still(&values(10), 340, 380), "the stretch itself is too short to tell");
    let mut lost = values(20);
    lost.iter_mut().skip(10).for_each(|sample| sample.value = None);
    assert!(!still(&lost, 0, 380), "readings that do not come say nothing");
}
