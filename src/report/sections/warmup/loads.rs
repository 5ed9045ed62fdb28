//! What loads cost.

use crate::analysis::LoadRow;
use crate::report::document::{Block, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::report::sections::{MOST_ROWS, ReportedRun, strongest};
use crate::terms::{LOAD_CLOCK, Phase};

/// The longest loads.
pub(super) fn table(run: &ReportedRun<'_>) -> Block {
    let loads = &run.tables.load_breakdown;
    let shortened = if loads.len() > MOST_ROWS {
        format!(" Shown are the {MOST_ROWS} longest of {}.", loads.len())
    } else {
        String::new()
    };
    let caption = Text::plain(
        "Loads: from the request for a model until it can answer; the first phase of the first call comes on top. Warm is what \
         that phase takes later, and beside it stands how many warm ones take as long as load and first phase together. From ",
    )
    .code("analysis/load_breakdown.csv")
    .and(format!(".{shortened}{}", coarse_clocks(run)));
    Table::of(strongest(loads, MOST_ROWS, |row| row.duration_ms))
        .words("model", |row| row.model.as_str())
        .words("backend", |row| row.backend.as_str())
        .words("regime", |row| row.regime.as_str().replace('_', " "))
        .number("load", "ms", |row| format::ms(row.duration_ms))
        .words("of which (ms)", |row| parts(run, row))
        .number("first phase", "ms", |row| format::ms(row.first_call_ms))
        .number("warm", "ms", |row| format::ms(row.warm_call_ms))
        .number("as long as", "", warm_phases)
        .number("memory grown", "MiB", |row| {
            format::fixed(row.host_rss_growth_bytes.map(|bytes| bytes as f64 / f64::from(1 << 20)), 1)
        })
        .words("outcome", |row| match row.degraded_kind {
            None => "ok".to_owned(),
            Some(kind) => format!("{kind}: {}", row.detail.as_deref().unwrap_or("no detail")),
        })
        .captioned(caption)
        .into()
}

/// What backends say of a clock that tells their loads in steps.
fn coarse_clocks(run: &ReportedRun<'_>) -> String {
    let backends = run.manifest.stack.backends.iter();
    let said = backends.filter_map(|(name, backend)| Some((name, backend.facts.get(LOAD_CLOCK)?)));
    said.map(|(name, clock)| format!(" Of {name}: {clock}.")).collect()
}

/// How many warm phases take as long as a load with the first one: `56 prefills`.
fn warm_phases(load: &LoadRow) -> String {
    let Some((times, phase)) = load.cold_start_ratio.zip(load.first_call_phase) else { return ABSENT.to_owned() };
    let phases = match phase {
        Phase::Prefill => "prefills",
        Phase::KvDecode => "decodes",
        Phase::GenerateUncached => "uncached generations",
    };
    format!("{} {phases}", format::fixed(times, 0))
}

/// What the engine says a load consists of.
fn parts(run: &ReportedRun<'_>, load: &LoadRow) -> String {
    let parts = run.tables.load_parts.iter().filter(|part| part.load_index == load.load_index);
    let parts: Vec<String> = parts.map(|part| format!("{} {}", part.part, format::ms(part.duration_ms))).collect();
    if parts.is_empty() { ABSENT.to_owned() } else { parts.join(", ") }
}
