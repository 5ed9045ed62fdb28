//! Which property of a model latency follows: the headline fits of the other forms.

use crate::analysis::aggregate::distinct;
use crate::analysis::{CorrelationRow, MultivariateRow, OverheadRow};
use crate::report::document::{Block, Section, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::terms::Mode;

use super::ReportedRun;
use super::names::{Names, axis_title, mode};
use super::scaling::verdict;

/// Which interval stands in brackets.
const T_INTERVAL: &str = "95\u{a0}%\u{a0}t";

pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Option<Section> {
    let quoted = |headline: bool, mode: Mode| headline && mode != Mode::E2eKv;
    let overheads: Vec<&OverheadRow> =
        run.tables.overhead_compute_fits.iter().filter(|row| quoted(row.key.headline, row.key.mode)).collect();
    let planes: Vec<&MultivariateRow> =
        run.tables.multivariate_fits.iter().filter(|row| quoted(row.key.headline, row.key.mode)).collect();
    let ranks: Vec<&CorrelationRow> =
        run.tables.architecture_correlations.iter().filter(|row| quoted(row.key.headline, row.key.mode)).collect();
    let blocks = if overheads.is_empty() {
        vec![Block::Note("No call counts, so there is nothing to predict.".into())]
    } else {
        vec![overhead(run, names, &overheads), size_and_depth(names, &planes), correlations(names, &ranks)]
    };
    Some(Section { id: "predictors", title: "What latency follows".to_owned(), blocks })
}

fn overhead(run: &ReportedRun<'_>, names: &Names, rows: &[&OverheadRow]) -> Block {
    let caption = Text::plain(format!(
        "Overhead plus compute, latency of a whole call = a + b · {}: what share of a middle-sized model's time does not depend on \
         size. From ",
        axis_title(run.plan.fit)
    ))
    .code("analysis/overhead_compute_fits.csv")
    .and(".");
    Table::of(rows)
        .words("backend", |row| names.engine(&row.key.backend, row.key.dtype))
        .words("mode", |row| mode(row.key.mode))
        .count("models", |row| row.n_models)
        .interval("overhead a", "ms", T_INTERVAL, |row| {
            format::interval(row.a_ms.filter(|_| row.actionable), row.a_low_ms.zip(row.a_high_ms))
        })
        .interval("b", "ms per unit", T_INTERVAL, |row| {
            let b = row.b_ms_per_x.filter(|_| row.actionable);
            format::interval(b, row.b_low_ms_per_x.zip(row.b_high_ms_per_x))
        })
        .number("R²", "", |row| format::r2(row.r2))
        .number("overhead share", "", |row| format::percent(row.overhead_share))
        .words("verdict", |row| match &row.overhead_share_reason {
            None => verdict(row.reason.as_deref()),
            Some(why) => format!("actionable; share withheld: {why}"),
        })
        .captioned(caption)
        .into()
}

fn size_and_depth(names: &Names, rows: &[&MultivariateRow]) -> Block {
    let caption = Text::plain(
        "Exponents of size and depth together: what more parameters cost at the same number of layers, and the other way round. With \
         a condition number above about 10 the two are hardly told apart. From ",
    )
    .code("analysis/multivariate_fits.csv")
    .and(".");
    Table::of(rows)
        .words("backend", |row| names.engine(&row.key.backend, row.key.dtype))
        .words("mode", |row| mode(row.key.mode))
        .count("models", |row| row.n_models)
        .interval("size", "", T_INTERVAL, |row| {
            format::interval(row.beta_ln_params.filter(|_| row.actionable), row.beta_low.zip(row.beta_high))
        })
        .interval("depth", "", T_INTERVAL, |row| {
            format::interval(row.gamma_ln_n_layer.filter(|_| row.actionable), row.gamma_low.zip(row.gamma_high))
        })
        .number("R²", "", |row| format::r2(row.r2))
        .number("condition", "", |row| format::number(row.condition_number, 2))
        .words("verdict", |row| verdict(row.reason.as_deref()))
        .captioned(caption)
        .into()
}

/// One row per fit, one column per property: ρ with its p.
fn correlations(names: &Names, rows: &[&CorrelationRow]) -> Block {
    let caption = Text::plain(
        "Spearman's ρ: whether latency rises with a property at all, whatever the shape of the law; p over all orders \
         (above 9 models by Student's t). A dash stands where the models do not differ or are fewer than 3. From ",
    )
    .code("analysis/architecture_correlations.csv")
    .and(".");
    let fits = distinct(rows.iter().map(|row| row.key.fit_id.as_str()));
    let first_of_each = fits.iter().filter_map(|id| rows.iter().copied().find(|row| row.key.fit_id == *id));
    let mut table = Table::of(first_of_each)
        .words("backend", |row| names.engine(&row.key.backend, row.key.dtype))
        .words("mode", |row| mode(row.key.mode))
        .count("models", |row| row.n_models);
    for predictor in distinct(rows.iter().map(|row| row.predictor.as_str())) {
        table = table.number(&format!("{predictor}: ρ"), "p", |first| {
            let row = rows.iter().find(|row| row.key.fit_id == first.key.fit_id && row.predictor == predictor);
            row.and_then(|row| rank_correlation(row)).unwrap_or_else(|| ABSENT.to_owned())
        });
    }
    table.captioned(caption).into()
}

/// `None`: it could not be told.
fn rank_correlation(row: &CorrelationRow) -> Option<String> {
    let (rho, p) = (row.rho?, row.p_exact.or(row.p_t)?);
    Some(format!("{} ({})", format::fixed(rho, 2), format::p_value(p)))
}
