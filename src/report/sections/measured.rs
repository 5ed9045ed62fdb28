//! What was measured, on what, and how the numbers came about.

use std::collections::BTreeSet;

use crate::analysis::MetricRow;
use crate::report::document::{Block, Column, Section, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::scenario::Dtype;
use crate::terms::Mode;

use super::ReportedRun;
use super::names::mode;

pub(super) fn section(run: &ReportedRun<'_>) -> Section {
    let blocks = vec![
        boundaries(run),
        models(run),
        placement(run),
        engines(run),
        stacks(run),
        Block::Paragraph(Text::default().strong("How the numbers are made")),
        Block::List(how()),
        Block::Paragraph(Text::default().strong("What this run does not measure")),
        Block::List(limits(run)),
    ];
    Section { id: "measured", title: "What was measured".to_owned(), blocks }
}

/// What is inside the timed region, for the modes that the run has.
fn boundaries(run: &ReportedRun<'_>) -> Block {
    let timed: BTreeSet<Mode> = run.plan.cells.iter().flat_map(|cell| cell.procedure.modes().iter().copied()).collect();
    let rows = run.manifest.stack.backends.iter().flat_map(|(name, backend)| {
        let of = backend.boundary.iter().filter(|(mode, _)| timed.contains(mode));
        of.map(move |(timed, text)| vec![name.as_str().into(), mode(*timed).into(), text.as_str().into()])
    });
    Block::Table(Table {
        caption: Text::plain("What each timed region includes, from ").code("manifest.json").and("."),
        columns: vec![Column::words("backend"), Column::words("mode"), Column::words("the timed region")],
        rows: rows.collect(),
    })
}

fn models(run: &ReportedRun<'_>) -> Block {
    let columns = vec![
        Column::words("model"),
        Column::words("backend"),
        Column::words("family"),
        Column::numbers("parameters (M)"),
        Column::numbers("layers"),
        Column::numbers("width"),
        Column::numbers("heads (KV)"),
        Column::words("type"),
        Column::numbers("loaded (MiB)"),
        Column::numbers("KV bytes/token"),
        Column::words("weights"),
    ];
    let whole = |n: Option<u64>| Text::from(format::count(n));
    let rows = run.tables.model_architecture.iter().map(|row| {
        let heads = row.n_head.zip(row.n_kv_head).map(|(all, kv)| format!("{all} ({kv})"));
        vec![
            row.model.as_str().into(),
            row.backend.as_str().into(),
            row.family.as_deref().unwrap_or(ABSENT).into(),
            format::number(row.params_millions_effective, 3).into(),
            whole(row.n_layer),
            whole(row.n_embd),
            heads.unwrap_or_else(|| ABSENT.to_owned()).into(),
            row.quantisation
                .as_deref()
                .filter(|_| row.dtype == Some(Dtype::AsServed))
                .unwrap_or_else(|| row.dtype.map_or(ABSENT, |dtype| dtype.as_str()))
                .into(),
            format::number(row.bytes.map(|bytes| bytes as f64 / f64::from(1 << 20)), 3).into(),
            whole(row.kv_bytes_per_token),
            Text::default().code(row.weights_id.get(..10).unwrap_or(&row.weights_id)),
        ]
    });
    Block::Table(Table {
        caption: Text::plain("Models; a tied output embedding is counted once. From ")
            .code("analysis/model_architecture.csv")
            .and("."),
        columns,
        rows: rows.collect(),
    })
}

/// Where each session's graph was placed, once per distinct proof.
fn placement(run: &ReportedRun<'_>) -> Block {
    let mut rows: Vec<Vec<Text>> = Vec::new();
    for load in run.recording.loads() {
        let proof: Vec<String> =
            load.attribution.evidence.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let row: Vec<Text> = vec![
            load.session.model.as_str().into(),
            load.session.backend.as_str().into(),
            load.attribution.requested.as_str().into(),
            load.attribution.actual.as_deref().unwrap_or("not proven").into(),
            if proof.is_empty() { ABSENT.into() } else { proof.join(", ").into() },
        ];
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    Block::Table(Table {
        caption: "Where each session ran: what was asked for, what the engine placed, and the proof.".into(),
        columns: vec![
            Column::words("model"),
            Column::words("backend"),
            Column::words("asked for"),
            Column::words("ran on"),
            Column::words("proof"),
        ],
        rows,
    })
}

fn engines(run: &ReportedRun<'_>) -> Block {
    let rows = run.manifest.stack.backends.iter().flat_map(|(name, backend)| {
        let version = backend.version.as_deref().unwrap_or(ABSENT);
        let own = [("engine", backend.engine.as_str()), ("version", version)];
        let facts = backend.facts.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        own.into_iter().chain(facts).map(move |(key, value)| vec![name.as_str().into(), key.into(), value.into()])
    });
    Block::Table(Table {
        caption: Text::plain("Engines as they were set, from ").code("manifest.json").and("."),
        columns: vec![Column::words("backend"), Column::words("fact"), Column::words("value")],
        rows: rows.collect(),
    })
}

fn stacks(run: &ReportedRun<'_>) -> Block {
    let first = &run.manifest.stack;
    let changes = run.manifest.epochs.iter().enumerate().filter_map(|(index, epoch)| {
        let stack = epoch.changed_stack.as_ref()?;
        Some(first.differences(stack).into_iter().map(move |line| format!("process {}: {line}", index + 1)))
    });
    let lines: Vec<Text> = changes.flatten().map(Text::from).collect();
    if lines.is_empty() {
        let hash = run.manifest.stack_sha256.get(..12).unwrap_or_default();
        let text = Text::plain("Software stack ").code(hash).and(", the same for every process of the run.");
        return Block::Paragraph(text);
    }
    Block::List(lines)
}

fn how() -> Vec<Text> {
    [
        "Only timed calls on a warm engine that are not degraded count; cold, warmup and rewarm calls do not.",
        "A cell's latency is the median of its calls. Modes are never mixed.",
        "Over scenarios: geometric mean of the medians for latency; geometric mean of tokens ÷ geometric mean of medians \
         for throughput.",
        "Fits are ordinary least squares on logarithms, over models. The t interval has n − 2 degrees of freedom; the \
         bootstrap draws models with replacement and is too narrow for few of them.",
        "R² is 1 − SSE/SST about the mean of the logarithms.",
    ]
    .map(Text::from)
    .to_vec()
}

fn limits(run: &ReportedRun<'_>) -> Vec<Text> {
    let mut limits: Vec<Text> = vec![
        "Tokenisation, transport and logging: they stay outside the timed regions.".into(),
        "Several requests at once: one call runs at a time.".into(),
        "Quality of what is generated: decode runs for a fixed number of steps, whatever the tokens are.".into(),
    ];
    let powered = |row: &MetricRow| row.power_mean_w.is_some() || row.energy_j.is_some();
    let looped = run.tables.energy_events.iter().any(|event| event.energy_j.is_some());
    if !looped && !run.tables.metrics.iter().any(powered) {
        limits.push("Energy and cost: no power was recorded.".into());
    }
    if run.tables.metrics.iter().all(|row| row.foreign_cpu.is_none()) {
        limits.push("What other programs did beside the calls.".into());
    }
    if run.tables.batch_shift.is_empty() {
        limits.push("Other batches than the one here.".into());
    }
    limits
}
