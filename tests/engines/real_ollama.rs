//! Against a real server: `PHASEBENCH_TEST_OLLAMA=URL cargo test --test engines -- --ignored real_ollama::`.
//!
//! Uploads small models below `phasebench/`, and deletes them again. Needs ONNX Runtime too, for the comparison.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn url() -> String {
    std::env::var("PHASEBENCH_TEST_OLLAMA").expect("PHASEBENCH_TEST_OLLAMA must be the URL of an Ollama server")
}

fn phasebench(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_phasebench")).args(arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("phasebench {}: {}\n{out}{err}", arguments.join(" "), output.status);
    output
}

/// The four families, the same weights: log-probabilities against the reference and against ONNX Runtime.
#[test]
#[ignore = "needs an Ollama server"]
fn the_server_computes_what_the_folder_says() {
    for family in ["gpt2", "llama", "qwen2", "phi"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/same-weights/tiny-{family}"));
        let verified = phasebench(&["models", "verify", folder.to_str().unwrap(), "--ollama", &url(), "--json"]);
        assert!(verified.status.success(), "{family}");
        let found: Value = serde_json::from_slice(&verified.stdout).unwrap();
        let comparisons = found.as_array().unwrap();
        assert_eq!(comparisons.len(), 2, "{family}");
        for comparison in comparisons {
            assert!(comparison["found"]["steps"].as_u64().unwrap() >= 20, "{family}: {comparison}");
        }
    }
}

/// A run on both engines: every timed call counts in the end, every prompt is another one, and no call reloads.
#[test]
#[ignore = "needs an Ollama server"]
fn a_run_on_both_engines_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("both.yaml");
    let text = format!(
        "version: 1\nname: both\norder: interleaved\nrepetitions: {{ fixed: 3 }}\ngen_tokens: [16]\n\
         scenarios: [{{ name: short, prompt: {{ tokens: 17 }} }}]\n\
         models:\n\
         - {{ name: tiny, synthetic: {{ family: gpt2, n_layer: 2, n_embd: 2, n_head: 2 }} }}\n\
         - {{ name: small, synthetic: {{ family: gpt2, n_layer: 12, n_embd: 80, n_head: 2 }} }}\n\
         backends:\n\
         - {{ name: ort, onnx: {{ provider: cpu }} }}\n\
         - {{ name: ollama, ollama: {{ url: \"{}\", device: cpu, num_ctx: 256 }} }}\n\
         limits: {{ degraded_rate: 0 }}\n",
        url()
    );
    std::fs::write(&scenario, text).unwrap();
    let run = folder.path().join("run");
    let (scenario, run) = (scenario.to_str().unwrap(), run.to_str().unwrap());
    assert!(phasebench(&["run", scenario, "--out", run]).status.success());
    assert!(phasebench(&["report", run]).status.success());
    assert!(phasebench(&["validate", run]).status.success());
    let record = std::fs::read_to_string(Path::new(run).join("measurements.jsonl")).unwrap();
    let lines: Vec<Value> = record.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let calls = lines.iter().filter_map(|line| line.get("call"));
    let (mut timed, mut nonces) = (0, BTreeSet::new());
    for call in calls.filter(|call| call["session"]["backend"] == "ollama") {
        let nonce = call["attribution"]["evidence"]["nonce"].as_str().unwrap();
        assert!(nonces.insert((call["session"]["model"].to_string(), nonce.to_owned())), "{nonce} came twice");
        assert_eq!(call["attribution"]["actual"], "cpu");
        if call["role"] == "timed" && call["status"] == "ok" {
            timed += 1;
            assert_eq!(call["tokens"]["decode_steps_timed"], 16);
        }
    }
    assert_eq!(timed, 6);
    let pruned = phasebench(&["models", "prune", "--url", &url()]);
    assert!(pruned.status.success() && String::from_utf8_lossy(&pruned.stdout).contains("phasebench/tiny"));
}
