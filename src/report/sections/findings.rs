//! The first screen: what scales how.

use crate::analysis::ScalingFitRow;
use crate::report::document::{Finding, Standing, Text};
use crate::report::format;
use crate::scenario::FitAxis;
use crate::terms::Mode;

use super::names::{Names, axis, counted, mode, shape};
use super::reservations::reservations;
use super::{ReportedRun, compiled, trust};

/// One finding per backend and timed mode, then how far they may be trusted.
pub(super) fn findings(run: &ReportedRun<'_>, names: &Names) -> Vec<Finding> {
    let mut findings: Vec<Finding> = headlines(run).map(|fit| scaling(run, names, fit)).collect();
    if findings.is_empty() {
        findings.push(Finding {
            question: "Scaling".to_owned(),
            standing: Standing::Withheld,
            answer: "Not identifiable: no call counts.".into(),
            grounds: "A call counts if it was timed, on a warm engine, and is not degraded.".into(),
        });
    }
    findings.extend(compiled::findings(run, names));
    findings.extend(trust::findings(run, names));
    findings
}

/// The fits to quote. Prefill and decode together follow from the two apart, so they are left out.
pub(super) fn headlines<'a>(run: &ReportedRun<'a>) -> impl Iterator<Item = &'a ScalingFitRow> {
    run.tables.scaling_fits.iter().filter(|fit| fit.headline && fit.mode != Mode::E2eKv)
}

fn scaling(run: &ReportedRun<'_>, names: &Names, fit: &ScalingFitRow) -> Finding {
    let question = format!("{} on {}", mode(fit.mode), names.engine(&fit.backend, fit.dtype));
    let slope = fit.slope.zip(fit.slope_t_low.zip(fit.slope_t_high)).filter(|_| fit.actionable);
    let Some((slope, interval)) = slope else {
        let reason = fit.reason.as_deref().unwrap_or("no fit");
        let note = fit.note.as_ref().map(|note| format!(" {note}.")).unwrap_or_default();
        return Finding {
            question,
            standing: Standing::Withheld,
            answer: Text::plain(format!("Growth with {} is ", axis(run.plan.fit)))
                .strong("not identifiable")
                .and(format!(": {reason}.")),
            grounds: format!("{}.{note}", base(run, fit)).into(),
        };
    };
    let reservations = reservations(run, names, fit);
    let mut grounds = format!("R² {}, {}.", format::r2(fit.r2), base(run, fit));
    for reservation in &reservations {
        grounds.push(' ');
        grounds.push_str(reservation);
    }
    Finding {
        question,
        standing: if reservations.is_empty() { Standing::Holds } else { Standing::Caution },
        answer: law(run.plan.fit, slope, interval),
        grounds: grounds.into(),
    }
}

/// A law in words, with what it means for a model twice the size.
fn law(fit_axis: FitAxis, slope: f64, (low, high): (f64, f64)) -> Text {
    let (verb, proportion) = match () {
        () if high < 0.0 => ("falls", ""),
        () if high < 1.0 => ("grows", ", less than in proportion"),
        () if low > 1.0 => ("grows", ", more than in proportion"),
        () => ("grows", "; in proportion is within the interval"),
    };
    let (factor, low_factor, high_factor) = (slope.exp2(), low.exp2(), high.exp2());
    let doubled = format!(
        "{} [{}, {}] the time",
        format::ratio(factor),
        format::number(low_factor, 3),
        format::number(high_factor, 3)
    );
    let unit = axis(fit_axis);
    // The unit belongs to what is emphasised: asterisks between a letter and a circumflex are none to Markdown.
    Text::plain(format!("Time {verb} as "))
        .strong(format!("{unit}^{}", format::interval(slope, (low, high))))
        .and(format!("{proportion}. Twice the {unit}: {doubled}."))
}

/// What a fit was made from.
fn base(run: &ReportedRun<'_>, fit: &ScalingFitRow) -> String {
    let x: Vec<f64> = run.tables.scaling_residuals.iter().filter(|p| p.fit_id == fit.fit_id).map(|p| p.x).collect();
    let (low, high) = x.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let unit = if run.plan.fit == FitAxis::Params { "M parameters" } else { axis(run.plan.fit) };
    let space = if run.plan.fit == FitAxis::Params { "" } else { " " };
    let range = match x.len() {
        0 => String::new(),
        _ => format!(" of {} to {}{space}{unit}", format::number(low, 2), format::number(high, 2)),
    };
    let scenarios = fit.scenarios.split(';').filter(|name| !name.is_empty()).count();
    let (models, scenarios) = (counted(fit.n_models, "model"), counted(scenarios, "scenario"));
    format!("{models}{range}, {scenarios}, {}", shape(fit.mode, fit.batch, fit.gen_tokens))
}
