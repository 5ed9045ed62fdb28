//! What may happen to a worker, each in a run of the program: recorded, the run goes on, and nothing is left running.

use phasebench::record::{Line, Rule};
use phasebench::terms::Degraded;

use crate::worker::fixture::{Fixture, REPETITIONS, Recorded, assert_exit};

/// One call failed, the session was loaded again, and every timed call was made.
#[track_caller]
fn cost_one_call(recorded: &Recorded, kind: Degraded, words: &[&str]) {
    let failures = recorded.failures();
    assert_eq!(failures.len(), 1, "{failures:?}");
    let begin = format!("{kind}: ");
    assert!(failures[0].starts_with(&begin) && words.iter().all(|word| failures[0].contains(word)), "{failures:?}");
    assert_eq!(recorded.timed("worker").len(), REPETITIONS);
    let lost = recorded.calls("worker").into_iter().filter(|call| call.session_lost).count();
    let failed = recorded.loads().into_iter().filter(|load| !load.status.is_ok()).count();
    assert_eq!(recorded.loads().len(), 1 + lost + failed, "loaded again where it must be, and only there");
}

/// One load failed, the next did not, and every timed call was made.
#[track_caller]
fn cost_one_load(recorded: &Recorded, kind: Degraded, words: &[&str]) {
    cost_one_call(recorded, kind, words);
    assert!(recorded.calls("worker").into_iter().all(|call| call.status.is_ok()));
}

/// As [`cost_one_call`], for calls; the session was lost.
#[track_caller]
fn cost_the_session(recorded: &Recorded, kind: Degraded, words: &[&str]) {
    cost_one_call(recorded, kind, words);
    assert_eq!(recorded.loads().len(), 2, "the session was lost");
}

#[test]
fn a_good_worker_is_measured() {
    let recorded = Fixture::torch("good").complete();
    assert_eq!(recorded.failures(), [] as [String; 0]);
    assert_eq!((recorded.timed("worker").len(), recorded.loads().len()), (REPETITIONS, 1));
    let parts: Vec<&str> = recorded.loads()[0].parts_ns.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(parts, ["launch", "hello", "describe", "prepare"]);
    for call in recorded.calls("worker") {
        assert_eq!(call.attribution.actual.as_deref(), Some("fake"));
        assert!(call.spans.iter().all(|span| !span.reconstructed && span.uncertainty_ns.0 < 1_000_000));
    }
}

#[test]
fn killed_in_a_call() {
    let recorded = Fixture::torch("good,kill,good").complete();
    cost_the_session(&recorded, Degraded::Crashed, &["the worker ended by signal 9 during a call"]);
}

#[test]
fn aborted_in_a_call() {
    let recorded = Fixture::torch("good,abort,good").complete();
    cost_the_session(&recorded, Degraded::Crashed, &["the worker ended by signal 6 during a call"]);
}

#[test]
fn hangs_in_a_call() {
    let recorded = Fixture::torch("good,hang,good").complete();
    cost_the_session(&recorded, Degraded::Timeout, &["stopped at the deadline of 5.0 s", "so the worker was ended"]);
}

#[test]
fn sends_garbage() {
    cost_one_load(&Fixture::torch("good,garbage,good").complete(), Degraded::Error, &["Hello: "]);
}

#[test]
fn sends_a_gigabyte() {
    let recorded = Fixture::patient("good,gigabyte,good").complete();
    cost_the_session(&recorded, Degraded::Error, &["a call: ", "limit is: 67108864 bytes"]);
}

#[test]
fn refuses_connections() {
    let recorded = Fixture::torch("good,refuse,good").complete();
    cost_one_load(&recorded, Degraded::Timeout, &["nothing answers at unix:", "refused"]);
}

#[test]
fn exits_at_start() {
    let recorded = Fixture::torch("good,exit,good").complete();
    cost_one_load(&recorded, Degraded::Crashed, &["ended with exit code 3 during start", "no such engine"]);
}

#[test]
fn never_becomes_ready() {
    let recorded = Fixture::torch("good,never-ready,good").complete();
    cost_one_load(&recorded, Degraded::Timeout, &["the worker was not ready before the deadline"]);
}

/// The deadline covers the first words too, and is not made longer by them.
#[test]
fn never_says_who_it_is() {
    let recorded = Fixture::torch("good,never-hello,good").complete();
    cost_one_load(&recorded, Degraded::Timeout, &["listened, and did not say who it is before the deadline"]);
    let load = recorded.loads()[0].duration_ns.as_secs();
    assert!((5.0..9.0).contains(&load), "{load} s");
}

#[test]
fn dies_while_loading() {
    let recorded = Fixture::torch("good,die-in-load,good").complete();
    cost_one_load(&recorded, Degraded::Crashed, &["ended with exit code 7 during Load", "cannot map the weights"]);
}

#[test]
fn hangs_while_loading() {
    let recorded = Fixture::torch("good,hang-in-load,good").complete();
    cost_one_load(&recorded, Degraded::Timeout, &["Load did not end before the deadline"]);
}

#[test]
fn speaks_another_version() {
    let recorded = Fixture::torch("good,version,good").complete();
    let words = "the worker speaks version 2 of the protocol, this program version 1";
    cost_one_load(&recorded, Degraded::Error, &[words]);
}

#[test]
fn writes_100_megabytes_to_its_log() {
    for word in ["noise", "noise-in-call"] {
        let recorded = Fixture::torch(&format!("good,{word}")).complete();
        assert_eq!(recorded.failures(), [] as [String; 0], "a log that is read stops nobody");
        assert_eq!(recorded.timed("worker").len(), REPETITIONS);
    }
    let recorded = Fixture::torch("good,noise-exit,good").complete();
    cost_one_load(&recorded, Degraded::Crashed, &["exit code 4", "the last words"]);
    assert!(recorded.failures()[0].len() < 2500, "{}", recorded.failures()[0].len());
}

#[test]
fn leaves_children_behind() {
    let recorded = Fixture::torch("good,child-kill,good").complete();
    cost_the_session(&recorded, Degraded::Crashed, &["signal 9"]);
    let recorded = Fixture::torch("good,child-hang,good").complete();
    cost_the_session(&recorded, Degraded::Timeout, &["deadline"]);
}

#[test]
fn says_what_cannot_be() {
    for (word, words) in [
        ("nonsense", "2 phases timed (kv_decode, prefill), expected prefill, kv_decode"),
        ("future", "the last phase ends"),
    ] {
        let recorded = Fixture::torch(&format!("good,{word}")).complete();
        cost_one_call(&recorded, Degraded::Invariant, &[words]);
        assert_eq!(recorded.loads().len(), 1);
    }
}

#[test]
fn says_that_it_failed() {
    let recorded = Fixture::torch("good,oom,good").complete();
    cost_the_session(&recorded, Degraded::Oom, &["no memory for 8 bytes"]);
    let recorded = Fixture::torch("good,recompile").complete();
    cost_one_call(&recorded, Degraded::CompileFailed, &["a new shape"]);
    assert_eq!(recorded.loads().len(), 1);
}

/// The evidence is asked for whatever the worker says: this one says nothing of what it compiled.
#[test]
fn is_silent_about_what_it_compiled() {
    let recorded = Fixture::new("torch: { compile: { } }", "good").complete();
    let failures = recorded.failures();
    assert_eq!(failures.len(), recorded.calls("worker").len());
    let said = "fallback: prefill was to run compiled by inductor, and nothing proves it";
    assert!(failures.iter().all(|failure| failure == said), "{failures:?}");
}

#[test]
fn another_clock_is_mapped_and_said_to_be() {
    let recorded = Fixture::torch("other-clock").complete();
    assert_eq!(recorded.failures(), [] as [String; 0]);
    for span in recorded.calls("worker").iter().flat_map(|call| &call.spans) {
        assert!(span.reconstructed && span.uncertainty_ns.0 > 1000, "{span:?}");
    }
}

/// The schedule gives up a worker that never comes, and one whose calls keep ending it.
#[test]
fn is_started_again_only_so_often() {
    let gave_up = |recorded: &Recorded, rule: Rule| {
        let decided = |line: &&Line| matches!(line, Line::Decision(decision) if decision.rule == rule);
        recorded.lines().iter().filter(decided).count()
    };
    let recorded = Fixture::torch("good,exit").complete_with(3);
    assert_eq!((recorded.loads().len(), recorded.calls("worker").len()), (2, 0));
    assert_eq!(gave_up(&recorded, Rule::LoadFailed), 1);
    // One more start for a cell; that good calls between change nothing is in the schedule's own tests.
    let recorded = Fixture::torch("good,kill-at-once").complete_with(3);
    let lost = recorded.calls("worker").into_iter().filter(|call| call.session_lost).count();
    let found = (gave_up(&recorded, Rule::SessionLost), recorded.loads().len(), lost);
    assert_eq!(found, (1, 2, 2), "{:?}", recorded.failures());
}

#[test]
fn is_missing_from_the_beginning() {
    for (plan, words) in [
        ("exit", &["ended with exit code 3", "no such engine"][..]),
        ("version", &["speaks version 2"]),
        ("unsupported", &["no CUDA device", "try: device: cpu"]),
    ] {
        let fixture = Fixture::torch(plan);
        let output = fixture.start().output().unwrap();
        assert_exit(&output, 7);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.starts_with("backend `worker`: ") || said.starts_with("error: backend `worker`: "), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        assert!(!fixture.run.exists());
        fixture.nothing_runs_now();
    }
    let fixture = Fixture::torch("good");
    std::fs::remove_file(fixture.path().join("cache/torch/selected.json")).unwrap();
    let output = fixture.start().output().unwrap();
    assert_exit(&output, 7);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no torch environment") && said.contains("try: phasebench setup torch"), "{said}");
}

/// Its end is known although somebody else started it, and told apart from an error of the connection.
#[test]
fn dies_at_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix:{}/s", folder.path().display());
    let fixture = Fixture::new(&format!("worker: {{ address: \"{address}\" }}"), "kill");
    let mut worker = std::process::Command::new(fixture.path().join("python"));
    let mut worker = worker.args(["--listen", &address]).stdout(std::process::Stdio::null()).spawn().unwrap();
    crate::worker::fixture::soon("the worker listens", || folder.path().join("s").exists());
    assert_exit(&fixture.start().output().unwrap(), 3);
    worker.wait().unwrap();
    let failures = fixture.recorded().failures();
    assert!(failures[0].starts_with("crashed: the worker ended during a call"), "{failures:?}");
    assert!(failures[1].starts_with(&format!("crashed: nothing answers at {address}")), "{failures:?}");
}

#[test]
fn nobody_is_at_the_address() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix:{}/s", folder.path().display());
    let fixture = Fixture::new(&format!("worker: {{ address: \"{address}\" }}"), "good");
    let output = fixture.start().output().unwrap();
    assert_exit(&output, 7);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("nothing answers at {address}")) && said.contains("start the worker"), "{said}");
}
