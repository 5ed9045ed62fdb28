//! Why a fit that is actionable is to be used with caution all the same.

use std::collections::HashMap;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::analysis::{MetricRow, ScalingFitRow, ScopeKind, SummaryRow, summary};
use crate::report::format;
use crate::report::sections::ReportedRun;
use crate::report::sections::names::{Names, counted};
use crate::terms::Mode;

use super::share::share_of;
use super::steadiness::{BUSY, FOREIGN_SHARE, drifts, percent_or_all, ran_beside_others, timed_summaries};

/// Coefficient of variation above which the calls behind a median are no single population: a warm engine on an idle
/// machine stays below 5 %, and what lies beyond 15 % is mostly two speeds or other programs.
const CAUTION_CV: f64 = 0.15;
/// Relative half-width of a location's 95 % interval above which its median is too unsure for a slope: with sizes twenty
/// times apart, one end off by this much moves an exponent by about 0.03.
const CAUTION_INTERVAL: f64 = 0.10;

/// Slopes that differ by no more do so by rounding alone.
const ROUNDING: f64 = 1e-9;

/// The reasons, in whole sentences.
pub(super) fn reasons_for_caution(run: &ReportedRun<'_>, names: &Names, fit: &ScalingFitRow) -> Vec<String> {
    let cells = fitted_cells(run, fit);
    let mut reasons = Vec::new();
    if let Some(note) = &fit.note {
        reasons.push(format!("{note}."));
    }
    reasons.extend(contradiction(run, fit));
    reasons.extend(unsteady(run, names, &cells));
    reasons.extend(beside_other_programs(run, &cells));
    if !run.manifest.one_stack() {
        reasons.push("The software stack changed during the run.".to_owned());
    }
    if !run.recording.finished() {
        reasons.push("The run is not finished.".to_owned());
    }
    reasons
}

/// The cells whose medians a fit goes through.
fn fitted_cells<'a>(run: &ReportedRun<'a>, fit: &ScalingFitRow) -> Vec<&'a SummaryRow> {
    let behind = |row: &&SummaryRow| {
        row.is_proven()
            && (&row.key.backend, row.key.dtype, row.mode, row.key.batch, row.key.gen_tokens)
                == (&fit.key.backend, fit.key.dtype, fit.key.mode, fit.key.batch, fit.key.gen_tokens)
            && lists(&fit.scenarios, &row.key.scenario)
            && lists(&fit.models, &row.key.model)
    };
    run.tables.summary.iter().filter(behind).collect()
}

/// Whether `name` is one of the names that stand in a field with semicolons between them.
fn lists(names: &str, name: &str) -> bool {
    names.split(';').any(|listed| listed == name)
}

/// The slope of one scenario apart.
struct ScenarioSlope<'a> {
    scenario: &'a str,
    printed: String,
    low: f64,
    high: f64,
}

/// Scenarios whose slopes have no value in common, where their aggregate is quoted.
fn contradiction(run: &ReportedRun<'_>, fit: &ScalingFitRow) -> Option<String> {
    if fit.key.scope != ScopeKind::Aggregate {
        return None;
    }
    let alike = |other: &&ScalingFitRow| {
        (&other.key.backend, other.key.dtype, other.key.mode, other.key.batch, other.key.gen_tokens)
            == (&fit.key.backend, fit.key.dtype, fit.key.mode, fit.key.batch, fit.key.gen_tokens)
    };
    let fits = run.tables.scaling_fits.iter().filter(alike);
    let slopes: Vec<ScenarioSlope<'_>> = fits.filter_map(|other| scenario_slope(fit, other)).collect();
    let flattest = slopes.iter().min_by(|a, b| a.high.total_cmp(&b.high))?;
    let steepest = slopes.iter().max_by(|a, b| a.low.total_cmp(&b.low))?;
    (steepest.low - flattest.high > ROUNDING).then(|| {
        format!(
            "Its scenarios contradict each other: the 95\u{a0}% intervals of {} ({}) and {} ({}) have no slope in common.",
            flattest.scenario, flattest.printed, steepest.scenario, steepest.printed
        )
    })
}

/// `None`: the fit is of no scenario, of none that the aggregate holds, or has no interval.
fn scenario_slope<'a>(aggregate: &ScalingFitRow, fit: &'a ScalingFitRow) -> Option<ScenarioSlope<'a>> {
    let scenario = fit.key.scenario.as_deref().filter(|name| lists(&aggregate.scenarios, name))?;
    let (slope, low, high) = (fit.slope?, fit.slope_t_low?, fit.slope_t_high?);
    let printed = if fit.actionable {
        format!("slope {}", format::interval(slope, (low, high)))
    } else {
        "not identifiable".to_owned()
    };
    Some(ScenarioSlope { scenario, printed, low, high })
}

/// Something that makes medians unsure, with the cells it was found in.
struct Unsteadiness<'a> {
    /// What is wrong with them, as the beginning of a sentence.
    what: String,
    /// How many.
    cells: usize,
    /// Where it is worst.
    worst: &'a SummaryRow,
    /// How bad it is there.
    figure: String,
}

/// Cells that vary, are unsure, are skewed or drift: of each kind how many, and the worst.
fn unsteady(run: &ReportedRun<'_>, names: &Names, cells: &[&SummaryRow]) -> Vec<String> {
    let series = timed_summaries(run.tables).len();
    let found = [varying(cells), unsure(cells), skewed(cells), drifting(cells, series)];
    let sentence = |found: Unsteadiness<'_>| {
        let worst = found.worst;
        let name = names.cell(&worst.key.model, &worst.key.scenario, worst.key.batch, worst.key.gen_tokens);
        let most = if found.cells == 1 { "" } else { "most in " };
        let of = counted(cells.len(), "cell");
        format!("{} in {} of its {of}: {most}{name}, {}.", found.what, found.cells, found.figure)
    };
    found.into_iter().flatten().map(sentence).collect()
}

fn varying<'a>(cells: &[&'a SummaryRow]) -> Option<Unsteadiness<'a>> {
    let (count, worst) = worst(cells, |row| row.cv.filter(|cv| *cv > CAUTION_CV))?;
    let what = format!("Calls vary by more than {}", whole_percent(CAUTION_CV));
    Some(Unsteadiness { what, cells: count, worst, figure: format!("by {}", format::percent(worst.cv)) })
}

fn unsure<'a>(cells: &[&'a SummaryRow]) -> Option<Unsteadiness<'a>> {
    let (count, worst) = worst(cells, |row| row.ci_relative.filter(|width| *width > CAUTION_INTERVAL))?;
    let what = format!("The interval of the location is wider than ±{}", whole_percent(CAUTION_INTERVAL));
    Some(Unsteadiness { what, cells: count, worst, figure: format::half_width(worst.ci_relative) })
}

fn skewed<'a>(cells: &[&'a SummaryRow]) -> Option<Unsteadiness<'a>> {
    let distance = |row: &SummaryRow| row.mean_over_median.filter(|_| row.skewed).map(|ratio| ratio.ln().abs());
    let (count, worst) = worst(cells, distance)?;
    let what = format!("Mean and median differ by more than {}", whole_percent(summary::SKEW));
    let figure = format!("mean {} the median", format::ratio(worst.mean_over_median));
    Some(Unsteadiness { what, cells: count, worst, figure })
}

fn drifting<'a>(cells: &[&'a SummaryRow], series: usize) -> Option<Unsteadiness<'a>> {
    let change = |row: &SummaryRow| row.drift_relative.filter(|_| drifts(row, series)).map(f64::abs);
    let (count, worst) = worst(cells, change)?;
    let change = format::change_percent(worst.drift_relative.map(|share| share * 100.0));
    let figure = format!("{change} from first to last");
    Some(Unsteadiness { what: "Calls drift".to_owned(), cells: count, worst, figure })
}

fn whole_percent(share: f64) -> String {
    format!("{:.0}\u{a0}%", share * 100.0)
}

/// How many cells have the figure, and the one in which it is largest. `None`: no cell has it.
fn worst<'a>(cells: &[&'a SummaryRow], figure: impl Fn(&SummaryRow) -> Option<f64>) -> Option<(usize, &'a SummaryRow)> {
    let found: Vec<(&SummaryRow, f64)> = cells.iter().filter_map(|row| Some((*row, figure(row)?))).collect();
    let (row, _) = found.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some((found.len(), row))
}

/// Other programs beside many of the calls.
fn beside_other_programs(run: &ReportedRun<'_>, cells: &[&SummaryRow]) -> Option<String> {
    let mut of_cell: HashMap<(&str, Mode), Vec<&SummaryRow>> = HashMap::new();
    for &row in cells {
        of_cell.entry((&row.key.cell_id, row.mode)).or_default().push(row);
    }
    let is_pooled = |call: &&MetricRow| {
        let mut rows = of_cell.get(&(call.key.cell_id.as_str(), call.mode)).into_iter().flatten();
        rows.any(|row| row.pools(call))
    };
    let pooled: Vec<&MetricRow> = run.tables.metrics.par_iter().filter(is_pooled).collect();
    let beside = pooled.iter().filter(|call| ran_beside_others(call)).count();
    let calls = pooled.len();
    let share = share_of(beside, calls).filter(|share| *share > FOREIGN_SHARE)?;
    Some(format!("{BUSY} during {} of its calls.", percent_or_all(share)))
}
