//! Every cell of a comparison.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::comparison::words::{change, percent, phase};
use crate::comparison::{Basis, CellRow, Comparison, Verdict};
use crate::report::chart::{Forest, ForestRow, ForestStanding, Interval, forest};
use crate::report::document::{Block, Table, Text};
use crate::report::format;
use crate::terms::Mode;

/// Rows of a chart: more of them are too small to be read on a printed page.
const MOST_ROWS: usize = 40;

/// Cells, those first that somebody should look at: by verdict, then by how much slower.
#[must_use]
pub fn by_concern(cells: &[CellRow]) -> Vec<&CellRow> {
    let mut sorted: Vec<&CellRow> = cells.iter().collect();
    sorted.sort_by(|a, b| a.verdict.cmp(&b.verdict).then(slowest_first(a, b)));
    sorted
}

fn slowest_first(a: &CellRow, b: &CellRow) -> Ordering {
    b.ratio.unwrap_or(0.0).total_cmp(&a.ratio.unwrap_or(0.0))
}

/// What cells are called: no longer than it takes to tell them apart within a backend and phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellNames {
    several_batches: bool,
    several_lengths: bool,
}

/// The names of these cells.
#[must_use]
pub fn names(cells: &[CellRow]) -> CellNames {
    let several = |of: fn(&CellRow) -> u32| cells.iter().map(of).collect::<BTreeSet<u32>>().len() > 1;
    CellNames { several_batches: several(|cell| cell.batch), several_lengths: several(|cell| cell.gen_tokens) }
}

impl CellNames {
    /// One of them.
    #[must_use]
    pub fn of(self, cell: &CellRow) -> String {
        let mut name = format!("{} · {}", cell.model, cell.scenario);
        if self.several_batches {
            name.push_str(&format!(" · batch {}", cell.batch));
        }
        if self.several_lengths && cell.gen_tokens > 0 {
            name.push_str(&format!(" · {} steps", cell.gen_tokens));
        }
        name
    }
}

/// The change in words. A dash: not compared.
#[must_use]
pub fn said(cell: &CellRow) -> String {
    let bounds = cell.ratio_low.zip(cell.ratio_high);
    cell.ratio.map_or_else(|| format::ABSENT.to_owned(), |ratio| change(ratio, bounds))
}

/// A table of cells.
#[must_use]
pub fn table(cells: &[&CellRow], names: &CellNames, caption: Text) -> Table {
    tabulated(cells, names, false, caption)
}

/// A table of cells, with how sure each change is where there is room for that.
fn tabulated(cells: &[&CellRow], names: &CellNames, with_tests: bool, caption: Text) -> Table {
    let sessions = |cell: &CellRow| format!("{}, {}", cell.sessions_a, cell.sessions_b);
    Table::of(cells.iter().copied())
        .words("cell", |cell| names.of(cell))
        .words("phase", |cell| phase(cell.mode))
        .words("backend", |cell| cell.backend_b.clone().unwrap_or_else(|| cell.backend.clone()))
        .words("verdict", |cell| cell.verdict.as_str())
        .interval("change", "", "95 %", said)
        .number("before", "ms", |cell| format::ms(cell.location_a_ms))
        .number("after", "ms", |cell| format::ms(cell.location_b_ms))
        .when(with_tests, |columns| {
            columns
                .number("more a step or prefill", "ms", |cell: &CellRow| format::ms(cell.difference_ms))
                .number("p (Holm)", "", |cell: &CellRow| format::p_value(cell.p_holm))
                .number("q", "", |cell: &CellRow| format::p_value(cell.q))
        })
        .words("sessions", sessions)
        .words("why", why)
        .captioned(caption)
}

/// What else must be said of a cell.
#[must_use]
pub fn why(cell: &CellRow) -> String {
    let mut words: Vec<String> = cell.reason.iter().cloned().collect();
    let open = matches!(cell.verdict, Verdict::Undecided | Verdict::SlowerExtentOpen | Verdict::FasterExtentOpen);
    // Of a cell that rests on runs, or where the machine is in doubt, it was not reckoned.
    if open && cell.session_sd_ln.is_some() && cell.basis != Some(Basis::Runs) && !cell.doubted {
        words.push(match cell.sessions_to_decide {
            Some(sessions) => format!("{sessions} sessions a side would decide"),
            None => "no 100 sessions would decide".to_owned(),
        });
    }
    words.extend(cell.clusters.clone());
    words.join("; ")
}

/// One chart per backend and phase, those first that somebody should look at.
pub(super) fn figures(number: usize, comparison: &Comparison) -> Vec<Block> {
    let names = names(&comparison.cells);
    let mut groups: Vec<(&str, Mode)> = Vec::new();
    for cell in by_concern(&comparison.cells).into_iter().filter(|cell| cell.ratio.is_some()) {
        if !groups.contains(&(cell.backend.as_str(), cell.mode)) {
            groups.push((&cell.backend, cell.mode));
        }
    }
    let charts = |(place, (backend, mode)): (usize, &(&str, Mode))| {
        let of_group = |cell: &&CellRow| cell.backend == *backend && cell.mode == *mode;
        let mut cells: Vec<&CellRow> = comparison.cells.iter().filter(of_group).collect();
        cells.sort_by(|a, b| slowest_first(a, b));
        let rows: Vec<ForestRow> = cells.iter().filter_map(|cell| row(cell, names)).collect();
        let title = format!("{} on {backend}", phase(*mode));
        forests(&format!("forest_{number}_{place}_{}", mode.as_str()), &title, rows, comparison.margin)
    };
    groups.iter().enumerate().flat_map(charts).collect()
}

/// Rows as charts that each fit onto a printed page.
fn forests(id: &str, title: &str, rows: Vec<ForestRow>, margin: f64) -> Vec<Block> {
    let all = rows.len();
    let mut charts = Vec::new();
    for (number, some) in rows.chunks(MOST_ROWS).enumerate() {
        let first = number * MOST_ROWS + 1;
        let place = format!(", {first} to {} of {all}", first + some.len() - 1);
        let data = Forest {
            title: format!("{title}{}", if all > MOST_ROWS { place.as_str() } else { "" }),
            x_name: format!("time after ÷ time before; shaded: within {} %", percent(margin)),
            margin,
            rows: some.to_vec(),
        };
        let id = if number == 0 { id.to_owned() } else { format!("{id}_{}", number + 1) };
        charts.push(Block::figure(&id, "Ratios with their 95 % intervals, the slowest first.".into(), forest(&data)));
    }
    charts
}

/// A change with its sign, which is shorter: `+1.6 % [−0.6, 3.9]`.
fn signed(cell: &CellRow) -> String {
    let percent = |ratio: Option<f64>| format::fixed(ratio.map(|ratio| 100.0 * (ratio - 1.0)), 1);
    let change = cell.ratio.map(|ratio| 100.0 * (ratio - 1.0));
    format!("{} [{}, {}]", format::change_percent(change), percent(cell.ratio_low), percent(cell.ratio_high))
}

fn row(cell: &CellRow, names: CellNames) -> Option<ForestRow> {
    let standing = match cell.verdict {
        Verdict::Slower | Verdict::NewlyFailing => ForestStanding::Worse,
        Verdict::Faster => ForestStanding::Better,
        Verdict::Same => ForestStanding::Same,
        _ => ForestStanding::Open,
    };
    let interval = Interval { low: cell.ratio_low?, high: cell.ratio_high? };
    Some(ForestRow { name: names.of(cell), value: signed(cell), ratio: cell.ratio?, interval, standing })
}

pub(super) fn blocks(comparison: &Comparison) -> Vec<Block> {
    let caption = "Cells that somebody should look at first; `comparison.csv` has every figure.";
    let cells = by_concern(&comparison.cells);
    vec![tabulated(&cells, &names(&comparison.cells), true, caption.into()).into()]
}
