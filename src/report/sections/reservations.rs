//! Why a fit that is actionable is to be used with caution all the same.

use crate::analysis::{ScalingFitRow, ScopeKind, SummaryRow, summary};
use crate::report::format;
use crate::terms::Flag;

use super::ReportedRun;
use super::names::{Names, counted};
use super::trust::{self, FOREIGN_SHARE};

/// Coefficient of variation above which the calls behind a median are no single population: a warm engine on an idle
/// machine stays below 5 %, and what lies beyond 15 % is mostly two speeds or other programs.
const CAUTION_CV: f64 = 0.15;
/// Relative half-width of a location's 95 % interval above which its median is too unsure for a slope: with sizes twenty
/// times apart, one end off by this much moves an exponent by about 0.03.
const CAUTION_INTERVAL: f64 = 0.10;

/// Slopes that differ by no more do so by rounding alone.
const ROUNDING: f64 = 1e-9;

/// The reservations, in whole sentences.
pub(super) fn reservations(run: &ReportedRun<'_>, names: &Names, fit: &ScalingFitRow) -> Vec<String> {
    let cells = cells(run, fit);
    let mut found = Vec::new();
    if let Some(note) = &fit.note {
        found.push(format!("{note}."));
    }
    found.extend(contradiction(run, fit));
    found.extend(unsteady(run, names, &cells));
    found.extend(busy(run, &cells));
    if !run.manifest.one_stack() {
        found.push("The software stack changed during the run.".to_owned());
    }
    if !run.recording.finished() {
        found.push("The run is not finished.".to_owned());
    }
    found
}

/// The cells whose medians a fit goes through.
fn cells<'a>(run: &ReportedRun<'a>, fit: &ScalingFitRow) -> Vec<&'a SummaryRow> {
    let named = |names: &str, name: &str| names.split(';').any(|one| one == name);
    let behind = |row: &&SummaryRow| {
        row.is_proven()
            && (&row.backend, row.dtype, row.mode, row.batch, row.gen_tokens)
                == (&fit.backend, fit.dtype, fit.mode, fit.batch, fit.gen_tokens)
            && named(&fit.scenarios, &row.scenario)
            && named(&fit.models, &row.model)
    };
    run.tables.summary.iter().filter(behind).collect()
}

/// Scenarios whose slopes have no value in common, where their aggregate is quoted.
fn contradiction(run: &ReportedRun<'_>, fit: &ScalingFitRow) -> Option<String> {
    struct Slope<'a> {
        scenario: &'a str,
        shown: String,
        low: f64,
        high: f64,
    }
    if fit.scope != ScopeKind::Aggregate {
        return None;
    }
    let slopes: Vec<Slope<'_>> = run
        .tables
        .scaling_fits
        .iter()
        .filter(|other| {
            (&other.backend, other.dtype, other.mode, other.batch, other.gen_tokens)
                == (&fit.backend, fit.dtype, fit.mode, fit.batch, fit.gen_tokens)
        })
        .filter_map(|other| {
            let scenario = other.scenario.as_deref().filter(|name| fit.scenarios.split(';').any(|one| one == *name))?;
            let (slope, low, high) = (other.slope?, other.slope_t_low?, other.slope_t_high?);
            let shown = if other.actionable {
                format!("slope {}", format::interval(slope, (low, high)))
            } else {
                "not identifiable".to_owned()
            };
            Some(Slope { scenario, shown, low, high })
        })
        .collect();
    let flattest = slopes.iter().min_by(|a, b| a.high.total_cmp(&b.high))?;
    let steepest = slopes.iter().max_by(|a, b| a.low.total_cmp(&b.low))?;
    (steepest.low - flattest.high > ROUNDING).then(|| {
        format!(
            "Its scenarios contradict each other: the 95\u{a0}% intervals of {} ({}) and {} ({}) have no slope in common.",
            flattest.scenario, flattest.shown, steepest.scenario, steepest.shown
        )
    })
}

/// Cells that vary, are unsure, are skewed or drift: of each kind how many, and the worst.
fn unsteady(run: &ReportedRun<'_>, names: &Names, cells: &[&SummaryRow]) -> Vec<String> {
    let series = trust::timed(run.tables).len();
    let limit = |share: f64| format!("{:.0}\u{a0}%", share * 100.0);
    let found = [
        worst(cells, |row| row.cv.filter(|cv| *cv > CAUTION_CV)).map(|(n, row, cv)| {
            (format!("Calls vary by more than {}", limit(CAUTION_CV)), n, row, format!("by {}", format::percent(cv)))
        }),
        worst(cells, |row| row.ci_relative.filter(|width| *width > CAUTION_INTERVAL)).map(|(n, row, width)| {
            let what = format!("The interval of the location is wider than ±{}", limit(CAUTION_INTERVAL));
            (what, n, row, format!("±{}", format::percent(width)))
        }),
        worst(cells, |row| row.mean_over_median.filter(|_| row.skewed).map(|ratio| ratio.ln().abs())).map(
            |(n, row, _)| {
                let what = format!("Mean and median differ by more than {}", limit(summary::SKEW));
                (what, n, row, format!("mean {} the median", format::ratio(row.mean_over_median)))
            },
        ),
        worst(cells, |row| row.drift_relative.filter(|_| trust::drifts(row, series)).map(f64::abs)).map(
            |(n, row, _)| {
                let change = format::change_percent(row.drift_relative.map(|share| share * 100.0));
                ("Calls drift".to_owned(), n, row, format!("{change} from first to last"))
            },
        ),
    ];
    let sentence = |(what, n, row, figure): (String, usize, &SummaryRow, String)| {
        let worst = names.cell(&row.model, &row.scenario, row.batch, row.gen_tokens);
        let of = counted(cells.len(), "cell");
        let most = if n == 1 { "" } else { "most in " };
        format!("{what} in {n} of its {of}: {most}{worst}, {figure}.")
    };
    found.into_iter().flatten().map(sentence).collect()
}

/// How many cells have the figure, the one in which it is largest, and that figure. `None`: no cell has it.
fn worst<'a>(
    cells: &[&'a SummaryRow],
    figure: impl Fn(&SummaryRow) -> Option<f64>,
) -> Option<(usize, &'a SummaryRow, f64)> {
    let found: Vec<(&SummaryRow, f64)> = cells.iter().filter_map(|row| Some((*row, figure(row)?))).collect();
    let (row, value) = found.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some((found.len(), row, *value))
}

/// Other programs beside many of the calls.
fn busy(run: &ReportedRun<'_>, cells: &[&SummaryRow]) -> Option<String> {
    let calls = run.tables.metrics.iter().filter(|call| cells.iter().any(|row| row.pools(call)));
    let (mut n, mut beside) = (0_usize, 0_usize);
    for call in calls {
        n += 1;
        beside += usize::from(trust::has_flag(call, Flag::ForeignLoad));
    }
    let share = trust::share(beside, n).filter(|share| *share > FOREIGN_SHARE);
    share.map(|share| format!("{} during {} of its calls.", trust::BUSY, trust::part(Some(share))))
}
