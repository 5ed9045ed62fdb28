//! A run folder: the lines of `measurements.jsonl`, and beside them a plan, a manifest and a power trace.
//!
//! Hashes that no mutation could find are set right first, so that what is behind them is reached.

use std::path::Path;

use phasebench::analysis::engines::Rule;
use phasebench::analysis::{self, Tables, validate};
use phasebench::comparison::measured::Taking;
use phasebench::comparison::{Allowance, RunSide, Settings, Sides, compare};
use phasebench::hash::sha256_hex;
use phasebench::report::files::contents;
use phasebench::report::sections::{ReportedRun, compose};
use phasebench::run_folder::RunFolder;
use phasebench::schedule::{self, Ordering, Recorded};
use phasebench::store::{MANIFEST, MEASUREMENTS, PLAN, POWER_TRACE, SPEC};
use phasebench::units::Nanos;

use super::parts::Parts;
use super::scratch;

/// Of the run that the seeds are lines of.
const GIVEN: [(&str, &[u8]); 3] = [
    (MEASUREMENTS, include_bytes!("../run/measurements.jsonl")),
    (PLAN, include_bytes!("../run/plan.json")),
    (MANIFEST, include_bytes!("../run/manifest.json")),
];
const SCENARIO: &[u8] = include_bytes!("../run/spec.yaml");

pub fn read(data: &[u8]) {
    let parts = Parts::of(data, MEASUREMENTS);
    let [record, plan, manifest] = GIVEN.map(|(name, given)| parts.get(name).unwrap_or(given));
    let plan_hash = sha256_hex(plan);
    let manifest =
        with_hash(with_hash(manifest.to_vec(), "config_sha256", &sha256_hex(SCENARIO)), "plan_sha256", &plan_hash);
    scratch::folder(|folder| {
        scratch::write(&folder.join(SPEC), SCENARIO);
        scratch::write(&folder.join(PLAN), plan);
        scratch::write(&folder.join(MANIFEST), &manifest);
        scratch::write(&folder.join(MEASUREMENTS), &with_hash(record.to_vec(), "plan_sha256", &plan_hash));
        if let Some(trace) = parts.get(POWER_TRACE) {
            scratch::write(&folder.join(POWER_TRACE), trace);
        }
        everything(folder);
    });
}

/// The first hash under this key replaced by the right one.
fn with_hash(mut json: Vec<u8>, key: &str, hash: &str) -> Vec<u8> {
    let begin = format!("\"{key}\":");
    let found = json.windows(begin.len()).position(|window| window == begin.as_bytes());
    let Some(after) = found.map(|at| at + begin.len()) else { return json };
    let quote = json[after..].iter().take(2).position(|&byte| byte == b'"');
    let Some(from) = quote.map(|at| after + at + 1) else { return json };
    let is_hash = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    if json.get(from..from + hash.len()).is_some_and(is_hash) {
        json[from..from + hash.len()].copy_from_slice(hash.as_bytes());
    }
    json
}

/// What `validate`, `analyze`, `report`, `compare` and `run --resume` make of a folder, but for what they write.
pub fn everything(folder: &Path) {
    drop(serde_json::to_string(&validate::validate(folder)));
    let opened = RunFolder::open(folder).and_then(|run| Ok((run.trace()?, run)));
    let (trace, run) = match opened {
        Ok(opened) => opened,
        Err(error) => return drop(error.to_string()),
    };
    drop(validate::contradictions(&run.recording, &run.plan, &run.manifest));
    let tables = analysis::derive(&run.recording, &run.plan, &run.manifest, &trace);
    drop(analysis::files(&tables));
    drop(contents(&compose(&ReportedRun::new(&run, &trace, &tables))));
    compared(&run, &tables);
    resumed(&run);
}

/// The run against itself: every pair is one.
fn compared(run: &RunFolder, tables: &Tables) {
    let mut taking = Taking::new(&run.plan, &run.manifest, false);
    for call in run.recording.shared_calls() {
        taking.call(call);
    }
    let cells = taking.done().cells(&run.plan, &tables.compile_audit, run.manifest.imported.is_some());
    let finished = run.recording.finished();
    let side = RunSide { name: "run", plan: &run.plan, manifest: &run.manifest, finished, cells: &cells, kernels: &[] };
    let settings = Settings { rule: Rule::default(), allowance: Some(Allowance::supposed(&run.manifest)) };
    if let Ok(comparison) = compare(&Sides::of_runs(side, side), &settings) {
        drop(serde_json::to_string(&comparison));
    }
}

/// What comes next in the run.
fn resumed(run: &RunFolder) {
    let recorded = Recorded::of(&run.plan, &run.recording.lines);
    drop(schedule::next(&run.plan, &Ordering::new(&run.plan), &recorded, Nanos(0)));
}
