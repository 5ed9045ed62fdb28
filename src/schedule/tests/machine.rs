//! The machine itself is measured in between, within its share of the time.

use super::*;
use crate::record::plan::ReferencePlan;
use crate::record::{IdleRecord, IdleWhen, Line, ReferenceRecord, ReferenceWhen};

/// A run whose references take 1 s each and calls, loads 1 s: what is measured of the machine, and between which tasks.
fn references_of(plan: &Plan, second: Nanos) -> (Vec<ReferenceWhen>, f64) {
    timeline(plan, second, (second, second))
}

/// A run whose calls and loads take so long, and what is measured of the machine, before the first load and later: when, and
/// the share of the time that it takes.
fn timeline(plan: &Plan, task_takes: Nanos, (first, later): (Nanos, Nanos)) -> (Vec<ReferenceWhen>, f64) {
    let ordering = Ordering::new(plan);
    let mut recorded = Recorded::new(plan);
    recorded.push(&Event::Opened { loop_below: LoopBelow::default() });
    let (mut found, mut now, mut spent) = (Vec::new(), Nanos(0), Nanos(0));
    while let Some(task) = next(plan, &ordering, &recorded, Nanos(0)) {
        recorded.push(&Event::expected(&task));
        let takes = match &task {
            Task::Reference(task) if task.when == ReferenceWhen::Begin => first,
            Task::Reference(_) => later,
            _ => task_takes,
        };
        let (begin_ns, end_ns) = (now, now + takes);
        now = end_ns;
        if let Task::Reference(task) = &task {
            assert_eq!(task.reference_index as usize, found.len());
            found.push(task.when);
            spent = spent + takes;
            recorded.note(&Line::Reference(Box::new(ReferenceRecord {
                reference_index: task.reference_index,
                when: task.when,
                epoch: 0,
                begin_ns,
                end_ns,
                buffer_bytes: Bytes(1),
                last_level_cache_bytes: None,
                speeds: Vec::new(),
                boards: Vec::new(),
                foreign_cpu: None,
            })));
        } else {
            let (when, load_index, contexts) = (IdleWhen::Before, None, None);
            recorded.note(&Line::Idle(Box::new(IdleRecord {
                when,
                epoch: 0,
                load_index,
                begin_ns,
                end_ns,
                contexts,
                frozen_ns: None,
            })));
        }
    }
    (found, spent.as_secs() / now.as_secs())
}

/// At the begin, at loads, in between and at the end, and beyond the first one no more than the share that the plan grants.
#[test]
fn the_machine_is_measured_within_its_share_of_the_time() {
    let mut plan = plan(Order::Blocked, 1, 2, 1, Repetitions::Fixed(100), 1);
    let second = Nanos(1_000_000_000);
    assert_eq!(references_of(&plan, second).0, []);
    plan.reference = Some(ReferencePlan {
        threads: vec![2],
        every_ns: Nanos(30_000_000_000),
        share: 0.5,
        begins: true,
        boards: false,
    });
    let (found, _) = references_of(&plan, second);
    let count = |when| found.iter().filter(|found| **found == when).count();
    assert_eq!((found[0], found.last()), (ReferenceWhen::Begin, Some(&ReferenceWhen::End)));
    assert_eq!((count(ReferenceWhen::Begin), count(ReferenceWhen::Border), count(ReferenceWhen::End)), (1, 1, 1));
    assert_eq!(count(ReferenceWhen::Between), 6, "{found:?}");
    plan.reference = Some(ReferencePlan {
        threads: vec![2],
        every_ns: Nanos(30_000_000_000),
        share: 0.01,
        begins: true,
        boards: false,
    });
    let (found, share) = references_of(&plan, second);
    assert!(share <= 0.01 && found.len() == 2, "{share} {found:?}");
    plan.reference = Some(ReferencePlan {
        threads: vec![2],
        every_ns: Nanos(30_000_000_000),
        share: 0.0,
        begins: true,
        boards: false,
    });
    assert_eq!(references_of(&plan, second).0, [ReferenceWhen::Begin]);
}

/// However long a run and its calls are, what is measured of the machine keeps within the share; and a run that is long
/// enough for it is measured.
#[test]
fn runs_of_every_length_keep_within_the_share() {
    const SHARE: f64 = 0.02;
    for task_ms in [1, 20, 300, 5000] {
        for calls in [1, 3, 10, 60, 400] {
            let mut plan = plan(Order::Blocked, 1, 2, 1, Repetitions::Fixed(calls), 1);
            let mut rule = ReferencePlan {
                threads: vec![2],
                every_ns: Nanos(30_000_000_000),
                share: SHARE,
                begins: false,
                boards: false,
            };
            let (first, later) = (rule.takes(ReferencePlan::KERNELS.0), rule.takes(ReferencePlan::KERNELS.1));
            let total = Nanos(u64::from(2 * (calls + 3)) * task_ms * 1_000_000);
            rule.begins = SHARE * total.as_secs() > first.as_secs();
            plan.reference = Some(rule.clone());
            let (found, share) = timeline(&plan, Nanos(task_ms * 1_000_000), (first, later));
            assert!(share <= SHARE, "{calls} calls of {task_ms} ms: {share}, {found:?}");
            assert_eq!(found.first() == Some(&ReferenceWhen::Begin), rule.begins, "{found:?}");
            // The first call comes after the load and two warmups; from the second half on there is room.
            let is_long = SHARE * total.as_secs() > 2.0 * later.as_secs();
            assert!(!is_long || !found.is_empty(), "{calls} calls of {task_ms} ms: none in {total}");
            let (told, made) = (rule.count(total, 2), found.len() as u64);
            assert!(told.abs_diff(made) <= 1 + made / 4, "the plan says {told}, and {made} are made: {found:?}");
        }
    }
}

/// Every process that takes a run up measures the machine before its first load, and numbers go on.
#[test]
fn a_process_that_goes_on_measures_the_machine_afresh() {
    let mut plan = plan(Order::Interleaved, 1, 2, 1, Repetitions::Fixed(2), 1);
    plan.reference = Some(ReferencePlan {
        threads: Vec::new(),
        every_ns: Nanos(30_000_000_000),
        share: 0.02,
        begins: true,
        boards: false,
    });
    let ordering = Ordering::new(&plan);
    let mut recorded = Recorded::new(&plan);
    for process in 0..3 {
        recorded.push(&Event::Opened { loop_below: LoopBelow::default() });
        for step in 0..4 {
            let task = next(&plan, &ordering, &recorded, Nanos(0)).unwrap();
            let begin = Task::Reference(ReferenceTask { reference_index: process, when: ReferenceWhen::Begin });
            assert_eq!(task == begin, step == 0, "{task:?}");
            recorded.push(&Event::expected(&task));
        }
    }
}
