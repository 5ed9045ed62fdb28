//! One worker and two who want it.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use phasebench::backend::{self, Backend, Surroundings};
use phasebench::clock::RealClock;
use phasebench::record::given_up::given_up;
use phasebench::record::plan::Plan;
use phasebench::scenario::{BackendSettings, ConnectSettings, Engine};

use crate::worker::fixture::{Fixture, REPETITIONS, assert_exit, soon};

/// A worker that somebody else started.
struct Standing(Child);

impl Standing {
    fn at(fixture: &Fixture, address: &str) -> Self {
        let socket = address.strip_prefix("unix:").unwrap().to_owned();
        let mut command = Command::new(fixture.path().join("python"));
        let worker = command.args(["--listen", address]).stdout(Stdio::null()).spawn().unwrap();
        soon("the worker listens", || std::path::Path::new(&socket).exists());
        Self(worker)
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        self.0.wait().unwrap();
    }
}

/// A client in this process that has asked the worker what it is.
fn client(fixture: &Fixture, address: &str) -> Box<dyn Backend> {
    let settings =
        BackendSettings { name: "first".to_owned(), warmups: 1, engine: Engine::Worker(ConnectSettings::at(address)) };
    let surroundings = Surroundings::new(Arc::new(RealClock::default()), fixture.path().join("cache"), 0);
    let mut client = backend::open(&settings, &surroundings);
    client.describe().unwrap();
    client
}

#[test]
fn a_second_client_is_refused_while_the_first_one_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix:{}/s", folder.path().display());
    let fixture = Fixture::new(&format!("worker: {{ address: \"{address}\" }}"), "good");
    let _worker = Standing::at(&fixture, &address);
    let first = client(&fixture, &address);
    let output = fixture.start().output().unwrap();
    assert_exit(&output, 7);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let words = format!("the worker at {address} is in use by process {};", std::process::id());
    assert!(said.contains(&words) && said.contains("start another worker"), "{said}");
    assert!(!fixture.run.exists());
    drop(first);
    assert_exit(&fixture.start().output().unwrap(), 0);
    let recorded = fixture.recorded();
    assert_eq!((recorded.failures(), recorded.timed("worker").len()), (vec![], REPETITIONS));
}

/// The worker dies in a call and nobody starts it again until the run has ended: what was given up meanwhile is measured by
/// a resumed run.
#[test]
fn a_cell_given_up_while_its_worker_was_away_is_open_again_on_resume() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix:{}/s", folder.path().display());
    let fixture = Fixture::new(&format!("worker: {{ address: \"{address}\" }}"), "kill,good");
    let mut worker = Standing::at(&fixture, &address);
    assert_exit(&fixture.start().output().unwrap(), 3);
    worker.0.wait().unwrap();
    std::fs::remove_file(folder.path().join("s")).unwrap();
    assert!(fixture.recorded().timed("worker").len() < REPETITIONS);
    let plan: Plan = serde_json::from_slice(&std::fs::read(fixture.run.join("plan.json")).unwrap()).unwrap();
    assert_eq!(given_up(fixture.recorded().lines(), &plan).len(), 1);
    let resume = || fixture.command(&["run", "--resume", "run"]).output().unwrap();
    assert_exit(&resume(), 7);

    let _again = Standing::at(&fixture, &address);
    assert_exit(&resume(), 0);
    assert_eq!(given_up(fixture.recorded().lines(), &plan), []);
    let good = fixture.recorded().timed("worker").into_iter().filter(|call| call.status.is_ok()).count();
    assert!(good >= REPETITIONS - 1, "{good}: all but the call in which it died");
}

/// A program of somebody else's is started as our own are: it is measured, and its exit code and last words are told.
#[test]
fn a_program_of_others_is_started_and_its_end_is_told() {
    let fixture = Fixture::new("worker: { command: [./python, serve] }", "good");
    let recorded = fixture.complete();
    assert_eq!((recorded.failures(), recorded.timed("worker").len()), (vec![], REPETITIONS));
    let doctor = fixture.command(&["doctor", "scenario.yaml"]).output().unwrap();
    assert_exit(&doctor, 0);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("Fake, worker fake 1 (process: ./python serve)"), "{said}");

    let fixture = Fixture::new("worker: { command: [./python, serve] }", "exit");
    let output = fixture.start().output().unwrap();
    assert_exit(&output, 7);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("the worker ended with exit code 3 during start; it wrote: no such engine"), "{said}");
    fixture.nothing_runs_now();

    let fixture = Fixture::new("worker: { command: [./no-such-program] }", "good");
    let output = fixture.start().output().unwrap();
    assert_exit(&output, 7);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("`./no-such-program` cannot be started: no such program\n  try: correct `command`"),
        "{said}"
    );
}

#[test]
fn a_worker_that_is_not_there_is_named() {
    let fixture = Fixture::new("worker: { address: \"tcp:127.0.0.1:1\" }", "good");
    let doctor = fixture.command(&["doctor", "scenario.yaml"]).output().unwrap();
    assert_exit(&doctor, 7);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("nothing answers at tcp:127.0.0.1:1"), "{said}");
    // Nothing was tried, and nothing failed.
    for arguments in [&["worker", "check", "tcp:127.0.0.1:1"][..], &["worker", "check", "--", "./no-such-program"]] {
        let check = fixture.command(arguments).output().unwrap();
        assert_exit(&check, 7);
        assert!(check.stdout.is_empty(), "{check:?}");
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        let waits = said.contains("phasebench: nothing listens at tcp:127.0.0.1:1 yet: waiting 10 s for the worker");
        assert_eq!(waits, arguments[2] != "--", "{said}");
    }
    assert_exit(&fixture.command(&["worker", "check"]).output().unwrap(), 2);
}

/// A clock that says it is this kernel's and is ahead of it: mapped by round trips, and said to be.
#[test]
fn a_clock_that_disagrees_is_told_before_the_run() {
    let fixture = Fixture::torch("ahead");
    let output = fixture.start().output().unwrap();
    assert_exit(&output, 0);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("backend `worker`: the worker says that its clock is this kernel's"), "{said}");
    let manifest = std::fs::read_to_string(fixture.run.join("manifest.json")).unwrap();
    assert!(manifest.contains("said to be the kernel's monotonic clock, and outside its round trips"), "{manifest}");
    let recorded = fixture.recorded();
    assert!(recorded.timed("worker").iter().flat_map(|call| &call.spans).all(|span| span.reconstructed));
}
