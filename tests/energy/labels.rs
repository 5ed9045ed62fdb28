//! Nothing that was made from a scripted sensor may look like a measurement, whatever file it stands in.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// How the scripted sensor is called.
const SENSOR: &str = "simulated-nvml:0";

/// Columns and keys that hold what a sensor said, or what was made of it, contain one of these.
const OF_A_SENSOR: [&str; 7] = ["sensor", "energy", "watts", "joules", "temperature", "power_w", "j_per_token"];

/// Units of what charts show of a sensor.
const UNITS: [&str; 3] = ["(W)", "(J)", "(°C)"];

/// Every file of a folder; those that hold something of a sensor must say that it is scripted, tables and lists in every
/// row. Returns the names of those files.
pub fn check(folder: &Path) -> BTreeSet<String> {
    let mut files = Vec::new();
    walk(folder, &mut files);
    let mut found = BTreeSet::new();
    for path in files {
        let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let labelled = match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => table(&name, &text),
            Some("json") => told(&name, &serde_json::from_str(&text).unwrap()),
            Some("jsonl") => {
                let lines = text.lines().map(|line| told(&name, &serde_json::from_str(line).unwrap()));
                lines.fold(false, |any, one| any | one)
            }
            Some("svg") => chart(&name, &text),
            Some("md" | "html") => page(&name, &text),
            _ => false,
        };
        if labelled {
            found.insert(name);
        }
    }
    found
}

fn walk(at: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Whether a table holds anything of a sensor; then every row that does must name it.
fn table(name: &str, text: &str) -> bool {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let columns: Vec<usize> =
        (0..header.len()).filter(|&i| OF_A_SENSOR.iter().any(|w| header[i].contains(w))).collect();
    let mut any = false;
    for row in reader.records().map(Result::unwrap) {
        if columns.iter().any(|&i| !row[i].is_empty()) {
            assert!(row.iter().any(|field| field == SENSOR), "{name} has a row that does not name the sensor: {row:?}");
            any = true;
        }
    }
    any
}

/// Whether a value holds anything of a sensor; then it must say that it is scripted, every one of a list by itself.
fn told(name: &str, value: &Value) -> bool {
    if let Value::Array(rows) = value {
        return rows.iter().fold(false, |any, row| any | told(name, row));
    }
    // What the scenario file asked for is no sensor's.
    let asked = ["spec.json", "plan.json"].contains(&name) || value["type"] == "header";
    let holds = !asked && holds(value);
    assert!(!holds || says(value), "{name} does not say that the sensor is scripted: {value:.400}");
    holds
}

/// A number, or a list of things, under a key of a sensor's, anywhere in it.
fn holds(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(key, value)| {
            let figures = value.is_number() || value.as_array().is_some_and(|items| items.iter().any(Value::is_object));
            (figures && OF_A_SENSOR.iter().any(|word| key.contains(word))) || holds(value)
        }),
        Value::Array(items) => items.iter().any(holds),
        _ => false,
    }
}

fn says(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.get("simulated") == Some(&Value::Bool(true)) || fields.values().any(says),
        Value::Array(items) => items.iter().any(says),
        _ => false,
    }
}

fn chart(name: &str, text: &str) -> bool {
    let of_a_sensor = UNITS.iter().any(|unit| text.contains(unit));
    assert!(!of_a_sensor || text.contains("SIMULATED"), "{name} is a chart of a scripted sensor and does not say so");
    of_a_sensor
}

/// A report says it before its first figure, and in every chart.
fn page(name: &str, text: &str) -> bool {
    let warning = text.find("SIMULATED power").unwrap_or_else(|| panic!("{name} has no warning"));
    let first = UNITS.iter().filter_map(|unit| text.find(unit)).min();
    assert!(first.is_some_and(|first| warning < first), "{name} warns after its first figure");
    for svg in text.split("<svg ").skip(1).filter_map(|rest| rest.split_once("</svg>")) {
        chart(name, svg.0);
    }
    true
}

/// That the walk sees what it is to see.
#[test]
fn a_file_without_the_label_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let unlabelled = [
        ("a.csv", "cell,energy_j\np,1.5\n"),
        ("a.json", "[{\"simulated\":true,\"watts\":1.0},{\"watts\":2.0}]"),
        ("a.jsonl", "{\"energy_j\":2.0}\n"),
        ("a.svg", "<svg><text>power (W)</text></svg>"),
        ("a.md", "Energy (J): 5"),
        ("a.html", "<p>power (W)</p> SIMULATED power"),
    ];
    for (name, text) in unlabelled {
        fs::write(folder.path().join(name), text).unwrap();
        assert!(std::panic::catch_unwind(|| check(folder.path())).is_err(), "{name}");
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("b.csv"), format!("cell,sensor,energy_j\np,{SENSOR},1.5\nq,,\n")).unwrap();
    fs::write(folder.path().join("c.csv"), "cell,latency_ms\np,1.5\n").unwrap();
    assert_eq!(check(folder.path()), BTreeSet::from(["b.csv".to_owned()]));
}
