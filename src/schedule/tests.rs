//! The order as its users see it: every timed call once, sessions within their limits, the seed deciding the rest.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::hash::seeded;
use crate::record::LoopBelow;
use crate::record::plan::{Cell, CellId, PlannedSession, SessionKey};
use crate::terms::{Disturbed, Dtype, EarlyStop, FitAxis, Mode, Procedure, Regime, Repetitions, SessionCount};
use crate::units::Bytes;

mod counted;
mod given_up;
mod machine;
mod sessions;

fn plan(order: Order, backends: usize, models: usize, scenarios: usize, repetitions: Repetitions, seed: u64) -> Plan {
    let key = |b: usize, m: usize| SessionKey { backend: format!("b{b}"), model: format!("m{m}") };
    let pairs: Vec<(usize, usize)> = (0..backends).flat_map(|b| (0..models).map(move |m| (b, m))).collect();
    let cell = |(b, m): (usize, usize), s: usize| Cell {
        id: CellId(format!("{b}-{m}-{s}")),
        session: key(b, m),
        dtype: Dtype::F32,
        scenario: format!("s{s}"),
        batch: 1,
        prompt_tokens: Some(8),
        gen_tokens: 4,
        procedure: Procedure::PrefillDecode,
    };
    Plan {
        format: 1,
        name: "test".to_owned(),
        seed,
        order,
        repetitions,
        session_count: SessionCount::ONE,
        early_stop: EarlyStop { retries: 3, min_steps: 8, scale: true },
        disturbed: Disturbed::never(),
        reference: None,
        slowdown: None,
        modes: vec![Mode::Prefill, Mode::KvDecode],
        fit: FitAxis::Params,
        timeout_ns: Nanos(1_000_000_000),
        degraded_rate: 0.05,
        memory_budget_bytes: Bytes(100),
        sessions: pairs
            .iter()
            .map(|&(b, m)| PlannedSession {
                key: key(b, m),
                warmups: 2,
                resident_bytes: Bytes(30),
                max_resident: None,
                may_stop_early: false,
            })
            .collect(),
        cells: pairs.iter().flat_map(|&pair| (0..scenarios).map(move |s| cell(pair, s))).collect(),
        skipped: Vec::new(),
        workload: None,
        claims: Vec::new(),
    }
}

fn timed(tasks: &[Task]) -> Vec<(usize, u32)> {
    let of = |task: &Task| match task {
        Task::Call(call) if call.role == Role::Timed => Some((call.cell, call.index)),
        _ => None,
    };
    tasks.iter().filter_map(of).collect()
}

/// Replays tasks and checks what must hold at every step; returns the largest resident memory seen.
fn check(plan: &Plan, tasks: &[Task]) -> u64 {
    let ordering = Ordering::new(plan);
    let mut resident: BTreeSet<usize> = BTreeSet::new();
    let mut ids = BTreeSet::new();
    let mut warmups: BTreeMap<(u32, usize), u32> = BTreeMap::new();
    let mut last_session = None;
    let mut largest = 0;
    for task in tasks {
        match task {
            Task::Load(load) => {
                for gone in &load.evict {
                    assert!(resident.remove(gone), "evicts what is loaded");
                }
                assert!(resident.insert(load.session), "loads what is not loaded");
                largest = largest.max(resident.iter().map(|&s| plan.sessions[s].resident_bytes.0).sum());
            }
            Task::Call(call) => {
                let session = ordering.session_of(call.cell);
                assert!(resident.contains(&session), "calls only loaded sessions");
                assert!(ids.insert(call.call_id(plan)), "a call id exists once: {}", call.call_id(plan));
                match call.role {
                    Role::Cold | Role::Warmup => *warmups.entry((call.load_index, call.cell)).or_default() += 1,
                    Role::Timed => {
                        assert_eq!(warmups.get(&(call.load_index, call.cell)), Some(&2), "warm before timed");
                        assert_eq!(call.regime, Regime::Warm);
                        assert_eq!(last_session, Some(session), "no other session since the last call");
                    }
                    Role::Rewarm => {}
                }
                last_session = Some(session);
            }
            Task::Loop(task) => {
                assert!(resident.contains(&ordering.session_of(task.cell)), "repeats only on loaded sessions");
                assert!(ids.insert(task.loop_id(plan)), "a loop exists once: {}", task.loop_id(plan));
                last_session = Some(ordering.session_of(task.cell));
            }
            Task::Reference(_) | Task::Stop(_) => {
                unreachable!("nothing fails in a preview, and its plan has no reference")
            }
        }
    }
    largest
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_timed_call_exactly_once_in_every_order(
        order in prop::sample::select(vec![Order::Blocked, Order::Interleaved, Order::Shuffled]),
        backends in 1_usize..3, models in 1_usize..4, scenarios in 1_usize..4, n in 1_u32..5, seed: u64,
    ) {
        let plan = plan(order, backends, models, scenarios, Repetitions::Fixed(n), seed);
        let tasks = preview(&plan);
        let largest = check(&plan, &tasks);
        prop_assert!(largest <= plan.memory_budget_bytes.0, "resident memory {} over the budget", largest);
        let mut calls = timed(&tasks);
        calls.sort_unstable();
        let expected: Vec<_> = (0..plan.cells.len()).flat_map(|c| (0..n).map(move |i| (c, i))).collect();
        prop_assert_eq!(calls, expected);
        prop_assert_eq!(&preview(&plan), &tasks, "the same seed, the same order");
    }

    /// Turns that are kept from the beginning lead to what turns made anew before every task lead to, whatever goes wrong.
    #[test]
    fn turns_that_are_kept_are_those_made_anew(
        order in prop::sample::select(vec![Order::Blocked, Order::Interleaved, Order::Shuffled]),
        several: bool, adaptive: bool, backends in 1_usize..3, models in 1_usize..4, scenarios in 1_usize..4, seed: u64,
    ) {
        let repetitions = match adaptive {
            true => Repetitions::Adaptive { min: 2, max: 6, until_relative_ci: 0.05 },
            false => Repetitions::Fixed(4),
        };
        let mut plan = plan(order, backends, models, scenarios, repetitions, seed);
        if several {
            plan.session_count = SessionCount { min: 2, max: if adaptive { 3 } else { 2 } };
        }
        let ordering = Ordering::new(&plan);
        let mut recorded = Recorded::new(&plan);
        let mut turns = Turns::new(&plan, &ordering, &recorded);
        let opened = Event::Opened { loop_below: LoopBelow::default() };
        let mut step = 0_u64;
        let take = |event: Event, turns: &mut Turns, recorded: &mut Recorded| {
            turns.note(&event, recorded);
            recorded.push(&event);
        };
        take(opened.clone(), &mut turns, &mut recorded);
        loop {
            step += 1;
            let idle = Duration::ZERO.into();
            let anew = next(&plan, &ordering, &recorded, idle);
            prop_assert_eq!(&next_in_turn(&plan, &ordering, &recorded, &mut turns, idle), &anew, "step {}", step);
            let Some(task) = anew else { break };
            let fate = |what: &str, of: u64| seeded(seed, &[what, &step.to_string()]).is_multiple_of(of);
            if fate("resumed", 40) {
                take(opened.clone(), &mut turns, &mut recorded);
                continue;
            }
            let event = match (&task, Event::expected(&task)) {
                (_, Event::Load { session, session_index, evicted, residency_id, .. }) => {
                    let (ok, fresh) = (!fate("load", 4), fate("fresh", 2));
                    Event::Load { session, session_index, evicted, residency_id, ok, fresh }
                }
                (Task::Call(call), Event::Call { cell, role, .. }) => {
                    let timed = call.role == Role::Timed;
                    let ms = 10.0 + (seeded(seed, &["ms", &step.to_string()]) % 100) as f64 / 100.0;
                    let latencies = if timed { vec![(Mode::Prefill, ms)] } else { Vec::new() };
                    let (ok, again, lost) = (!fate("bad", 9), timed && fate("again", 9), fate("lost", 30));
                    let disturbed = timed.then_some(again);
                    Event::Call { cell, role, ok, again, disturbed, lost, latencies, on_board: None }
                }
                (Task::Stop(decision), _) => {
                    let place = plan.cells.iter().position(|cell| cell.id == decision.cell_id);
                    Event::Stopped(place.unwrap())
                }
                (_, expected) => expected,
            };
            take(event, &mut turns, &mut recorded);
            prop_assert!(step < 5_000, "it comes to an end");
        }
    }

    /// Cells whose decode is too short for the sensor they are charged to are repeated, once and after all their calls, also where the run
    /// is cut in between; without loading a session once more for it where nothing is cut.
    #[test]
    fn short_phases_are_repeated_once_and_last(
        order in prop::sample::select(vec![Order::Blocked, Order::Interleaved, Order::Shuffled]),
        share in 0.0_f64..1.2, seed: u64,
    ) {
        let plan = plan(order, 2, 3, 2, Repetitions::Fixed(2), seed);
        let ordering = Ordering::new(&plan);
        // Work on the processor is charged to a counter, work on a board is not.
        let loop_below = LoopBelow { processor_ns: Some(Nanos(50_000_000)), ..LoopBelow::default() };
        let opened = Event::Opened { loop_below };
        let on_board = |cell: usize| cell.is_multiple_of(3);
        let short = |cell: usize| cell.is_multiple_of(2);
        let expected = |task: &Task| match Event::expected(task) {
            Event::Call { cell, role: Role::Timed, ok, again, disturbed, lost, .. } => {
                let decode = if short(cell) { 10.0 } else { 100.0 };
                let latencies = vec![(Mode::Prefill, 60.0), (Mode::KvDecode, decode)];
                let on_board = Some(on_board(cell));
                Event::Call { cell, role: Role::Timed, ok, again, disturbed, lost, latencies, on_board }
            }
            event => event,
        };
        let mut recorded = Recorded::new(&plan);
        recorded.push(&opened);
        let mut tasks = Vec::new();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "test")]
        let mut cut = (share * preview(&plan).len() as f64) as usize;
        while let Some(task) = next(&plan, &ordering, &recorded, Nanos(0)) {
            if tasks.len() == cut {
                // The process ends before it does this one, and another takes up the run.
                recorded.push(&opened);
                cut = usize::MAX;
                continue;
            }
            recorded.push(&expected(&task));
            tasks.push(task);
        }
        let loops: Vec<&LoopTask> =
            tasks.iter().filter_map(|task| if let Task::Loop(task) = task { Some(task) } else { None }).collect();
        let mut found: Vec<(usize, Procedure)> = loops.iter().map(|task| (task.cell, task.procedure)).collect();
        found.sort_unstable();
        let wanted: Vec<_> = (0..plan.cells.len()).filter(|&cell| short(cell) && !on_board(cell))
            .flat_map(|cell| [(cell, Procedure::Prefill), (cell, Procedure::PrefillDecode)]).collect();
        prop_assert_eq!(found, wanted);
        for (at, task) in tasks.iter().enumerate() {
            if let Task::Loop(looped) = task {
                let later = tasks[at..].iter().any(|task| matches!(task, Task::Call(call) if call.cell == looped.cell));
                prop_assert!(!later, "a call after the cell's loop");
            }
        }
        if cut != usize::MAX {
            check(&plan, &tasks);
            let loads = |tasks: &[Task]| tasks.iter().filter(|task| matches!(task, Task::Load(_))).count();
            prop_assert_eq!(loads(&tasks), loads(&preview(&plan)), "no load for a loop alone");
        }
    }

    /// Wherever a run is cut, the timed calls that are left come in the order they would have come in.
    #[test]
    fn a_resumed_run_keeps_its_order(
        order in prop::sample::select(vec![Order::Blocked, Order::Interleaved, Order::Shuffled]),
        share in 0.0_f64..1.0, seed: u64,
    ) {
        let plan = plan(order, 2, 2, 2, Repetitions::Fixed(3), seed);
        let tasks = preview(&plan);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "test")]
        let cut = (share * tasks.len() as f64) as usize;
        let ordering = Ordering::new(&plan);
        let mut recorded = Recorded::new(&plan);
        recorded.push(&Event::Opened { loop_below: LoopBelow::default() });
        tasks[..cut].iter().for_each(|task| recorded.push(&Event::expected(task)));
        recorded.push(&Event::Opened { loop_below: LoopBelow::default() });
        let mut rest = Vec::new();
        while let Some(task) = next(&plan, &ordering, &recorded, Nanos(0)) {
            recorded.push(&Event::expected(&task));
            rest.push(task);
        }
        check(&plan, &rest);
        let mut all = timed(&tasks[..cut]);
        all.extend(timed(&rest));
        prop_assert_eq!(all, timed(&tasks));
    }
}

#[test]
fn another_seed_is_another_order() {
    for order in [Order::Blocked, Order::Interleaved, Order::Shuffled] {
        let of = |seed| timed(&preview(&plan(order, 2, 3, 3, Repetitions::Fixed(4), seed)));
        assert_ne!(of(1), of(2), "{order:?}");
    }
}

#[test]
fn blocked_loads_each_session_once_and_mixes_its_cells() {
    let plan = plan(Order::Blocked, 2, 3, 3, Repetitions::Fixed(5), 3);
    let tasks = preview(&plan);
    assert_eq!(tasks.iter().filter(|t| matches!(t, Task::Load(_))).count(), 6);
    let cells: Vec<usize> = timed(&tasks).iter().map(|&(cell, _)| cell).collect();
    let switches = cells.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(switches > 6 * 3, "cells of a session alternate: {switches} switches");
}

#[test]
fn interleaved_visits_every_cell_once_per_round_and_rewarms_after_another_session() {
    let plan = plan(Order::Interleaved, 1, 3, 2, Repetitions::Fixed(4), 5);
    let tasks = preview(&plan);
    let calls = timed(&tasks);
    for round in calls.chunks(6) {
        let cells: BTreeSet<usize> = round.iter().map(|&(cell, _)| cell).collect();
        assert_eq!(cells.len(), 6, "each cell once: {round:?}");
    }
    assert_eq!(tasks.iter().filter(|t| matches!(t, Task::Load(_))).count(), 3, "all three fit the budget");
    let rewarms = tasks.iter().filter(|t| matches!(t, Task::Call(c) if c.role == Role::Rewarm)).count();
    assert!(rewarms > 6, "{rewarms}");
}

#[test]
fn a_backend_that_keeps_one_model_gets_groups_that_take_turns() {
    let mut plan = plan(Order::Interleaved, 1, 2, 1, Repetitions::Fixed(4), 5);
    plan.sessions.iter_mut().for_each(|s| s.max_resident = Some(1));
    let cells: Vec<usize> = timed(&preview(&plan)).iter().map(|&(cell, _)| cell).collect();
    assert!(cells == [0, 1, 1, 0, 0, 1, 1, 0] || cells == [1, 0, 0, 1, 1, 0, 0, 1], "{cells:?}");
}

#[test]
fn an_idle_gap_is_ended_by_one_rewarm() {
    let plan = plan(Order::Blocked, 1, 1, 1, Repetitions::Fixed(2), 5);
    let ordering = Ordering::new(&plan);
    let mut recorded = Recorded::new(&plan);
    recorded.push(&Event::Opened { loop_below: LoopBelow::default() });
    let long = LONGEST_GAP + Nanos(1);
    let mut roles = Vec::new();
    while let Some(task) = next(&plan, &ordering, &recorded, long) {
        recorded.push(&Event::expected(&task));
        if let Task::Call(call) = task {
            roles.push(call.role);
        }
    }
    use Role::{Cold, Rewarm, Timed, Warmup};
    assert_eq!(roles, [Cold, Warmup, Rewarm, Timed, Rewarm, Timed]);
}
