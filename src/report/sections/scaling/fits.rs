//! The table of scaling fits.

use crate::analysis::ScalingFitRow;
use crate::report::document::{Block, Table, Text};
use crate::report::format;
use crate::report::sections::ReportedRun;
use crate::report::sections::names::{Names, mode};
use crate::terms::Mode;

/// Every power law of one backend, aggregates before their scenarios.
///
/// Prefill and decode together follow from the two apart; they are left to the file.
pub(super) fn table(run: &ReportedRun<'_>, names: &Names, backend: &str) -> Option<Block> {
    let of_backend = |fit: &&ScalingFitRow| fit.key.backend == backend && fit.key.mode != Mode::E2eKv;
    let fits: Vec<&ScalingFitRow> = run.tables.scaling_fits.iter().filter(of_backend).collect();
    let axis = fits.first()?.x.as_str();
    let caption = Text::plain(format!("Power laws on {backend}, ln latency = c + slope · ln "))
        .code(axis)
        .and(", over medians, from ")
        .code("analysis/scaling_fits.csv")
        .and(
            ". Slopes of fits that are not identifiable are withheld. The bootstrap interval is too narrow at so few \
             models and does not know how well each median is known; trust the t interval.",
        );
    let table = Table::of(fits.iter().copied().filter(|fit| !repeats_aggregate(fit, &fits)))
        .words("scope", |fit| scope(names, fit))
        .words("mode", |fit| mode(fit.key.mode))
        .when(names.several_batches(), |table| table.count("batch", |fit| fit.key.batch))
        .when(names.several_lengths(), |table| table.count("steps", |fit| fit.key.gen_tokens))
        .count("models", |fit| fit.n_models)
        .interval("slope", "", "95\u{a0}%\u{a0}t", |fit| {
            format::interval(fit.slope.filter(|_| fit.actionable), fit.slope_t_low.zip(fit.slope_t_high))
        })
        .interval("", "", "95\u{a0}% bootstrap", bootstrap_interval)
        .number("R²", "", |fit| format::r2(fit.r2))
        .words("verdict", |fit| verdict(fit.reason.as_deref()))
        .captioned(caption);
    Some(table.into())
}

/// Whether a fit may be used, or why not.
pub(in crate::report::sections) fn verdict(reason: Option<&str>) -> String {
    reason.map_or_else(|| "actionable".to_owned(), |why| format!("not identifiable: {why}"))
}

/// The aggregate over one scenario is that scenario, so its row says the same.
fn repeats_aggregate(fit: &ScalingFitRow, fits: &[&ScalingFitRow]) -> bool {
    let is_its_aggregate = |other: &&ScalingFitRow| {
        other.key.scenario.is_none()
            && other.scenarios == fit.scenarios
            && (other.key.dtype, other.key.mode, other.key.batch, other.key.gen_tokens)
                == (fit.key.dtype, fit.key.mode, fit.key.batch, fit.key.gen_tokens)
    };
    fit.key.scenario.is_some() && fits.iter().any(is_its_aggregate)
}

fn scope(names: &Names, fit: &ScalingFitRow) -> Text {
    let scope = match &fit.key.scenario {
        None if !fit.scenarios.contains(';') => names.engine(&fit.scenarios, fit.key.dtype),
        None => names.engine("all scenarios", fit.key.dtype),
        Some(scenario) => names.engine(scenario, fit.key.dtype),
    };
    if fit.key.headline { Text::default().strong(scope) } else { scope.into() }
}

fn bootstrap_interval(fit: &ScalingFitRow) -> String {
    match (fit.slope_bootstrap_low, fit.slope_bootstrap_high) {
        (Some(low), Some(high)) if fit.actionable => {
            format!("[{}, {}]", format::fixed(low, 3), format::fixed(high, 3))
        }
        _ => format::ABSENT.to_owned(),
    }
}
