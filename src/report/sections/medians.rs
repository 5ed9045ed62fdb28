//! The table of medians.

use crate::analysis::SummaryRow;
use crate::analysis::aggregate::distinct;
use crate::report::document::{Block, Column, Section, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::terms::Mode;

use super::ReportedRun;
use super::names::Names;

pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Section {
    let mut blocks = vec![Block::Paragraph(
        "Medians of timed calls on a warm engine, which aggregates and fits use, and beside each the location with its \
         95\u{a0}% interval. The location is the exponential of the mean logarithm: the median of calls that scatter \
         evenly in ratio. Where the two lie apart, calls are skewed. The interval is corrected for how far calls depend on \
         the one before; by how much, and how they vary, stands under how steady the calls are."
            .into(),
    )];
    let rows = &run.tables.summary;
    let of = |modes: &'static [Mode]| rows.iter().filter(move |row| modes.contains(&row.mode));
    for backend in names.backends() {
        let cached: Vec<&SummaryRow> =
            of(&[Mode::Prefill, Mode::KvDecode]).filter(|row| &row.backend == backend).collect();
        if !cached.is_empty() {
            blocks.push(phases(names, backend, &cached));
        }
        let uncached: Vec<&SummaryRow> = of(&[Mode::GenerateUncached]).filter(|row| &row.backend == backend).collect();
        if !uncached.is_empty() {
            blocks.push(without_cache(names, backend, &uncached));
        }
    }
    blocks.extend(unproven(names, rows));
    if rows.is_empty() {
        blocks.push(Block::Note("No call counts, so there is no median.".into()));
    }
    Section { id: "medians", title: "What every cell takes".to_owned(), blocks }
}

/// The cells whose calls do not prove where they ran. `None`: there is none.
fn unproven(names: &Names, rows: &[SummaryRow]) -> Option<Block> {
    let of = rows.iter().filter(|row| !row.is_proven() && row.mode != Mode::E2eKv).map(|row| {
        let cell = names.cell(&row.model, &row.scenario, row.batch, row.gen_tokens);
        if names.several_backends() { format!("{} · {cell}", row.backend) } else { cell }
    });
    let cells: Vec<String> = of.collect();
    let cells = distinct(cells.iter().map(String::as_str));
    let note = format!(
        "Unattributed, since nothing proves where these cells ran, and therefore in no fit, aggregate or ranking: {}.",
        cells.join("; ")
    );
    (!cells.is_empty()).then(|| Block::Note(note.into()))
}

fn caption(names: &Names, what: &str, backend: &str) -> Text {
    let on = if names.several_backends() { format!(" on {backend}") } else { String::new() };
    Text::plain(format!("{what}{on}, from ")).code("analysis/summary_by_model_backend_mode.csv").and(".")
}

/// The columns that name a cell.
pub(super) fn cell_columns(names: &Names) -> Vec<Column> {
    let mut columns = vec![Column::words("model"), Column::words("scenario")];
    if names.several_batches() {
        columns.push(Column::numbers("batch"));
    }
    if names.several_lengths() {
        columns.push(Column::numbers("steps"));
    }
    columns
}

/// A cell's name in those columns.
pub(super) fn cell(names: &Names, row: &SummaryRow) -> Vec<Text> {
    let label = if row.is_proven() { "" } else { " (unattributed)" };
    let mut cell: Vec<Text> = vec![format!("{}{label}", row.model).into(), row.scenario.as_str().into()];
    if names.several_batches() {
        cell.push(row.batch.to_string().into());
    }
    if names.several_lengths() {
        cell.push(row.gen_tokens.to_string().into());
    }
    cell
}

/// Prefill and decode of each cell side by side, never added up.
fn phases(names: &Names, backend: &str, rows: &[&SummaryRow]) -> Block {
    let decodes = rows.iter().any(|row| row.mode == Mode::KvDecode);
    let mut columns = cell_columns(names);
    columns.extend([
        Column::numbers("n"),
        Column::numbers("prefill, median (ms)"),
        Column::numbers("location [95\u{a0}%]"),
        Column::numbers("tokens/s"),
    ]);
    if decodes {
        columns.extend([
            Column::numbers("decode, median (ms/token)"),
            Column::numbers("location [95\u{a0}%]"),
            Column::numbers("tokens/s"),
        ]);
    }
    let ids = distinct(rows.iter().map(|row| row.cell_id.as_str()));
    let lines = ids.iter().filter_map(|id| {
        let of = |mode: Mode| rows.iter().copied().find(|row| row.cell_id == *id && row.mode == mode);
        let (prefill, decode) = (of(Mode::Prefill), of(Mode::KvDecode));
        let either = prefill.or(decode)?;
        let mut line = cell(names, either);
        line.push(either.n.to_string().into());
        line.extend(figures(prefill, |_| 1.0));
        if decodes {
            line.extend(figures(decode, per_token));
        }
        Some(line)
    });
    let rows = lines.collect();
    Block::Table(Table { caption: caption(names, "Prefill and decode of each cell, apart", backend), columns, rows })
}

fn without_cache(names: &Names, backend: &str, rows: &[&SummaryRow]) -> Block {
    let mut columns = cell_columns(names);
    columns.extend([
        Column::numbers("n"),
        Column::numbers("uncached, median (ms/token)"),
        Column::numbers("location [95\u{a0}%]"),
        Column::numbers("tokens/s"),
    ]);
    let lines = rows.iter().map(|row| {
        let mut line = cell(names, row);
        line.push(row.n.to_string().into());
        line.extend(figures(Some(row), per_token));
        line
    });
    let rows = lines.collect();
    Block::Table(Table { caption: caption(names, "Generation without a KV cache", backend), columns, rows })
}

/// Latency ÷ latency per token.
fn per_token(row: &SummaryRow) -> f64 {
    row.ms_per_token.map_or(f64::NAN, |per_token| row.median_ms / per_token)
}

/// Median, location with interval, throughput at the median.
fn figures(row: Option<&SummaryRow>, divisor: impl Fn(&SummaryRow) -> f64) -> [Text; 3] {
    let Some(row) = row else { return [ABSENT.into(), ABSENT.into(), ABSENT.into()] };
    let by = divisor(row);
    let interval = row.ci_low_ms.zip(row.ci_high_ms).map(|(low, high)| (low / by, high / by));
    let throughput = match row.tokens_per_s {
        Some(rate) if rate >= 1000.0 => format::fixed(rate, 0),
        rate => format::number(rate, 3),
    };
    let location = row.location_ms.map(|location| location / by);
    [format::ms(row.median_ms / by).into(), format::interval(location, interval).into(), throughput.into()]
}
