//! Finds out what ran, on what, built from what: fills the manifest whose form is [`record::manifest`](crate::record::manifest).
//!
//! Nothing here names the host, its user or a folder of theirs: see [`redact`].

use std::collections::BTreeMap;

use crate::backend::Description;
use crate::hash::sha256_hex;
use crate::record::manifest::{BackendEntry, Epoch, FORMAT, Manifest, Stack, Tool};

pub mod gpu;
pub mod machine;
pub mod models;
pub mod redact;

use redact::Redactor;

/// The manifest of a run that begins now.
///
/// `config` and `plan` are the bytes of `spec.yaml` and `plan.json`.
#[must_use]
pub fn begin(stack: Stack, config: &[u8], plan: &[u8], started_unix_ns: u64) -> Manifest {
    let stack_sha256 = stack_sha256(&stack);
    let epoch = Epoch {
        started_unix_ns,
        boot_sha256: machine::boot_sha256(),
        stack_sha256: stack_sha256.clone(),
        changed_stack: None,
        power: None,
    };
    Manifest {
        format: FORMAT,
        config_sha256: sha256_hex(config),
        plan_sha256: sha256_hex(plan),
        stack_sha256,
        stack,
        models: BTreeMap::new(),
        residency: Vec::new(),
        epochs: vec![epoch],
        imported: None,
    }
}

/// Adds the process that resumes the run. The first process's stack stays the run's.
pub fn resume(manifest: &mut Manifest, stack: Stack, started_unix_ns: u64) {
    let stack_sha256 = stack_sha256(&stack);
    let changed = stack_sha256 != manifest.stack_sha256;
    manifest.epochs.push(Epoch {
        started_unix_ns,
        boot_sha256: machine::boot_sha256(),
        stack_sha256,
        changed_stack: changed.then_some(stack),
        power: None,
    });
}

/// The stack as it is now. Takes some milliseconds; do it before anything is timed.
#[must_use]
pub fn collect(backends: BTreeMap<String, BackendEntry>) -> Stack {
    Stack { tool: Tool::this(), machine: machine::collect(), gpus: gpu::collect(), backends }
}

/// SHA-256 over all of a stack.
#[must_use]
pub fn stack_sha256(stack: &Stack) -> String {
    sha256_hex(&stack.bytes())
}

/// What an engine says of itself, with paths made fit to publish.
#[must_use]
pub fn backend_entry(description: &Description) -> BackendEntry {
    let redactor = Redactor::here();
    let facts = description.facts.iter().map(|(k, v)| (k.clone(), redactor.text(v)));
    BackendEntry {
        engine: description.engine.clone(),
        version: description.version.clone(),
        facts: facts.collect(),
        boundary: description.boundary.clone(),
        procedures: description.procedures.clone(),
        max_resident: description.max_resident,
        token_times: description.token_times,
        virtual_clock: description.virtual_clock,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::record::manifest::{Change, Error};

    fn manifest() -> Manifest {
        begin(collect(BTreeMap::new()), b"spec", b"plan", 7)
    }

    #[test]
    fn survives_its_file() {
        let before = manifest();
        let text = before.to_json().unwrap();
        let after = Manifest::from_json(text.as_bytes()).unwrap();
        assert_eq!(after, before);
        assert_eq!(stack_sha256(&after.stack), after.stack_sha256);
        assert_eq!(after.to_json().unwrap(), text);
    }

    #[test]
    fn other_versions_and_unknown_fields_are_refused() {
        let text = manifest().to_json().unwrap();
        let newer = text.replacen("\"format\": 1", "\"format\": 2", 1);
        let error = Manifest::from_json(newer.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "manifest.json has format 2, this version reads 1");
        let stray = text.replacen("{", "{ \"stray\": 1,", 1);
        assert!(matches!(Manifest::from_json(stray.as_bytes()), Err(Error::Malformed(_))));
    }

    #[test]
    fn two_collections_agree_and_any_change_shows() {
        let mut stack = collect(BTreeMap::new());
        stack.machine.governors.clear();
        let mut again = collect(BTreeMap::new());
        again.machine.governors.clear();
        assert_eq!(stack_sha256(&stack), stack_sha256(&again));
        let mut other = stack.clone();
        other.machine.governors.insert("policy0".to_owned(), "powersave".to_owned());
        assert_ne!(stack_sha256(&stack), stack_sha256(&other));
        assert!(stack.changes(&stack).is_empty());
        let changes: Vec<String> = stack.changes(&other).iter().map(Change::in_words).collect();
        assert_eq!(changes, ["governors policy0 none → powersave"]);
        let mut manifest = begin(stack.clone(), b"", b"", 1);
        resume(&mut manifest, stack, 2);
        assert!(manifest.one_stack());
        resume(&mut manifest, other.clone(), 3);
        assert!(!manifest.one_stack());
        assert_eq!(manifest.epochs[1].changed_stack, None);
        assert_eq!(manifest.epochs[2].changed_stack, Some(other));
    }

    #[test]
    fn an_engines_paths_are_not_published() {
        let home = dirs::home_dir().unwrap();
        let mut description = Description { engine: "E".to_owned(), ..Description::default() };
        let path = home.join("somewhere").join("libengine.so");
        description.facts.insert("library".to_owned(), path.display().to_string());
        let entry = backend_entry(&description);
        assert_eq!(entry.facts["library"], "~/…/libengine.so");
    }
}
