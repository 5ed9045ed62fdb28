//! The program stopped while everything is left alone: idle power is not taken from such a stretch, and another is made.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use phasebench::record::{IdleRecord, IdleWhen};
use phasebench::store;
use phasebench::units::Nanos;

use crate::fixture::{BOARD, Fixture};

/// Twice as long as what is certain to be called held.
const HELD: Duration = Duration::from_millis(400);

/// Waits until something is there while a program is at work.
#[track_caller]
fn wait_for(running: &mut Child, what: &str, there: impl Fn() -> bool) {
    let begun = Instant::now();
    while !there() {
        assert!(running.try_wait().unwrap().is_none(), "ended before {what}");
        assert!(begun.elapsed() < Duration::from_secs(60), "never {what}");
        std::thread::yield_now();
    }
}

fn let_pass(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::thread::yield_now();
    }
}

fn hold(running: &Child) {
    let tell = |signal| {
        // SAFETY: a signal to a process we started and have not waited for.
        assert_eq!(unsafe { libc::kill(libc::pid_t::try_from(running.id()).unwrap(), signal) }, 0);
    };
    tell(libc::SIGSTOP);
    let_pass(HELD);
    tell(libc::SIGCONT);
}

/// What is left alone for two seconds has begun by then, and goes on.
const INTO_THE_STRETCH: Duration = Duration::from_millis(700);

/// A run that is held once, after what `there` says; its idle stretches.
fn held(telemetry: &str, board: &str, what: &str, there: impl Fn(&Fixture) -> bool) -> (Fixture, Vec<IdleRecord>) {
    let fixture = Fixture::new(telemetry);
    let mut command = fixture.with_driver(board);
    command.args(["run", "scenario.yaml", "--out", "run"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = command.spawn().unwrap();
    wait_for(&mut running, what, || there(&fixture));
    let_pass(INTO_THE_STRETCH);
    hold(&running);
    assert_eq!(running.wait().unwrap().code(), Some(0), "{what}");
    let recording = store::read(&fixture.run_folder()).unwrap();
    let idles = recording.idles().cloned().collect();
    (fixture, idles)
}

#[test]
fn an_idle_stretch_in_which_the_program_was_held_is_refused_and_made_again() {
    let telemetry = "{ period: 8ms, idle: 2s, looped: 0s, calibrate: false, sensors: [nvml] }";
    let loaded = |fixture: &Fixture| {
        let record = fs::read_to_string(fixture.run_folder().join("measurements.jsonl"));
        record.is_ok_and(|record| record.contains("\"load\":"))
    };
    let (fixture, idles) = held(telemetry, BOARD, "the model was loaded", loaded);
    let loaded: Vec<&IdleRecord> = idles.iter().filter(|idle| idle.when == IdleWhen::Loaded).collect();
    assert!(loaded.len() == 2 && loaded[0].frozen_ns >= Some(Nanos(200_000_000)), "{idles:?}");
    fixture.report();
    let text = fs::read_to_string(fixture.run_folder().join("baseline.json")).unwrap();
    let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let when: Vec<&str> = rows.iter().map(|row| row["when"].as_str().unwrap()).collect();
    let usable = idles.iter().filter(|idle| idle.is_usable()).map(|idle| match idle.when {
        IdleWhen::Before => "before",
        IdleWhen::Loaded => "loaded",
        IdleWhen::After => "after",
    });
    assert_eq!(when, usable.collect::<Vec<_>>(), "what was held has no row");
    let output = fixture.program().args(["validate", "run"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The rest before a sensor is measured comes before the run watches anything itself.
#[test]
fn a_rest_before_the_sensors_are_measured_is_watched_too() {
    let telemetry = "{ period: 8ms, idle: 2s, looped: 0s, sensors: [nvml] }";
    let board = format!("{BOARD}stale_from_s = 0\n");
    let begun = |fixture: &Fixture| fixture.run_folder().join("power_trace.csv").exists();
    let (fixture, idles) = held(telemetry, &board, "power was recorded", begun);
    let (before, first) = (&idles[0], fixture.trace()[0].end_ns);
    assert_eq!(before.when, IdleWhen::Before);
    // The first rest was over when it began, and no context of ours was on the board yet.
    assert!(before.begin_ns.since(first) >= Nanos(1_900_000_000), "{first} {before:?}");
    assert_eq!(before.contexts.as_deref(), Some(&[][..]), "{before:?}");
}
