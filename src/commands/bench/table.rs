//! What is printed of a benchmark: one row per target and prompt length.

use std::io::Write;

use serde::Serialize;

use crate::analysis::{SummaryRow, Tables};
use crate::commands::CommandError;
use crate::commands::columns::aligned_table;
use crate::record::plan::Plan;
use crate::report::document::{Table, Text};
use crate::stats::summary::median;
use crate::terms::Mode;
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
        let of = |mode: Mode| {
            tables.summary.iter().find(|row| {
                row.mode == mode
                    && row.key.backend == *backend
                    && row.key.model == *model
                    && row.key.scenario == cell.scenario
                    && row.key.batch == cell.batch
            })
        };
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
        });
    }
    compare(&mut rows);
    rows
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
    })
}

/// Fills in how the times of one scenario relate.
fn compare(rows: &mut [BenchRow]) {
    let phases: [fn(&mut BenchRow) -> &mut Option<Speed>; 2] = [|row| &mut row.prefill, |row| &mut row.decode];
    for phase in phases {
        let times: Vec<(String, f64)> =
            rows.iter_mut().filter_map(|row| Some((row.scenario.clone(), (*phase(row))?.ms))).collect();
        for row in rows.iter_mut() {
            let scenario = row.scenario.clone();
            let Some(speed) = phase(row) else { continue };
            let same: Vec<f64> = times.iter().filter(|(other, _)| *other == scenario).map(|(_, ms)| *ms).collect();
            let least = same.iter().copied().fold(f64::INFINITY, f64::min);
            speed.over_fastest = (same.len() > 1).then_some(speed.ms / least);
        }
    }
}

/// Prints the rows, those of one prompt length together.
///
/// # Errors
/// `out` cannot be written.
pub fn print(rows: &[BenchRow], out: &mut dyn Write) -> Result<(), CommandError> {
    if rows.is_empty() {
        writeln!(out, "nothing was measured")?;
        return Ok(());
    }
    let mut sorted: Vec<&BenchRow> = rows.iter().collect();
    // Stable: within a scenario the plan's order stays.
    sorted.sort_by_key(|row| rows.iter().position(|other| other.scenario == row.scenario));
    let table = Table::of(sorted)
        .words("prompt", |row| row.scenario.trim_start_matches("prompt-"))
        .words("model", |row| row.model.as_str())
        .words("engine", |row| row.backend.as_str())
        .number("prefill tokens/s", "", |row| rate(row.prefill))
        .number("", "", |row| beside(row.prefill))
        .number("decode tokens/s", "", |row| rate(row.decode))
        .number("ms/token", "", |row| figure(row.decode.and_then(|speed| speed.ms_per_token)))
        .number("", "", |row| beside(row.decode))
        .number("load s", "", |row| figure(row.load_ms.map(|ms| ms / 1e3)))
        .number("memory MiB", "", |row| figure(row.memory_bytes.map(|bytes| bytes as f64 / f64::from(1 << 20))))
        .captioned(Text::default());
    for line in aligned_table(&table) {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "±: half of the 95 % interval; ×: time ÷ the least time at this prompt length\n")?;
    Ok(())
}

/// With its interval.
fn rate(speed: Option<Speed>) -> String {
    let Some(speed) = speed else { return NONE.to_owned() };
    let interval = speed.relative_ci.map(|ci| format!(" ±{} %", significant(ci * 100.0, 2)));
    format!("{}{}", figure(speed.tokens_per_s), interval.unwrap_or_default())
}

/// Against the fastest.
fn beside(speed: Option<Speed>) -> String {
    match speed.and_then(|speed| speed.over_fastest) {
        None => String::new(),
        Some(ratio) if ratio <= 1.0 => "fastest".to_owned(),
        Some(ratio) => format!("{}×", significant(ratio, 3)),
    }
}

fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| significant(value, 3))
}
