//! Runs of the program with the real torch worker.

use std::fs;
use std::process::Command;

use phasebench::backend::worker::launch::installed::Record as _;
use phasebench::backend::worker::torch::Environment;
use phasebench::record::{CallRecord, Line};
use phasebench::store;
use phasebench::terms::{CompileEvidence, Phase, Role};

use crate::worker::engines::{TORCH, asked_for, not_asked_for};
use crate::worker::fixture::assert_exit;

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
    let scenario = "version: 1\nname: test\nseed: 1\nwarmups: 0\nrepetitions: { fixed: 2 }\ngen_tokens: [4]\n\
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
