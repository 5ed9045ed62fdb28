//! Whether a run folder holds together: its files, its record, and the tables made from it.
//!
//! Everything is checked that can be; what a missing file makes impossible is skipped with the reason, never passed.

mod check;
mod imported;
mod record;
mod references;
mod sealed;
mod tables;

use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use crate::hash::sha256_hex;
use crate::record::FORMAT;
use crate::record::manifest::Manifest;
use crate::record::plan::Plan;
use crate::run_folder::{Parts, RunFolder};
use crate::store::reader::differs_in_line_endings;
use crate::store::{self, MANIFEST, MEASUREMENTS, PLAN, Recording, SPEC, StoreError, TraceRow, read_trace};

use super::{Sources, Tables};

pub use check::{Check, Outcome};
pub use tables::of_line_endings;

/// A run that was looked at.
#[derive(Debug)]
pub struct Examined {
    /// What was found.
    pub checks: Vec<Check>,
    /// What it was made from and what is derived from it, or why nothing is: a part of it cannot be read, or was changed.
    pub derived: Result<Derived, String>,
}

/// A run with its trace and the tables derived from it.
#[derive(Debug)]
pub struct Derived {
    /// The run.
    pub run: RunFolder,
    /// Its power trace.
    pub trace: Vec<TraceRow>,
    /// Its tables.
    pub tables: Tables,
    /// See [`contradictions`].
    pub contradictions: Vec<String>,
}

/// Looks at everything in a run folder. A folder that is no run fails, it is no error.
#[must_use]
pub fn validate(run: &Path) -> Vec<Check> {
    examine(run).checks
}

/// As [`validate`], and gives what was read and derived to whoever goes on with it.
#[must_use]
pub fn examine(run: &Path) -> Examined {
    let parts = Parts::read(run);
    let mut checks = of_files(run, &parts);
    let mut tables_with_trace = Err(UNREADABLE.to_owned());
    match &parts {
        Parts { recording: Ok(recording), plan: Ok(plan), manifest: Ok(manifest), .. } => {
            let again = || {
                let trace = read_trace(run)?;
                let sources = Sources::new(recording, &plan.plan, manifest, &trace);
                let (tables, check) = tables::derive_and_compare(&sources, run);
                drop(sources);
                Ok::<_, StoreError>((trace, tables, check))
            };
            let (checked, derived) = thread::scope(|scope| {
                let checked = scope.spawn(|| of_record(recording, &plan.plan, manifest));
                let derived = again();
                (checked.join().unwrap_or_else(|panic| resume_unwind(panic)), derived)
            });
            let contradictions = told_by(recording, &checked);
            checks.extend(checked);
            let (check, made) = match derived {
                Ok((trace, tables, check)) => (check, Ok((trace, tables, contradictions))),
                Err(error) => (Check::of(tables::CURRENT, &[error.to_string()], String::new()), Err(error.to_string())),
            };
            checks.push(check);
            tables_with_trace = made;
        }
        _ => {
            let names = record::NAMES.iter().chain(&references::NAMES);
            checks.extend(names.map(|name| Check::skip(name, UNREADABLE)));
            checks.push(Check::skip(tables::CURRENT, UNREADABLE));
        }
    }
    checks.push(tables::figures(run));
    let derived = tables_with_trace.and_then(|(trace, tables, contradictions)| {
        let opened = parts.into_folder(run).map_err(|error| not_opened(&error))?;
        Ok(Derived { run: opened, trace, tables, contradictions })
    });
    Examined { checks, derived }
}

/// What the files say each by itself, and of each other by their hashes.
fn of_files(run: &Path, parts: &Parts) -> Vec<Check> {
    let Parts { scenario_sha256, plan, manifest, recording } = parts;
    let mut checks = vec![Check::of("files present", &absent(parts), "all four".to_owned())];
    checks.push(reads("plan reads", plan, |plan| format!("format {}", plan.plan.format)));
    checks.push(reads("manifest reads", manifest, |manifest| format!("format {}", manifest.format)));
    checks.push(reads("every record reads", recording, |recording| {
        let torn = if recording.torn { ", and a torn last line that does not count" } else { "" };
        let format = recording.header().map_or(FORMAT, |header| header.format);
        format!("format {format}, {} lines{torn}", recording.lines.len())
    }));
    match (recording, manifest) {
        (Ok(recording), Ok(manifest)) => {
            let hashes = Hashes {
                run,
                scenario: scenario_sha256.as_ref().ok().map(String::as_str),
                plan: plan.as_ref().ok().map(|file| file.sha256.as_str()),
            };
            checks.push(Check::of("hashes match", &hashes.problems(recording, manifest), "SHA-256".to_owned()));
        }
        _ => checks.push(Check::skip("hashes match", UNREADABLE)),
    }
    checks.push(match recording {
        Ok(recording) => sealed::check(run, recording),
        Err(_) => Check::skip(sealed::NAME, UNREADABLE),
    });
    checks
}

/// The checks of the record's lines. Those of our own calls are not made where another tool made them.
fn of_record(recording: &Recording, plan: &Plan, manifest: &Manifest) -> Vec<Check> {
    let (of_plan, of_each_other) =
        rayon::join(|| record::checks(recording, plan, manifest), || references::checks(recording, plan, manifest));
    let own = [of_plan, of_each_other].concat();
    let Some(imported) = imported::of(recording, plan, manifest) else { return own };
    let still = [record::ONE_STACK, references::COUNTED];
    let kept = own.into_iter().map(|check| {
        if still.contains(&check.name.as_str()) { check } else { Check::skip(&check.name, imported::NOT_OURS) }
    });
    kept.chain([imported]).collect()
}

/// What a record says against itself, in words: whoever reads figures from it must know. Empty: nothing.
#[must_use]
pub fn contradictions(recording: &Recording, plan: &Plan, manifest: &Manifest) -> Vec<String> {
    told_by(recording, &of_record(recording, plan, manifest))
}

/// What a record says against itself, by the checks of its lines.
fn told_by(recording: &Recording, checks: &[Check]) -> Vec<String> {
    let mut failed: Vec<String> = recording.seals.broken.clone();
    let wrong = checks.iter().filter(|check| check.outcome == Outcome::Fail);
    failed.extend(wrong.map(|check| format!("{}: {}", check.name, check.detail)));
    failed
}

/// Why a check that needs all three files was skipped.
const UNREADABLE: &str = "plan, manifest and record are needed, and one of them cannot be read";

/// Why nothing is made of a run whose files can be read: the first line, the others say what helps.
fn not_opened(error: &StoreError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// The files that are not there, or cannot be read from the disk.
fn absent(parts: &Parts) -> Vec<String> {
    let Parts { scenario_sha256, plan, manifest, recording } = parts;
    let errors = [
        (SPEC, scenario_sha256.as_ref().err()),
        (PLAN, plan.as_ref().err()),
        (MANIFEST, manifest.as_ref().err()),
        (MEASUREMENTS, recording.as_ref().err()),
    ];
    let absent = errors.into_iter().filter_map(|(name, error)| Some((name, error.filter(|error| error.is_io())?)));
    absent.map(|(name, error)| format!("{name}: {}", error.reason())).collect()
}

/// Whether a file that is there holds what it should; `good` is the detail of a pass.
fn reads<T>(name: &str, read: &Result<T, StoreError>, good: impl Fn(&T) -> String) -> Check {
    match read {
        Ok(value) => Check::of(name, &[], good(value)),
        Err(error) if error.is_io() => Check::skip(name, "the file is missing"),
        Err(error) => Check::of(name, &[error.reason()], String::new()),
    }
}

/// Hashes of the files that others name by their hash. `None`: the file cannot be read.
struct Hashes<'a> {
    run: &'a Path,
    scenario: Option<&'a str>,
    plan: Option<&'a str>,
}

impl Hashes<'_> {
    fn problems(&self, recording: &Recording, manifest: &Manifest) -> Vec<String> {
        let recorded = recording.header().map_or("", |header| header.plan_sha256.as_str());
        let stack = sha256_hex(&manifest.stack.bytes());
        let comparisons = [
            (SPEC, self.scenario, manifest.config_sha256.as_str(), MANIFEST),
            (PLAN, self.plan, manifest.plan_sha256.as_str(), MANIFEST),
            (PLAN, self.plan, recorded, MEASUREMENTS),
            ("the stack", Some(stack.as_str()), manifest.stack_sha256.as_str(), MANIFEST),
        ];
        let wrong = comparisons.into_iter().filter_map(|(what, found, expected, by)| {
            let found = found?;
            (found != expected).then(|| self.difference(what, found, expected, by))
        });
        let mut wrong: Vec<String> = wrong.collect();
        // Two files name the plan's hash, and its line endings are told once.
        wrong.dedup();
        wrong
    }

    fn difference(&self, what: &str, found: &str, expected: &str, by: &str) -> String {
        let text = store::read_text(self.run, what);
        if text.is_ok_and(|text| differs_in_line_endings(&text, expected)) {
            return format!("the line endings of {what} were changed, nothing else");
        }
        format!("{what} is {found:.12}…, {by} says {expected:.12}…")
    }
}

/// Whether nothing failed.
#[must_use]
pub fn passed(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.outcome != Outcome::Fail)
}
