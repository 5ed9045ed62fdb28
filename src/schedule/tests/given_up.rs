//! Calls made again, cells and sessions given up: each so often and no more.

use super::*;
use crate::record::Rule;

/// The tries of one timed call follow each other; the last one counts as the call whatever came of it.
#[test]
fn a_call_that_ends_early_is_made_again_up_to_the_limit() {
    let plan = plan(Order::Interleaved, 1, 2, 2, Repetitions::Fixed(2), 5);
    let ordering = Ordering::new(&plan);
    let mut recorded = Recorded::new(&plan);
    recorded.push(&Event::Opened { loop_below: LoopBelow::default() });
    let mut tried = Vec::new();
    while let Some(task) = next(&plan, &ordering, &recorded, Nanos(0)) {
        let mut event = Event::expected(&task);
        if let (Task::Call(call), Event::Call { ok, again, .. }) = (&task, &mut event)
            && call.role == Role::Timed
        {
            let ends_early = call.cell == 1 && call.index == 0;
            *ok = !ends_early;
            *again = ends_early && call.attempt < plan.early_stop.retries;
            tried.push((call.cell, call.call_id(&plan)));
        }
        recorded.push(&event);
    }
    let first = tried.iter().position(|(cell, _)| *cell == 1).unwrap();
    let ids: Vec<&str> = tried[first..first + 4].iter().map(|(_, id)| id.as_str()).collect();
    assert_eq!(
        ids,
        ["0-0-1-timed-0000", "0-0-1-timed-0000-try1", "0-0-1-timed-0000-try2", "0-0-1-timed-0000-try3"],
        "no other call comes between"
    );
    assert_eq!(tried.len(), 4 * 2 + 3);
    assert_eq!((recorded.cell(1).timed, recorded.cell(1).good, recorded.cell(1).tries), (2, 1, 0));
}

/// Once more is the session loaded for it, whether good calls come between its losses or not.
#[test]
fn a_cell_that_ends_its_session_again_is_given_up() {
    for good_between in [0, 1, 20] {
        ends_its_session_every(good_between + 1);
    }
}

/// The first cell's calls end the session whenever their number can be divided by this.
fn ends_its_session_every(nth: u32) {
    let plan = plan(Order::Blocked, 1, 1, 2, Repetitions::Fixed(50), 5);
    let ordering = Ordering::new(&plan);
    let mut recorded = Recorded::new(&plan);
    recorded.push(&Event::Opened { loop_below: LoopBelow::default() });
    let (mut stops, mut timed_good, mut made, mut loads) = (Vec::new(), 0, 0, 0);
    while let Some(task) = next(&plan, &ordering, &recorded, Nanos(0)) {
        let event = match &task {
            Task::Call(call) if call.cell == 0 => {
                made += 1;
                let lost = made % nth == 0;
                let (ok, again, latencies) = (!lost, false, Vec::new());
                let (role, disturbed, on_board) = (call.role, None, None);
                Event::Call { cell: 0, role, ok, again, disturbed, lost, latencies, on_board }
            }
            Task::Stop(decision) => {
                stops.push((decision.cell_id.0.clone(), decision.rule));
                Event::Stopped(0)
            }
            other => Event::expected(other),
        };
        timed_good += u32::from(matches!(&task, Task::Call(c) if c.cell == 1 && c.role == Role::Timed));
        loads += u32::from(matches!(&task, Task::Load(_)));
        recorded.push(&event);
    }
    assert_eq!(stops, [("0-0-0".to_owned(), Rule::SessionLost)]);
    assert_eq!(timed_good, 50, "the other cell is measured");
    assert_eq!(made, 2 * nth, "given up with its second loss");
    assert_eq!(loads, 3, "for both, once more for the first, and for the second alone");
}

#[test]
fn a_session_that_does_not_load_is_given_up_and_the_rest_measured() {
    let plan = plan(Order::Interleaved, 1, 2, 2, Repetitions::Fixed(3), 5);
    let ordering = Ordering::new(&plan);
    let mut recorded = Recorded::new(&plan);
    recorded.push(&Event::Opened { loop_below: LoopBelow::default() });
    let mut stopped = Vec::new();
    let mut done = 0;
    while let Some(task) = next(&plan, &ordering, &recorded, Nanos(0)) {
        let event = match &task {
            Task::Load(load) if load.session == 0 => Event::Load {
                session: 0,
                session_index: 0,
                evicted: load.evict.clone(),
                residency_id: load.residency_id,
                ok: false,
                fresh: false,
            },
            Task::Stop(decision) => {
                assert_eq!(decision.rule, Rule::LoadFailed);
                let cell = plan.cells.iter().position(|c| c.id == decision.cell_id).unwrap();
                stopped.push(cell);
                Event::Stopped(cell)
            }
            other => Event::expected(other),
        };
        done += u32::from(matches!(&task, Task::Call(c) if c.role == Role::Timed));
        recorded.push(&event);
    }
    assert_eq!(stopped, [0, 1]);
    assert_eq!(done, 6);
}
