//! How fast a phase is, where too few sizes were measured to ask how it scales.

use crate::analysis::{AggregateRow, ScalingFitRow};
use crate::report::document::{Assurance, Finding, Text};
use crate::report::format;
use crate::report::sections::ReportedRun;
use crate::report::sections::names::{Names, call_shape, counted};

/// Models from which on the question is how latency grows with them: a fit of fewer is never actionable.
const SIZES_FOR_GROWTH: usize = 4;

/// Whether a run asked too few models of the fit's backend to tell how they scale.
pub(super) fn asked_for(run: &ReportedRun<'_>, fit: &ScalingFitRow) -> bool {
    let sessions = run.plan.sessions.iter().filter(|session| session.key.backend == fit.key.backend);
    sessions.count() < SIZES_FOR_GROWTH
}

/// The speed of each model in the phase and shape of a fit. `None`: no model has a proven time.
pub(super) fn finding(
    run: &ReportedRun<'_>,
    names: &Names,
    fit: &ScalingFitRow,
    question: String,
    reasons: &[String],
) -> Option<Finding> {
    let of_fit = |row: &&AggregateRow| {
        (&row.backend, row.dtype, row.mode, row.batch, row.gen_tokens)
            == (&fit.key.backend, fit.key.dtype, fit.key.mode, fit.key.batch, fit.key.gen_tokens)
            && row.ms_per_token.is_some()
    };
    let models: Vec<&AggregateRow> = run.tables.aggregate.iter().filter(of_fit).collect();
    let first = models.first()?;
    let mut answer = Text::default();
    for (place, row) in models.iter().enumerate() {
        let before = if place == 0 { "" } else { "; " };
        let name = if models.len() == 1 { String::new() } else { format!("{}: ", row.model) };
        answer = answer.and(format!("{before}{name}")).strong(time(row)).and(format!(", {} tokens/s", rate(row)));
    }
    let mut grounds = vec![format!(
        "{}, {}, {}.",
        if models.len() == 1 { first.model.clone() } else { counted(models.len(), "model") },
        scenarios(first),
        call_shape(fit.key.mode, fit.key.batch, fit.key.gen_tokens)
    )];
    if names.several_batches() || names.several_lengths() {
        grounds.push("Other shapes stand under what every cell takes.".to_owned());
    }
    grounds.extend(reasons.iter().cloned());
    let sure = reasons.is_empty() && models.iter().all(|row| row.location_ms_per_token.is_some());
    Some(Finding {
        question,
        assurance: if sure { Assurance::Holds } else { Assurance::Caution },
        answer: answer.and("."),
        grounds: grounds.join(" ").into(),
    })
}

/// The location with its interval, or where there is none, the median.
fn time(row: &AggregateRow) -> String {
    let interval = row.ci_low_ms_per_token.zip(row.ci_high_ms_per_token);
    match row.location_ms_per_token {
        Some(location) => format!("{} ms/token", format::interval(location, interval)),
        None => format!("{} ms/token", format::ms(row.ms_per_token)),
    }
}

/// Tokens of all rows per second, from the same figures.
fn rate(row: &AggregateRow) -> String {
    let of = |ms_per_token: f64| f64::from(row.batch) * 1e3 / ms_per_token;
    let interval = row.ci_low_ms_per_token.zip(row.ci_high_ms_per_token).map(|(low, high)| (of(high), of(low)));
    match row.location_ms_per_token {
        Some(location) => format::interval(of(location), interval),
        None => format::number(row.tokens_per_s, 3),
    }
}

/// `1 scenario (short)`, `3 scenarios`.
fn scenarios(row: &AggregateRow) -> String {
    let counted = counted(row.n_scenarios, "scenario");
    if row.n_scenarios == 1 { format!("{counted} ({})", row.scenarios) } else { counted }
}
