use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use fake_nvml::simulated::{Counter, Errors, Load, Sensor, Timing};

use super::*;

const MS: u64 = 1_000_000;
const BEGIN: u64 = 2_000 * MS;

/// 60 s of a board that updates every 100 ms, read every 20 ms; `watts` is its power from each of `0..600` tenths on.
fn trace(seed: u64, watts: impl Fn(u64) -> f64) -> Trace {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut load = Load::new(watts(0));
    for tenth in 1..600 {
        load.push(BEGIN + tenth * 100 * MS, watts(tenth));
    }
    let timing = Timing { period: 100 * MS, phase: random.random_range(0..100 * MS), window: 100 * MS, delay: 0 };
    let mut sensor = Sensor::new(timing, Counter::OfEnergy, Errors { noise_w: 2.0, seed, ..Errors::default() });
    let mut trace = Trace::default();
    for due in (random.random_range(0..20 * MS)..BEGIN + 60_000 * MS).step_by(20_000_000) {
        let sample = |value| Sample { begin: Nanos(due), end: Nanos(due), value: Some(value) };
        trace.counter.push(sample(sensor.energy(&load, due)));
        trace.instant.push(sample(sensor.power(&load, due)));
    }
    trace
}

fn rest<'a>(trace: &'a Trace, states: &'a States) -> Rest<'a> {
    Rest {
        kind: IdleKind::IdleCtx,
        trace,
        states,
        poll: Nanos(20 * MS),
        settling: Nanos(200 * MS),
        begin: Nanos(BEGIN),
        end: Nanos(BEGIN + 60_000 * MS),
        foreign: Some(0),
    }
}

fn of(trace: &Trace) -> Idle {
    Idle::of(&rest(trace, &States::default())).unwrap()
}

#[test]
fn steady_power_is_idle_whichever_register_tells_it() {
    for seed in 0..200 {
        let mut trace = trace(seed, |_| 120.0);
        for _ in 0..2 {
            let found = of(&trace);
            assert_eq!(found.invalid, None, "seed {seed}");
            assert!((found.watts - 120.0).abs() < 0.5 && found.u_watts < 0.3, "seed {seed}: {found:?}");
            // Once more without the counter.
            trace.counter.clear();
        }
    }
}

#[test]
fn power_that_has_not_settled_is_not_idle() {
    // The first tenth of the time too high, the rest flat; a decay; a burst in the middle; a slow rise; a slow fall.
    let shapes: [fn(u64) -> f64; 5] = [
        |tenth| if tenth < 100 { 200.0 } else { 120.0 },
        |tenth| 120.0 + 80.0 * (-(tenth as f64) / 80.0).exp(),
        |tenth| if (250..280).contains(&tenth) { 180.0 } else { 120.0 },
        |tenth| 120.0 + tenth as f64 * 0.02,
        |tenth| 120.0 - tenth as f64 * 0.015,
    ];
    for (number, shape) in shapes.into_iter().enumerate() {
        for seed in 0..20 {
            let mut trace = trace(seed, shape);
            for _ in 0..2 {
                assert!(of(&trace).invalid.is_some(), "shape {number}, seed {seed}: {:?}", of(&trace));
                trace.counter.clear();
            }
        }
    }
}

#[test]
fn what_came_right_before_is_left_out() {
    // Work ended as the stretch began; the sensor's settling shows it a little longer.
    let trace = trace(1, |tenth| if tenth < 2 { 550.0 } else { 120.0 });
    let found = of(&trace);
    assert_eq!(found.invalid, None);
    assert!((found.watts - 120.0).abs() < 0.5, "{found:?}");
}

#[test]
fn states_that_move_and_processes_of_others_are_not_idle() {
    let trace = trace(1, |_| 120.0);
    let told = |values: [f64; 4]| -> Vec<Sample> {
        let times = (1..).map(|i| Nanos(BEGIN + i * 12_000 * MS));
        times.zip(values).map(|(at, value)| Sample { begin: at, end: at, value: Some(value) }).collect()
    };
    let flat =
        States { temperature: told([40.0, 41.0, 40.0, 41.0]), clock: told([345.0; 4]), performance: told([8.0; 4]) };
    let invalid = |states: &States, foreign| Idle::of(&Rest { foreign, ..rest(&trace, states) }).unwrap().invalid;
    assert_eq!(invalid(&flat, Some(0)), None);
    assert_eq!(invalid(&flat, None), None);
    assert!(invalid(&flat, Some(1)).is_some_and(|why| why.contains("processes of others")));
    let performance = States { performance: told([0.0, 8.0, 8.0, 8.0]), ..flat.clone() };
    assert!(invalid(&performance, None).is_some_and(|why| why.contains("performance state")));
    let clock = States { clock: told([1980.0, 1980.0, 345.0, 345.0]), ..flat.clone() };
    assert!(invalid(&clock, None).is_some_and(|why| why.contains("clock")));
    let cooling = States { temperature: told([46.0, 44.0, 43.0, 43.0]), ..flat.clone() };
    assert!(invalid(&cooling, None).is_some_and(|why| why.contains("temperature")));
    // As many degrees over a longer time are no change.
    let slowly = States { temperature: told([46.0, 45.0, 44.0, 43.0]), ..flat };
    assert_eq!(invalid(&slowly, None), None);
}

#[test]
fn registers_that_differ_leave_the_figure_open_by_as_much() {
    let mut trace = trace(1, |_| 120.0);
    assert_eq!(of(&trace).registers_differ, Some(false));
    trace.instant.iter_mut().for_each(|sample| sample.value = sample.value.map(|watts| watts * 1.2));
    let found = of(&trace);
    assert_eq!(found.registers_differ, Some(true));
    assert!((found.u_watts - 12.0).abs() < 1.0, "{found:?}");
}

#[test]
fn a_counter_that_starts_again_is_no_baseline() {
    let mut trace = trace(1, |_| 120.0);
    let samples = trace.counter.iter_mut().filter(|sample| sample.at().0 > BEGIN + 30_000 * MS);
    samples.for_each(|sample| sample.value = sample.value.map(|joules| joules - 3000.0));
    assert_eq!(of(&trace).invalid.as_deref(), Some("the counter started again"));
}

#[test]
fn a_drift_is_half_uncertain_and_flagged_where_it_is_large() {
    let idle = |watts| Idle {
        kind: IdleKind::IdleBare,
        watts,
        u_watts: 0.1,
        seconds: 60.0,
        registers_differ: None,
        invalid: None,
    };
    let flagged = |after| idle(120.0).drift_to(&idle(after)).1;
    assert!(!flagged(123.0) && !flagged(117.0) && flagged(124.0) && flagged(116.0));
    assert!(!idle(20.0).drift_to(&idle(22.9)).1 && idle(20.0).drift_to(&idle(23.1)).1, "never below 3 W");
    let drifted = |by| idle(120.0).drifted(by).u_watts;
    assert!((drifted(4.0) - 2.0).abs() < 1e-9 && (drifted(0.0) - 0.1).abs() < 1e-9);
}
