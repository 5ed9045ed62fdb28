//! A cell's calls divided over two sessions: each a load in a fresh process of the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use phasebench::backend::onnx::library;
use phasebench::backend::worker::launch::installed::Record as _;
use phasebench::backend::worker::torch::Environment;
use phasebench::record::{CallRecord, Line, LoadRecord};
use phasebench::store;
use phasebench::terms::{Regime, Role};

use crate::worker::engines::{TORCH, asked_for, not_asked_for};
use crate::worker::fixture::{Fixture, assert_exit};

/// Two models, a prefill and a decode, six timed calls each.
fn scenario(backend: &str) -> String {
    format!(
        "version: 1\nname: test\nseed: 1\nsessions: 2\ndisturbed: {{ retry: 0, wait_quiet: 0s }}\nwarmups: 1\n\
         repetitions: {{ fixed: 6 }}\ngen_tokens: [4]\nscenarios: [{{ name: p, prompt: {{ tokens: 6 }} }}]\nmodels:\n  \
         - {{ name: one, synthetic: {{ family: gpt2, n_layer: 2, n_embd: 8, n_head: 2, vocab: 400 }} }}\n  \
         - {{ name: two, synthetic: {{ family: gpt2, n_layer: 3, n_embd: 8, n_head: 2, vocab: 400 }} }}\n\
         backends: [{{ name: worker, {backend} }}]\n"
    )
}

/// What a run of [`scenario`] must leave behind. `command` is the program in a folder with it, with some arguments.
#[track_caller]
fn is_in_two_sessions(folder: &std::path::Path, command: impl Fn(&[&str]) -> Command) {
    let output = command(&["run", "scenario.yaml", "--out", "run"]).output().unwrap();
    assert_exit(&output, 0);
    let lines = store::read(&folder.join("run")).unwrap().lines;
    let loads: Vec<&LoadRecord> =
        lines.iter().filter_map(|line| if let Line::Load(load) = line { Some(&**load) } else { None }).collect();
    let of = |load: &&LoadRecord| (load.session.model.clone(), load.session_index);
    let sessions: BTreeSet<_> = loads.iter().map(of).collect();
    assert_eq!((loads.len(), sessions.len()), (4, 4), "each model is loaded once for each session: {sessions:?}");
    for load in &loads {
        assert!(load.status.is_ok(), "{load:?}");
        assert_eq!(load.regime, Regime::ColdProcess, "every session begins a process: {load:?}");
    }
    let calls: Vec<&CallRecord> =
        lines.iter().filter_map(|line| if let Line::Call(call) = line { Some(&**call) } else { None }).collect();
    let mut timed: BTreeMap<(&str, u32), Vec<u32>> = BTreeMap::new();
    for call in &calls {
        assert!(call.status.is_ok(), "{call:?}");
        let load = loads.iter().find(|load| load.load_index == call.load_index).unwrap();
        assert_eq!((&load.session, load.session_index), (&*call.session, call.session_index), "{}", call.call_id);
        match call.role {
            Role::Cold => assert_eq!(call.regime, Regime::ColdProcess, "{}", call.call_id),
            Role::Timed => timed.entry((&call.session.model, call.session_index)).or_default().push(call.index),
            Role::Warmup | Role::Rewarm => {}
        }
    }
    assert_eq!(calls.iter().filter(|call| call.role == Role::Cold).count(), 4);
    for model in ["one", "two"] {
        assert_eq!((&timed[&(model, 0)], &timed[&(model, 1)]), (&vec![0, 1, 2], &vec![3, 4, 5]));
    }
    assert_exit(&command(&["analyze", "run"]).output().unwrap(), 0);
    assert_exit(&command(&["validate", "run"]).output().unwrap(), 0);
    let mut table = csv::Reader::from_path(folder.join("run/analysis/summary_by_model_backend_mode.csv")).unwrap();
    let rows: Vec<BTreeMap<String, String>> = table.deserialize().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 6, "two models, three modes");
    for row in rows {
        assert_eq!((row["sessions"].as_str(), row["n"].as_str()), ("2", "6"), "{row:?}");
        assert!(!row["cv_between"].is_empty() && !row["cv_within"].is_empty(), "{row:?}");
    }
}

/// An engine that would run in this process is started afresh for each session.
#[test]
fn onnx_runtime() {
    let fixture = Fixture::torch("good");
    fs::write(fixture.path().join("scenario.yaml"), scenario("onnx: { threads: 1 }")).unwrap();
    let library = library::locate(&phasebench::cache::root()).unwrap().path;
    is_in_two_sessions(fixture.path(), |arguments| {
        let mut command = fixture.command(arguments);
        command.env(library::VARIABLE, &library);
        command
    });
    fixture.nothing_runs_now();
}

#[test]
fn torch() {
    if let Err(why) = asked_for(TORCH) {
        return not_asked_for("two sessions of torch", &why);
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    Environment::read(&phasebench::cache::root()).unwrap().write(&cache).unwrap();
    fs::write(folder.path().join("scenario.yaml"), scenario("torch: { threads: 1 }")).unwrap();
    is_in_two_sessions(folder.path(), |arguments| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
        command.args(arguments).current_dir(folder.path()).env("PHASEBENCH_CACHE", &cache);
        command
    });
}
