//! `decide` through the program itself, on scripted engines whose truth is known.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn phasebench(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_phasebench")).current_dir(folder).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A run of two engines, `first` and `second`; each prefills and decodes in so many times 300 µs.
fn run(folder: &Path, seed: u32, [first, second]: [(f64, f64); 2]) {
    let engine = |name: &str, (prefill, decode): (f64, f64)| {
        let law = |times: f64| format!("{{ base: {}us, exponent: 0.7 }}", 300.0 * times);
        format!(
            "  - {{ name: {name}, simulated: {{ prefill_per_token: {}, decode_per_step: {} }} }}\n",
            law(prefill),
            law(decode)
        )
    };
    let scenario = format!(
        "version: 1
name: two
seed: {seed}
order: interleaved
repetitions: {{ fixed: 15 }}
gen_tokens: [64]
scenarios:
  - {{ name: short, prompt: {{ tokens: 16 }} }}
  - {{ name: long, prompt: {{ tokens: 128 }} }}
models:
  - {{ name: small, synthetic: {{ family: gpt2, n_layer: 2, n_embd: 64, n_head: 2 }} }}
  - {{ name: large, synthetic: {{ family: gpt2, n_layer: 4, n_embd: 128, n_head: 2 }} }}
backends:
{}{}",
        engine("first", first),
        engine("second", second)
    );
    fs::write(folder.join("two.yaml"), scenario).unwrap();
    let output = phasebench(folder, &["run", "two.yaml", "--out", &format!("run{seed}")]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

/// The decisions of a run, with the prices and the workload that ship.
fn decisions(folder: &Path, seed: u32) -> Vec<Value> {
    let shipped = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name).display().to_string();
    let workload = folder.join("workload.yaml");
    fs::write(&workload, "version: 1\nname: chat\nmix:\n  - { name: turn, share: 1, prompt: 64, gen: 64 }\n").unwrap();
    let pricing = shipped("pricing/tr123.yaml");
    let run = format!("run{seed}");
    let words = ["decide", &run, "--pricing", &pricing, "--workload", workload.to_str().unwrap(), "--json"];
    let output = phasebench(folder, &words);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    found["decisions"].as_array().unwrap().clone()
}

fn about<'a>(decisions: &'a [Value], topic: &str, about: &str) -> &'a Value {
    let found = decisions.iter().find(|row| row["topic"] == topic && row["about"].as_str().unwrap().starts_with(about));
    found.unwrap_or_else(|| panic!("{topic} of {about}: {decisions:#?}"))
}

/// The engine that is faster in a phase is that phase's default, and the cheaper one the workload's.
#[test]
fn a_faster_engine_is_the_default_of_its_phase() {
    let here = tempfile::tempdir().unwrap();
    // The second prefills in two thirds of the time and decodes in a quarter more.
    run(here.path(), 1, [(1.0, 1.0), (0.67, 1.25)]);
    let rows = decisions(here.path(), 1);
    let prefill = about(&rows, "default_engine", "prefill");
    assert_eq!((&prefill["standing"], &prefill["advice"]), (&"decided".into(), &"use second".into()), "{prefill}");
    let decode = about(&rows, "default_engine", "kv_decode");
    assert_eq!((&decode["standing"], &decode["advice"]), (&"decided".into(), &"use first".into()), "{decode}");
    let routing = about(&rows, "routing", "kv_decode");
    assert_eq!(routing["advice"], "send everything to first", "{routing}");
    assert_eq!(about(&rows, "energy", "the run")["standing"], "no_data");
    assert_eq!(about(&rows, "validity", "")["standing"], "decided");
}

/// Engines of equal speed: none is the default because it is faster.
#[test]
fn equal_engines_are_not_told_apart() {
    let here = tempfile::tempdir().unwrap();
    for seed in 1..=5 {
        run(here.path(), seed, [(1.0, 1.0), (1.0, 1.0)]);
        let rows = decisions(here.path(), seed);
        for phase in ["prefill", "kv_decode"] {
            let row = about(&rows, "default_engine", phase);
            let advice = row["advice"].as_str().unwrap();
            assert!(!["use first", "use second"].contains(&advice), "seed {seed}: {row}");
        }
    }
}

/// Whatever of the printed text stands after the blank line that ends `heading`.
fn printed_file(output: &Output, heading: &str) -> String {
    let printed = text(&output.stdout);
    let found = printed.split_once(heading).and_then(|(_, after)| after.split_once("\n\n"));
    found.unwrap_or_else(|| panic!("no `{heading}`:\n{printed}")).1.to_owned()
}

/// Half of the requests are longer than what was measured: nothing is decided, and the scenario file that is printed instead
/// is run as it stands; with its run there is a decision.
#[test]
fn what_is_not_covered_is_not_decided_until_the_printed_scenario_is_run() {
    let here = tempfile::tempdir().unwrap();
    run(here.path(), 1, [(1.0, 1.0), (0.6, 0.6)]);
    let workload = "version: 1\nname: mixed\nmix:\n  - { name: short, share: 1, prompt: 64, gen: 64 }\n  \
                    - { name: long, share: 1, prompt: 600, gen: 200 }\n";
    fs::write(here.path().join("mixed.yaml"), workload).unwrap();
    let pricing = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/pricing/tr123.yaml").display().to_string();
    let decide = |run: &str| {
        let output = phasebench(here.path(), &["decide", run, "--pricing", &pricing, "--workload", "mixed.yaml"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        output
    };
    let workload_rows = |output: &Output| -> Vec<String> {
        text(&output.stdout).lines().filter(|line| line.starts_with("workload, ")).map(str::to_owned).collect()
    };

    let lacking = decide("run1");
    let rows = workload_rows(&lacking);
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(
        rows.iter().all(|row| row.ends_with("(no data): no decision: 50 % of the workload was measured")),
        "{rows:?}"
    );

    let file = printed_file(&lacking, "This scenario file measures what the workload lacks");
    fs::write(here.path().join("missing.yaml"), file).unwrap();
    for words in [vec!["plan", "missing.yaml"], vec!["run", "missing.yaml", "--out", "more"]] {
        let output = phasebench(here.path(), &words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
    }

    let enough = decide("more");
    let rows = workload_rows(&enough);
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows.iter().all(|row| row.ends_with("(decided): use second")), "{rows:?}");
    assert!(!text(&enough.stdout).contains("This scenario file"), "{}", text(&enough.stdout));
}

/// Prices, SLOs, a memory and claims on one run: what is printed, and what is written.
#[test]
fn slos_memory_and_claims_have_their_rows() {
    let here = tempfile::tempdir().unwrap();
    let scenario = "version: 1
name: cached
order: interleaved
repetitions: { fixed: 20 }
modes: [prefill, kv_decode, generate_uncached]
gen_tokens: [16]
scenarios: [{ name: one, prompt: { tokens: 64 } }]
models: [{ name: small, synthetic: { family: gpt2, n_layer: 2, n_embd: 64, n_head: 2, n_positions: 256 } }]
backends:
  - { name: slow, simulated: { prefill_per_token: { base: 400us, exponent: 0.7 } } }
  - { name: fast, simulated: {} }
";
    fs::write(here.path().join("cached.yaml"), scenario).unwrap();
    let output = phasebench(here.path(), &["run", "cached.yaml", "--out", "run"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    fs::write(here.path().join("w.yaml"), "version: 1\nname: w\nmix: [{ name: a, share: 1, prompt: 64, gen: 16 }]\n")
        .unwrap();
    let claims = "version: 1\nname: c\nclaims:\n  - { name: cache, text: A cache makes decode faster., cache_helps: { by: 5 } }\n  \
                  - { name: slow-is-fast, text: Slow is fast., faster: { engine: slow, than: fast, phase: prefill } }\n";
    fs::write(here.path().join("c.yaml"), claims).unwrap();
    let pricing = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/pricing/tr123.yaml").display().to_string();
    let asked =
        ["decide", "run", "--pricing", &pricing, "--workload", "w.yaml", "--memory", "8MiB", "--claims", "c.yaml"];
    let slos = ["--slo", "ttft=30ms@95", "--slo", "e2e=10s@50", "--out", "written"];
    let output = phasebench(here.path(), &[&asked[..], &slos].concat());
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for expected in [
        "note: something in this run is scripted: what comes of it is money for nothing that was measured\n",
        "note: small on fast (f32): one prompt length was measured, prefill is taken in proportion\n",
        "workload, small, w (decided): use fast\n",
        "SLO, ttft within 30.00 ms at p95, small, w (decided): kept by fast; missed by slow\n",
        "SLO, e2e within 10000 ms at p50, small, w (decided): kept by slow, fast\n",
        "memory, small (f32) in 8.00 MiB (decided): the weights alone do not fit\n",
        "claim, cache (supported): A cache makes decode faster.\n",
        "claim, slow-is-fast (contradicted): Slow is fast.\n",
        "table: written/decisions.csv\ntable: written/claims.csv\n",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    assert!(!said.contains("tr121-"), "the file's claims, and no others:\n{said}");
    let written = fs::read_to_string(here.path().join("written/claims.csv")).unwrap();
    assert!(
        written.starts_with("claim,text,status,") && written.contains("\nslow-is-fast,Slow is fast.,contradicted,"),
        "{written}"
    );

    let words = ["decide", "run", "--pricing", &pricing, "--workload", "w.yaml", "--slo", "ttft=30ms"];
    let output = phasebench(here.path(), &words);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("allowed: OF=TIME@PERCENTILE"), "{}", text(&output.stderr));
    let output = phasebench(here.path(), &["decide", "run", "--memory", "1GiB"]);
    let said = text(&output.stdout);
    assert!(said.contains("memory, small (f32) in 1.00 GiB (decided): contexts of up to 256 tokens"), "{said}");
    assert!(said.contains("claim, tr123-cache-helps-decode (supported)"), "{said}");
}

/// The first card says which engine serves the workload, how sure that is, and at what cost.
#[test]
fn a_report_with_prices_begins_with_the_engine_and_its_cost() {
    let here = tempfile::tempdir().unwrap();
    run(here.path(), 1, [(1.0, 1.0), (0.6, 0.6)]);
    let workload = "version: 1\nname: w\nmix: [{ name: a, share: 1, prompt: 64, gen: 64 }]\nrequests_per_second: 2\n";
    fs::write(here.path().join("w.yaml"), workload).unwrap();
    let pricing = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/pricing/tr123.yaml").display().to_string();
    let words = ["report", "run1", "--pricing", &pricing, "--workload", "w.yaml", "--out", "priced", "--json"];
    let output = phasebench(here.path(), &words);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let first = &found["findings"][0];
    assert_eq!(first["question"], "What serves the workload? small, w", "{first}");
    assert_eq!(first["standing"], "holds");
    let answer = first["answer"].as_str().unwrap();
    assert!(
        answer.starts_with("Use second. first: ") && answer.contains("cheapest in 100.0 % of the draws"),
        "{answer}"
    );
    let page = fs::read_to_string(here.path().join("priced/report.md")).unwrap();
    assert!(page.contains("## What it costs") && page.contains("A thousand requests of the workload on every tier."));
    assert!(page.contains("something in this run is scripted"), "what must be known before the figures");
    assert!(page.contains("Workers for 2.00 requests/s") && page.contains("A month of 30 days on "), "{page}");
    assert!(page.contains("Machines of one's own against hire."), "{page}");
    let tco = page.split_once("Total cost of ownership over 36.0 months").unwrap().1.split("\n\n").nth(1).unwrap();
    let bought = |line: &str| line.starts_with("| small on second (f32) ") && line.contains("| bought ");
    assert!(tco.lines().any(bought), "{page}");
    for file in ["cost_per_request", "cost_table_all_tiers", "capacity", "cost_per_month", "break_even", "decisions"] {
        assert!(here.path().join("priced").join(file).with_extension("csv").is_file(), "{file}");
    }
    let words = ["decide", "run1", "--pricing", &pricing, "--workload", "w.yaml", "--success", "small=0.9"];
    let output = phasebench(here.path(), &words);
    let said = text(&output.stdout);
    let tier = said.lines().skip_while(|line| !line.starts_with("model tier, large or small, w (")).nth(1);
    let tier = tier.unwrap_or_else(|| panic!("{said}"));
    assert!(
        tier.starts_with("  large on second costs ") && tier.contains("; small succeeds in 90.0 %, large must in ")
    );
    assert!(tier.contains(" [") && tier.contains("] times as much as small on second"), "with its interval: {tier}");
    assert!(said.contains("(phasebench rerun RUN --if-changed)"), "{said}");
    let own = "claim, tr123-own-hardware-saves (supported): A machine of one's own costs 95 % less by the hour than hire.\n  \
               rtx-4080-amortised: 95.4 % less\n";
    assert!(said.contains(own), "{said}");
    let output = phasebench(here.path(), &["report", "run1", "--pricing", &pricing]);
    assert_eq!(output.status.code(), Some(2), "the run's own report stays without prices");
}

/// Without a workload every measured cell is the request, with prices or without.
#[test]
fn slos_without_a_workload_are_asked_of_every_cell() {
    let here = tempfile::tempdir().unwrap();
    let scenario = "version: 1
name: cells
order: interleaved
repetitions: { fixed: 20 }
gen_tokens: [16]
scenarios: [{ name: short, prompt: { tokens: 16 } }, { name: long, prompt: { tokens: 128 } }]
models: [{ name: small, synthetic: { family: gpt2, n_layer: 2, n_embd: 64, n_head: 2 } }]
backends:
  - { name: slow, simulated: { prefill_per_token: { base: 400us, exponent: 0.7 } } }
  - { name: fast, simulated: {} }
";
    fs::write(here.path().join("cells.yaml"), scenario).unwrap();
    let output = phasebench(here.path(), &["run", "cells.yaml", "--out", "run"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let pricing = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/pricing/tr123.yaml").display().to_string();
    for prices in [&[][..], &["--pricing", &pricing][..]] {
        let words = [&["decide", "run", "--slo", "ttft=30ms@95", "--slo", "e2e=10s@99", "--json"][..], prices].concat();
        let output = phasebench(here.path(), &words);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let rows: Vec<Value> = found["decisions"].as_array().unwrap().clone();
        let told: Vec<(&str, &str)> = rows
            .iter()
            .filter(|row| row["topic"] == "slo")
            .map(|row| (row["about"].as_str().unwrap(), row["advice"].as_str().unwrap()))
            .collect();
        let expected = [
            ("ttft within 30.00 ms at p95, small, short, 16 tokens", "kept by slow, fast"),
            ("ttft within 30.00 ms at p95, small, long, 16 tokens", "kept by fast; missed by slow"),
            ("e2e within 10000 ms at p99, small, short, 16 tokens", "not known of slow, fast"),
            ("e2e within 10000 ms at p99, small, long, 16 tokens", "not known of slow, fast"),
        ];
        assert_eq!(told, expected);
        // Loading takes 90 ms and more, which neither has to spare.
        for engine in ["slow", "fast"] {
            let pool = about(&rows, "warm_pool", &format!("small on {engine}, a warm instance"));
            assert_eq!(pool["advice"], "keep it loaded: a cold start breaks ttft within 30.00 ms", "{pool}");
            assert!(pool["figures"].as_str().unwrap().contains("; the answer's slack is "), "{pool}");
        }
    }
}

#[test]
fn a_workload_needs_prices() {
    let here = tempfile::tempdir().unwrap();
    let output = phasebench(here.path(), &["decide", "run", "--workload", "w.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--pricing"), "{}", text(&output.stderr));
}
