//! Cells measured in several sessions: each a load of its own, spread over the run, also where it is killed.

use super::*;
use crate::record::Rule;

const ORDERS: [Order; 3] = [Order::Blocked, Order::Interleaved, Order::Shuffled];

fn several(plan: Plan, min: u32, max: u32) -> Plan {
    Plan { session_count: SessionCount { min, max }, ..plan }
}

fn calls(tasks: &[Task]) -> impl Iterator<Item = &CallTask> {
    tasks.iter().filter_map(|task| if let Task::Call(call) = task { Some(call) } else { None })
}

/// The loads of a dry run: session, its number.
fn loads(tasks: &[Task]) -> Vec<(usize, u32)> {
    let of = |task: &Task| if let Task::Load(load) = task { Some((load.session, load.session_index)) } else { None };
    tasks.iter().filter_map(of).collect()
}

/// What holds of any tasks under sessions: a timed call is made on the load of its own session and no other.
fn check_sessions(plan: &Plan, tasks: &[Task]) {
    let ordering = Ordering::new(plan);
    let mut serving: BTreeMap<usize, (u32, u32)> = BTreeMap::new();
    for task in tasks {
        match task {
            Task::Load(load) => {
                for gone in &load.evict {
                    serving.remove(gone);
                }
                serving.insert(load.session, (load.load_index, load.session_index));
            }
            Task::Call(call) => {
                let served = serving.get(&ordering.session_of(call.cell)).copied();
                assert_eq!(served, Some((call.load_index, call.session_index)), "{}", call.call_id(plan));
                if call.role == Role::Timed {
                    assert_eq!(call.session_index, plan.division().session_of(call.index), "{}", call.call_id(plan));
                }
            }
            Task::Loop(_) | Task::Reference(_) | Task::Stop(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_session_is_a_load_of_its_own_and_every_timed_call_is_made_once(
        order in prop::sample::select(ORDERS.to_vec()),
        backends in 1_usize..3, models in 1_usize..4, scenarios in 1_usize..3, sessions in 2_u32..5, more in 0_u32..6,
        seed: u64,
    ) {
        let n = sessions + more;
        let plan = several(plan(order, backends, models, scenarios, Repetitions::Fixed(n), seed), sessions, sessions);
        let tasks = preview(&plan);
        let largest = check(&plan, &tasks);
        check_sessions(&plan, &tasks);
        prop_assert!(largest <= plan.memory_budget_bytes.0, "resident memory {} over the budget", largest);
        let mut made = timed(&tasks);
        made.sort_unstable();
        let expected: Vec<_> = (0..plan.cells.len()).flat_map(|c| (0..n).map(move |i| (c, i))).collect();
        prop_assert_eq!(made, expected);
        if order != Order::Shuffled {
            let mut loaded = loads(&tasks);
            loaded.sort_unstable();
            let once: Vec<_> = (0..plan.sessions.len()).flat_map(|s| (0..sessions).map(move |j| (s, j))).collect();
            prop_assert_eq!(loaded, once, "one load for each session");
        }
    }

    /// All first sessions come before all second ones: each cell's sessions lie in different parts of the run. Where there
    /// is anything else to measure, it comes between.
    #[test]
    fn sessions_of_one_cell_are_spread_over_the_run(models in 2_usize..5, sessions in 2_u32..6, seed: u64) {
        let plan = several(plan(Order::Blocked, 1, models, 2, Repetitions::Fixed(6), seed), sessions, sessions);
        let loaded = loads(&preview(&plan));
        let numbers: Vec<u32> = loaded.iter().map(|(_, number)| *number).collect();
        prop_assert!(numbers.is_sorted(), "{:?}", loaded);
        prop_assert!(loaded.windows(2).all(|pair| pair[0].0 != pair[1].0), "side by side: {:?}", loaded);
    }

    /// Killed again and again, before or after any line: every timed call exactly once, in the order of a run that nobody
    /// disturbs, each on a load of its own session, and looped phases once.
    /// Which of two engines is loaded first may decide which is faster, and is no property of either.
    #[test]
    fn engines_in_turns_are_loaded_before_each_other_as_often(backends in 2_usize..4, pairs in 1_u32..4, seed: u64) {
        let sessions = 2 * pairs;
        let plan = several(plan(Order::Interleaved, backends, 1, 2, Repetitions::Fixed(sessions), seed), sessions, sessions);
        let tasks = preview(&plan);
        let loads = loads(&tasks);
        prop_assert_eq!(loads.len(), backends * sessions as usize, "all fit into memory together");
        let place = |session: usize, pass: u32| loads.iter().position(|load| *load == (session, pass));
        let warmups: Vec<&CallTask> = calls(&tasks).filter(|call| call.role != Role::Timed).collect();
        let warmed = |cell: usize, pass: u32| {
            warmups.iter().position(|call| (call.cell, call.session_index) == (cell, pass))
        };
        for (one, other) in [(0, 1), (0, backends - 1)] {
            let before = (0..sessions).filter(|&pass| place(one, pass) < place(other, pass)).count();
            prop_assert_eq!(before, pairs as usize, "sessions {} and {}, seed {}", one, other, seed);
        }
        let before = (0..sessions).filter(|&pass| warmed(0, pass) < warmed(1, pass)).count();
        prop_assert_eq!(before, pairs as usize, "warmups of one session, seed {}", seed);
    }

    #[test]
    fn a_run_that_is_killed_at_any_moments_makes_the_same_timed_calls(
        order in prop::sample::select(ORDERS.to_vec()),
        sessions in 1_u32..5, kills in prop::collection::vec(0.0_f64..1.0, 20), looped: bool, seed: u64,
    ) {
        let plan = several(plan(order, 2, 2, 2, Repetitions::Fixed(5), seed), sessions, sessions);
        let ordering = Ordering::new(&plan);
        let below = looped.then_some(Nanos(50_000_000));
        let opened = Event::Opened { loop_below: LoopBelow { processor_ns: below, ..LoopBelow::default() } };
        let undisturbed = done(&plan, &ordering, &opened, &BTreeSet::new());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "test")]
        let moments: BTreeSet<usize> =
            kills.iter().map(|share| (share * 2.0 * undisturbed.len() as f64) as usize).collect();
        let killed = done(&plan, &ordering, &opened, &moments);
        prop_assert_eq!(timed(&killed), timed(&undisturbed), "kills before tasks {:?}", moments);
        check_once(&plan, &killed);
        let loops = |tasks: &[Task]| tasks.iter().filter(|task| matches!(task, Task::Loop(_))).count();
        prop_assert_eq!(loops(&killed), loops(&undisturbed));
    }
}

/// All tasks of a run that is killed before those of these numbers.
fn done(plan: &Plan, ordering: &Ordering, opened: &Event, kills: &BTreeSet<usize>) -> Vec<Task> {
    let mut recorded = Recorded::new(plan);
    recorded.push(opened);
    let (mut tasks, mut kills) = (Vec::new(), kills.clone());
    while let Some(task) = next(plan, ordering, &recorded, Nanos(0)) {
        if kills.remove(&tasks.len()) {
            recorded.push(opened);
            continue;
        }
        let mut event = Event::expected(&task);
        if let Event::Call { role: Role::Timed, latencies, on_board, .. } = &mut event {
            (*latencies, *on_board) = (vec![(Mode::Prefill, 60.0), (Mode::KvDecode, 10.0)], Some(false));
        }
        recorded.push(&event);
        tasks.push(task);
    }
    tasks
}

/// Ids exist once, but for those of warmups, which a process that was killed takes with it.
fn check_once(plan: &Plan, tasks: &[Task]) {
    let mut ids = BTreeSet::new();
    for call in calls(tasks) {
        assert!(ids.insert(call.call_id(plan)), "{} twice", call.call_id(plan));
    }
}

/// Sessions are added until the interval from them is narrow, and no cell ends within a session.
#[test]
fn an_adaptive_cell_goes_on_by_sessions_until_its_interval_is_narrow() {
    let repetitions = Repetitions::Adaptive { min: 12, max: 60, until_relative_ci: 0.05 };
    let plan = several(plan(Order::Blocked, 1, 2, 1, repetitions, 7), 3, 10);
    let ordering = Ordering::new(&plan);
    let mut recorded = Recorded::new(&plan);
    recorded.push(&Event::Opened { loop_below: LoopBelow::default() });
    let mut decisions = Vec::new();
    // The sessions of the first cell agree, those of the second do not.
    let level = |cell: usize, session: u32| if cell == 0 { 0.0 } else { f64::from(session * 7 % 5) * 0.2 };
    while let Some(task) = next(&plan, &ordering, &recorded, Nanos(0)) {
        let mut event = Event::expected(&task);
        match (&task, &mut event) {
            (Task::Call(call), Event::Call { role: Role::Timed, latencies, .. }) => {
                let ms = 10.0 * (level(call.cell, call.session_index) + 0.01 * f64::from(call.index * 3 % 4)).exp();
                *latencies = vec![(Mode::Prefill, ms), (Mode::KvDecode, 4.0 * ms)];
            }
            (Task::Stop(decision), event) => {
                let cell = plan.cells.iter().position(|cell| cell.id == decision.cell_id).unwrap();
                decisions.push((cell, decision.rule, decision.calls_ok, decision.why.clone()));
                *event = Event::Stopped(cell);
            }
            _ => {}
        }
        recorded.push(&event);
    }
    let [(_, first_rule, first_calls, why), (_, second_rule, second_calls, _)] = &decisions[..] else {
        unreachable!("one decision a cell: {decisions:?}")
    };
    assert_eq!((*first_rule, *first_calls), (Rule::NarrowEnough, 12), "{why}");
    assert!(why.ends_with("from 3 sessions"), "{why}");
    assert_eq!((*second_rule, *second_calls), (Rule::MaxCalls, 40), "ten sessions of four");
}

/// The estimate counts what is really done: loads and warmups of every session.
#[test]
fn every_session_counts_in_the_estimate() {
    let plan = several(plan(Order::Blocked, 1, 2, 2, Repetitions::Fixed(9), 1), 3, 3);
    let counts = work(&plan).0.counts();
    assert_eq!((counts.loads, counts.warmup, counts.timed), (6, 2 * 2 * 2 * 3, 4 * 9));
    let repetitions = Repetitions::Adaptive { min: 9, max: 100, until_relative_ci: 0.02 };
    let adaptive = Plan { repetitions, session_count: SessionCount { min: 3, max: 10 }, ..plan };
    let (least, most) = work(&adaptive);
    assert_eq!((least.counts().loads, most.counts().loads), (6, 20));
    assert_eq!((least.counts().timed, most.counts().timed), (4 * 9, 4 * 30));
}
