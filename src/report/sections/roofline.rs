//! Why that fast and not faster: each cell beside what the machine can do at most.

use crate::analysis::{HeldBy, MachineRow, RooflineRow};
use crate::report::chart::{RatePoint, RateSeries, Rates, rates};
use crate::report::document::{Block, Section, Table, Text};
use crate::report::format;
use crate::terms::{Kernel, Mode};

use super::names::{Names, counted, mode};
use super::{MOST_ROWS, ReportedRun, strongest};

mod threads;

/// A kernel that moved by more than this inside a run is worth a sentence.
const DRIFT: f64 = 0.05;

pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Option<Section> {
    // On a board only memory is a roof: what does not hold a cell is a figure all the same.
    let is_known = |row: &&RooflineRow| row.held_by.is_some() || (row.board.is_some() && row.memory_share.is_some());
    let known = run.tables.roofline.iter().filter(is_known);
    let rows: Vec<&RooflineRow> = known.collect();
    // Why a figure is missing that was asked for is worth a sentence where nothing else stands here.
    let has_reason = run.tables.machine.iter().any(|row| row.not_measured.is_some());
    if rows.is_empty() && !has_reason {
        return None;
    }
    let mut blocks = vec![Block::Paragraph(INTRO.into())];
    if !rows.is_empty() {
        blocks.extend(Some(sentences(&rows, names)).filter(|said| !said.is_empty()).map(Block::List));
        blocks.extend(threads::sentences(run, names).map(Block::List));
        blocks.extend(plot(run, &rows, names));
        blocks.push(cells(&rows).into());
    }
    blocks.push(Block::Paragraph(machine(&run.tables.machine)));
    Some(Section { id: "roofline", title: "Why that fast and not faster".to_owned(), blocks })
}

const INTRO: &str = "A decode step reads at least the weights and the KV cache, a prefill multiplies and adds at least twice per parameter \
                     and token. How long that takes at the machine's own speed, measured by kernels that use nothing of any engine while \
                     the run went on, no engine can undercut; the nearer of both roofs holds a cell if it takes more than half of its time.";

/// For each backend, and of prefill and decode, the cell with the largest model.
fn sentences(rows: &[&RooflineRow], names: &Names) -> Vec<Text> {
    let mut said = Vec::new();
    for backend in names.backends() {
        for timed in [Mode::KvDecode, Mode::Prefill] {
            let of_both = rows.iter().filter(|row| row.key.backend == *backend && row.mode == timed);
            let largest = of_both
                .max_by(|a, b| a.weights_bytes.total_cmp(&b.weights_bytes).then(a.operations.total_cmp(&b.operations)));
            said.extend(largest.and_then(|row| sentence(row, names)));
        }
    }
    said
}

/// What holds a cell, and what would change it.
pub(super) fn sentence(row: &RooflineRow, names: &Names) -> Option<Text> {
    let what = names.cell(&row.key.model, &row.key.scenario, row.key.batch, row.key.gen_tokens);
    let of = format!("{} of {what} on {}:", mode(row.mode), row.key.backend);
    let of_roof = of_roof(row);
    let answer = match row.held_by? {
        HeldBy::Memory if row.board.is_some() => format!(
            "{of_roof}; it is held by the board's memory, which it reads at {} of the speed that the driver copies at there. Fewer \
             bytes help: a smaller model or a narrower element type; more arithmetic does not",
            share(row.memory_share, row.memory_share_low, row.memory_share_high)
        ),
        HeldBy::Memory => format!(
            "{of_roof}; it is held by memory, which it reads at {} of the machine's speed. Fewer bytes help: a smaller \
             model or a narrower element type; a faster processor does not",
            share(row.memory_share, row.memory_share_low, row.memory_share_high)
        ),
        HeldBy::MemoryPlain => format!(
            "{of_roof}; it is held by memory on plain pages, which are read at {} of the speed of huge ones here. Huge \
             pages or fewer bytes help; a faster processor does not",
            format::percent(row.memory_plain_roof.zip(row.memory_roof).map(|(plain, huge)| plain / huge))
        ),
        HeldBy::Compute => format!(
            "{of_roof}; it is held by the processor's arithmetic, of which it uses {}. More or faster cores help; faster \
             memory does not",
            share(row.compute_share, row.compute_share_low, row.compute_share_high)
        ),
        HeldBy::Overhead => format!(
            "{of_roof}; neither memory nor arithmetic holds it ({}): what is left is the engine's own work, which \
             shrinks with neither",
            both_shares(row)
        ),
    };
    Some(Text::default().strong(of).and(format!(" {answer}.")))
}

/// What is reached, and what the nearer roof allows. Both were measured, so that the first can come out a little above.
fn of_roof(row: &RooflineRow) -> String {
    let (reached, roof) = (format::number(row.tokens_per_s, 3), format::number(row.ceiling_tokens_per_s, 3));
    if row.ceiling_tokens_per_s.is_some_and(|ceiling| row.tokens_per_s > ceiling) {
        return format!("{reached} tokens/s, at the roof of {roof} tokens/s");
    }
    format!("{reached} tokens/s of at most {roof} tokens/s")
}

fn both_shares(row: &RooflineRow) -> String {
    let compute = format!("{} of the arithmetic", format::percent(row.compute_share));
    match row.fits_cache {
        Some(true) => format!("{compute}; the weights fit into the caches"),
        _ => format!("{} of the memory's speed, {compute}", format::percent(row.memory_share)),
    }
}

fn share(value: Option<f64>, low: Option<f64>, high: Option<f64>) -> String {
    let bounds = low.zip(high).map(|(low, high)| format!(" [{}, {}]", format::percent(low), format::percent(high)));
    format!("{}{}", format::percent(value), bounds.unwrap_or_default())
}

/// Operations per second against operations per byte: the machine's two roofs, and the cells below them. `None`: all cells ran on
/// boards, which have one roof.
fn plot(run: &ReportedRun<'_>, rows: &[&RooflineRow], names: &Names) -> Option<Block> {
    let rows: Vec<&RooflineRow> = rows.iter().copied().filter(|row| row.board.is_none()).collect();
    if rows.is_empty() {
        return None;
    }
    let intensity = |row: &RooflineRow| row.operations / (row.weights_bytes + row.kv_read_bytes);
    let mut series = Vec::new();
    let ends =
        rows.iter().map(|row| intensity(row)).fold((f64::MAX, 0.0_f64), |(low, high), x| (low.min(x), high.max(x)));
    let fastest = |of: fn(&RooflineRow) -> Option<f64>| rows.iter().filter_map(|row| of(row)).reduce(f64::max);
    let compute = fastest(|row| row.compute_roof);
    for (name, memory) in
        [("roof", fastest(|row| row.memory_roof)), ("on plain pages", fastest(|row| row.memory_plain_roof))]
    {
        let Some((memory, compute)) = memory.zip(compute) else { continue };
        let at = |x: f64| (x, (x * memory).min(compute) / 1e9);
        let line = vec![at(ends.0 / 2.0), at(compute / memory), at((2.0 * ends.1).max(2.0 * compute / memory))];
        series.push(RateSeries { name: name.to_owned(), points: Vec::new(), line });
    }
    for backend in names.backends() {
        for timed in [Mode::KvDecode, Mode::Prefill] {
            let own = rows.iter().filter(|row| row.key.backend == *backend && row.mode == timed);
            let point = |row: &&RooflineRow| RatePoint {
                x: intensity(row),
                y: row.achieved_operations_per_s / 1e9,
                interval: None,
            };
            let points: Vec<RatePoint> = own.map(point).collect();
            if !points.is_empty() {
                series.push(RateSeries {
                    name: format!("{}, {backend}", mode(timed).to_lowercase()),
                    points,
                    line: Vec::new(),
                });
            }
        }
    }
    let data = Rates {
        title: format!("{}: cells under the machine's roofs", run.plan.name),
        x_name: "operations per byte read".to_owned(),
        y_name: "GFLOP/s".to_owned(),
        series,
    };
    let caption = Text::plain("To the left of the corner memory is the nearer roof, to the right of it arithmetic; a cell whose weights fit into the \
                               caches may stand above the slope. From ")
        .code("analysis/roofline.csv")
        .and(".");
    Some(Block::figure("roofline", caption, rates(&data)))
}

fn cells(rows: &[&RooflineRow]) -> Table {
    let shown = strongest(rows, MOST_ROWS, |row| row.weights_bytes);
    let left_out = if rows.len() > shown.len() { " Those with the largest models; all are in the file." } else { "" };
    let caption = Text::plain("What a step reads and computes at least, beside what the machine can. From ")
        .code("analysis/roofline.csv")
        .and(format!(".{left_out}"));
    let giga = |value: f64| format::number(value / 1e9, 3);
    Table::of(shown.into_iter().copied())
        .words("mode", |row| mode(row.mode).to_lowercase())
        .words("backend", |row| row.key.backend.as_str())
        .words("model", |row| row.key.model.as_str())
        .words("scenario", |row| row.key.scenario.as_str())
        .count("batch", |row| row.key.batch)
        .number("read", "GB/s", |row| giga(row.achieved_bytes_per_s))
        .number("of the memory", "", |row| {
            if row.fits_cache == Some(true) { "in caches".to_owned() } else { format::percent(row.memory_share) }
        })
        .number("computed", "GFLOP/s", |row| giga(row.achieved_operations_per_s))
        .number("of the arithmetic", "", |row| format::percent(row.compute_share))
        .number("measured", "tokens/s", |row| format::number(row.tokens_per_s, 3))
        .number("ceiling", "tokens/s", |row| format::number(row.ceiling_tokens_per_s, 3))
        .words("held by", |row| row.held_by.map_or("", held_by))
        .captioned(caption)
}

fn held_by(by: HeldBy) -> &'static str {
    match by {
        HeldBy::Memory => "memory",
        HeldBy::MemoryPlain => "memory on plain pages",
        HeldBy::Compute => "arithmetic",
        HeldBy::Overhead => "neither",
    }
}

/// How often the machine was measured, and whether it stayed as fast as it was.
fn machine(rows: &[MachineRow]) -> Text {
    let times: std::collections::BTreeSet<(u32, u32)> = rows.iter().map(|row| (row.epoch, row.reference)).collect();
    let spread = |of: &dyn Fn(&MachineRow) -> bool| {
        let own = || rows.iter().filter(|row| of(row)).filter_map(|row| row.relative);
        let (low, high) = (own().fold(f64::MAX, f64::min), own().fold(0.0, f64::max));
        (times.len() > 1 && own().next().is_some()).then_some((low - 1.0, high - 1.0))
    };
    let mut text = format!("The machine was measured {} in this run", times_of(times.len()));
    for (kernel, name) in [(Kernel::Memory, "memory"), (Kernel::Compute, "arithmetic")] {
        text.push_str(&moved(name, spread(&|row| row.kernel == kernel)));
    }
    let boards: std::collections::BTreeSet<&str> = rows.iter().filter_map(|row| row.board.as_deref()).collect();
    for board in boards {
        let name = format!("the memory of board {board}");
        text.push_str(&moved(&name, spread(&|row| row.board.as_deref() == Some(board))));
    }
    let reasons: std::collections::BTreeSet<&str> = rows.iter().filter_map(|row| row.not_measured.as_deref()).collect();
    for why in reasons {
        text.push_str(&format!("; the memory of a board was not measured, because {why}"));
    }
    Text::plain(format!("{text}. All of it: ")).code("analysis/machine.csv").and(".")
}

/// How far a kernel moved over the run, for the middle of a sentence. Empty: it was measured once at most.
fn moved(name: &str, spread: Option<(f64, f64)>) -> String {
    let Some((low, high)) = spread else { return String::new() };
    let changes = (format::change_percent(100.0 * low), format::change_percent(100.0 * high));
    let moved = if high - low > 2.0 * DRIFT { ", which may explain cells that drift" } else { "" };
    format!("; {name} stayed within {} and {} of its median{moved}", changes.0, changes.1)
}

fn times_of(n: usize) -> String {
    if n == 1 { "once".to_owned() } else { counted(n, "time") }
}
