//! Sensors that stop, start again or are read too little, and phases whose times are not exact: no figure, or one that
//! says so.

use super::board::{BEGIN, BUSY_W, Board, IDLE_W, Kind, MS, STEADY, around, idle, phase, repetitions};
use crate::energy::{Estimate, Idle, Sample, Stretch, StretchContext, Trace, estimate};
use crate::terms::energy::{IdleKind, Method, NoFigure};
use crate::units::Nanos;
use fake_nvml::simulated::Load;

const POLL: u64 = 20 * MS;

/// A phase of `length`, and what a board said of it.
fn read(kind: Kind, seed: u64, length: u64) -> (Board, Trace, Stretch) {
    let mut board = Board::new(kind, seed);
    let mut load = Load::new(IDLE_W);
    phase(&mut load, &mut board.random, BEGIN, length, STEADY);
    let trace = board.trace(&load, POLL, BEGIN + length + 2000 * MS);
    (board, trace, Stretch::natural(Nanos(BEGIN), Nanos(BEGIN + length), Nanos(0)))
}

/// Registers keep the values that they had at a time.
fn freeze(samples: &mut [Sample], from: u64) {
    let kept = samples.iter().rev().find(|sample| sample.at().0 <= from).and_then(|sample| sample.value);
    samples.iter_mut().filter(|sample| sample.at().0 > from).for_each(|sample| sample.value = kept);
}

/// The counter starts again at 0.
fn reset(samples: &mut [Sample], at: u64) {
    let old = samples.iter().rev().find(|sample| sample.at().0 < at).and_then(|sample| sample.value).unwrap();
    samples.iter_mut().filter(|s| s.at().0 >= at).for_each(|s| s.value = s.value.map(|joules| joules - old));
}

fn found(board: &Board, trace: &Trace, stretch: &Stretch) -> Result<Estimate, NoFigure> {
    estimate(stretch, trace, &around(&board.calibration, POLL, &idle()))
}

/// A loop of two windows of 5 s with pauses.
fn read_loop(kind: Kind, seed: u64) -> (Board, Trace, Stretch) {
    let mut board = Board::new(kind, seed);
    let mut load = Load::new(IDLE_W);
    let mut windows = Vec::new();
    let mut begin = BEGIN;
    for _ in 0..2 {
        let window = repetitions(&mut load, begin, 53 * MS, 35 * MS, 5000 * MS, 8, 60 * MS);
        begin = window.end.0 + 500 * MS;
        windows.push(window);
    }
    let trace = board.trace(&load, POLL, begin + 2000 * MS);
    (board, trace, Stretch { windows, looped: true })
}

#[test]
fn a_power_register_that_stands_still_gives_no_figure() {
    for seed in 0..50 {
        // From before the phase on, and from its middle on; where the counter stands still too, and where there is none.
        for from in [BEGIN - 500 * MS, BEGIN + 1000 * MS] {
            for counter in [true, false] {
                let (board, mut trace, stretch) = read(Kind::Full, seed, 2000 * MS);
                assert!(found(&board, &trace, &stretch).is_ok());
                freeze(&mut trace.instant, from);
                freeze(&mut trace.counter, from);
                if !counter {
                    trace.counter.clear();
                }
                let told = found(&board, &trace, &stretch);
                assert_eq!(told, Err(NoFigure::Stale), "seed {seed}, counter {counter}");
            }
        }
    }
}

#[test]
fn a_power_register_counts_by_what_it_showed_not_by_the_time_that_passed() {
    let (board, mut trace, stretch) = read(Kind::Full, 1, 2000 * MS);
    trace.counter.clear();
    let before = found(&board, &trace, &stretch).unwrap();
    // It skips two updates of three, which is still an update within three periods.
    let period = board.calibration.power_period_ns.0;
    let mut kept = (0, None);
    for sample in &mut trace.instant {
        let turn = sample.at().0 / (3 * period);
        if kept.0 != turn {
            kept = (turn, sample.value);
        }
        sample.value = kept.1;
    }
    let after = found(&board, &trace, &stretch).unwrap();
    assert_eq!(before.method, Method::InstantInside);
    assert!((15..=20).contains(&before.updates) && after.updates <= before.updates / 3 + 1, "{before:?} {after:?}");
}

#[test]
fn a_counter_that_stops_in_a_loop_gives_no_figure() {
    for seed in 0..20 {
        let (board, mut trace, stretch) = read_loop(Kind::Full, seed);
        assert!(found(&board, &trace, &stretch).is_ok(), "seed {seed}");
        freeze(&mut trace.counter, BEGIN + 3000 * MS);
        assert_eq!(found(&board, &trace, &stretch), Err(NoFigure::Stale), "seed {seed}");
        let (board, mut trace, stretch) = read_loop(Kind::Full, seed);
        trace.counter.retain(|sample| !(BEGIN + 3000 * MS..BEGIN + 5500 * MS).contains(&sample.at().0));
        assert_eq!(found(&board, &trace, &stretch), Err(NoFigure::PollGap), "seed {seed}");
    }
}

#[test]
fn a_counter_that_starts_again_right_beside_a_phase_is_not_subtracted_across() {
    let mut resets = 0;
    for seed in 0..100 {
        // Isolated: the updates used lie outside of the phase.
        for at in [BEGIN - 30 * MS, BEGIN + 20 * MS, BEGIN + 90 * MS, BEGIN + 130 * MS] {
            let (board, mut trace, stretch) = read(Kind::Full, seed, 50 * MS);
            let truth = BUSY_W * 0.05;
            reset(&mut trace.counter, at);
            match found(&board, &trace, &stretch) {
                Ok(found) => assert!((found.gross_j - truth).abs() < 0.3 * truth, "seed {seed}: {found:?}"),
                Err(reason) => assert_eq!(reason, NoFigure::CounterReset, "seed {seed}"),
            }
            resets += u32::from(found(&board, &trace, &stretch) == Err(NoFigure::CounterReset));
        }
        // A counter that is late still tells of the phase after its end.
        let mut board = Board::late(Kind::Full, seed, 150 * MS);
        let mut load = Load::new(IDLE_W);
        phase(&mut load, &mut board.random, BEGIN, 1000 * MS, STEADY);
        let mut trace = board.trace(&load, POLL, BEGIN + 3000 * MS);
        trace.instant.clear();
        reset(&mut trace.counter, BEGIN + 1080 * MS);
        let stretch = Stretch::natural(Nanos(BEGIN), Nanos(BEGIN + 1000 * MS), Nanos(0));
        assert_eq!(found(&board, &trace, &stretch), Err(NoFigure::CounterReset), "seed {seed}");
    }
    assert!(resets > 100, "{resets}");
}

#[test]
fn only_idle_power_with_the_model_resident_is_taken_off() {
    let (resident, bare) = (idle(), Idle { kind: IdleKind::IdleBare, ..idle() });
    for (board, trace, stretch) in [read(Kind::Full, 1, 50 * MS), read_loop(Kind::Full, 1)] {
        let with =
            |idle| estimate(&stretch, &trace, &StretchContext { idle, ..around(&board.calibration, POLL, &bare) });
        assert!(with(Some(&resident)).is_ok());
        assert_eq!(with(Some(&bare)), Err(NoFigure::IdleInvalid));
        assert_eq!(with(None), Err(NoFigure::IdleInvalid));
    }
}

#[test]
fn what_is_not_known_of_idle_power_is_not_known_of_pauses_either() {
    let (board, trace, stretch) = read_loop(Kind::Full, 1);
    let with = |u_watts| {
        let idle = Idle { u_watts, ..idle() };
        estimate(&stretch, &trace, &around(&board.calibration, POLL, &idle)).unwrap()
    };
    let (known, unknown) = (with(0.0), with(50.0));
    let (window, repeats) = (stretch.windows[0], f64::from(stretch.windows[0].repeats));
    let share = 50.0 * window.idle.as_secs() / (known.gross_j * repeats);
    assert!((unknown.u_shared - share).abs() < 0.01 * share && unknown.u_stat >= share, "{unknown:?}, {share}");
}

#[test]
fn times_that_are_not_exact_make_a_figure_less_certain() {
    for counter in [true, false] {
        let (board, mut trace, stretch) = read(Kind::Full, 3, 2000 * MS);
        if !counter {
            trace.counter.clear();
        }
        let within = |ms: u64| {
            let window = stretch.windows[0];
            found(&board, &trace, &Stretch::natural(window.begin, window.end, Nanos(ms * MS)))
        };
        let (exact, rough) = (within(0).unwrap(), within(100).unwrap());
        // A rectangle's standard deviation at either end.
        let expected = (2.0_f64 / 3.0).sqrt() * 0.1 / 2.0;
        assert!(
            rough.u_stat > expected && rough.u_shared >= expected && exact.u_stat < expected,
            "{exact:?} {rough:?}"
        );
        assert!(rough.updates < exact.updates, "what may lie outside is not used");
        // Nothing of it is sure but that all of it lies between what is quiet around it.
        let nothing = within(1000);
        assert!(nothing.map_or(!counter, |found| found.method == Method::Padded), "{nothing:?}");
    }
}
