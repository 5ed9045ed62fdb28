//! What cells of one run say of each other: decode with a KV cache against without, grouped heads against one key-value head per
//! head.

use crate::analysis::across::{AcrossRow, AcrossRun, Statement, across};
use crate::report::document::{Assurance, Finding, Text};
use crate::report::sections::ReportedRun;
use crate::report::sections::names::{Names, counted, mode};
use crate::stats::summary::geometric_mean;
use crate::terms::Mode;
use crate::units::significant;

/// One finding per phase and engine in which the run has both sides.
pub(super) fn findings(run: &ReportedRun<'_>, _: &Names) -> Vec<Finding> {
    if run.manifest.imported.is_some() || !has_both_sides(run) {
        return Vec::new();
    }
    let this = AcrossRun { name: &run.plan.name, manifest: run.manifest, tables: run.tables };
    cell_findings(&across(&[this]).cells)
}

/// Whether anything was generated without a cache, or models differ in how many heads share their keys and values.
fn has_both_sides(run: &ReportedRun<'_>) -> bool {
    let mut shared = run.tables.summary.iter().filter_map(|row| {
        let heads = &row.architecture;
        heads.n_head.zip(heads.n_kv_head).map(|(heads, own)| own < heads)
    });
    let first = shared.next();
    run.tables.summary.iter().any(|row| row.mode == Mode::GenerateUncached) || shared.any(|other| Some(other) != first)
}

/// Rows that say the same of the same two runs.
fn groups<'a>(cells: &'a [AcrossRow]) -> Vec<Vec<&'a AcrossRow>> {
    let mut groups: Vec<Vec<&'a AcrossRow>> = Vec::new();
    for row in cells {
        let alike = |group: &&mut Vec<&AcrossRow>| {
            let first = group[0];
            (first.statement, first.phase) == (row.statement, row.phase)
                && (&first.first.run, &first.second.run) == (&row.first.run, &row.second.run)
                && (&first.first.backend, &first.second.backend) == (&row.first.backend, &row.second.backend)
        };
        match groups.iter_mut().find(alike) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups
}

fn question(statement: Statement, phase: Mode) -> String {
    match statement {
        Statement::Cached => "How much does a KV cache help decode?".to_owned(),
        Statement::Compiled => format!("Does compiling help {}?", mode(phase).to_lowercase()),
        Statement::Grouped => format!("What do grouped heads change in {}?", mode(phase).to_lowercase()),
    }
}

/// A finding for whatever cells say of each other.
pub(in crate::report::sections) fn cell_findings(cells: &[AcrossRow]) -> Vec<Finding> {
    groups(cells).iter().map(|group| cells_finding(group)).collect()
}

fn cells_finding(group: &[&AcrossRow]) -> Finding {
    let first = group[0];
    let speeds: Vec<f64> = group.iter().filter_map(|row| row.speed).collect();
    let (a, b) = (&first.first, &first.second);
    let runs = match a.run == b.run {
        true => "Cells of one run".to_owned(),
        false => format!("{} ({}) against {} ({})", b.run, b.fingerprint, a.run, a.fingerprint),
    };
    let question = question(first.statement, first.phase);
    let Some(mean) = geometric_mean(&speeds) else {
        let reason = first.reason.as_deref().unwrap_or("a cell has no interval");
        return Finding {
            question,
            assurance: Assurance::Withheld,
            answer: format!("Set side by side below, and not against each other: {reason}.").into(),
            grounds: runs.into(),
        };
    };
    let (least, most) = speeds.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), s| (low.min(*s), high.max(*s)));
    let is_known =
        |row: &&&AcrossRow| row.speed_low.is_some_and(|low| low > 1.0) || row.speed_high.is_some_and(|high| high < 1.0);
    let known = group.iter().filter(is_known).count();
    let all_one_way = known == group.len() && (least > 1.0 || most < 1.0);
    let assurance = match known {
        0 => Assurance::Withheld,
        _ if all_one_way && a.run == b.run => Assurance::Holds,
        _ => Assurance::Caution,
    };
    let range = match speeds.len() {
        1 => "one cell".to_owned(),
        n => format!("{}× to {}× over {n} cells", significant(least, 3), significant(most, 3)),
    };
    let before = if known == 0 { "Not told apart: " } else { "" };
    Finding {
        question,
        assurance,
        answer: Text::plain(before).strong(format!("{}×", significant(mean, 3))).and(format!(
            " as fast {}, on {}; {range}.",
            first.statement.compared(),
            b.backend
        )),
        grounds: format!("{runs}; in {known} of {} the interval leaves 1 out", counted(group.len(), "cell")).into(),
    }
}
