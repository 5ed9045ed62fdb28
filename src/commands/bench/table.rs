//! What is printed of a benchmark: one row per target and prompt length.

use std::io::Write;

use serde::Serialize;

use crate::analysis::{CellKey, EngineComparisonRow, EngineVerdict, RooflineRow, SummaryRow, Tables};
use crate::commands::CommandError;
use crate::commands::columns::aligned;
use crate::record::plan::Plan;
use crate::stats::summary::median;
use crate::terms::Mode;
use crate::text::one_line;
use crate::units::significant;

/// Stands for a figure that is not there.
const NONE: &str = "–";

/// A target at one prompt length.
#[derive(Debug, Serialize)]
pub struct BenchRow {
    /// Engine.
    pub backend: String,
    /// Model.
    pub model: String,
    /// Prompt length asked for, as the scenario is called.
    pub scenario: String,
    /// Rows decoded together.
    pub batch: u32,
    /// The prefill. `None`: nothing of it counts, or nothing proves where it ran.
    pub prefill: Option<Speed>,
    /// The decode steps. `None`: as above.
    pub decode: Option<Speed>,
    /// Median of the loads that worked. `None`: none did.
    /// Unit: ms.
    pub load_ms: Option<f64>,
    /// Most that the engine's process grew in a load. `None`: not measurable.
    /// Unit: bytes.
    pub memory_bytes: Option<i64>,
    /// What the decode steps read at least ÷ what the machine reads in that time. `None`: the run did not measure the machine,
    /// or too slow; the weights fit into its caches; nothing proves that the processor computed.
    /// Unit: fraction.
    pub memory_share: Option<f64>,
}

/// How fast a phase is.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Speed {
    /// Location of the phase's time.
    /// Unit: ms.
    pub ms: f64,
    /// That ÷ the steps, or the prompt tokens of a row.
    /// Unit: ms.
    pub ms_per_token: Option<f64>,
    /// Tokens of all rows ÷ that time.
    /// Unit: tokens/s.
    pub tokens_per_s: Option<f64>,
    /// Half the width of the location's 95 % interval ÷ the location. `None`: too few calls.
    pub relative_ci: Option<f64>,
    /// Time ÷ the least time among engines with the same scenario. `None`: there is no other.
    pub over_fastest: Option<f64>,
    /// What it is to the fastest, as `engine_comparison.csv` has it. `None`: it is the fastest, or the two are not compared.
    pub verdict: Option<EngineVerdict>,
}

/// A row for every target and prompt length with a call that counts, in the plan's order.
pub fn rows(plan: &Plan, tables: &Tables) -> Vec<BenchRow> {
    let mut rows: Vec<BenchRow> = Vec::new();
    for cell in &plan.cells {
        let (backend, model) = (&cell.session.backend, &cell.session.model);
        let known = |row: &BenchRow| {
            row.backend == *backend && row.model == *model && row.scenario == cell.scenario && row.batch == cell.batch
        };
        if rows.iter().any(known) {
            continue;
        }
        let is_of_row = |key: &CellKey| {
            key.backend == *backend && key.model == *model && key.scenario == cell.scenario && key.batch == cell.batch
        };
        let of = |mode: Mode| tables.summary.iter().find(|row| row.mode == mode && is_of_row(&row.key));
        let mut near_roof = tables.roofline.iter().filter(|row| row.mode == Mode::KvDecode && is_of_row(&row.key));
        let loads = tables.load_breakdown.iter().filter(|load| load.backend == *backend && load.model == *model);
        let loads: Vec<_> = loads.filter(|load| load.degraded_kind.is_none()).collect();
        rows.push(BenchRow {
            backend: backend.clone(),
            model: model.clone(),
            scenario: cell.scenario.clone(),
            batch: cell.batch,
            prefill: of(Mode::Prefill).and_then(speed),
            decode: of(Mode::KvDecode).and_then(speed),
            load_ms: median(&loads.iter().map(|load| load.duration_ms).collect::<Vec<f64>>()),
            memory_bytes: loads.iter().filter_map(|load| load.host_rss_growth_bytes).max(),
            memory_share: near_roof.next().and_then(memory_share),
        });
    }
    compare(&mut rows, &tables.engine_comparison);
    rows
}

/// `None`: memory does not bound the cell, or the cell exceeds a roof, which then was measured too low.
fn memory_share(row: &RooflineRow) -> Option<f64> {
    row.memory_share.filter(|_| row.held_by.is_some() && row.fits_cache != Some(true))
}

/// `None`: nothing proves where the calls ran, or there are too few.
fn speed(row: &SummaryRow) -> Option<Speed> {
    if !row.is_proven() {
        return None;
    }
    let ms = row.location_ms?;
    let share = ms / row.median_ms;
    Some(Speed {
        ms,
        ms_per_token: row.ms_per_token.map(|per_token| per_token * share),
        tokens_per_s: row.tokens_per_s.map(|rate| rate / share),
        relative_ci: row.ci_relative,
        over_fastest: None,
        verdict: None,
    })
}

/// Fills in how the times of one scenario relate.
fn compare(rows: &mut [BenchRow], comparison: &[EngineComparisonRow]) {
    type Phase = fn(&mut BenchRow) -> &mut Option<Speed>;
    let phases: [(Mode, Phase); 2] = [(Mode::Prefill, |row| &mut row.prefill), (Mode::KvDecode, |row| &mut row.decode)];
    for (mode, phase) in phases {
        for place in 0..rows.len() {
            let scenario = rows[place].scenario.clone();
            let mut times: Vec<(usize, f64)> = Vec::new();
            for (other, row) in rows.iter_mut().enumerate() {
                let same = row.scenario == scenario;
                times.extend(phase(row).filter(|_| same).map(|speed| (other, speed.ms)));
            }
            let Some(&(fastest, least)) = times.iter().min_by(|a, b| a.1.total_cmp(&b.1)) else { continue };
            let verdict = verdict(&rows[place], &rows[fastest], mode, comparison);
            let several = times.len() > 1;
            if let Some(speed) = phase(&mut rows[place]) {
                speed.over_fastest = several.then_some(speed.ms / least);
                speed.verdict = verdict;
            }
        }
    }
}

/// What one row's engine is to another's. `None`: they are the same, or not compared, such as those of two models.
fn verdict(of: &BenchRow, to: &BenchRow, mode: Mode, comparison: &[EngineComparisonRow]) -> Option<EngineVerdict> {
    let cells = comparison.iter().filter(|cell| {
        cell.mode == mode
            && (&cell.scenario, cell.batch) == (&of.scenario, of.batch)
            && cell.model == of.model
            && of.model == to.model
    });
    let mut found = cells.filter_map(|cell| {
        if cell.backend_a == to.backend && cell.backend_b == of.backend {
            Some(cell.verdict)
        } else if cell.backend_a == of.backend && cell.backend_b == to.backend {
            Some(cell.verdict.turned())
        } else {
            None
        }
    });
    found.next().filter(|verdict| *verdict != EngineVerdict::NotCompared)
}

/// A column: two lines above it, and as many as a row needs in it, so that all fit into a terminal of 80 columns.
struct Column {
    titles: [&'static str; 2],
    cell: fn(&BenchRow) -> Vec<String>,
}

const COLUMNS: [Column; 8] = [
    Column { titles: ["prompt", ""], cell: |row| vec![row.scenario.trim_start_matches("prompt-").to_owned()] },
    Column { titles: ["engine", "model"], cell: |row| vec![row.backend.clone(), row.model.clone()] },
    Column { titles: ["prefill", "tokens/s"], cell: |row| phase(row.prefill) },
    Column { titles: ["decode", "tokens/s"], cell: |row| phase(row.decode) },
    Column { titles: ["ms per", "token"], cell: |row| vec![figure(row.decode.and_then(|speed| speed.ms_per_token))] },
    Column { titles: ["load", "s"], cell: |row| vec![figure(row.load_ms.map(|ms| ms / 1e3))] },
    Column {
        titles: ["RAM", "MiB"],
        cell: |row| vec![figure(row.memory_bytes.map(|bytes| bytes as f64 / f64::from(1 << 20)))],
    },
    Column { titles: ["memory", "speed"], cell: |row| vec![share(row.memory_share)] },
];

const LEGEND: &str = "±: half of the 95 % interval
×: time ÷ the least time at this prompt length, and what engines with one
model are to it
memory speed: what decode reads at least, of what the machine reads meanwhile
";

/// Prints the rows, those of one prompt length together.
///
/// # Errors
/// `out` cannot be written.
pub fn print(rows: &[BenchRow], out: &mut dyn Write) -> Result<(), CommandError> {
    if rows.is_empty() {
        writeln!(out, "nothing was measured")?;
        return Ok(());
    }
    lines(rows).iter().try_for_each(|line| writeln!(out, "{line}"))?;
    writeln!(out, "{LEGEND}")?;
    Ok(())
}

/// The table's lines, its titles first.
fn lines(rows: &[BenchRow]) -> Vec<String> {
    let mut sorted: Vec<&BenchRow> = rows.iter().collect();
    // Stable: within a scenario the plan's order stays.
    sorted.sort_by_key(|row| rows.iter().position(|other| other.scenario == row.scenario));
    let mut cells: Vec<Vec<String>> =
        (0..2).map(|line| COLUMNS.iter().map(|column| column.titles[line].to_owned()).collect()).collect();
    for row in sorted {
        let columns: Vec<Vec<String>> = COLUMNS.iter().map(|column| (column.cell)(row)).collect();
        let height = columns.iter().map(Vec::len).max().unwrap_or_default();
        let at = |line: usize| {
            columns.iter().map(move |column| column.get(line).map_or_else(String::new, |cell| one_line(cell)))
        };
        cells.extend((0..height).map(|line| at(line).collect()));
    }
    aligned(&cells)
}

/// How fast, and what that is to the fastest.
fn phase(speed: Option<Speed>) -> Vec<String> {
    let Some(speed) = speed else { return vec![NONE.to_owned()] };
    let interval = speed.relative_ci.map(|ci| format!(" ±{} %", significant(ci * 100.0, 2)));
    let mut lines = vec![format!("{}{}", figure(speed.tokens_per_s), interval.unwrap_or_default())];
    lines.extend(beside(speed));
    lines
}

/// Against the fastest, with what is known of that; a verdict of several words goes on in a line of its own.
fn beside(speed: Speed) -> Vec<String> {
    let Some(ratio) = speed.over_fastest else { return Vec::new() };
    if ratio <= 1.0 {
        return vec!["fastest".to_owned()];
    }
    let ratio = format!("{}×", significant(ratio, 3));
    match speed.verdict.map(EngineVerdict::as_str) {
        None => vec![ratio],
        Some(verdict) => format!("{ratio} {}", verdict.replacen(' ', "\n", 1)).lines().map(str::to_owned).collect(),
    }
}

fn share(share: Option<f64>) -> String {
    share.map_or_else(|| NONE.to_owned(), |share| format!("{} %", significant(share * 100.0, 2)))
}

fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| significant(value, 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(backend: &str, model: &str, ms: f64) -> BenchRow {
        let speed =
            Speed { ms, ms_per_token: None, tokens_per_s: None, relative_ci: None, over_fastest: None, verdict: None };
        BenchRow {
            backend: backend.to_owned(),
            model: model.to_owned(),
            scenario: "prompt-16".to_owned(),
            batch: 1,
            prefill: None,
            decode: Some(speed),
            load_ms: None,
            memory_bytes: None,
            memory_share: None,
        }
    }

    /// The second of the pair to the first, as the table of comparisons has it.
    fn compared(backend_a: &str, backend_b: &str, verdict: EngineVerdict) -> EngineComparisonRow {
        let uncompared =
            EngineComparisonRow::uncompared([backend_a, backend_b], "m", "prompt-16", 1, 64, Mode::KvDecode);
        EngineComparisonRow { verdict, ..uncompared }
    }

    /// Whichever of a pair the plan names first, the verdict is on the row that it stands in.
    #[test]
    fn a_row_says_what_its_engine_is_to_the_fastest() {
        let mut rows = [row("one", "m", 20.0), row("two", "m", 10.0), row("three", "m", 10.2), row("one", "n", 15.0)];
        let comparison = [
            compared("one", "two", EngineVerdict::Faster),
            compared("one", "three", EngineVerdict::Faster),
            compared("two", "three", EngineVerdict::Same),
        ];
        compare(&mut rows, &comparison);
        let shown: Vec<String> = rows.iter().filter_map(|row| Some(beside(row.decode?).join(" "))).collect();
        assert_eq!(shown, ["2.00× slower", "fastest", "1.02× same", "1.50×"], "another model is not compared");
    }

    /// With the longest of our engines' names and verdicts.
    #[test]
    fn the_table_fits_into_80_columns() {
        let speed = |verdict| Speed {
            ms: 1.0,
            ms_per_token: Some(22.84),
            tokens_per_s: Some(12345.6),
            relative_ci: Some(0.0123),
            over_fastest: Some(1.024),
            verdict: Some(verdict),
        };
        let row = BenchRow {
            prefill: Some(speed(EngineVerdict::NotSeparated)),
            decode: Some(speed(EngineVerdict::SlowerExtentOpen)),
            load_ms: Some(12_340.0),
            memory_bytes: Some(1234 << 20),
            memory_share: Some(0.87),
            ..row("torch-compile", "gpt2-25m", 1.0)
        };
        let lines = lines(&[row]);
        let widest = lines.iter().map(|line| line.chars().count()).max();
        assert!(widest.is_some_and(|widest| widest <= 80), "{lines:#?}");
        let told = [
            "prompt  engine         prefill       decode         ms per  load  RAM   memory",
            "        model          tokens/s      tokens/s       token   s     MiB   speed",
            "16      torch-compile  12346 ±1.2 %  12346 ±1.2 %   22.8    12.3  1234  87 %",
            "        gpt2-25m       1.02× not     1.02× slower,",
            "                       separated     extent open",
        ];
        assert_eq!(lines, told);
    }
}
