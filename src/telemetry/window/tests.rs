use super::*;

mod machine;

const MS: u64 = 1_000_000;

/// This process, in the readings here.
const SELF: Identity = Identity { pid: 1, started: 0 };

fn used(own: u64, children: u64) -> Used {
    Used { own: Nanos(own * MS), children: Nanos(children * MS) }
}

/// Of two processors; times in milliseconds.
fn reading(at: u64, busy: u64, steal: u64, own: u64) -> Reading {
    Reading {
        at: Nanos(at * MS),
        ticks: Some(at / 10),
        times: Times { busy: Nanos(busy * MS), steal: Nanos(steal * MS), total: Nanos(2 * at * MS), started: None },
        ours: BTreeMap::from([(SELF, used(own, 0))]),
        blind: false,
    }
}

/// With processes beside this one, each by number and start in milliseconds.
fn with(mut reading: Reading, children: u64, others: &[(u32, u64, Used)]) -> Reading {
    if let Some(own) = reading.ours.get_mut(&SELF) {
        own.children = Nanos(children * MS);
    }
    reading.ours.extend(others.iter().map(|&(pid, started, used)| (Identity { pid, started: started / 10 }, used)));
    reading
}

fn history(readings: Vec<Reading>) -> History {
    let mut history = History::default();
    readings.into_iter().for_each(|reading| history.push(reading));
    history
}

fn foreign(begin: Reading, end: Reading) -> Option<f64> {
    let mark = begin.at;
    history(vec![begin, end]).shares(mark).unwrap().foreign
}

#[test]
fn what_is_ours_is_taken_off() {
    let history = history(vec![reading(0, 0, 0, 0), reading(1000, 900, 100, 500)]);
    assert_eq!(history.shares(Nanos(0)), Some(Shares { foreign: Some(0.2), ours: Some(0.25), steal: 0.05 }));
}

#[test]
fn noise_below_zero_is_zero() {
    assert_eq!(foreign(reading(0, 0, 0, 0), reading(1000, 490, 0, 500)), Some(0.0));
}

#[test]
fn a_short_call_is_judged_over_the_time_before_it() {
    let mut readings = vec![reading(0, 0, 0, 0)];
    let alone = history(vec![reading(0, 0, 0, 0), reading(5, 10, 0, 10)]);
    assert_eq!(alone.shares(Nanos(0)), None, "5 ms are too short to judge");
    // Calls of 5 ms, each between two readings; another program takes one of the two processors.
    for call in 0..1000 {
        readings.push(reading(call * 10 + 1, call * 20 + 2, 0, call * 10 + 1));
        readings.push(reading(call * 10 + 6, call * 20 + 12, 0, call * 10 + 6));
    }
    let history = history(readings);
    let shares = history.shares(Nanos(9991 * MS)).unwrap();
    assert!((shares.foreign.unwrap() - 0.5).abs() < 0.02, "{shares:?}");
    assert!(history.readings.len() <= 2 * 251);
}

#[test]
fn a_reading_from_long_ago_says_nothing() {
    let history = history(vec![reading(0, 0, 0, 0), reading(60_000, 0, 0, 0), reading(60_010, 0, 0, 0)]);
    assert_eq!(history.shares(Nanos(60_000 * MS)), None);
}

#[test]
fn a_long_call_is_judged_from_its_own_beginning() {
    let history = history(vec![reading(0, 0, 0, 0), reading(1000, 2000, 0, 0), reading(600_000, 2000, 0, 0)]);
    assert_eq!(history.shares(Nanos(1000 * MS)).unwrap().foreign, Some(0.0));
}

#[test]
fn an_engine_that_is_not_the_one_measured_is_still_ours() {
    // A worker that has used five minutes stands by while an engine in this process works: only its own 300 ms of the
    // window count, whichever engine is measured, and its five minutes are taken off nothing.
    let worker = |ms: u64| [(7, 0, used(300_000 + ms, 0))];
    let begin = with(reading(400_000, 0, 0, 0), 0, &worker(0));
    assert_eq!(foreign(begin, with(reading(401_000, 1000, 0, 500), 0, &worker(300))), Some(0.1));
}

#[test]
fn what_ended_inside_the_window_counts_with_what_it_used_in_it() {
    // It had used 300 ms, used 600 ms more, ended and was waited for: all 900 ms are now among our children's.
    let begin = || with(reading(1000, 0, 0, 0), 0, &[(7, 10, used(300, 0))]);
    assert_eq!(foreign(begin(), with(reading(2000, 1000, 0, 100), 900, &[])), Some(0.15));
    // Nobody of ours waited for it, so that nobody tells what it used.
    assert_eq!(foreign(begin(), with(reading(2000, 1000, 0, 100), 0, &[])), None);
    // It began and ended in the window.
    assert_eq!(foreign(reading(1000, 0, 0, 0), with(reading(2000, 1000, 0, 0), 600, &[])), Some(0.2));
    // A child of a child, still there.
    let below = with(reading(2000, 1000, 0, 100), 0, &[(7, 10, used(400, 500)), (8, 1500, used(200, 0))]);
    assert_eq!(foreign(begin(), below), Some(0.05));
}

#[test]
fn what_ran_before_and_was_not_read_makes_the_share_unknown() {
    let later = |started, ms| with(reading(2000, 1000, 0, 0), 0, &[(8, started, used(ms, 0))]);
    assert_eq!(foreign(reading(1000, 0, 0, 0), later(500, 400)), None);
    assert_eq!(foreign(reading(1000, 0, 0, 0), later(500, 20)), Some(0.49), "too little to matter");
    assert_eq!(foreign(reading(1000, 0, 0, 0), later(1500, 400)), Some(0.3));
    let mut blind = reading(2000, 1000, 0, 0);
    blind.blind = true;
    assert_eq!(foreign(reading(1000, 0, 0, 0), blind.clone()), None);
    let after = history(vec![reading(1000, 0, 0, 0), blind, reading(2600, 1000, 0, 0)]);
    assert_eq!(after.shares(Nanos(2000 * MS)).unwrap().foreign, Some(0.0), "it had ended by then");
}

#[test]
fn interleaved_calls_on_a_quiet_machine_are_not_flagged() {
    for seed in 0..4 {
        let found = machine::run(seed, false);
        for (backend, calls) in &found {
            let flagged = calls.iter().filter(|call| call.is_flagged()).count();
            let known = calls.iter().filter(|call| call.shares.foreign.is_some()).count();
            assert!(calls.len() > 50, "{backend}: {} calls", calls.len());
            assert!(flagged * 100 <= calls.len(), "seed {seed}, {backend}: {flagged} of {} flagged", calls.len());
            assert!(known * 100 >= calls.len() * 98, "seed {seed}, {backend}: {known} of {} known", calls.len());
        }
    }
}

#[test]
fn a_planted_load_is_found_beside_every_engine() {
    for seed in 0..4 {
        for (backend, calls) in machine::run(seed, true) {
            let share =
                |flag: &dyn Fn(&machine::Judged) -> f64| calls.iter().map(flag).sum::<f64>() / calls.len() as f64;
            let found = share(&|call| call.shares.foreign.unwrap_or_default());
            let truth = share(&|call| call.truth);
            assert!((found - truth).abs() <= 0.05, "seed {seed}, {backend}: {found:.3} for {truth:.3}");
            let flagged = share(&|call| f64::from(call.is_flagged()));
            let loaded = share(&|call| f64::from(call.truth > crate::telemetry::FOREIGN_CPU_LIMIT));
            assert!((flagged - loaded).abs() <= 0.05, "seed {seed}, {backend}: {flagged:.3} flagged for {loaded:.3}");
        }
    }
}

#[test]
fn no_more_than_all_of_the_time_is_told() {
    for (seed, planted) in [(11, false), (12, true)] {
        for call in machine::run(seed, planted).into_values().flatten() {
            let Shares { foreign, ours, steal } = call.shares;
            let all = foreign.unwrap_or_default() + ours.unwrap_or_default() + steal;
            assert!(all <= 1.0 + call.resolution, "seed {seed}: {call:?}");
        }
    }
}
