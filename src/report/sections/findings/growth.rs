//! How latency grows with the size of a model, or where too few were asked to tell, what it is.

use crate::analysis::{OverheadRow, ScalingFitRow};
use crate::report::document::{Assurance, Finding, Text};
use crate::report::format;
use crate::report::sections::ReportedRun;
use crate::report::sections::names::{Names, axis_name, call_shape, counted, mode};
use crate::terms::{FitAxis, Mode};

use super::caution::reasons_for_caution;
use super::speed;

/// Difference of Akaike's criterion above which one law fits clearly better than another: 4, the data are e² = 7 times as
/// likely under it. Both laws have two coefficients, so that it is `n·ln` of the ratio of what they leave of the squares.
const CLEARLY_BETTER: f64 = 4.0;

/// R² from which a power law says all there is to say, whatever fits better still.
const GOOD_ENOUGH: f64 = 0.99;

/// Models below which two laws are told apart by hardly more than one of them.
const FEW_MODELS: usize = 8;

/// One finding per backend and timed mode.
pub(super) fn findings(run: &ReportedRun<'_>, names: &Names) -> Vec<Finding> {
    if run.manifest.imported.is_some() {
        // Another tool's figures are in no fit.
        return Vec::new();
    }
    let findings: Vec<Finding> = headlines(run).map(|fit| finding(run, names, fit)).collect();
    if findings.is_empty() {
        return vec![Finding {
            question: "Scaling".to_owned(),
            assurance: Assurance::Withheld,
            answer: "Not identifiable: no call counts.".into(),
            grounds: "A call counts if it was timed, on a warm engine, and is not degraded.".into(),
        }];
    }
    findings
}

/// The fits to quote. Prefill and decode together follow from the two apart, so they are left out.
pub(in crate::report::sections) fn headlines<'a>(run: &ReportedRun<'a>) -> impl Iterator<Item = &'a ScalingFitRow> {
    run.tables.scaling_fits.iter().filter(|fit| fit.key.headline && fit.key.mode != Mode::E2eKv)
}

/// Those that say how fast a phase is, since too few sizes were asked to tell how it grows.
pub(super) fn speeds(run: &ReportedRun<'_>, names: &Names) -> Vec<Finding> {
    headlines(run).filter_map(|fit| speed_of(run, names, fit)).collect()
}

fn speed_of(run: &ReportedRun<'_>, names: &Names, fit: &ScalingFitRow) -> Option<Finding> {
    if !speed::asked_for(run, fit) {
        return None;
    }
    speed::finding(run, names, fit, question(names, fit), &reasons_for_caution(run, names, fit))
}

fn finding(run: &ReportedRun<'_>, names: &Names, fit: &ScalingFitRow) -> Finding {
    if let Some(speed) = speed_of(run, names, fit) {
        return speed;
    }
    let reasons = reasons_for_caution(run, names, fit);
    let slope = fit.slope.zip(fit.slope_t_low.zip(fit.slope_t_high)).filter(|_| fit.actionable);
    let Some((slope, interval)) = slope else {
        return not_identifiable(run, names, fit);
    };
    if let Some(line) = better_line(run, fit) {
        return along_a_line(run, names, fit, line, &reasons);
    }
    let mut grounds = format!("R² {}, {}.", format::r2(fit.r2), made_from(run, fit));
    for reason in &reasons {
        grounds.push(' ');
        grounds.push_str(reason);
    }
    Finding {
        question: question(names, fit),
        assurance: if reasons.is_empty() { Assurance::Holds } else { Assurance::Caution },
        answer: power_law(run.plan.fit, slope, interval),
        grounds: grounds.into(),
    }
}

/// The line that describes the same latencies clearly better than the power law does. `None`: there is none.
fn better_line<'a>(run: &ReportedRun<'a>, fit: &ScalingFitRow) -> Option<&'a OverheadRow> {
    let line = run.tables.overhead_compute_fits.iter().find(|line| line.key.fit_id == fit.key.fit_id)?;
    let (power, affine) = (fit.r2?, line.relative_r2_ln?);
    let gain = fit.n_models as f64 * ((1.0 - power) / (1.0 - affine)).ln();
    let rises = line.relative_b_low_ms_per_x > Some(0.0);
    (rises && power < GOOD_ENOUGH && gain > CLEARLY_BETTER).then_some(line)
}

/// A power law's factor would be wrong at both ends, so none is printed.
fn along_a_line(
    run: &ReportedRun<'_>,
    names: &Names,
    fit: &ScalingFitRow,
    line: &OverheadRow,
    reasons: &[String],
) -> Finding {
    let axis = axis_name(run.plan.fit);
    let unit = match run.plan.fit {
        FitAxis::Params => "million parameters".to_owned(),
        other => format!("unit of {}", axis_name(other)),
    };
    let constant = format::interval(line.relative_a_ms, line.relative_a_low_ms.zip(line.relative_a_high_ms));
    let bounds = line.relative_b_low_ms_per_x.zip(line.relative_b_high_ms_per_x);
    let per_unit = format::interval(line.relative_b_ms_per_x, bounds);
    let few = if fit.n_models < FEW_MODELS {
        format!(" {} are few to tell two laws apart.", counted(fit.n_models, "model"))
    } else {
        String::new()
    };
    let mut grounds = format!(
        "R² of the logarithms {} along the line, {} along a power law, whose exponent is therefore not quoted; {}.{few}",
        format::r2(line.relative_r2_ln),
        format::r2(fit.r2),
        made_from(run, fit),
    );
    for reason in reasons {
        grounds.push(' ');
        grounds.push_str(reason);
    }
    Finding {
        question: question(names, fit),
        assurance: Assurance::Caution,
        answer: Text::plain("Time follows ")
            .strong(format!("a line, not a power of {axis}"))
            .and(format!(": {constant} ms and {per_unit} ms more per {unit}.")),
        grounds: grounds.into(),
    }
}

fn question(names: &Names, fit: &ScalingFitRow) -> String {
    format!("{} on {}", mode(fit.key.mode), names.engine(&fit.key.backend, fit.key.dtype))
}

fn not_identifiable(run: &ReportedRun<'_>, names: &Names, fit: &ScalingFitRow) -> Finding {
    let reason = fit.reason.as_deref().unwrap_or("no fit");
    let note = fit.note.as_ref().map(|note| format!(" {note}.")).unwrap_or_default();
    Finding {
        question: question(names, fit),
        assurance: Assurance::Withheld,
        answer: Text::plain(format!("Growth with {} is ", axis_name(run.plan.fit)))
            .strong("not identifiable")
            .and(format!(": {reason}.")),
        grounds: format!("{}.{note}", made_from(run, fit)).into(),
    }
}

/// A law in words, with what it means for a model twice the size.
fn power_law(fit_axis: FitAxis, slope: f64, (low, high): (f64, f64)) -> Text {
    let (verb, proportion) = match () {
        () if high < 0.0 => ("falls", ""),
        () if high < 1.0 => ("grows", ", less than in proportion"),
        () if low > 1.0 => ("grows", ", more than in proportion"),
        () => ("grows", "; it may well be in proportion"),
    };
    let (factor, low_factor, high_factor) = (slope.exp2(), low.exp2(), high.exp2());
    let doubled = format!(
        "{} [{}, {}] the time",
        format::ratio(factor),
        format::number(low_factor, 3),
        format::number(high_factor, 3)
    );
    let axis = axis_name(fit_axis);
    // The axis belongs to what is emphasised: asterisks between a letter and a circumflex are none to Markdown.
    Text::plain(format!("Time {verb} as "))
        .strong(format!("{axis}^{}", format::interval(slope, (low, high))))
        .and(format!("{proportion}. Twice the {axis}: {doubled}."))
}

/// What a fit was made from: models and their range, scenarios, shape of the calls.
fn made_from(run: &ReportedRun<'_>, fit: &ScalingFitRow) -> String {
    let points = run.tables.scaling_residuals.iter().filter(|point| point.fit_id == fit.key.fit_id);
    let sizes: Vec<f64> = points.map(|point| point.x).collect();
    let smallest = sizes.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = sizes.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let unit = match run.plan.fit {
        FitAxis::Params => "M parameters".to_owned(),
        other => format!(" {}", axis_name(other)),
    };
    let range = if sizes.is_empty() {
        String::new()
    } else {
        format!(" of {} to {}{unit}", format::number(smallest, 2), format::number(largest, 2))
    };
    let scenarios = fit.scenarios.split(';').filter(|name| !name.is_empty()).count();
    let (models, scenarios) = (counted(fit.n_models, "model"), counted(scenarios, "scenario"));
    format!("{models}{range}, {scenarios}, {}", call_shape(fit.key.mode, fit.key.batch, fit.key.gen_tokens))
}
