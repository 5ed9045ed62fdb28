//! One worker and two who want it.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use phasebench::backend::{self, Backend, Surroundings};
use phasebench::clock::RealClock;
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
        self.0.kill().unwrap();
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
