//! The table of scaling fits.

use crate::analysis::ScalingFitRow;
use crate::report::document::{Block, Column, Table, Text};
use crate::report::format;
use crate::terms::Mode;

use super::ReportedRun;
use super::names::{Names, mode};

/// Every power law of one backend, aggregates before their scenarios.
///
/// Prefill and decode together follow from the two apart; they are left to the file.
pub(super) fn table(run: &ReportedRun<'_>, names: &Names, backend: &str) -> Option<Block> {
    let mut columns = vec![Column::words("scope"), Column::words("mode")];
    if names.several_batches() {
        columns.push(Column::numbers("batch"));
    }
    if names.several_lengths() {
        columns.push(Column::numbers("steps"));
    }
    columns.extend([
        Column::numbers("models"),
        Column::numbers("slope [95\u{a0}%\u{a0}t]"),
        Column::numbers("[95\u{a0}% bootstrap]"),
        Column::numbers("R²"),
        Column::words("verdict"),
    ]);
    let all: Vec<&ScalingFitRow> =
        run.tables.scaling_fits.iter().filter(|fit| fit.backend == backend && fit.mode != Mode::E2eKv).collect();
    let x = all.first()?.x.as_str();
    // The aggregate over one scenario is that scenario.
    let repeats = |fit: &ScalingFitRow| {
        fit.scenario.is_some()
            && all.iter().any(|other| {
                other.scenario.is_none()
                    && other.scenarios == fit.scenarios
                    && (other.dtype, other.mode, other.batch, other.gen_tokens)
                        == (fit.dtype, fit.mode, fit.batch, fit.gen_tokens)
            })
    };
    let rows = all.iter().filter(|fit| !repeats(fit)).map(|fit| row(names, fit)).collect();
    let caption = Text::plain(format!("Power laws on {backend}, ln latency = c + slope · ln "))
        .code(x)
        .and(", over medians, from ")
        .code("analysis/scaling_fits.csv")
        .and(
            ". Slopes of fits that are not identifiable are withheld. The bootstrap interval is too narrow at so few \
             models; trust the t interval.",
        );
    Some(Block::Table(Table { caption, columns, rows }))
}

fn row(names: &Names, fit: &ScalingFitRow) -> Vec<Text> {
    let scope = match &fit.scenario {
        None if !fit.scenarios.contains(';') => names.engine(&fit.scenarios, fit.dtype),
        None => names.engine("all scenarios", fit.dtype),
        Some(scenario) => names.engine(scenario, fit.dtype),
    };
    let mut row: Vec<Text> = vec![if fit.headline { Text::default().strong(scope) } else { scope.into() }];
    row.push(mode(fit.mode).into());
    if names.several_batches() {
        row.push(fit.batch.to_string().into());
    }
    if names.several_lengths() {
        row.push(fit.gen_tokens.to_string().into());
    }
    let shown = |value: Option<f64>| value.filter(|_| fit.actionable);
    let bootstrap = shown(fit.slope_bootstrap_low).zip(fit.slope_bootstrap_high);
    row.extend([
        fit.n_models.to_string().into(),
        format::interval(shown(fit.slope), fit.slope_t_low.zip(fit.slope_t_high)).into(),
        bootstrap
            .map_or_else(
                || format::ABSENT.to_owned(),
                |(low, high)| format!("[{}, {}]", format::fixed(low, 3), format::fixed(high, 3)),
            )
            .into(),
        format::r2(fit.r2).into(),
        fit.reason.as_ref().map_or_else(|| "actionable".to_owned(), |why| format!("not identifiable: {why}")).into(),
    ]);
    row
}
