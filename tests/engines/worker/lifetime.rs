//! However the program ends, nothing that a worker started outlives it for long.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::worker::fixture::{Fixture, assert_exit, soon};

/// A run whose worker hangs in a call, with a child that left its session.
fn hanging() -> (Fixture, Child) {
    let fixture = Fixture::torch("good,child-hang");
    let mut command = fixture.start();
    let mut program = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    fixture.wait_for("hangs", &mut program);
    assert!(fixture.running().iter().any(|(_, command)| command.starts_with("sleep")), "{:?}", fixture.running());
    (fixture, program)
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: takes two numbers; the process is this test's own.
    assert_eq!(unsafe { libc::kill(libc::pid_t::try_from(pid).unwrap(), signal) }, 0);
}

fn keeper(fixture: &Fixture) -> u32 {
    let running = fixture.running();
    running.iter().find(|(_, command)| command.contains(" supervise ")).unwrap_or_else(|| panic!("{running:?}")).0
}

#[test]
fn killed() {
    let (fixture, mut program) = hanging();
    program.kill().unwrap();
    program.wait().unwrap();
    fixture.nothing_runs_soon();
    // What the killed run left on disk goes with the next one.
    assert_eq!(fs::read_dir(fixture.path().join("tmp")).unwrap().count(), 1);
    let output = fixture.command(&["run", "scenario.yaml", "--out", "again", "--only", "backend=worker"]).output();
    assert_exit(&output.unwrap(), 0);
    fixture.nothing_runs_now();
}

#[test]
fn interrupted_and_asked_to_end() {
    for number in [libc::SIGINT, libc::SIGTERM] {
        let (fixture, mut program) = hanging();
        signal(program.id(), number);
        assert_eq!(program.wait().unwrap().code(), Some(130));
        fixture.nothing_runs_now();
    }
}

/// Nothing is left either of a worker that has not come so far as to take a call.
#[test]
fn interrupted_while_a_worker_starts_and_loads() {
    for (word, file, transport) in [
        ("hang-in-load", "loads-for-ever", "unix"),
        ("never-ready", "starts-for-ever", "unix"),
        ("never-ready", "starts-for-ever", "tcp"),
    ] {
        let fixture = Fixture::patient(&format!("good,{word}"));
        let mut command = fixture.start();
        command.env("PHASEBENCH_WORKER_TRANSPORT", transport);
        let mut program = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        fixture.wait_for(file, &mut program);
        signal(program.id(), libc::SIGINT);
        assert_eq!(program.wait().unwrap().code(), Some(130), "{word} over {transport}");
        fixture.nothing_runs_now();
    }
}

/// The second interrupt leaves at once; the keeper sees that nobody is there any more.
#[test]
fn interrupted_twice() {
    let (fixture, mut program) = hanging();
    signal(program.id(), libc::SIGINT);
    signal(program.id(), libc::SIGTERM);
    assert_eq!(program.wait().unwrap().code(), Some(130));
    fixture.nothing_runs_soon();
}

#[test]
fn without_its_keeper() {
    let (fixture, mut program) = hanging();
    signal(keeper(&fixture), libc::SIGKILL);
    assert!(program.wait().unwrap().success());
    fixture.nothing_runs_now();
    let failures = fixture.recorded().failures();
    assert!(failures[0].starts_with("crashed: the worker ended by signal 9"), "{failures:?}");
}

/// Nobody is left who could end the worker's children: the next run does.
#[test]
fn killed_with_its_keeper() {
    let (fixture, mut program) = hanging();
    let keeper = keeper(&fixture);
    signal(program.id(), libc::SIGSTOP);
    signal(keeper, libc::SIGKILL);
    program.kill().unwrap();
    program.wait().unwrap();
    let left = || fixture.running().into_iter().filter(|(_, command)| !command.starts_with("sleep")).count();
    soon("the worker dies with its keeper", || left() == 0);
    assert_eq!(fixture.running().len(), 1, "its child does not");
    let output = fixture.command(&["run", "scenario.yaml", "--out", "again", "--only", "backend=worker"]).output();
    assert_exit(&output.unwrap(), 0);
    fixture.nothing_runs_now();
}

/// What `--out` names is the user's, wherever it lies and whatever it is called; a closed run's lock is nobody's.
#[test]
fn finished_runs_in_the_temporary_folder_stay() {
    let fixture = Fixture::torch("good");
    let kept = ["phasebench-foo", "phasebench-worker-foo"].map(|name| fixture.path().join("tmp").join(name));
    let run = |out: &Path| {
        let out = out.to_str().unwrap();
        let output = fixture.command(&["run", "scenario.yaml", "--out", out, "--only", "backend=worker"]).output();
        assert_exit(&output.unwrap(), 0);
    };
    kept.iter().for_each(|out| run(out));
    run(&fixture.path().join("next"));
    let output = fixture.command(&["doctor", "--clean"]).output().unwrap();
    assert_exit(&output, 0);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("removed"), "{output:?}");
    for run in kept {
        assert!(run.join("lock").exists(), "{}", run.display());
        phasebench::store::read(&run).unwrap();
    }
}
