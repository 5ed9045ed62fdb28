//! What is not the same in two stacks, sorted by whether it can change speed.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::{BackendEntry, Gpus, Machine, Stack, Tool};

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

impl Stack {
    /// What is not the same now, what can change speed first. Empty: nothing.
    #[must_use]
    pub fn changes(&self, now: &Self) -> Vec<Change> {
        of_stacks(self, now)
    }
}

impl BackendEntry {
    /// What another engine has differently, what can change speed first. Empty: nothing.
    #[must_use]
    pub fn changes(&self, other: &Self) -> Vec<Change> {
        let mut found = Vec::new();
        engines("", self, other, &mut found);
        found.sort_by_key(|change| change.weight);
        found
    }
}

fn of_stacks(a: &Stack, b: &Stack) -> Vec<Change> {
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
    let version = if other_version { Weight::Follows } else { Weight::Speed };
    for (what, own, theirs) in [
        ("what is timed", json(&a.boundary), json(&b.boundary)),
        ("what can be asked for", json(&a.procedures), json(&b.procedures)),
        ("times of tokens told", json(&a.token_times), json(&b.token_times)),
        ("simulated time", json(&a.virtual_clock), json(&b.virtual_clock)),
    ] {
        leaves(&format!("{what}{place}"), &own, &theirs, version, found);
    }
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
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
        let of = |gpus: &Gpus| gpus.devices.get(place).map(json).unwrap_or_default();
        leaves(&format!("GPU {place}:"), &of(a), &of(b), Weight::Speed, found);
    }
    if a.absent != b.absent {
        let weight = if other_driver || a.devices != b.devices { Weight::Follows } else { Weight::Harmless };
        found.push(change("no GPU is seen because", a.absent.clone(), b.absent.clone(), weight));
    }
}

fn machines(a: &Machine, b: &Machine, found: &mut Vec<Change>) {
    leaves("", &json(a), &json(b), Weight::Speed, found);
}

/// The leaves of two trees that are not the same, by their keys with blanks. `null` stands for all keys of the other.
fn leaves(path: &str, a: &Value, b: &Value, weight: Weight, found: &mut Vec<Change>) {
    if a == b {
        return;
    }
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
    };
    let all = &keys(a) | &keys(b);
    if all.is_empty() || !(a.is_object() || a.is_null()) || !(b.is_object() || b.is_null()) {
        found.push(change(path, told(a), told(b), weight));
        return;
    }
    for key in all {
        let of = |value: &Value| value.get(&key).cloned().unwrap_or_default();
        let below = format!("{path} {}", key.replace('_', " "));
        let weight = if HARMLESS.contains(&key.as_str()) { Weight::Harmless } else { weight };
        leaves(below.trim_start(), &of(a), &of(b), weight, found);
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
            let told = |value: &Option<String>| value.clone().unwrap_or_default();
            let parts = [told(&tool.rustc), told(&tool.target), told(&tool.profile), tool.target_features.join(",")];
            Some(parts.join(" "))
        };
        found.push(change("phasebench built with", built(a), built(b), Weight::Speed));
    } else {
        found.push(change("phasebench", Some(own), Some(theirs), Weight::Speed));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn stack() -> Value {
        serde_json::json!({
            "tool": { "version": "1", "commit": "aa", "rustc": "1.95", "profile": "release", "target": "x", "target_features": ["a"] },
            "machine": { "cpu_model": "C", "arch": "x86_64", "logical_cores": 4, "governors": { "policy0": "performance" }, "os": "O" },
            "gpus": { "driver": "1", "cuda": "13.0", "devices": [{ "name": "G", "uuid": "U", "ecc": true }], "absent": null },
            "backends": { "b": {
                "engine": "E", "version": "1", "facts": { "threads": "2" }, "boundary": { "prefill": "all" }, "procedures": ["prefill"],
                "max_resident": 1, "token_times": true, "virtual_clock": false,
            } },
        })
    }

    /// Every place of a tree that holds no object.
    fn places(at: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                object.iter().for_each(|(key, below)| places(&format!("{at}/{key}"), below, found))
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                items.iter().enumerate().for_each(|(place, below)| places(&format!("{at}/{place}"), below, found));
            }
            _ => found.push(at.to_owned()),
        }
    }

    /// Stacks whose hashes differ have something to say of it: no field is forgotten.
    #[test]
    fn whatever_is_changed_is_told() {
        let (before, mut all) = (stack(), Vec::new());
        places("", &before, &mut all);
        assert!(all.len() > 20, "{all:?}");
        for place in all {
            let mut after = before.clone();
            let leaf = after.pointer_mut(&place).unwrap();
            *leaf = match &*leaf {
                Value::Bool(value) => Value::Bool(!value),
                Value::Number(_) => 7.into(),
                Value::Array(_) => {
                    serde_json::json!(if place.contains("procedures") { ["uncached"] } else { ["other"] })
                }
                _ => "other".into(),
            };
            let read = |value: &Value| serde_json::from_value::<Stack>(value.clone()).unwrap();
            let (a, b) = (read(&before), read(&after));
            let changes = a.changes(&b);
            assert!(!changes.is_empty() && a.changes(&a).is_empty(), "{place}");
            assert!(changes.iter().all(|change| change.before != change.after), "{place}: {changes:?}");
        }
    }

    #[test]
    fn changes_read_as_people_name_them() {
        let before: Stack = serde_json::from_value(stack()).unwrap();
        let mut after = before.clone();
        after.machine.governors.insert("policy1".to_owned(), "powersave".to_owned());
        after.machine.os = Some("P".to_owned());
        after.gpus.devices.clear();
        let words: Vec<String> = before.changes(&after).iter().map(Change::in_words).collect();
        let expected = [
            "GPU 0: ecc true → none",
            "GPU 0: name G → none",
            "GPU 0: uuid U → none",
            "governors policy1 none → powersave",
            "os O → P",
        ];
        assert_eq!(words, expected);
    }
}
