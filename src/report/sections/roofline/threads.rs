//! How many threads are worth having: backends that differ in nothing else that is known.

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::RooflineRow;
use crate::report::document::Text;
use crate::report::format;
use crate::report::sections::ReportedRun;
use crate::report::sections::names::{Names, mode};
use crate::stats::summary::geometric_mean;
use crate::terms::Mode;

/// Fewer threads are enough that are at least this fast, measured by the fastest.
const ENOUGH: f64 = 0.95;

/// A cell but for its backend.
type Shape<'a> = (&'a str, &'a str, u32, u32);

/// One for decode and one for prefill. `None`: no two backends run the same engine with different numbers of threads.
pub(super) fn sentences(run: &ReportedRun<'_>, names: &Names) -> Option<Vec<Text>> {
    let said: Vec<Text> =
        [Mode::KvDecode, Mode::Prefill].into_iter().filter_map(|timed| sentence(run, names, timed)).collect();
    (!said.is_empty()).then_some(said)
}

fn sentence(run: &ReportedRun<'_>, names: &Names, timed: Mode) -> Option<Text> {
    let rows = || run.tables.roofline.iter().filter(move |row| row.mode == timed);
    let first = names.backends().first()?;
    let engine = |backend: &str| run.manifest.stack.backends.get(backend).map(|entry| (&entry.engine, &entry.version));
    let alike: Vec<&RooflineRow> =
        rows().filter(|row| row.threads.is_some() && engine(&row.key.backend) == engine(first)).collect();
    let mut of_threads: BTreeMap<u32, BTreeMap<Shape<'_>, f64>> = BTreeMap::new();
    for row in &alike {
        let shape = (row.key.model.as_str(), row.key.scenario.as_str(), row.key.batch, row.key.gen_tokens);
        of_threads.entry(row.threads?).or_default().insert(shape, row.step_ms);
    }
    let everywhere: BTreeSet<Shape<'_>> =
        of_threads.values().map(|cells| cells.keys().copied().collect()).reduce(|a: BTreeSet<_>, b| &a & &b)?;
    if of_threads.len() < 2 || everywhere.is_empty() {
        return None;
    }
    let time = |cells: &BTreeMap<Shape<'_>, f64>| {
        let times: Vec<f64> = everywhere.iter().filter_map(|shape| cells.get(shape)).copied().collect();
        geometric_mean(&times)
    };
    let times: Vec<(u32, f64)> =
        of_threads.iter().filter_map(|(threads, cells)| Some((*threads, time(cells)?))).collect();
    let best = times.iter().map(|(_, ms)| *ms).reduce(f64::min)?;
    let enough = times.iter().find(|(_, ms)| best / ms >= ENOUGH)?;
    let fewest = times.first()?;
    let told = times.iter().map(|(threads, ms)| format!("{} with {threads}", format::ratio(fewest.1 / ms)));
    let answer = format!(
        "use {} threads; more of them gain less than 5\u{a0}% or lose. Speed by threads: {}",
        enough.0,
        told.collect::<Vec<_>>().join(", ")
    );
    let answer = answer.replace("use 1 threads", "use 1 thread");
    Some(Text::default().strong(format!("Threads for {}:", mode(timed).to_lowercase())).and(format!(" {answer}.")))
}
