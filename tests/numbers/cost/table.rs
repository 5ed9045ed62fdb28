//! `phasebench cost TABLE.csv` on published and on other tables.

use std::fs;
use std::path::{Path, PathBuf};

use phasebench::cli::{CostArgs, CostRule};
use phasebench::commands::cost;
use phasebench::exit::Exit;
use phasebench::terms::SensorKind;
use serde_json::Value;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn args(of: &Path) -> CostArgs {
    CostArgs {
        of: of.to_owned(),
        pricing: root("scenarios/pricing/tr119.yaml"),
        workload: None,
        months: None,
        tier: Vec::new(),
        success: Vec::new(),
        rule: CostRule::Measured,
        group: Vec::new(),
        prefill: None,
        decode: None,
        rate: None,
        out: None,
        sensor: None,
        json: true,
    }
}

pub fn json(args: &CostArgs) -> Value {
    let mut out = Vec::new();
    cost::execute(args, &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn golden(name: &str) -> PathBuf {
    root("tests/data/golden").join(name)
}

fn table(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn workload(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("workload.yaml");
    fs::write(&path, format!("version: 1\nname: w\n{text}\n")).unwrap();
    path
}

fn row<'a>(rows: &'a Value, wanted: &[(&str, &str)]) -> &'a Value {
    let fits = |row: &&Value| wanted.iter().all(|(key, value)| row[*key] == *value || row["of"][*key] == *value);
    rows.as_array().unwrap().iter().find(fits).unwrap_or_else(|| panic!("no row {wanted:?} in {rows:#}"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Prices and product mixes of TR121, whose rates are printed with three or four digits.
#[test]
fn published_prices_are_found_again() {
    let found = json(&CostArgs {
        rate: Some("tokens_per_s".to_owned()),
        workload: Some(root("scenarios/workloads/whitepaper.yaml")),
        ..args(&golden("tr121_cost_capacity.csv"))
    });
    let published = include_str!("../../data/golden/tr121_cost_capacity.csv").lines().skip(1);
    for line in published {
        let cells: Vec<&str> = line.split(',').collect();
        let found = row(&found["phases"], &[("model_backend", cells[0]), ("tier", "on-demand")]);
        let (found, published) = (number(&found["total"]), cells[3].parse::<f64>().unwrap());
        assert!((found / published - 1.0).abs() < 1.2e-3, "{}: {found}, not {published}", cells[0]);
    }
    // A thousand requests of the four mixes, as often each: their mean.
    let published = include_str!("../../data/golden/tr121_product_mix_cost.csv").lines().skip(1);
    for line in published {
        let cells: Vec<&str> = line.split(',').collect();
        let mean = cells[2..].iter().map(|cell| cell.parse::<f64>().unwrap()).sum::<f64>() / 4.0;
        let name = format!("ollama {}", cells[0]);
        let found = row(&found["requests"], &[("model_backend", &name), ("tier", "on-demand")]);
        let found = number(&found["total"]);
        assert!((found / mean - 1.0).abs() < 1.2e-3, "{name}: {found}, not {mean}");
    }
}

/// The table's rates are those of prompts of 57 to 700 tokens, not of the 64 to 1024 that the scenarios are named for.
#[test]
fn lengths_are_measured_and_not_nominal() {
    let folder = tempfile::tempdir().unwrap();
    let of = |prompt: u32| {
        let mix = format!("mix: [{{ name: a, share: 1, prompt: {prompt}, gen: 128 }}]");
        let args = CostArgs {
            workload: Some(workload(folder.path(), &mix)),
            pricing: root("scenarios/pricing/tr123.yaml"),
            group: vec!["model".to_owned(), "backend".to_owned()],
            ..args(&golden("tr123_5_2_per_scenario.csv"))
        };
        json(&args)
    };
    let covered = |found: &Value| {
        let rows = found["requests"].as_array().unwrap();
        rows.iter().any(|row| row["of"]["backend"] == "gpu" && row["of"]["model"] == "gpt2")
    };
    assert!(covered(&of(700)) && covered(&of(57)));
    assert!(!covered(&of(1024)), "a prompt of 1024 tokens was never measured");
    // 16.1 ms at 44599 tokens/s are 718 tokens; 16.1 ms of 1024 would be a third too fast.
    let found = of(718);
    let found = row(&found["requests"], &[("model", "gpt2"), ("backend", "gpu")]);
    let decode_ms = 128.0 * 1e3 / 196.6;
    assert!((number(&found["seconds"]) * 1e3 - 16.1 - decode_ms).abs() < 1.0, "{found}");
}

/// Two scenarios at 100 and 300 tokens/s take 6667 s per million on average, and not the 5000 s of the mean rate.
#[test]
fn times_are_averaged_and_the_published_rule_is_shown_beside() {
    let text = "engine,scenario,prefill_tokens_per_s,decode_tokens_per_s\nx,a,100,10\nx,b,300,30\n";
    let (folder, path) = table(text);
    let mix = workload(folder.path(), "mix: [{ name: a, share: 1, prompt: 600, gen: 60 }]");
    let ours = CostArgs { group: vec!["engine".to_owned()], workload: Some(mix), ..args(&path) };
    let found = json(&ours);
    let prefill = row(&found["phases"], &[("phase", "prefill"), ("tier", "on-demand")]);
    assert!((number(&prefill["seconds"]) - 20_000.0 / 3.0).abs() < 1e-9);
    assert!((number(&prefill["tokens_per_s"]) - 150.0).abs() < 1e-9);
    assert_eq!((&prefill["scope"], &prefill["rows"]), (&"infrastructure_only".into(), &2.into()));
    let request = row(&found["requests"], &[("tier", "on-demand")]);
    assert!((number(&request["seconds"]) - 8.0).abs() < 1e-9, "{request}");
    assert!((number(&request["other_rule_percent"]) + 25.0).abs() < 1e-9, "{request}");
    assert_eq!(request["coverage"], Value::Null);
    let theirs = json(&CostArgs { rule: CostRule::Tr119, ..ours });
    let request = row(&theirs["requests"], &[("tier", "on-demand")]);
    assert!((number(&request["seconds"]) - 6.0).abs() < 1e-9, "{request}");
    assert!((number(&request["total"]) - 1000.0 * 6.0 / 3600.0 * 1.006).abs() < 1e-9, "{request}");
}

/// Between measured lengths energy goes straight in logarithms as time does: a prefill of 5 J at 100 tokens and of 80 J at 400
/// is one of 20 J at 200, and no mean of joules per token, which would be 25.
#[test]
fn energy_is_taken_between_the_lengths_as_time_is() {
    let of = |columns: &str, rows: [&str; 2]| {
        let text = format!(
            "engine,prompt_tokens,gen_tokens,prefill_tokens_per_s,decode_tokens_per_s,{columns}\nx,100,10,1000,10,{}\nx,400,10,1000,10,{}\n",
            rows[0], rows[1]
        );
        let (folder, path) = table(&text);
        let mix = workload(folder.path(), "mix: [{ name: a, share: 1, prompt: 200, gen: 10 }]");
        let asked = CostArgs { group: vec!["engine".to_owned()], workload: Some(mix), ..args(&path) };
        row(&json(&asked)["requests"], &[("tier", "on-demand")]).clone()
    };
    let watts = of("prefill_power_w,decode_power_w", ["50,20", "200,20"]);
    let joules = of("prefill_j_per_token,decode_j_per_token", ["0.05,2", "0.2,2"]);
    for found in [watts, joules] {
        // 20 J and ten tokens of 2 J, a thousand times, at 0.20 a kilowatt-hour.
        let energy = number(&found["cost"]["energy"]);
        assert!((energy / (1000.0 * 40.0 / 3.6e6 * 0.20) - 1.0).abs() < 1e-9, "{found}");
        assert_eq!(found["scope"], "with_energy");
    }
    let half = of("prefill_power_w,decode_power_w", ["50,20", "200,"]);
    assert_eq!((&half["scope"], &half["cost"]["energy"]), (&"infrastructure_only".into(), &Value::Null));
}

/// TR123's CPU rows hold 3.5 W, which is what the GPU drew beside them; a row without power is not one of 0 W.
#[test]
fn energy_is_counted_where_it_is_known_and_the_devices_own() {
    let latency = golden("tr123_5_1_latency_summary.csv");
    let asked = CostArgs { group: vec!["model".to_owned(), "backend".to_owned()], ..args(&latency) };
    let found = json(&asked);
    let of = |found: &Value, backend: &str| {
        row(&found["phases"], &[("model", "gpt2"), ("backend", backend), ("phase", "decode")]).clone()
    };
    assert_eq!(
        (&of(&found, "cpu")["scope"], &of(&found, "cpu")["cost"]["energy"]),
        (&"infrastructure_only".into(), &Value::Null)
    );
    assert_eq!(of(&found, "gpu")["scope"], "with_energy");
    assert!(found["notes"][0].as_str().unwrap().contains("may be an idle GPU's"), "{}", found["notes"]);
    let said = json(&CostArgs { sensor: Some(SensorKind::Rapl), ..asked });
    assert_eq!(of(&said, "cpu")["scope"], "with_energy");
    assert_eq!(of(&said, "gpu")["scope"], "infrastructure_only");
    let (_folder, path) =
        table("prefill_tokens_per_s,decode_tokens_per_s,prefill_power_w,decode_power_w,e\n9,9,36,,g\n9,9,36,36,g\n");
    let found = json(&CostArgs { group: vec!["e".to_owned()], ..args(&path) });
    assert_eq!(row(&found["phases"], &[("phase", "prefill")])["scope"], "with_energy");
    assert_eq!(row(&found["phases"], &[("phase", "decode")])["cost"]["energy"], Value::Null, "half of it is not known");
}

#[test]
fn what_cannot_be_used_is_told_with_its_place() {
    let told = |args: &CostArgs| {
        let error = cost::execute(args, &mut Vec::new()).unwrap_err();
        assert_eq!(Exit::from(&error), Exit::Usage);
        error.describe()
    };
    let (folder, path) = table("prefill_tokens_per_s,kv_decode_tokens_per_s\n1,2\n1,x\n");
    let error = told(&args(&path));
    assert!(
        error.ends_with(
            "table.csv:3: column `kv_decode_tokens_per_s`: `x` is no number; allowed: a finite number, or nothing"
        ),
        "{error}"
    );
    let error = told(&CostArgs { decode: Some("decode".to_owned()), ..args(&path) });
    assert!(error.contains("table.csv:1: unknown column `decode`"), "{error}");
    let error = told(&CostArgs { workload: Some(workload(folder.path(), "mix: []")), ..args(&path) });
    assert!(error.contains("workload.yaml:3:6: `mix` is empty"), "{error}");
    let error = told(&CostArgs { pricing: path.clone(), ..args(&path) });
    assert!(error.contains("table.csv:1:1: a pricing file must be a mapping"), "{error}");
    let log = "log: { file: requests.jsonl, prompt: p, gen: g }";
    fs::write(folder.path().join("requests.jsonl"), "{\"p\":1,\"g\":2}\n{\"p\":1,\"g\":2.5}\n").unwrap();
    let error = told(&CostArgs { workload: Some(workload(folder.path(), log)), ..args(&path) });
    assert!(error.contains("requests.jsonl:2: invalid type: floating point `2.5`, expected u32"), "{error}");
}
