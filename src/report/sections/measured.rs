//! What was measured, on what, and how the numbers came about.

use std::collections::BTreeSet;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::analysis::{MetricRow, ModelRow};
use crate::report::document::{Block, Section, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::terms::{Dtype, Mode};

use super::ReportedRun;
use super::names::{Names, mode};

mod placement;

/// How the numbers are made, in whole sentences.
const HOW: [&str; 5] = [
    "Only timed calls on a warm engine that are not degraded count; cold, warmup and rewarm calls do not.",
    "A cell's latency is the median of its calls. Modes are never mixed.",
    "Over scenarios: geometric mean of the medians for latency; geometric mean of tokens ÷ geometric mean of medians \
         for throughput.",
    "Fits are ordinary least squares on logarithms, over models. The t interval holds the models' scatter, with n − 2 \
     degrees of freedom, and of power laws how well each median is known, with the degrees of freedom of its calls; the \
     bootstrap draws models with replacement and is too narrow for few of them.",
    "R² is 1 − SSE/SST about the mean of the logarithms.",
];

pub(super) fn section(run: &ReportedRun<'_>, _: &Names) -> Option<Section> {
    let mut blocks = vec![boundaries(run), models(run), placement::loads(run)];
    blocks.extend(placement::calls(run));
    blocks.extend([
        engines(run),
        stacks(run),
        Block::Paragraph(Text::default().strong("How the numbers are made")),
        Block::List(HOW.map(Text::from).to_vec()),
        Block::Paragraph(Text::default().strong("What this run does not measure")),
        Block::List(limits(run)),
    ]);
    Some(Section { id: "measured", title: "What was measured".to_owned(), blocks })
}

/// What is inside the timed region, for the modes that the run has.
fn boundaries(run: &ReportedRun<'_>) -> Block {
    let modes: BTreeSet<Mode> = run.plan.cells.iter().flat_map(|cell| cell.procedure.modes().iter().copied()).collect();
    let backends = run.manifest.stack.backends.iter();
    let boundaries =
        backends.flat_map(|(name, entry)| entry.boundary.iter().map(move |(mode, text)| (name, mode, text)));
    let imported = run.manifest.imported.is_some();
    Table::of(boundaries.filter(|(_, mode, _)| imported || modes.contains(mode)))
        .words("backend", |(backend, ..)| backend)
        .words("mode", |(_, timed, _)| mode(*timed))
        .words("the timed region", |(.., text)| text)
        .captioned(Text::plain("What each timed region includes, from ").code("manifest.json").and("."))
        .into()
}

fn models(run: &ReportedRun<'_>) -> Block {
    let caption = Text::plain("Models; a tied output embedding is counted once. From ")
        .code("analysis/model_architecture.csv")
        .and(".");
    Table::of(&run.tables.model_architecture)
        .words("model", |row| row.model.as_str())
        .words("backend", |row| row.backend.as_str())
        .words("family", |row| row.family.as_deref().unwrap_or(ABSENT))
        .number("parameters", "M", |row| format::number(row.params_millions_effective, 3))
        .number("layers", "", |row| format::count(row.n_layer))
        .number("width", "", |row| format::count(row.n_embd))
        .number("heads", "KV", |row| match row.n_head.zip(row.n_kv_head) {
            Some((heads, kv_heads)) => format!("{heads} ({kv_heads})"),
            None => ABSENT.to_owned(),
        })
        .words("type", element_type)
        .number("loaded", "MiB", |row| format::number(row.bytes.map(|bytes| bytes as f64 / f64::from(1 << 20)), 3))
        .number("KV bytes/token", "", |row| format::count(row.kv_bytes_per_token))
        .words("weights", |row| Text::default().code(row.weights_id.get(..10).unwrap_or(&row.weights_id)))
        .captioned(caption)
        .into()
}

/// The element type; of a model that a server has its own form of, that form.
fn element_type(row: &ModelRow) -> &str {
    let served = row.quantisation.as_deref().filter(|_| row.dtype == Some(Dtype::AsServed));
    served.unwrap_or_else(|| row.dtype.map_or(ABSENT, Dtype::as_str))
}

fn engines(run: &ReportedRun<'_>) -> Block {
    let facts = run.manifest.stack.backends.iter().flat_map(|(backend, entry)| {
        let version = entry.version.as_deref().unwrap_or(ABSENT);
        let own = [("engine", entry.engine.as_str()), ("version", version)];
        let others = entry.facts.iter().map(|(fact, value)| (fact.as_str(), value.as_str()));
        own.into_iter().chain(others).map(move |(fact, value)| (backend, fact, value))
    });
    Table::of(facts)
        .words("backend", |(backend, ..)| backend)
        .words("fact", |(_, fact, _)| fact)
        .words("value", |(.., value)| value)
        .captioned(Text::plain("Engines as they were set, from ").code("manifest.json").and("."))
        .into()
}

fn stacks(run: &ReportedRun<'_>) -> Block {
    let first = &run.manifest.stack;
    let changes = run.manifest.epochs.iter().enumerate().filter_map(|(index, epoch)| {
        let stack = epoch.changed_stack.as_ref()?;
        let lines = first.changes(stack).into_iter().map(|change| change.in_words());
        Some(lines.map(move |line| format!("process {}: {line}", index + 1)))
    });
    let lines: Vec<Text> = changes.flatten().map(Text::from).collect();
    if lines.is_empty() {
        let hash = run.manifest.stack_sha256.get(..12).unwrap_or_default();
        let text = Text::plain("Software stack ").code(hash).and(", the same for every process of the run.");
        return Block::Paragraph(text);
    }
    Block::List(lines)
}

fn limits(run: &ReportedRun<'_>) -> Vec<Text> {
    let mut limits: Vec<Text> = vec![
        "Tokenisation, transport and logging: they stay outside the timed regions.".into(),
        "Several requests at once: one call runs at a time.".into(),
        "Quality of what is generated: decode runs for a fixed number of steps, whatever the tokens are.".into(),
    ];
    let powered = |row: &MetricRow| row.power_mean_w().is_some() || row.energy().energy_j.is_some();
    let energy = run.tables.energy_events.iter().any(|event| event.energy_j.is_some());
    if !energy && !run.tables.metrics.par_iter().any(powered) {
        limits.push("Energy and cost: no power was recorded.".into());
    }
    if run.tables.metrics.par_iter().all(|row| row.beside.foreign_cpu.is_none()) {
        limits.push("What other programs did beside the calls.".into());
    }
    if run.tables.batch_shift.is_empty() {
        limits.push("Other batches than the one here.".into());
    }
    if run.tables.decode_length_shift.is_empty() {
        limits.push("Other decode lengths than the one here: whether the law survives one is not tested.".into());
    }
    limits
}
