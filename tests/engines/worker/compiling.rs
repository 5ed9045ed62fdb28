//! Compiling as a phase between load and first call, and in the calls: what is recorded of it, whatever comes of it.

use std::fs;

use phasebench::record::{CompileRecord, Line, Rule};
use phasebench::terms::{Degraded, Phase, Role, Status};

use crate::worker::fixture::{Fixture, REPETITIONS, Recorded, assert_exit};

const COMPILED: &str = "torch: { compile: { } }";

fn steps(recorded: &Recorded) -> Vec<&CompileRecord> {
    recorded.loads().into_iter().flat_map(|load| &load.compiled).collect()
}

fn gave_up(recorded: &Recorded) -> Vec<Rule> {
    let decided = recorded.lines().iter().filter_map(|line| match line {
        Line::Decision(decision) => Some(decision.rule),
        _ => None,
    });
    decided.collect()
}

/// A table of the run, as `analyze` writes it.
fn table(fixture: &Fixture, name: &str) -> String {
    assert_exit(&fixture.command(&["analyze", "run"]).output().unwrap(), 0);
    fs::read_to_string(fixture.run.join("analysis").join(name)).unwrap()
}

/// The worker alone decides what `on_recompile: record` means: it is asked all the same.
#[test]
fn ahead_or_inside_the_calls_as_the_worker_is_set() {
    let graphs = |recorded: &Recorded| {
        let calls = recorded.calls("worker");
        assert!(calls.iter().all(|call| call.status.is_ok()), "{:?}", recorded.failures());
        // Where the machine paused, a short call comes before a timed one.
        let planned = calls.iter().filter(|call| call.role != Role::Rewarm);
        planned.map(|call| call.compile.iter().map(|phase| phase.unique_graphs).sum()).collect::<Vec<u64>>()
    };
    let ahead = Fixture::new(COMPILED, "compile").complete();
    assert_eq!(steps(&ahead).len(), 1);
    assert_eq!(graphs(&ahead), [0; 1 + REPETITIONS]);
    let inside = Fixture::new("torch: { compile: { on_recompile: record } }", "compile").complete();
    assert_eq!(steps(&inside), [] as [&CompileRecord; 0]);
    assert_eq!(graphs(&inside), [2, 0, 0, 0, 0], "the first call compiles, and its row says so");
}

/// What a failed Compile proved is worth most: it is about the very cell that has the problem.
#[test]
fn the_evidence_of_a_broken_graph_is_kept() {
    let fixture = Fixture::new(COMPILED, "compile-break");
    let recorded = fixture.complete();
    let step = steps(&recorded)[0];
    assert_eq!(step.status, Status::Degraded(Degraded::Fallback));
    let breaks: Vec<_> = step.phases.iter().map(|phase| (phase.phase, phase.graph_breaks)).collect();
    assert_eq!(breaks, [(Phase::Prefill, 3), (Phase::KvDecode, 3)]);
    let failures = recorded.failures();
    let (calls, timed) = (recorded.calls("worker"), recorded.timed("worker"));
    assert_eq!((failures.len(), timed.len()), (calls.len(), REPETITIONS), "the calls show what runs instead");
    let said = "nothing proves it; said when it was compiled: graph break: print";
    assert!(failures.iter().all(|failure| failure.starts_with("fallback: ") && failure.contains(said)), "{failures:?}");
    let audit = table(&fixture, "compile_audit.csv");
    let mut audit = audit.lines();
    let column = audit.next().unwrap().split(',').position(|name| name == "graph_breaks").unwrap();
    let rows: Vec<&str> = audit.map(|row| row.split(',').nth(column).unwrap()).collect();
    assert_eq!(rows, ["3", "3"]);
}

#[test]
fn a_compile_that_kills_the_worker_is_a_load_that_failed() {
    let recorded = Fixture::new(COMPILED, "good,compile-kill,compile").complete();
    let failures = recorded.failures();
    let said =
        "crashed: compiling for prefill_decode, 1 × 6 tokens, 4 steps ended the session: the worker ended by signal 9";
    assert!(failures.len() == 1 && failures[0].starts_with(said), "{failures:?}");
    let loads = recorded.loads();
    assert_eq!((loads.len(), loads[0].compiled.len(), loads[1].status.is_ok()), (2, 1, true));
    assert!(recorded.calls("worker").iter().all(|call| call.status.is_ok()));
}

/// It costs two loads, not every cell's calls, and the cells are listed as not proven.
#[test]
fn a_compile_without_end_is_given_up_with_its_own_failure() {
    let fixture = Fixture::new(COMPILED, "good,compile-hang");
    let recorded = fixture.complete_with(3);
    let failures = recorded.failures();
    assert_eq!((recorded.loads().len(), recorded.calls("worker").len()), (2, 0), "{failures:?}");
    let is_timeout = |failure: &String| failure.starts_with("timeout: ") && failure.contains("stopped at the deadline");
    assert!(failures.iter().all(is_timeout), "{failures:?}");
    assert!(steps(&recorded).iter().all(|step| step.status == Status::Degraded(Degraded::Timeout)));
    assert_eq!(gave_up(&recorded), [Rule::LoadFailed]);
    let audit = table(&fixture, "compile_audit.csv");
    assert_eq!(audit.lines().count(), 1 + 2, "{audit}");
    assert!(audit.lines().skip(1).all(|row| row.contains("timeout: compiling for")), "{audit}");
    let outcome = table(&fixture, "compile_outcome.csv");
    assert!(outcome.lines().skip(1).all(|row| row.ends_with("not_proven")), "{outcome}");
}

/// What kept a session from being loaded may be over when somebody takes the run up: a compiler that hung, memory that was
/// short, a worker that was busy.
#[test]
fn what_did_not_load_is_tried_again_on_resume() {
    let fixture = Fixture::new(COMPILED, "good,compile-hang,compile-hang,good,compile");
    let recorded = fixture.complete_with(3);
    assert_eq!((gave_up(&recorded), recorded.calls("worker").len()), (vec![Rule::LoadFailed], 0));
    let resume = || fixture.command(&["run", "--resume", "run"]).output().unwrap();
    assert_exit(&resume(), 0);
    let recorded = fixture.recorded();
    let timed = recorded.timed("worker");
    assert!(timed.len() == REPETITIONS && timed.iter().all(|call| call.status.is_ok()), "{:?}", recorded.failures());
    let before = fs::read(fixture.run.join("measurements.jsonl")).unwrap();
    assert_exit(&resume(), 0);
    assert_eq!(fs::read(fixture.run.join("measurements.jsonl")).unwrap(), before, "nothing is left to do");
}
