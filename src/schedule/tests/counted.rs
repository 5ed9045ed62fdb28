//! What a plan says of its work is what its order does.

use super::*;

/// What is counted is what the printed order does, models loaded again in every round and their warmups among it.
#[test]
fn work_is_counted_from_the_order_itself() {
    let adaptive = |min, max| Repetitions::Adaptive { min, max, until_relative_ci: 0.02 };
    for order in [Order::Blocked, Order::Interleaved, Order::Shuffled] {
        // Five sessions of 30 bytes in 100: groups of three and two.
        let plan = plan(order, 1, 5, 2, adaptive(3, 11), 4);
        let tasks = preview(&plan);
        let (least, most) = work(&plan);
        let role = |wanted: &[Role]| {
            let of = |task: &&Task| matches!(task, Task::Call(call) if wanted.contains(&call.role));
            tasks.iter().filter(of).count() as u64
        };
        let counts = least.counts();
        assert_eq!(counts.loads, tasks.iter().filter(|t| matches!(t, Task::Load(_))).count() as u64, "{order:?}");
        assert_eq!(counts.warmup, role(&[Role::Cold, Role::Warmup]), "{order:?}");
        assert_eq!(counts.rewarm, role(&[Role::Rewarm]), "{order:?}");
        assert_eq!((counts.timed, most.counts().timed), (10 * 8, 10 * 11), "{order:?}");
        if order == Order::Interleaved {
            assert!(counts.loads > 5 && counts.warmup == counts.loads * 4, "{counts:?}");
            assert!(most.counts().loads > counts.loads && counts.rewarm > 0, "{counts:?}");
        } else {
            assert_eq!((counts.warmup, counts.rewarm), (20, 0), "{order:?}");
            assert!((5..=10).contains(&counts.loads) && counts.loads == most.counts().loads, "{counts:?}");
        }
    }
    assert_eq!(work(&plan(Order::Blocked, 1, 1, 1, adaptive(3, 5), 4)).0.counts().timed, 5, "no more than `max`");
}

/// A plan too long to be run through is counted from its beginning.
#[test]
fn a_long_plan_is_counted_from_its_beginning() {
    let repetitions = Repetitions::Adaptive { min: 10, max: 100_000, until_relative_ci: 0.02 };
    let mut plan = plan(Order::Interleaved, 1, 4, 10, repetitions, 4);
    plan.memory_budget_bytes = Bytes(60);
    let (least, most) = work(&plan);
    assert_eq!((least.counts().timed, most.counts().timed), (40 * 10, 40 * 100_000));
    let per_round = (most.counts().loads - least.counts().loads) as f64 / 99_990.0;
    assert!((1.9..=2.1).contains(&per_round), "one of two groups of two is loaded in every round: {per_round}");
}

/// The order that is printed for an adaptive plan is the one it takes until the first cell may stop.
#[test]
fn an_adaptive_plan_begins_as_its_preview_does() {
    for order in [Order::Blocked, Order::Interleaved, Order::Shuffled] {
        let repetitions = Repetitions::Adaptive { min: 3, max: 30, until_relative_ci: 0.02 };
        let plan = plan(order, 1, 2, 2, repetitions, 9);
        let ordering = Ordering::new(&plan);
        let mut recorded = Recorded::new(&plan);
        recorded.push(&Event::Opened { loop_below: LoopBelow::default() });
        let (mut tasks, mut stopped) = (Vec::new(), Vec::new());
        while let Some(task) = next(&plan, &ordering, &recorded, Nanos(0)) {
            let mut event = Event::expected(&task);
            match (&task, &mut event) {
                (Task::Stop(decision), event) => {
                    let cell = plan.cells.iter().position(|cell| cell.id == decision.cell_id).unwrap();
                    assert_eq!(decision.calls_ok, 8, "{order:?}: the fewest calls, since all are equal");
                    stopped.push(cell);
                    *event = Event::Stopped(cell);
                }
                (Task::Call(call), Event::Call { latencies, .. }) if call.role == Role::Timed => {
                    *latencies = vec![(Mode::Prefill, 10.0)];
                }
                _ => {}
            }
            if !matches!(task, Task::Stop(_)) {
                tasks.push(task);
            }
            recorded.push(&event);
        }
        assert_eq!(stopped.len(), 4);
        assert_eq!(tasks, preview(&plan), "{order:?}");
    }
}
