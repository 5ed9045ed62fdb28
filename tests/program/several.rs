//! One report over runs of several scenarios, through the program itself, on scripted engines whose truth is known.

use std::fs;
use std::path::Path;

use phasebench::analysis::engines::PROCESS_ALLOWANCE;
use serde_json::Value;

use crate::program::{phasebench, text};

/// A run of two models of one size, the second with grouped heads, in these modes.
fn run(folder: &Path, name: &str, modes: &str) {
    let scenario = format!(
        "version: 1
name: {name}
order: interleaved
repetitions: {{ fixed: 10 }}
modes: [{modes}]
gen_tokens: [16]
scenarios: [{{ name: one, prompt: {{ tokens: 32 }} }}]
models:
  - {{ name: each, synthetic: {{ family: llama, n_layer: 2, n_embd: 64, n_head: 4, n_kv_head: 4 }} }}
  - {{ name: grouped, synthetic: {{ family: llama, n_layer: 2, n_embd: 64, n_head: 4, n_kv_head: 2 }} }}
backends: [{{ name: sim, simulated: {{}} }}]
"
    );
    fs::write(folder.join(format!("{name}.yaml")), scenario).unwrap();
    let output = phasebench(folder, &["run", &format!("{name}.yaml"), "--out", name]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn runs_with_and_without_a_cache_are_one_report() {
    let here = tempfile::tempdir().unwrap();
    run(here.path(), "cached", "prefill, kv_decode");
    run(here.path(), "uncached", "generate_uncached");
    let output = phasebench(here.path(), &["report", "cached", "uncached", "--out", "both", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let cells = found["across"]["cells"].as_array().unwrap();
    let cached: Vec<&Value> = cells.iter().filter(|row| row["statement"] == "cached").collect();
    assert_eq!(cached.len(), 2, "a row for each model: {cells:#?}");
    for row in &cached {
        assert_eq!((&row["first"]["run"], &row["second"]["run"]), (&"uncached".into(), &"cached".into()));
        // 40 µs × (32 + 33 + … + 47) of a full pass each, against 16 steps of 300 µs, times size to the 0.8 and 0.7: 5.27 × size^0.1.
        let speed = row["speed"].as_f64().unwrap();
        assert!(speed > 5.5 && speed < 7.5, "{row}");
        let (low, high) = (row["speed_low"].as_f64().unwrap(), row["speed_high"].as_f64().unwrap());
        assert!(high / low > 1.3, "runs at different times are given an allowance: {row}");
        assert_eq!(row["first"]["fingerprint"].as_str().unwrap().len(), 12);
    }
    let grouped = cells.iter().find(|row| row["statement"] == "grouped" && row["phase"] == "kv_decode").unwrap();
    assert_eq!((&grouped["first"]["model"], &grouped["second"]["model"]), (&"each".into(), &"grouped".into()));
    let page = fs::read_to_string(here.path().join("both/report.md")).unwrap();
    for said in
        ["# cached and 1 further run", "How much does a KV cache help decode?", "## The runs", "## Run uncached"]
    {
        assert!(page.contains(said), "{said}:\n{page}");
    }
    let allowed = format!("allows for {:.0} % of standard deviation on either side", 100.0 * PROCESS_ALLOWANCE);
    assert!(page.contains(&allowed), "{allowed}:\n{page}");
    let fingerprint = cached[0]["second"]["fingerprint"].as_str().unwrap();
    assert!(page.contains(fingerprint), "both runs' fingerprints stand beside what they say");
    let csv = fs::read_to_string(here.path().join("both/across_runs.csv")).unwrap();
    assert!(csv.starts_with("statement,phase,prompt_tokens,gen_tokens,batch,first_run,first_fingerprint,"), "{csv}");
    assert!(here.path().join("both/report.html").is_file());
    assert!(!here.path().join("cached/report.md").exists(), "the runs stay as they are");
}

/// Each run keeps its own decisions, and what two say together stands below them.
#[test]
fn decisions_of_two_runs_stand_beside_each_other() {
    let here = tempfile::tempdir().unwrap();
    run(here.path(), "cached", "prefill, kv_decode");
    run(here.path(), "uncached", "generate_uncached");
    let alone = phasebench(here.path(), &["decide", "cached", "--json"]);
    let alone: Value = serde_json::from_slice(&alone.stdout).unwrap();
    let output = phasebench(here.path(), &["decide", "cached", "uncached", "--json", "--out", "decided"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let runs = found["runs"].as_array().unwrap();
    assert_eq!(runs.iter().map(|run| run["run"].as_str().unwrap()).collect::<Vec<_>>(), ["cached", "uncached"]);
    assert!(!alone["decisions"].as_array().unwrap().is_empty());
    assert_eq!((&runs[0]["decisions"], &runs[0]["claims"]), (&alone["decisions"], &alone["claims"]));
    assert!(found["across"]["cells"].as_array().unwrap().iter().any(|row| row["statement"] == "cached"), "{found:#}");
    let csv = fs::read_to_string(here.path().join("decided/decisions.csv")).unwrap();
    assert!(csv.starts_with("run,topic,"), "{csv}");
    assert!(csv.lines().any(|line| line.starts_with("uncached,")), "{csv}");
    let told = text(&phasebench(here.path(), &["decide", "cached", "uncached"]).stdout);
    for said in ["run cached:\n", "run uncached:\n", "together:\n", "How much does a KV cache help decode? ("] {
        assert!(told.contains(said), "{said}:\n{told}");
    }
}

#[test]
fn a_run_with_and_without_a_cache_answers_by_itself_and_says_what_to_do_next() {
    let here = tempfile::tempdir().unwrap();
    run(here.path(), "ways", "prefill, kv_decode, generate_uncached");
    let output = phasebench(here.path(), &["report", "ways", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = found["findings"].as_array().unwrap();
    let cached =
        findings.iter().find(|finding| finding["question"] == "How much does a KV cache help decode?").unwrap();
    let said = cached["answer"].as_str().unwrap();
    assert!(said.contains("× as fast with a KV cache as without, on sim; "), "{said}");
    assert!(cached["grounds"].as_str().unwrap().starts_with("Cells of one run; in 2 of 2 cells"), "{cached}");
    assert!(findings.iter().any(|finding| finding["question"] == "What do grouped heads change in decode?"));
    assert_eq!(found["next"], "measure engines of this machine: phasebench init writes the scenario file.");
    let page = fs::read_to_string(here.path().join("ways/report.md")).unwrap();
    assert!(page.contains("\n**Next:** measure engines of this machine: `phasebench init` writes"), "{page}");
}

/// With one engine there is nothing to choose, and the first card says what the workload costs on it.
#[test]
fn one_engine_with_prices_says_what_it_costs() {
    let here = tempfile::tempdir().unwrap();
    run(here.path(), "alone", "prefill, kv_decode");
    fs::write(here.path().join("w.yaml"), "version: 1\nname: w\nmix: [{ name: a, share: 1, prompt: 32, gen: 16 }]\n")
        .unwrap();
    let pricing = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/pricing/tr123.yaml").display().to_string();
    let words = ["report", "alone", "--pricing", &pricing, "--workload", "w.yaml", "--out", "priced", "--json"];
    let output = phasebench(here.path(), &words);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let first = &found["findings"][0];
    assert_eq!(
        (&first["question"], &first["standing"]),
        (&"What does the workload cost? w".into(), &"holds".into()),
        "{first}"
    );
    let answer = first["answer"].as_str().unwrap();
    assert!(answer.starts_with("USD a thousand requests on ") && answer.contains("each on sim (f32): "), "{answer}");
}

#[test]
fn several_runs_need_a_folder_that_is_no_run() {
    let here = tempfile::tempdir().unwrap();
    run(here.path(), "one", "prefill");
    let output = phasebench(here.path(), &["report", "one", "one"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stderr), "error: a report of 2 runs needs a folder of its own\n  try: --out DIR\n");
    let output = phasebench(here.path(), &["report", "one", "one", "--out", "one"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(
        text(&output.stderr).contains("one: is a run, whose own report has these names"),
        "{}",
        text(&output.stderr)
    );
}
