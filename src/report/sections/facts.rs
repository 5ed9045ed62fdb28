//! The short facts below the title.

use std::time::{Duration, UNIX_EPOCH};

use crate::record::manifest::{Machine, Tool};
use crate::report::document::Text;
use crate::report::format::ABSENT;
use crate::terms::{Order, Repetitions, SessionCount};

use super::ReportedRun;
use super::findings::call_counts;
use super::names::counted;

pub(super) fn facts(run: &ReportedRun<'_>) -> Vec<(String, Text)> {
    let stack = &run.manifest.stack;
    let engines: Vec<String> = stack
        .backends
        .iter()
        .map(|(name, entry)| format!("{} {} ({name})", entry.engine, entry.version.as_deref().unwrap_or(ABSENT)))
        .collect();
    let (calls, degraded) = call_counts(run.tables);
    let skipped = run.tables.skipped.len();
    let mut facts = vec![("machine".to_owned(), machine(&stack.machine).into())];
    if !stack.gpus.devices.is_empty() {
        let names: Vec<&str> = stack.gpus.devices.iter().map(|gpu| gpu.name.as_deref().unwrap_or(ABSENT)).collect();
        facts.push(("GPU".to_owned(), names.join(", ").into()));
    }
    facts.extend([
        ("engines".to_owned(), engines.join(", ").into()),
        ("tool".to_owned(), format!("phasebench {}", tool(&stack.tool)).into()),
        ("date".to_owned(), started(run).into()),
        ("calls".to_owned(), format!("{calls}, {degraded} degraded; {} skipped", counted(skipped, "cell")).into()),
    ]);
    if run.manifest.imported.is_none() {
        facts.push(("order".to_owned(), order(run).into()));
    }
    facts
}

/// Version, commit and build of the tool.
pub(super) fn tool(tool: &Tool) -> String {
    let mut text = tool.version.clone();
    if let Some(commit) = &tool.commit {
        let modified = if commit.ends_with("-modified") { ", modified" } else { "" };
        text.push_str(&format!(" (commit {}{modified})", commit.get(..10).unwrap_or(commit)));
    }
    text
}

pub(super) fn machine(machine: &Machine) -> String {
    let mut parts = vec![machine.cpu_model.clone().unwrap_or_else(|| machine.arch.clone())];
    parts.extend(machine.physical_cores.or(machine.logical_cores).map(|cores| counted(cores as usize, "core")));
    parts.extend(machine.is_held().then(|| format!("{} usable", machine.usable())));
    parts.extend(machine.memory_gib.map(|gib| format!("{gib} GiB")));
    parts.extend(machine.os.clone());
    if machine.virtualised == Some(true) {
        parts.push("virtual machine".to_owned());
    }
    parts.join(", ")
}

/// The day of the first process, in UTC.
fn started(run: &ReportedRun<'_>) -> String {
    let first = run.manifest.epochs.first();
    let day = first.map_or_else(|| ABSENT.to_owned(), |epoch| day(epoch.started_unix_ns));
    match run.manifest.epochs.len() {
        0 | 1 => day,
        n => format!("{day}, {n} processes"),
    }
}

/// `2026-01-31`.
fn day(unix_ns: u64) -> String {
    let mut time = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(unix_ns)).to_string();
    time.truncate("2026-01-31".len());
    time
}

fn order(run: &ReportedRun<'_>) -> String {
    let order = match run.plan.order {
        Order::Blocked => "blocked",
        Order::Interleaved => "interleaved",
        Order::Shuffled => "shuffled",
    };
    let repetitions = match run.plan.repetitions {
        Repetitions::Fixed(n) => format!("{n} timed calls per cell"),
        Repetitions::Adaptive { until_relative_ci, .. } => {
            let (min, max) = (run.plan.division().fewest_calls(), run.plan.division().most_calls());
            format!("{min} to {max} timed calls per cell, until ±{:.1}\u{a0}%", until_relative_ci * 100.0)
        }
    };
    let sessions = match run.plan.session_count {
        SessionCount { max: 1, .. } => String::new(),
        SessionCount { min, max } if min == max => format!(", in {max} sessions"),
        SessionCount { min, max } => format!(", in {min} to {max} sessions"),
    };
    format!("{order}, seed {}; {repetitions}{sessions}", run.plan.seed)
}
