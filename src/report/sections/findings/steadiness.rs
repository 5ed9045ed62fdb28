//! Whether the machine was steady while it measured.

use crate::analysis::{CvBand, MetricRow, SummaryRow, Tables};
use crate::report::document::{Assurance, Finding, Text};
use crate::report::format;
use crate::report::sections::ReportedRun;
use crate::report::sections::names::{Names, mode};
use crate::stats::summary::median;
use crate::terms::{Flag, Mode};

use super::share::share_of;

/// What the flag for foreign load says: programs that are not ours ran, or a hypervisor took time away.
pub(super) const BUSY: &str = "Other programs, or the machine's host, were busy";

/// Share of calls beside which other programs were busy, above which an answer is given with caution.
pub(super) const FOREIGN_SHARE: f64 = 0.10;

/// Chance of calling any cell drifting when none is.
const DRIFT_LEVEL: f64 = 0.05;

/// One finding for the run.
pub(super) fn findings(run: &ReportedRun<'_>, names: &Names) -> Vec<Finding> {
    vec![finding(run, names)]
}

/// Whether a cell's calls drift, corrected for looking at `series` of them (Bonferroni).
pub(in crate::report::sections) fn drifts(row: &SummaryRow, series: usize) -> bool {
    row.drift_p.is_some_and(|p| p * (series as f64) < DRIFT_LEVEL)
}

/// The summary's rows of timed modes.
pub(in crate::report::sections) fn timed_summaries(tables: &Tables) -> Vec<&SummaryRow> {
    tables.summary.iter().filter(|row| row.mode != Mode::E2eKv).collect()
}

/// Whether other programs were busy beside a call.
pub(super) fn ran_beside_others(call: &MetricRow) -> bool {
    call.flags.contains(Flag::ForeignLoad)
}

/// A share of calls in words: percent, or `all`.
pub(super) fn percent_or_all(share: f64) -> String {
    if share == 1.0 { "all".to_owned() } else { format::percent(share) }
}

fn finding(run: &ReportedRun<'_>, names: &Names) -> Finding {
    let question = "Was the machine steady?".to_owned();
    let cells = timed_summaries(run.tables);
    let varying = cells.iter().filter(|row| row.cv.is_some());
    let worst = varying.max_by(|a, b| a.cv.partial_cmp(&b.cv).unwrap_or(std::cmp::Ordering::Equal));
    let metrics = run.tables.metrics.iter();
    let calls: Vec<&MetricRow> = metrics.filter(|row| row.counts() && row.mode != Mode::E2eKv).collect();
    let Some(worst) = worst.filter(|_| !calls.is_empty()) else {
        let answer = "No cell has two calls that count.".into();
        return Finding { question, assurance: Assurance::Withheld, answer, grounds: Text::default() };
    };
    let n = cells.len();
    let noisy = cells.iter().filter(|row| row.cv_band.is_some_and(|band| band >= CvBand::Noisy)).count();
    let drifting = cells.iter().filter(|row| drifts(row, n)).count();
    let skewed = cells.iter().filter(|row| row.skewed).count();
    let beside_others = share_beside_others(&calls);
    let quiet = beside_others.is_none_or(|share| share <= FOREIGN_SHARE);
    let steady = quiet && noisy == 0 && drifting == 0 && skewed == 0;
    let load = foreign_load(beside_others);
    let between = sessions(&cells);
    let answer = format!("{load} {noisy} of {n} medians come from calls that vary by more than 5\u{a0}%.{between}");
    let grounds = format!(
        "Largest coefficient of variation: {} ({} of {} on {}). {drifting} of {n} drift over the run; \
         mean and median disagree by more than 10\u{a0}% in {skewed}.",
        format::percent(worst.cv),
        mode(worst.mode).to_lowercase(),
        names.cell(&worst.key.model, &worst.key.scenario, worst.key.batch, worst.key.gen_tokens),
        worst.key.backend,
    );
    let assurance = if steady { Assurance::Holds } else { Assurance::Caution };
    Finding { question, assurance, answer: answer.into(), grounds: grounds.into() }
}

/// How far calls vary within sessions, and sessions beside that; medians over the cells. Empty: cells were measured in one.
fn sessions(cells: &[&SummaryRow]) -> String {
    let figures =
        |of: fn(&SummaryRow) -> Option<f64>| median(&cells.iter().filter_map(|row| of(row)).collect::<Vec<_>>());
    let most = cells.iter().map(|row| row.sessions).max().unwrap_or_default();
    match figures(|row| row.cv_within).zip(figures(|row| row.cv_between)) {
        Some((within, between)) => format!(
            " Over {most} sessions calls vary by {} within one, and processes by {} (the middle cell of each).",
            format::percent(Some(within)),
            format::percent(Some(between))
        ),
        None => String::new(),
    }
}

/// Share of a run's calls that count beside which other programs were busy. `None`: what they did could not be seen.
pub(super) fn share_of_calls_beside_others(run: &ReportedRun<'_>) -> Option<f64> {
    let counted: Vec<&MetricRow> = run.tables.metrics.iter().filter(|row| row.counts()).collect();
    share_beside_others(&counted)
}

/// Share of the calls whose surroundings could be seen that ran beside busy programs. `None`: none could be seen.
fn share_beside_others(calls: &[&MetricRow]) -> Option<f64> {
    let seen = calls.iter().filter(|row| row.beside.foreign_cpu.is_some()).count();
    let beside = calls.iter().filter(|row| ran_beside_others(row)).count();
    share_of(beside, seen)
}

fn foreign_load(share: Option<f64>) -> String {
    match share {
        None => "What other programs did could not be seen.".to_owned(),
        Some(0.0) => "No call ran beside other programs' load.".to_owned(),
        Some(share) => format!("{BUSY} during {} of the calls that count.", percent_or_all(share)),
    }
}
