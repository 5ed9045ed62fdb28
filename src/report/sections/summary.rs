//! The table of medians.

use crate::analysis::SummaryRow;
use crate::analysis::aggregate::distinct;
use crate::analysis::summary::Proof;
use crate::report::document::{Block, Columns, Section, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::terms::{Flag, Mode};

use super::ReportedRun;
use super::names::Names;

const INTRO: &str = "Medians of timed calls on a warm engine, which aggregates and fits use, and beside each the location with its \
     95\u{a0}% interval. The location is the exponential of the mean logarithm: the median of calls that scatter \
     evenly in ratio. Where the two lie apart, calls are skewed. The interval is corrected for how far calls depend on \
     the one before; by how much, and how they vary, stands under how steady the calls are.";

pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Option<Section> {
    let mut blocks = vec![Block::Paragraph(INTRO.into())];
    let summary = &run.tables.summary;
    for backend in names.backends() {
        let of_backend: Vec<&SummaryRow> = summary.iter().filter(|row| &row.key.backend == backend).collect();
        blocks.extend(phases(names, backend, &of_backend));
        blocks.extend(without_cache(names, backend, &of_backend));
    }
    blocks.extend(unproven(names, summary));
    blocks.extend(suspect(run));
    if summary.is_empty() {
        blocks.push(Block::Note("No call counts, so there is no median.".into()));
    }
    Some(Section { id: "medians", title: "What every cell takes".to_owned(), blocks })
}

/// Prefills that count and may be none. `None`: there is none.
fn suspect(run: &ReportedRun<'_>) -> Option<Block> {
    let prefills = || run.tables.metrics.iter().filter(|row| row.mode == Mode::Prefill && row.counts());
    let found = prefills().filter(|row| row.flags.contains(Flag::Suspect)).count();
    let note = format!(
        "{found} of {} prefills took no longer than that of a prompt that the server had kept. They count, since their \
         prompts were never sent before, and are flagged `suspect`.",
        prefills().count()
    );
    (found > 0).then(|| Block::Note(note.into()))
}

/// The cells that are in no fit, aggregate or ranking, by the reason. Empty: there is none.
fn unproven(names: &Names, summary: &[SummaryRow]) -> Vec<Block> {
    let reasons = [
        (Proof::Unattributed, "Unattributed, since nothing proves where these cells ran"),
        (Proof::Imported, "Imported, since another tool measured these cells and nothing proves to us where they ran"),
        (
            Proof::Unaccounted,
            "Unaccounted for, since more of most of their calls belongs to no phase than to one, as where an engine ends a \
             phase before its device has",
        ),
    ];
    reasons.into_iter().filter_map(|(evidence, why)| left_out(names, summary, evidence, why)).collect()
}

/// `None`: no cell is.
fn left_out(names: &Names, summary: &[SummaryRow], evidence: Proof, why: &str) -> Option<Block> {
    let rows = summary.iter().filter(|row| row.attribution == evidence && row.mode != Mode::E2eKv);
    let cells: Vec<String> = rows
        .map(|row| {
            names.cell_of_run(&row.key.backend, &row.key.model, &row.key.scenario, row.key.batch, row.key.gen_tokens)
        })
        .collect();
    let cells = distinct(cells.iter().map(String::as_str));
    let note = format!("{why}, and therefore in no fit, aggregate or ranking: {}.", cells.join("; "));
    (!cells.is_empty()).then(|| Block::Note(note.into()))
}

fn caption(names: &Names, what: &str, backend: &str) -> Text {
    let on = names.on(backend);
    Text::plain(format!("{what}{on}, from ")).code("analysis/summary_by_model_backend_mode.csv").and(".")
}

/// The columns that name a cell within its backend.
pub(super) fn cell_columns<'a, R: Copy>(
    table: Columns<R>,
    names: &Names,
    cell: impl Fn(R) -> &'a SummaryRow,
) -> Columns<R> {
    let model = |row: &SummaryRow| format!("{}{}", row.key.model, label(row.attribution));
    table
        .words("model", |row| model(cell(row)))
        .words("scenario", |row| cell(row).key.scenario.as_str())
        .when(names.several_batches(), |table| table.count("batch", |row| cell(row).key.batch))
        .when(names.several_lengths(), |table| table.count("steps", |row| cell(row).key.gen_tokens))
}

/// What stands behind the name of a model whose row is in no fit.
fn label(evidence: Proof) -> &'static str {
    match evidence {
        Proof::Attributed => "",
        Proof::Unattributed => " (unattributed)",
        Proof::Imported => " (imported)",
        Proof::Unaccounted => " (unaccounted for)",
    }
}

/// A cell's prefill and decode; at least one of them was measured.
#[derive(Clone, Copy)]
struct Phases<'a> {
    measured: &'a SummaryRow,
    prefill: Option<&'a SummaryRow>,
    decode: Option<&'a SummaryRow>,
}

impl<'a> Phases<'a> {
    /// `None`: neither was measured.
    fn of(cell_id: &str, rows: &[&'a SummaryRow]) -> Option<Self> {
        let phase = |mode: Mode| rows.iter().copied().find(|row| row.key.cell_id == cell_id && row.mode == mode);
        let (prefill, decode) = (phase(Mode::Prefill), phase(Mode::KvDecode));
        Some(Self { measured: prefill.or(decode)?, prefill, decode })
    }
}

/// Prefill and decode of each cell side by side, never added up. `None`: the backend has neither.
fn phases(names: &Names, backend: &str, rows: &[&SummaryRow]) -> Option<Block> {
    let timed = rows.iter().filter(|row| matches!(row.mode, Mode::Prefill | Mode::KvDecode));
    let cells = distinct(timed.map(|row| row.key.cell_id.as_str()));
    let phases: Vec<Phases<'_>> = cells.iter().filter_map(|id| Phases::of(id, rows)).collect();
    if phases.is_empty() {
        return None;
    }
    let decodes = phases.iter().any(|cell| cell.decode.is_some());
    let table = cell_columns(Table::of(&phases), names, |cell| cell.measured)
        .count("n", |cell| cell.measured.n)
        .number("prefill, median", "ms", |cell| median(cell.prefill, whole_call))
        .interval("location", "", "95\u{a0}%", |cell| location(cell.prefill, whole_call))
        .number("tokens/s", "", |cell| throughput(cell.prefill))
        .when(decodes, |table| {
            table
                .number("decode, median", "ms/token", |cell| median(cell.decode, per_token))
                .interval("location", "", "95\u{a0}%", |cell| location(cell.decode, per_token))
                .number("tokens/s", "", |cell| throughput(cell.decode))
        })
        .captioned(caption(names, "Prefill and decode of each cell, apart", backend));
    Some(table.into())
}

/// `None`: the backend generated nothing without a cache.
fn without_cache(names: &Names, backend: &str, rows: &[&SummaryRow]) -> Option<Block> {
    let uncached: Vec<&SummaryRow> = rows.iter().copied().filter(|row| row.mode == Mode::GenerateUncached).collect();
    if uncached.is_empty() {
        return None;
    }
    let table = cell_columns(Table::of(uncached), names, |row| row)
        .count("n", |row| row.n)
        .number("uncached, median", "ms/token", |row| median(Some(row), per_token))
        .interval("location", "", "95\u{a0}%", |row| location(Some(row), per_token))
        .number("tokens/s", "", |row| throughput(Some(row)))
        .captioned(caption(names, "Generation without a KV cache", backend));
    Some(table.into())
}

/// What latencies are divided by to be of a whole call.
fn whole_call(_: &SummaryRow) -> f64 {
    1.0
}

/// What latencies are divided by to be per token.
fn per_token(row: &SummaryRow) -> f64 {
    row.ms_per_token.map_or(f64::NAN, |per_token| row.median_ms / per_token)
}

fn median(row: Option<&SummaryRow>, divisor: fn(&SummaryRow) -> f64) -> String {
    format::ms(row.map(|row| row.median_ms / divisor(row)))
}

fn location(row: Option<&SummaryRow>, divisor: fn(&SummaryRow) -> f64) -> String {
    let Some(row) = row else { return ABSENT.to_owned() };
    let divisor = divisor(row);
    let interval = row.ci_low_ms.zip(row.ci_high_ms).map(|(low, high)| (low / divisor, high / divisor));
    format::interval(row.location_ms.map(|location| location / divisor), interval)
}

/// Tokens per second at the median.
fn throughput(row: Option<&SummaryRow>) -> String {
    match row.and_then(|row| row.tokens_per_s) {
        Some(rate) if rate >= 1000.0 => format::fixed(rate, 0),
        rate => format::number(rate, 3),
    }
}
