//! What is printed of a benchmark: one row per target and prompt length.

use std::io::Write;

use serde::Serialize;

use crate::analysis::{EngineComparisonRow, EngineVerdict, SummaryRow, Tables};
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
    compare(&mut rows, &tables.engine_comparison);
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
    writeln!(
        out,
        "±: half of the 95 % interval; ×: time ÷ the least time at this prompt length, and what engines with one model are to it\n"
    )?;
    Ok(())
}

/// With its interval.
fn rate(speed: Option<Speed>) -> String {
    let Some(speed) = speed else { return NONE.to_owned() };
    let interval = speed.relative_ci.map(|ci| format!(" ±{} %", significant(ci * 100.0, 2)));
    format!("{}{}", figure(speed.tokens_per_s), interval.unwrap_or_default())
}

/// Against the fastest, with what is known of that.
fn beside(speed: Option<Speed>) -> String {
    let Some((speed, ratio)) = speed.and_then(|speed| Some((speed, speed.over_fastest?))) else { return String::new() };
    if ratio <= 1.0 {
        return "fastest".to_owned();
    }
    let verdict = speed.verdict.map(|verdict| format!(" {}", verdict.as_str())).unwrap_or_default();
    format!("{}×{verdict}", significant(ratio, 3))
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
        }
    }

    /// The second of the pair to the first, as the table of comparisons has it.
    fn compared(backend_a: &str, backend_b: &str, verdict: EngineVerdict) -> EngineComparisonRow {
        EngineComparisonRow {
            backend_a: backend_a.to_owned(),
            backend_b: backend_b.to_owned(),
            model: "m".to_owned(),
            weights_id: None,
            dtype: None,
            scenario: "prompt-16".to_owned(),
            batch: 1,
            gen_tokens: 64,
            mode: Mode::KvDecode,
            actual_a: None,
            actual_b: None,
            n_a: 10,
            n_b: 10,
            pairing: None,
            n_pairs: None,
            location_a_ms: None,
            location_b_ms: None,
            ratio: None,
            ratio_low: None,
            ratio_high: None,
            standard_error_ln: None,
            df: None,
            drift_allowance_ln: None,
            detectable_ratio: None,
            p: None,
            p_holm: None,
            q: None,
            welch_p: None,
            mann_whitney_p: None,
            shift_ms: None,
            shift_low_ms: None,
            shift_high_ms: None,
            verdict,
            reason: None,
        }
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
        let shown: Vec<String> = rows.iter().map(|row| beside(row.decode)).collect();
        assert_eq!(shown, ["2.00× slower", "fastest", "1.02× same", "1.50×"], "another model is not compared");
    }
}
