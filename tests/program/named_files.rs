//! Workload and claims files that a scenario file names: checked before anything runs, kept in the run, and used without being
//! named again.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::program::{phasebench, text};

/// What a command prints that ends well.
fn printed(folder: &Path, arguments: &[&str]) -> String {
    let output = phasebench(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// What a command says that ends with the code for bad input.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = phasebench(folder, arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stdout));
    text(&output.stderr)
}

const SCENARIO: &str = "version: 1
name: named
order: interleaved
repetitions: { fixed: 8 }
gen_tokens: [16]
workload: asked/log.yaml
claims: asked/claims.yaml
scenarios: [{ name: one, prompt: { tokens: 16 } }, { name: two, prompt: { tokens: 64 } }]
models: [{ name: small, synthetic: { family: gpt2, n_layer: 2, n_embd: 64, n_head: 2 } }]
backends:
  - { name: fast, simulated: {} }
  - { name: slow, simulated: { prefill_per_token: { base: 400us, exponent: 0.7 } } }
";
const LOG: &str = "version: 1\nname: logged\nlog: { file: requests.jsonl, prompt: p, gen: g }\n";
const REQUESTS: &str =
    "{\"p\":16,\"g\":16,\"text\":\"secret\"}\n{\"p\":64,\"g\":16}\n{\"p\":64,\"g\":16}\n{\"p\":null}\n";
const CLAIMS: &str = "version: 1\nname: ours\nclaims:
  - { name: slow-is-fast, text: Slow is fast., faster: { engine: slow, than: fast, phase: prefill } }
  - { name: cached, text: A cache helps., cache_helps: {} }
";
const PRICES: &str = "version: 1\nname: p\nper_kwh: 0.2\ntiers: [{ name: t, per_hour: 1 }]\n";

/// A folder with a scenario file and those that it names.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let asked = folder.path().join("asked");
    fs::create_dir(&asked).unwrap();
    for (name, content) in [("log.yaml", LOG), ("requests.jsonl", REQUESTS), ("claims.yaml", CLAIMS)] {
        fs::write(asked.join(name), content).unwrap();
    }
    fs::write(folder.path().join("s.yaml"), SCENARIO).unwrap();
    fs::write(folder.path().join("p.yaml"), PRICES).unwrap();
    folder
}

#[test]
fn a_run_is_decided_by_the_files_that_its_scenario_names() {
    let folder = folder();
    let here = folder.path();
    let plan = printed(here, &["plan", "s.yaml"]);
    assert!(plan.contains("\nworkload asked/log.yaml, kept in the run: 2 lengths in 4 rows\n"), "{plan}");
    assert!(plan.contains("\nclaims asked/claims.yaml, kept in the run: 2 claims\n"), "{plan}");
    printed(here, &["run", "s.yaml", "--out", "run"]);
    let kept = fs::read_to_string(here.join("run/plan.json")).unwrap();
    assert!(!kept.contains("secret"), "counts, and nothing else of a request");
    // What becomes of the files later changes nothing.
    fs::remove_dir_all(here.join("asked")).unwrap();

    let decided = printed(here, &["decide", "run", "--pricing", "p.yaml"]);
    for said in [
        "note: workload `logged` is the one that the scenario file names, as it was before the run\n",
        "note: 4 rows read: 2 lengths, 0 without a weight, 1 without both counts\n",
        "workload, small, logged (",
        "claim, slow-is-fast (contradicted): Slow is fast.\n",
        "claim, cached (not_tested): A cache helps.\n",
    ] {
        let said = said.replace("not_tested", "not tested");
        assert!(decided.contains(&said), "{said}\n{decided}");
    }
    assert!(!decided.contains("claim, tr1"), "the file's claims, and no others:\n{decided}");
    let bill: Value = serde_json::from_str(&printed(here, &["cost", "run", "--pricing", "p.yaml", "--json"])).unwrap();
    assert_eq!(bill["workload"], "logged");
    assert!((bill["requests"][0]["prompt_tokens"].as_f64().unwrap() - 48.0).abs() < 1e-9, "{bill:#}");

    printed(here, &["report", "run"]);
    let table = fs::read_to_string(here.join("run/analysis/claims.csv")).unwrap();
    assert!(table.contains("\nslow-is-fast,Slow is fast.,contradicted,"), "{table}");
    let page = fs::read_to_string(here.join("run/report.md")).unwrap();
    let section = page.split_once("## What is claimed\n").unwrap().1.split_once("\n## ").unwrap().0;
    assert!(section.contains("claims file states: this run has rows for 1 of 2 claims."), "{section}");
    assert!(section.lines().any(|line| line.starts_with("| A cache helps. | not tested ")), "{section}");
    printed(here, &["validate", "run"]);
    printed(here, &["report", "run", "--pricing", "p.yaml", "--out", "priced"]);
    let page = fs::read_to_string(here.join("priced/report.md")).unwrap();
    assert!(page.contains("Prices p in USD, workload logged."), "{page}");
}

/// What is named on the command line wins, and that is said.
#[test]
fn an_option_stands_in_place_of_what_the_scenario_names() {
    let folder = folder();
    let here = folder.path();
    printed(here, &["run", "s.yaml", "--out", "run"]);
    let mix = "version: 1\nname: given\nmix: [{ name: a, share: 1, prompt: 16, gen: 16 }]\n";
    fs::write(here.join("given.yaml"), mix).unwrap();
    let other = "version: 1\nname: others\nclaims: [{ name: other, text: Energy is known., energy_graded: {} }]\n";
    fs::write(here.join("others.yaml"), other).unwrap();
    let given = ["decide", "run", "--pricing", "p.yaml", "--workload", "given.yaml", "--claims", "others.yaml"];
    let decided = printed(here, &given);
    for said in [
        "note: claims `others` stand in place of those that the scenario file of run names\n",
        "note: workload `given` stands in place of `logged`, which the scenario file names\n",
        "workload, small, given (",
        "claim, other (not tested): Energy is known.\n",
    ] {
        assert!(decided.contains(said), "{said}\n{decided}");
    }
    assert!(!decided.contains("slow-is-fast") && !decided.contains(", logged ("), "{decided}");
}

#[test]
fn what_is_wrong_with_a_named_file_is_told_before_anything_runs() {
    let folder = folder();
    let here = folder.path();
    let write = |name: &str, content: &str| fs::write(here.join("asked").join(name), content).unwrap();
    write("requests.jsonl", "{\"p\":16,\"g\":\"many\"}\n");
    let told = refused(here, &["plan", "s.yaml"]);
    assert!(told.starts_with("error: asked/requests.jsonl:1: invalid type: string \"many\""), "{told}");
    write("requests.jsonl", REQUESTS);
    write("claims.yaml", "version: 1\nname: ours\nclaims: [{ name: a, text: so, decide_share: { at_least: 1 } }]\n");
    let told = refused(here, &["run", "s.yaml", "--out", "run"]);
    assert!(told.starts_with("error: asked/claims.yaml:3:31: unknown statement `decide_share`"), "{told}");
    assert!(!here.join("run").exists());
    fs::remove_dir_all(here.join("asked")).unwrap();
    let told = refused(here, &["plan", "s.yaml"]);
    let (first, second) = told.split_once('\n').unwrap();
    assert!(first.starts_with("error: s.yaml:6:11: cannot read workload file asked/log.yaml: "), "{told}");
    assert!(second.starts_with("error: s.yaml:7:9: cannot read claims file asked/claims.yaml: "), "{told}");
}
