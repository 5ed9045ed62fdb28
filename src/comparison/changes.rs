//! What is not the same in two stacks, sorted by whether it can change speed.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::record::manifest::{BackendEntry, Gpus, Machine, Stack, Tool};

use super::side::{Sides, SidesKind};

/// Whether a change can explain another speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// It can.
    Speed,
    /// It comes with another change, e.g. a library's hash with its version.
    Follows,
    /// It cannot.
    Harmless,
}

/// One thing that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What, in words.
    pub what: String,
    /// What it was. `None`: not there, or not told.
    pub before: Option<String>,
    /// What it is. `None`: as above.
    pub after: Option<String>,
    /// Whether it can change speed.
    pub weight: Weight,
}

impl Change {
    /// `Ollama 0.24.0 → 0.33.0`.
    #[must_use]
    pub fn in_words(&self) -> String {
        let told = |value: &Option<String>| value.as_deref().map_or_else(|| "none".to_owned(), short);
        format!("{} {} → {}", self.what, told(&self.before), told(&self.after))
    }
}

/// A hash is told by its beginning.
fn short(value: &str) -> String {
    let is_hash = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash { format!("{value:.12}…") } else { value.to_owned() }
}

/// Facts of an engine that are another name for its version.
const OF_A_VERSION: [&str; 6] =
    ["library", "library_sha256", "build_info", "ort_api", "providers_compiled_in", "clock"];
/// Fields of a machine that cannot change speed by themselves.
const HARMLESS: [&str; 1] = ["os"];

/// Every difference, those that can change speed first.
#[must_use]
pub fn between(sides: &Sides<'_>) -> Vec<Change> {
    let (a, b) = (&sides.baseline.run.manifest.stack, &sides.candidate.run.manifest.stack);
    let mut found = Vec::new();
    match sides.kind {
        SidesKind::Halves => {}
        SidesKind::Runs => return of_stacks(a, b),
        SidesKind::Backends => {
            let (own, theirs) = (a.backends.get(&sides.baseline.name), b.backends.get(&sides.candidate.name));
            if let (Some(own), Some(theirs)) = (own, theirs) {
                engines("", own, theirs, &mut found);
            }
        }
    }
    found.sort_by_key(|change| change.weight);
    found
}

/// Every difference between two stacks, those that can change speed first.
#[must_use]
pub fn of_stacks(a: &Stack, b: &Stack) -> Vec<Change> {
    let mut found = Vec::new();
    let names: BTreeSet<&String> = a.backends.keys().chain(b.backends.keys()).collect();
    for name in names {
        match (a.backends.get(name), b.backends.get(name)) {
            (Some(own), Some(theirs)) => engines(name, own, theirs, &mut found),
            (own, theirs) => {
                let told = |entry: Option<&BackendEntry>| entry.map(version);
                found.push(change(format!("backend {name}"), told(own), told(theirs), Weight::Harmless));
            }
        }
    }
    boards(&a.gpus, &b.gpus, &mut found);
    machines(&a.machine, &b.machine, &mut found);
    tools(&a.tool, &b.tool, &mut found);
    found.sort_by_key(|change| change.weight);
    found
}

fn change(what: impl Into<String>, before: Option<String>, after: Option<String>, weight: Weight) -> Change {
    Change { what: what.into(), before, after, weight }
}

fn version(entry: &BackendEntry) -> String {
    entry.version.as_ref().map_or_else(|| entry.engine.clone(), |version| format!("{} {version}", entry.engine))
}

fn engines(name: &str, a: &BackendEntry, b: &BackendEntry, found: &mut Vec<Change>) {
    let other_version = (&a.engine, &a.version) != (&b.engine, &b.version);
    if a.engine != b.engine {
        found.push(change(format!("engine of {name}"), Some(version(a)), Some(version(b)), Weight::Speed));
    } else if other_version {
        found.push(change(a.engine.clone(), a.version.clone(), b.version.clone(), Weight::Speed));
    }
    let place = if name.is_empty() { String::new() } else { format!(" of {name}") };
    let keys: BTreeSet<&String> = a.facts.keys().chain(b.facts.keys()).collect();
    for key in keys {
        let (own, theirs) = (a.facts.get(key), b.facts.get(key));
        if own == theirs {
            continue;
        }
        let of_a_version = OF_A_VERSION.contains(&key.as_str());
        let weight = match (of_a_version, other_version) {
            (true, true) => Weight::Follows,
            // The same bytes under another name are the same library.
            _ if key == "library" && a.facts.get("library_sha256") == b.facts.get("library_sha256") => Weight::Harmless,
            _ => Weight::Speed,
        };
        found.push(change(format!("`{key}`{place}"), own.cloned(), theirs.cloned(), weight));
    }
    if a.max_resident != b.max_resident {
        let told = |most: Option<u32>| most.map(|most| most.to_string());
        let what = format!("sessions kept at once{place}");
        found.push(change(what, told(a.max_resident), told(b.max_resident), Weight::Harmless));
    }
}

fn boards(a: &Gpus, b: &Gpus, found: &mut Vec<Change>) {
    let other_driver = a.driver != b.driver;
    if other_driver {
        found.push(change("NVIDIA driver", a.driver.clone(), b.driver.clone(), Weight::Speed));
    }
    if a.cuda != b.cuda {
        let weight = if other_driver { Weight::Follows } else { Weight::Speed };
        found.push(change("CUDA", a.cuda.clone(), b.cuda.clone(), weight));
    }
    for place in 0..a.devices.len().max(b.devices.len()) {
        let value = |gpus: &Gpus| gpus.devices.get(place).and_then(|gpu| serde_json::to_value(gpu).ok());
        fields(&format!("GPU {place}: "), value(a).as_ref(), value(b).as_ref(), found);
    }
}

fn machines(a: &Machine, b: &Machine, found: &mut Vec<Change>) {
    let (own, theirs) = (serde_json::to_value(a).ok(), serde_json::to_value(b).ok());
    fields("", own.as_ref(), theirs.as_ref(), found);
}

/// The fields of two objects that are not the same, by their names with blanks.
fn fields(before: &str, a: Option<&Value>, b: Option<&Value>, found: &mut Vec<Change>) {
    let keys = |value: Option<&Value>| -> BTreeSet<String> {
        value.and_then(Value::as_object).map(|object| object.keys().cloned().collect()).unwrap_or_default()
    };
    for key in &keys(a) | &keys(b) {
        let of = |value: Option<&Value>| value.and_then(|value| value.get(&key)).cloned().unwrap_or(Value::Null);
        let (own, theirs) = (of(a), of(b));
        if own == theirs {
            continue;
        }
        let weight = if HARMLESS.contains(&key.as_str()) { Weight::Harmless } else { Weight::Speed };
        found.push(change(format!("{before}{}", key.replace('_', " ")), told(&own), told(&theirs), weight));
    }
}

fn told(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn tools(a: &Tool, b: &Tool, found: &mut Vec<Change>) {
    let named = |tool: &Tool| {
        let commit = tool.commit.as_ref().map_or_else(String::new, |commit| format!(" ({commit:.12})"));
        let profile = tool.profile.as_deref().filter(|profile| *profile != "release");
        format!("{}{commit}{}", tool.version, profile.map_or_else(String::new, |profile| format!(" {profile} build")))
    };
    if a == b {
        return;
    }
    let (own, theirs) = (named(a), named(b));
    if own == theirs {
        let built = |tool: &Tool| {
            Some(format!("{} {}", tool.rustc.clone().unwrap_or_default(), tool.target_features.join(",")))
        };
        found.push(change("phasebench built with", built(a), built(b), Weight::Speed));
    } else {
        found.push(change("phasebench", Some(own), Some(theirs), Weight::Speed));
    }
}
