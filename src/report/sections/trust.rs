//! The first screen: whether the numbers can be trusted.

use std::collections::BTreeMap;

use crate::analysis::{CvBand, MetricRow, SummaryRow, Tables};
use crate::report::document::{Finding, Standing, Text};
use crate::report::format;
use crate::terms::{Flag, Mode};

use super::ReportedRun;
use super::names::{Names, counted, mode};

/// What the flag for foreign load says: programs that are not ours ran, or a hypervisor took time away.
pub(super) const BUSY: &str = "Other programs, or the machine's host, were busy";

/// Share of calls beside which other programs were busy, above which an answer is given with caution.
pub(super) const FOREIGN_SHARE: f64 = 0.10;
/// Chance of calling any cell drifting when none is.
const DRIFT_LEVEL: f64 = 0.05;

/// Calls made and degraded ones among them.
pub(super) fn counts(tables: &Tables) -> (usize, usize) {
    let whole = tables.degraded.iter().find(|row| row.cell_id.is_none() && row.kind.is_none());
    whole.map_or((0, 0), |row| (row.calls, row.degraded))
}

/// `part` of `whole`. `None`: the whole is 0.
pub(super) fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// A share in words: percent, or `all`.
pub(super) fn part(share: Option<f64>) -> String {
    if share == Some(1.0) { "all".to_owned() } else { format::percent(share) }
}

/// Whether a row carries a flag.
pub(super) fn has_flag(row: &MetricRow, flag: Flag) -> bool {
    row.flags.split(';').any(|name| name == flag.as_str())
}

/// Whether a cell's calls drift, corrected for looking at `series` of them (Bonferroni).
pub(super) fn drifts(row: &SummaryRow, series: usize) -> bool {
    row.drift_p.is_some_and(|p| p * (series as f64) < DRIFT_LEVEL)
}

/// The summary's rows of timed modes.
pub(super) fn timed(tables: &Tables) -> Vec<&SummaryRow> {
    tables.summary.iter().filter(|row| row.mode != Mode::E2eKv).collect()
}

pub(super) fn findings(run: &ReportedRun<'_>, names: &Names) -> Vec<Finding> {
    vec![calls(run), steadiness(run, names), attribution(run)]
}

fn calls(run: &ReportedRun<'_>) -> Finding {
    let (calls, degraded) = counts(run.tables);
    let rate = share(degraded, calls);
    let again = run.recording.calls().filter(|call| call.is_made_again(run.plan.early_stop)).count();
    let measured = |id: &str| run.tables.summary.iter().any(|row| row.cell_id == id);
    let empty = run.plan.cells.iter().filter(|cell| !measured(&cell.id.0)).count();
    let mut grounds: Vec<String> = Vec::new();
    let kinds: Vec<String> = run
        .tables
        .degraded
        .iter()
        .filter(|row| row.cell_id.is_none())
        .filter_map(|row| row.kind.map(|kind| format!("{kind} {}", row.degraded)))
        .collect();
    if !kinds.is_empty() {
        grounds.push(format!("Kinds: {}.", kinds.join(", ")));
    }
    if again > 0 {
        grounds.push(format!("{again} of them ended early and were made again."));
    }
    if share(degraded.saturating_sub(again), calls).is_some_and(|rate| rate > run.plan.degraded_rate) {
        grounds.push(format!("The scenario file allows {}.", format::percent(run.plan.degraded_rate)));
    }
    if empty > 0 {
        let planned = run.plan.cells.len();
        grounds.push(format!("{empty} of {} have no call that counts.", counted(planned, "planned cell")));
    }
    if !run.tables.skipped.is_empty() {
        grounds.push(format!("{} skipped by rule.", counted(run.tables.skipped.len(), "cell")));
    }
    if grounds.is_empty() {
        grounds.push(format!("{}, none skipped.", counted(run.plan.cells.len(), "cell")));
    }
    let (standing, answer): (Standing, Text) = match (calls, degraded) {
        (0, _) => (Standing::Withheld, "No call was made.".into()),
        (n, 0) if empty == 0 => (Standing::Holds, format!("All {} went well.", counted(n, "call")).into()),
        (n, 0) => (Standing::Caution, format!("All {} went well, but some are missing.", counted(n, "call")).into()),
        (n, d) if n == d => (
            Standing::Withheld,
            Text::strong(Text::default(), format!("All {} are degraded", counted(n, "call")))
                .and(": nothing here was measured."),
        ),
        (n, d) => (
            Standing::Caution,
            format!(
                "{d} of {} ({}) are degraded and left out of every number.",
                counted(n, "call"),
                format::percent(rate)
            )
            .into(),
        ),
    };
    Finding { question: "Did the calls go well?".to_owned(), standing, answer, grounds: grounds.join(" ").into() }
}

fn steadiness(run: &ReportedRun<'_>, names: &Names) -> Finding {
    let question = "Was the machine steady?".to_owned();
    let cells = timed(run.tables);
    let counted_rows: Vec<&MetricRow> =
        run.tables.metrics.iter().filter(|row| row.counts() && row.mode != Mode::E2eKv).collect();
    let (Some(worst), false) = (
        cells
            .iter()
            .filter(|row| row.cv.is_some())
            .max_by(|a, b| a.cv.partial_cmp(&b.cv).unwrap_or(std::cmp::Ordering::Equal)),
        counted_rows.is_empty(),
    ) else {
        let answer = "No cell has two calls that count.".into();
        return Finding { question, standing: Standing::Withheld, answer, grounds: Text::default() };
    };
    let n = cells.len();
    let noisy = cells.iter().filter(|row| row.cv_band.is_some_and(|band| band >= CvBand::Noisy)).count();
    let drifting = cells.iter().filter(|row| drifts(row, n)).count();
    let skewed = cells.iter().filter(|row| row.skewed).count();
    let seen = counted_rows.iter().filter(|row| row.foreign_cpu.is_some()).count();
    let beside = counted_rows.iter().filter(|row| has_flag(row, Flag::ForeignLoad)).count();
    let foreign = share(beside, seen);
    let quiet = foreign.is_none_or(|share| share <= FOREIGN_SHARE);
    let load = match foreign {
        None => "What other programs did could not be seen.".to_owned(),
        Some(_) if beside == 0 => "No call ran beside other programs' load.".to_owned(),
        Some(_) => format!("{BUSY} during {} of the calls that count.", part(foreign)),
    };
    let varying = format!("{noisy} of {n} medians come from calls that vary by more than 5\u{a0}%.");
    let grounds = format!(
        "Largest coefficient of variation: {} ({} of {} on {}). {drifting} of {n} drift over the run; \
         mean and median disagree by more than 10\u{a0}% in {skewed}.",
        format::percent(worst.cv),
        mode(worst.mode).to_lowercase(),
        names.cell(&worst.model, &worst.scenario, worst.batch, worst.gen_tokens),
        worst.backend,
    );
    let steady = quiet && noisy == 0 && drifting == 0 && skewed == 0;
    Finding {
        question,
        standing: if steady { Standing::Holds } else { Standing::Caution },
        answer: format!("{load} {varying}").into(),
        grounds: grounds.into(),
    }
}

fn attribution(run: &ReportedRun<'_>) -> Finding {
    let rows: Vec<&MetricRow> = run.tables.metrics.iter().filter(|row| row.counts()).collect();
    let proven = rows.iter().filter(|row| row.attributed).count();
    let mut placed: Vec<String> = Vec::new();
    for row in rows.iter().filter_map(|row| row.actual.as_ref()) {
        if !placed.contains(row) {
            placed.push(row.clone());
        }
    }
    let one_stack = run.manifest.one_stack();
    let (standing, answer) = match (rows.len(), proven) {
        (0, _) => (Standing::Withheld, "No call counts.".to_owned()),
        (n, p) if n == p => {
            (Standing::Holds, format!("Every call that counts proves it ran on {}.", placed.join(", ")))
        }
        (n, p) => (
            Standing::Caution,
            format!(
                "{} of the rows that went well prove where they ran. The others are in no fit, aggregate or ranking.",
                format::percent(share(p, n))
            ),
        ),
    };
    let standing = if standing == Standing::Holds && !one_stack { Standing::Caution } else { standing };
    let stack = if one_stack {
        "One software stack throughout."
    } else {
        "The software stack changed during the run: see what was measured."
    };
    let evidence = evidence(run);
    let proof = if evidence.is_empty() { String::new() } else { format!("Proof: {evidence}. ") };
    Finding {
        question: "Did it run where it should?".to_owned(),
        standing,
        answer: answer.into(),
        grounds: format!("{proof}{stack}").into(),
    }
}

/// The proofs by name, with the range of their values over all loads.
fn evidence(run: &ReportedRun<'_>) -> String {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for load in run.recording.loads() {
        for (name, value) in &load.attribution.evidence {
            found.entry(name).or_default().push(value);
        }
    }
    let range = |values: &[&str]| {
        let numbers: Option<Vec<u64>> = values.iter().map(|value| value.parse().ok()).collect();
        match numbers.as_deref().map(|n| (n.iter().min(), n.iter().max())) {
            Some((Some(low), Some(high))) if low != high => format!("{low} to {high}"),
            _ => values.first().map_or_else(String::new, |first| (*first).to_owned()),
        }
    };
    found.iter().map(|(name, values)| format!("{name} = {}", range(values))).collect::<Vec<_>>().join(", ")
}
