//! Whether a run folder holds together: its files, its record, and the tables made from it.
//!
//! Everything is checked that can be; what a missing file makes impossible is skipped with the reason, never passed.

mod record;
mod tables;

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::hash::sha256_hex;
use crate::manifest::Manifest;
use crate::plan::{self, Plan};
use crate::record::{FORMAT, Line};
use crate::store::{MANIFEST, MEASUREMENTS, PLAN, Recording, SPEC, reader::FILE_KIND};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What was looked at, in a few words; the same for every run.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
    /// What was found, or why it could not be looked at.
    pub detail: String,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is as it should be.
    Pass,
    /// It is not.
    Fail,
    /// It could not be looked at.
    Skip,
}

/// How many problems of one check are spelt out.
const SPELT_OUT: usize = 3;

impl Check {
    /// Passes without problems, and spells out the first few otherwise. `good` is the detail of a pass.
    pub(crate) fn of(name: &str, problems: &[String], good: String) -> Self {
        let mut detail = problems.iter().take(SPELT_OUT).cloned().collect::<Vec<_>>().join("; ");
        if problems.len() > SPELT_OUT {
            detail.push_str(&format!("; and {} more", problems.len() - SPELT_OUT));
        }
        let (outcome, detail) = if problems.is_empty() { (Outcome::Pass, good) } else { (Outcome::Fail, detail) };
        Self { name: name.to_owned(), outcome, detail }
    }

    /// Could not be looked at.
    pub(crate) fn skip(name: &str, why: &str) -> Self {
        Self { name: name.to_owned(), outcome: Outcome::Skip, detail: why.to_owned() }
    }
}

/// Looks at everything in a run folder. A folder that is no run fails, it is no error.
#[must_use]
pub fn validate(run: &Path) -> Vec<Check> {
    let read = |name: &str| fs::read(run.join(name));
    let (spec, plan_text) = (read(SPEC).ok(), read(PLAN).ok());
    let (manifest_text, lines_text) = (read(MANIFEST).ok(), read(MEASUREMENTS).ok());
    let missing: Vec<String> = [SPEC, PLAN, MANIFEST, MEASUREMENTS]
        .iter()
        .filter_map(|name| read(name).err().map(|error| format!("{name}: {error}")))
        .collect();
    let mut checks = vec![Check::of("files present", &missing, "all four".to_owned())];

    let plan = plan_text.as_deref().map(parse_plan);
    let manifest = manifest_text.as_deref().map(|text| Manifest::from_json(text).map_err(|error| error.to_string()));
    let recording = lines_text.as_deref().map(parse_lines);
    checks.push(parsed("plan reads", plan.as_ref(), |plan| format!("format {}", plan.format)));
    checks.push(parsed("manifest reads", manifest.as_ref(), |manifest| format!("format {}", manifest.format)));
    checks.push(parsed("every record reads", recording.as_ref(), |recording| {
        let torn = if recording.torn { ", and a torn last line that does not count" } else { "" };
        format!("format {FORMAT}, {} lines{torn}", recording.lines.len())
    }));

    let (plan, manifest) = (plan.and_then(Result::ok), manifest.and_then(Result::ok));
    let recording = recording.and_then(Result::ok);
    match (&recording, &manifest) {
        (Some(recording), Some(manifest)) => {
            let hashes = Hashes { spec: spec.as_deref(), plan: plan_text.as_deref() };
            checks.push(Check::of("hashes match", &hashes.problems(recording, manifest), "SHA-256".to_owned()));
        }
        _ => checks.push(Check::skip("hashes match", UNREADABLE)),
    }
    match (&recording, &plan, &manifest) {
        (Some(recording), Some(plan), Some(manifest)) => {
            checks.extend(record::checks(recording, plan, manifest));
            checks.push(tables::current(run, recording, plan, manifest));
        }
        _ => {
            checks.extend(record::NAMES.iter().map(|name| Check::skip(name, UNREADABLE)));
            checks.push(Check::skip(tables::CURRENT, UNREADABLE));
        }
    }
    checks.push(tables::figures(run));
    checks
}

/// Why a check that needs all three files was skipped.
const UNREADABLE: &str = "plan, manifest and record are needed, and one of them cannot be read";

fn parsed<T>(name: &str, read: Option<&Result<T, String>>, good: impl Fn(&T) -> String) -> Check {
    match read {
        None => Check::skip(name, "the file is missing"),
        Some(Ok(value)) => Check::of(name, &[], good(value)),
        Some(Err(why)) => Check::of(name, std::slice::from_ref(why), String::new()),
    }
}

fn parse_plan(text: &[u8]) -> Result<Plan, String> {
    // The version first: a newer file must be refused for its version, not for the first field it adds.
    let tree: serde_json::Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    match tree.get("format").and_then(serde_json::Value::as_u64) {
        Some(found) if found != u64::from(plan::FORMAT) => {
            Err(format!("format {found}, this version reads {}", plan::FORMAT))
        }
        _ => serde_json::from_value(tree).map_err(|error| error.to_string()),
    }
}

/// Reads whole lines; says which one is the first that is no record.
fn parse_lines(text: &[u8]) -> Result<Recording, String> {
    let mut recording = Recording::default();
    for (index, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
        if line.last() != Some(&b'\n') {
            recording.torn = true;
            break;
        }
        let parsed = serde_json::from_slice(line).map_err(|error| format!("line {}: {error}", index + 1))?;
        recording.lines.push(parsed);
        recording.length += line.len() as u64;
    }
    match recording.lines.first() {
        Some(Line::Header(header)) if header.file == FILE_KIND && header.format == FORMAT => Ok(recording),
        Some(Line::Header(header)) => {
            Err(format!("is {} of format {}, expected {FILE_KIND} of format {FORMAT}", header.file, header.format))
        }
        Some(_) => Err("does not begin with a header line".to_owned()),
        None => Err("holds no complete line".to_owned()),
    }
}

/// The files that others name by their hash.
struct Hashes<'a> {
    spec: Option<&'a [u8]>,
    plan: Option<&'a [u8]>,
}

impl Hashes<'_> {
    fn problems(&self, recording: &Recording, manifest: &Manifest) -> Vec<String> {
        let recorded = recording.header().map_or("", |header| header.plan_sha256.as_str());
        let stack = manifest.stack.sha256();
        let plan = self.plan.map(sha256_hex);
        let comparisons = [
            (SPEC, self.spec.map(sha256_hex), manifest.config_sha256.as_str(), MANIFEST),
            (PLAN, plan.clone(), manifest.plan_sha256.as_str(), MANIFEST),
            (PLAN, plan, recorded, MEASUREMENTS),
            ("the stack", Some(stack), manifest.stack_sha256.as_str(), MANIFEST),
        ];
        let wrong = comparisons.into_iter().filter_map(|(what, found, expected, by)| {
            let found = found?;
            (found != expected).then(|| format!("{what} is {found:.12}…, {by} says {expected:.12}…"))
        });
        wrong.collect()
    }
}

/// Whether nothing failed.
#[must_use]
pub fn passed(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.outcome != Outcome::Fail)
}
