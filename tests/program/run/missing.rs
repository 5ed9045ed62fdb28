//! A device that is not there, asked of the real ONNX Runtime: found before anything is measured.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use phasebench::terms::Role;

use crate::run::fixture::{Fixture, assert_exit, stderr};

/// No machine has a 64th GPU.
const SCENARIO: &str = "version: 1
name: missing
repetitions: { fixed: 3 }
gen_tokens: [4]
scenarios: [{ name: short, prompt: { tokens: 8 } }]
models: [{ name: small, synthetic: { family: gpt2, n_layer: 2, n_embd: 64, n_head: 2, vocab: 300 } }]
backends:
  - { name: gpu, onnx: { provider: cuda, device: 63 } }
  - { name: cpu, onnx: { provider: cpu, threads: 1 } }
";

/// Started with the user's own cache, where the runtime is.
fn run(fixture: &Fixture, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_phasebench"))
        .current_dir(fixture.path())
        .args(["run", "scenario.yaml", "--out", "run"])
        .args(more)
        .output()
        .unwrap()
}

#[test]
fn a_missing_device_ends_the_run_before_it_begins() {
    let fixture = Fixture::of(SCENARIO);
    let output = run(&fixture, &[]);
    assert_exit(&output, 7);
    let message = stderr(&output);
    assert_eq!(message.matches("error: ").count(), 1, "{message}");
    assert!(message.starts_with("error: backend `gpu`: provider cuda"), "{message}");
    assert!(message.contains("\n  try: phasebench setup onnxruntime --cuda"), "{message}");
    assert!(!fixture.run.exists(), "nothing was begun");
}

#[test]
fn a_missing_device_can_be_skipped() {
    let fixture = Fixture::of(SCENARIO);
    assert_exit(&run(&fixture, &["--skip-missing"]), 0);
    let plan = std::fs::read_to_string(fixture.run.join("plan.json")).unwrap();
    assert_eq!(plan.matches("\"rule\": \"backend_unavailable\"").count(), 1, "{plan}");
    let calls = fixture.calls();
    // One that something outside disturbed is made again.
    let timed: BTreeSet<u32> = calls.iter().filter(|c| c.role == Role::Timed).map(|c| c.index).collect();
    assert_eq!(timed.len(), 3);
    assert!(calls.iter().all(|c| c.session.backend == "cpu" && c.status.is_ok()));
    let proof = calls.iter().all(|c| c.attribution.actual.as_deref() == Some("CPUExecutionProvider"));
    assert!(proof, "every row says where it ran");
}
