//! That what is compared was found as an earlier command had measured it.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::history::time;
use crate::record::manifest::Manifest;

/// What measures again instead.
const INSTEAD: &str = "another --out measures again";

/// Runs that lay complete in a folder, so that nothing was measured now.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Found {
    folder: String,
    /// When the first of them began, in UTC.
    from: String,
    /// When the last process began that worked on one of them, in UTC.
    last_part_from: String,
}

impl Found {
    /// Runs in a folder by their manifests.
    pub(in crate::commands) fn of<'a>(folder: &Path, runs: impl Iterator<Item = &'a Manifest>) -> Self {
        let begun: Vec<u64> = runs.flat_map(|run| run.epochs.iter().map(|epoch| epoch.started_unix_ns)).collect();
        let (first, last) = (begun.iter().min(), begun.iter().max());
        Self {
            folder: folder.display().to_string(),
            from: time(first.copied().unwrap_or(0)),
            last_part_from: time(last.copied().unwrap_or(0)),
        }
    }

    /// For people.
    pub(in crate::commands) fn words(&self) -> String {
        let Self { folder, from, last_part_from } = self;
        let mut words = format!("nothing was measured now: {folder} holds all of it, measured from {from} on");
        if last_part_from != from {
            words.push_str(&format!(", its last part from {last_part_from} on"));
        }
        format!("{words} (UTC)\n  try: {INSTEAD}")
    }

    /// For a program.
    fn json(&self) -> Value {
        json!({
            "now": false,
            "from": self.from,
            "last_part_from": self.last_part_from,
            "folder": self.folder,
            "try": INSTEAD,
        })
    }
}

/// What is said, behind what was found where nothing was measured now.
pub(in crate::commands) fn with_found(found: Option<&Found>, said: Value) -> Value {
    match (found, said) {
        (Some(found), Value::Object(fields)) => {
            let mut all = Map::from_iter([("measured".to_owned(), found.json())]);
            all.extend(fields);
            Value::Object(all)
        }
        (_, said) => said,
    }
}
