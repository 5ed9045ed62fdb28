//! `phasebench cost` through the program itself, on the run that ships.

use std::path::Path;
use std::process::{Command, Output};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn cost(arguments: &[&str]) -> std::io::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("cost").args(arguments).output()
}

const RUN: [&str; 3] = ["results/example", "--pricing", "scenarios/pricing/tr123.yaml"];

/// The rows of the printed table whose heading begins so, its titles left out. `None`: there is none.
fn rows_below<'a>(printed: &'a str, heading: &str) -> Option<Vec<&'a str>> {
    let mut lines = printed.lines().skip_while(|line| !line.starts_with(heading));
    lines.next()?;
    Some(lines.skip(1).take_while(|line| line.starts_with("  ")).collect())
}

/// Every figure with its interval and its share, and every table as a file.
#[test]
fn a_run_is_priced_and_its_tables_are_written() -> Outcome {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("costs").display().to_string();
    let workload = ["--workload", "tests/data/cost/workload.yaml", "--out", &out];
    let output = cost(&[&RUN[..], &workload].concat())?;
    let printed = String::from_utf8(output.stdout)?;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for said in [
        "prices tr123 in USD, workload example; brackets are 95 % intervals",
        "note: every engine: infrastructure only: no power was recorded",
        "a lower bound without queueing; the wait is a model, not a measurement",
        "gpt2-25m on ort-cpu (f32)   gpt2-5m on ort-cpu (f32)",
    ] {
        assert!(printed.contains(said), "{said}:\n{printed}");
    }
    for heading in [
        "a thousand requests, USD",
        "each shape, ",
        "a month of 30 days, ",
        "a machine of one's own, ",
        "over ",
        "a dearer model ",
    ] {
        let rows = rows_below(&printed, heading).ok_or(heading)?;
        assert!(!rows.is_empty() && rows.iter().all(|row| row.contains("infrastructure only")), "{heading}: {rows:?}");
    }
    let mut reader = csv::Reader::from_path(Path::new(&out).join("cost_per_request.csv"))?;
    let header: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    let expected = [
        "engine_model",
        "engine_backend",
        "engine_dtype",
        "engine_batch",
        "engine_decode",
        "tier",
        "coverage",
        "cost_infrastructure_value",
        "cost_infrastructure_low",
        "cost_infrastructure_high",
        "cost_energy_value",
        "cost_energy_low",
        "cost_energy_high",
        "cost_energy_at_least",
        "cost_energy_at_most",
        "cost_total_value",
        "cost_total_low",
        "cost_total_high",
        "cost_scope",
        "cost_carbon_g_value",
        "cost_carbon_g_low",
        "cost_carbon_g_high",
        "per_million_tokens_value",
        "per_million_tokens_low",
        "per_million_tokens_high",
    ];
    assert_eq!(header, expected);
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>()?;
    assert_eq!(rows.len(), 5 * 11, "five engines on eleven tiers");
    for row in &rows {
        let cell = |name: &str| header.iter().position(|column| column == name).map(|place| &row[place]);
        assert_eq!(
            (cell("cost_energy_value"), cell("cost_energy_at_least")),
            (Some(""), Some("")),
            "no energy is no 0"
        );
        assert_eq!(cell("cost_scope"), Some("infrastructure_only"));
    }
    for file in [
        "cost_per_measurement",
        "tier_savings",
        "cost_table_all_tiers",
        "request_time",
        "capacity",
        "cost_per_month",
        "break_even",
        "tco",
        "models",
    ] {
        assert!(Path::new(&out).join(file).with_extension("csv").is_file(), "{file}");
    }
    Ok(())
}

#[test]
fn one_tier_is_kept_and_an_unknown_one_is_refused() -> Outcome {
    let known = String::from_utf8(cost(&[&RUN[..], &["--tier", "no"]].concat())?.stderr)?;
    assert!(known.starts_with("error: --tier: there is no tier `no` in tr123\n  allowed: `"), "{known}");
    let name = known.split('`').nth(5).ok_or("no second tier")?;
    let kept: serde_json::Value =
        serde_json::from_slice(&cost(&[&RUN[..], &["--tier", name, "--json"]].concat())?.stdout)?;
    let phases = kept["phases"].as_array().ok_or("no phases")?;
    assert!(!phases.is_empty() && phases.iter().all(|row| row["tier"] == name), "{phases:?}");
    Ok(())
}

#[test]
fn too_little_covered_decides_nothing_and_prints_the_scenario() -> Outcome {
    let output = cost(&[&RUN[..], &["--workload", "scenarios/workloads/whitepaper.yaml"]].concat())?;
    let printed = String::from_utf8(output.stdout)?;
    assert_eq!(output.status.code(), Some(0));
    assert!(
        printed.contains("no decision for gpt2-5m on ort-cpu (f32): 0.0 % of the workload was measured"),
        "{printed}"
    );
    // Two of four requests are longer than 1024 tokens.
    for said in [
        "of the workload was measured, and 90.0 % are needed; at most 50.0 % fit into its context\n",
        "\nThis scenario file measures what the models' contexts hold of the workload, at most 50.0 % of it; for a decision 90.0 % are \
         needed, which no run of these models reaches. Save it beside ",
    ] {
        assert!(printed.contains(said), "{said}:\n{printed}");
    }
    assert!(!printed.contains("measures what the workload lacks"), "{printed}");
    let file = printed.split("was made from:\n\n").nth(1).ok_or("no scenario")?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("missing.yaml");
    std::fs::write(&path, file)?;
    let plan = Command::new(env!("CARGO_BIN_EXE_phasebench")).arg("plan").arg(&path).output()?;
    assert_eq!(plan.status.code(), Some(0), "{}", String::from_utf8_lossy(&plan.stderr));
    Ok(())
}

#[test]
fn what_cannot_be_priced_ends_with_its_code() -> Outcome {
    for (arguments, code, said) in [
        (
            vec!["no/such.csv", "--pricing", "scenarios/pricing/tr119.yaml"],
            4,
            "error: no/such.csv: no such run folder, and no such table",
        ),
        (vec!["results", "--pricing", "scenarios/pricing/tr119.yaml"], 4, "error: results"),
        (vec!["results/example", "--pricing", "no.yaml"], 2, "error: cannot read pricing file no.yaml: "),
        ([&RUN[..], &["--out", "Cargo.toml/costs"]].concat(), 4, "error: "),
        ([&RUN[..], &["--tier", "no"]].concat(), 2, "error: --tier: there is no tier `no` in tr123"),
        (
            [&RUN[..], &["--group", "a", "--sensor", "rapl"]].concat(),
            2,
            "error: results/example is a run, where --group, --sensor would change nothing\n  only tables take: --group, \
             --prefill, --decode, --rate, --sensor\n",
        ),
        (
            vec![
                "tests/data/golden/tr123_5_2_per_scenario.csv",
                "--pricing",
                "scenarios/pricing/tr119.yaml",
                "--out",
                "x",
                "--months",
                "3",
            ],
            2,
            "error: tests/data/golden/tr123_5_2_per_scenario.csv is a table, where --months, --out would change nothing\n  only \
             runs take: --months, --success, --out\n",
        ),
        ([&RUN[..], &["--success", "gpt2-5m"]].concat(), 2, "error: invalid value 'gpt2-5m' for '--success"),
    ] {
        let output = cost(&arguments)?;
        let told = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.starts_with(said), "{arguments:?}: {told}");
    }
    Ok(())
}

/// A run that decodes by a full pass per token, some of it four rows at a time: priced, and said to be without a cache.
#[test]
fn what_decodes_without_a_cache_is_priced_as_that() -> Outcome {
    let folder = tempfile::tempdir()?;
    let scenario = "version: 1
name: uncached
order: interleaved
repetitions: { fixed: 4 }
modes: [prefill, generate_uncached]
gen_tokens: [8]
scenarios:
  - { name: one, prompt: { tokens: 11 } }
  - { name: long, prompt: { tokens: 27 } }
  - { name: four, prompt: { tokens: 11 }, batch: 4 }
models: [{ name: small, synthetic: { family: gpt2, n_layer: 2, n_embd: 64, n_head: 2, n_positions: 256 } }]
backends: [{ name: sim, simulated: {} }]
";
    let here = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_phasebench")).current_dir(folder.path()).args(arguments).output()
    };
    std::fs::write(folder.path().join("s.yaml"), scenario)?;
    std::fs::write(
        folder.path().join("w.yaml"),
        "version: 1\nname: w\nmix: [{ name: a, share: 1, prompt: 11, gen: 8 }]\n",
    )?;
    let output = here(&["run", "s.yaml", "--out", "run"])?;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let pricing = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/pricing/tr119.yaml").display().to_string();
    let asked = ["cost", "run", "--pricing", &pricing, "--workload", "w.yaml"];
    let printed = String::from_utf8(here(&asked)?.stdout)?;
    for said in ["small on sim (f32 without KV cache)", "small on sim (f32 × 4 without KV cache)"] {
        assert!(printed.contains(said), "{said}:\n{printed}");
    }
    assert!(!printed.contains("nothing can be priced"), "{printed}");
    let found: serde_json::Value = serde_json::from_slice(&here(&[&asked[..], &["--json"]].concat())?.stdout)?;
    let alone = &found["requests"][0];
    assert_eq!(
        (&alone["engine"]["decode"], &alone["engine"]["batch"], &alone["coverage"]["share"]),
        (&"generate_uncached".into(), &1.into(), &1.0.into())
    );
    // The cell's own: a prefill and eight passes.
    assert_eq!(here(&["report", "run"])?.status.code(), Some(0));
    let mut summary = csv::Reader::from_path(folder.path().join("run/analysis/summary_by_model_backend_mode.csv"))?;
    let header = summary.headers()?.clone();
    let at = |name: &str| header.iter().position(|title| title == name).ok_or(format!("no column {name}"));
    let (name, mode, location) = (at("scenario")?, at("mode")?, at("location_ms")?);
    let mut seconds = 0.0;
    for row in summary.records() {
        let row = row?;
        if &row[name] == "one" && ["prefill", "generate_uncached"].contains(&&row[mode]) {
            seconds += row[location].parse::<f64>()? / 1e3;
        }
    }
    let told = alone["seconds"]["value"].as_f64().ok_or("no seconds")?;
    assert!((told / seconds - 1.0).abs() < 1e-9, "{told}, not {seconds}");

    // Without the first pass nothing can be priced, and that is what is said.
    std::fs::write(
        folder.path().join("s.yaml"),
        scenario.replace("modes: [prefill, generate_uncached]", "modes: [generate_uncached]"),
    )?;
    assert_eq!(here(&["run", "s.yaml", "--out", "less"])?.status.code(), Some(0));
    let printed = String::from_utf8(here(&["cost", "less", "--pricing", &pricing])?.stdout)?;
    assert!(
        printed.contains(
            "note: nothing can be priced: the run did not measure `prefill`, which every request begins with"
        ),
        "{printed}"
    );
    Ok(())
}
