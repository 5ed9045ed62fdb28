//! Runs of the program with the real torch worker.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use phasebench::backend::worker::launch::installed::Record as _;
use phasebench::backend::worker::torch::Environment;
use phasebench::record::{CallRecord, Line};
use phasebench::store;
use phasebench::terms::{CompileEvidence, Phase, Role};

use crate::worker::engines::{TORCH, asked_for, not_asked_for};
use crate::worker::fixture::{Fixture, assert_exit};

/// Prompt lengths that change from call to call compile inside those calls, where this is asked for: nothing is made
/// ready before, and the row has the graph, the recompile and their time.
#[test]
fn recompiles_to_be_recorded_are_in_the_calls() {
    if let Err(why) = asked_for(TORCH) {
        return not_asked_for("recompiles in calls", &why);
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    Environment::read(&phasebench::cache::root()).unwrap().write(&cache).unwrap();
    let scenario = "version: 1\nname: test\nseed: 1\ndisturbed: { retry: 0, wait_quiet: 0s }\nwarmups: 0\nrepetitions: { fixed: 2 }\ngen_tokens: [4]\n\
         order: interleaved\nscenarios:\n  - { name: short, prompt: { tokens: 6 } }\n  \
         - { name: long, prompt: { tokens: 9 } }\n\
         models: [{ name: m, synthetic: { family: gpt2, n_layer: 2, n_embd: 8, n_head: 2, vocab: 400 } }]\n\
         backends: [{ name: torch, torch: { threads: 1, compile: { backend: aot_eager, on_recompile: record } } }]\n";
    fs::write(folder.path().join("scenario.yaml"), scenario).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
    command.args(["run", "scenario.yaml", "--out", "run"]).current_dir(folder.path()).env("PHASEBENCH_CACHE", &cache);
    assert_exit(&command.output().unwrap(), 0);

    let lines = store::read(&folder.path().join("run")).unwrap().lines;
    let calls: Vec<&CallRecord> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Load(load) => {
                assert!(load.status.is_ok() && load.compiled.is_empty(), "{load:?}");
                None
            }
            Line::Call(call) => Some(&**call),
            _ => None,
        })
        .collect();
    assert!(calls.iter().all(|call| call.status.is_ok()), "{calls:?}");
    let compiled: Vec<(Role, &CompileEvidence)> = calls
        .iter()
        .flat_map(|call| call.compile.iter().map(|phase| (call.role, phase)))
        .filter(|(_, phase)| phase.phase == Phase::Prefill && phase.unique_graphs > 0)
        .collect();
    // One graph for each length: the first in the call that every session begins with, the other in a timed one.
    let [(first, cold), (second, churned)] = compiled[..] else { panic!("{compiled:?}") };
    assert_eq!((first, second), (Role::Cold, Role::Timed));
    assert_eq!((cold.unique_graphs, cold.recompiles), (1, 0));
    assert_eq!((churned.unique_graphs, churned.recompiles), (1, 1));
    for phase in [cold, churned] {
        assert!(phase.compile_ns.0 > 0 && phase.backend_actual.as_deref() == Some("aot_eager"), "{phase:?}");
    }
}

/// Environment variable that names a Python with a torch of its own, somebody else's.
const THEIRS: &str = "PHASEBENCH_TEST_TORCH_PYTHON";

/// Every file and folder below one, with its size and when it was changed.
fn listing(folder: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let (mut found, mut open) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let about = fs::symlink_metadata(entry.path()).unwrap();
            if about.is_dir() {
                open.push(entry.path());
            }
            found.insert(entry.path(), (about.len(), about.modified().unwrap()));
        }
    }
    found
}

/// Somebody's own environment beside ours in one plan, with nothing changed in it.
#[test]
fn an_environment_of_somebody_s_own_is_measured_and_left_as_it_was() {
    if let Err(why) = asked_for(THEIRS).and_then(|()| asked_for(TORCH)) {
        return not_asked_for("a torch of somebody's own", &why);
    }
    let python = PathBuf::from(std::env::var(THEIRS).unwrap());
    let environment = python.parent().unwrap().parent().unwrap();
    let before = listing(environment);
    let folder = tempfile::tempdir().unwrap();
    let scenario = format!(
        "version: 1\nname: test\nseed: 1\nwarmups: 1\nrepetitions: {{ fixed: 4 }}\ngen_tokens: [4]\norder: interleaved\n\
         scenarios: [{{ name: p, prompt: {{ tokens: 6 }} }}]\n\
         models: [{{ name: m, synthetic: {{ family: gpt2, n_layer: 2, n_embd: 8, n_head: 2, vocab: 400 }} }}]\n\
         backends:\n  - {{ name: ours, torch: {{ threads: 1 }} }}\n  \
         - {{ name: theirs, torch: {{ threads: 1, python: \"{}\" }} }}\n",
        python.display()
    );
    fs::write(folder.path().join("scenario.yaml"), scenario).unwrap();
    let program = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
        let output = command.args(arguments).current_dir(folder.path()).output().unwrap();
        assert_exit(&output, 0);
    };
    program(&["setup", "torch", "--beside", &python.display().to_string()]);
    program(&["run", "scenario.yaml", "--out", "run"]);
    program(&["analyze", "run"]);
    program(&["validate", "run"]);
    let table = fs::read_to_string(folder.path().join("run/analysis/summary_by_model_backend_mode.csv")).unwrap();
    let rows: Vec<_> = table.lines().filter(|line| line.contains(",theirs,")).collect();
    assert!(rows.len() == 3 && rows.iter().all(|row| row.contains(",attributed,")), "{table}");
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path().join("run/manifest.json")).unwrap()).unwrap();
    let versions: BTreeSet<String> = ["ours", "theirs"]
        .map(|name| {
            manifest["stack"]["backends"][name]["version"].as_str().unwrap_or_else(|| panic!("{manifest:#}")).to_owned()
        })
        .into();
    assert_eq!(versions.len(), 2, "each backend's own torch: {versions:?}");
    assert_eq!(listing(environment), before, "something was changed in {}", environment.display());
}

/// A Python that says of itself what it is told, and that it lacks something.
#[test]
fn what_somebody_s_environment_lacks_is_said_before_the_run() {
    let fixture = Fixture::new("torch: { python: ./theirs }", "good");
    let python = fixture.path().join("theirs");
    for (says, words) in [
        ("3.9\\ncpython\\n2.6.0\\n2.1.3", "it is Python 3.9, and the worker needs 3.11 or newer"),
        ("3.12\\ncpython\\nnone\\n2.1.3", "it has no torch"),
        ("3.12\\ncpython\\n2.4.1+cpu\\n2.1.3", "its torch is 2.4.1+cpu, and the worker needs 2.6 or newer"),
        ("3.12\\ncpython\\n2.6.0\\nnone", "it has torch and no numpy"),
        ("3.12\\ncpython\\n2.6.0\\n2.1.3", "what the worker needs beside it, such as gRPC, is not in the cache yet"),
    ] {
        fs::write(&python, format!("#!/bin/sh\nprintf '{says}\\n'\n")).unwrap();
        fs::set_permissions(&python, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let output = fixture.start().output().unwrap();
        assert_exit(&output, 7);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(words), "{said}");
    }
    fs::remove_file(&python).unwrap();
    let output = fixture.start().output().unwrap();
    assert_exit(&output, 7);
    assert!(String::from_utf8_lossy(&output.stderr).contains("theirs: it does not run: No such file"), "{output:?}");
    assert!(!fixture.run.exists());
}
