//! The table of scaling fits.

use crate::analysis::ScalingFitRow;
use crate::report::document::{Block, Column, Table, Text};
use crate::report::format;

use super::Source;
use super::names::{Names, mode};

/// Every power law, aggregates before their scenarios.
pub(super) fn table(source: &Source<'_>, names: &Names) -> Block {
    let mut columns = vec![Column::words("scope")];
    if names.several_backends() {
        columns.push(Column::words("backend"));
    }
    columns.push(Column::words("mode"));
    if names.several_batches() {
        columns.push(Column::numbers("batch"));
    }
    if names.several_lengths() {
        columns.push(Column::numbers("steps"));
    }
    columns.extend([
        Column::numbers("models"),
        Column::numbers("slope [95\u{a0}% t]"),
        Column::numbers("[95\u{a0}% bootstrap]"),
        Column::numbers("R²"),
        Column::words("verdict"),
    ]);
    let rows = source.tables.scaling_fits.iter().map(|fit| row(names, fit)).collect();
    let caption = Text::plain("Power laws, ln latency = c + slope · ln ")
        .code(source.tables.scaling_fits.first().map_or("x", |fit| fit.x.as_str()))
        .and(", over medians, from ")
        .code("analysis/scaling_fits.csv")
        .and(". Slopes of fits that are not identifiable are withheld. The bootstrap interval is too narrow at so few models; trust the t interval.");
    Block::Table(Table { caption, columns, rows })
}

fn row(names: &Names, fit: &ScalingFitRow) -> Vec<Text> {
    let mut row: Vec<Text> = vec![match &fit.scenario {
        None if fit.headline => Text::default().strong("all scenarios"),
        None => "all scenarios".into(),
        Some(scenario) => scenario.as_str().into(),
    }];
    if names.several_backends() {
        row.push(names.engine(&fit.backend, fit.dtype).into());
    }
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
