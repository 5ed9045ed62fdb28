//! Which property of a model latency follows: the headline fits of the other forms.

use crate::analysis::aggregate::distinct;
use crate::analysis::{CorrelationRow, MultivariateRow, OverheadRow};
use crate::report::document::{Block, Column, Section, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::terms::Mode;

use super::ReportedRun;
use super::names::{Names, axis_title, mode};

pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Section {
    let quoted = |headline: bool, mode: Mode| headline && mode != Mode::E2eKv;
    let overheads: Vec<&OverheadRow> =
        run.tables.overhead_compute_fits.iter().filter(|row| quoted(row.headline, row.mode)).collect();
    let planes: Vec<&MultivariateRow> =
        run.tables.multivariate_fits.iter().filter(|row| quoted(row.headline, row.mode)).collect();
    let ranks: Vec<&CorrelationRow> =
        run.tables.architecture_correlations.iter().filter(|row| quoted(row.headline, row.mode)).collect();
    let mut blocks = Vec::new();
    if overheads.is_empty() {
        blocks.push(Block::Note("No call counts, so there is nothing to predict.".into()));
    } else {
        blocks.push(overhead(run, names, &overheads));
        blocks.push(size_and_depth(names, &planes));
        blocks.push(correlations(names, &ranks));
    }
    Section { id: "predictors", title: "What latency follows".to_owned(), blocks }
}

fn verdict(reason: Option<&String>) -> Text {
    reason.map_or_else(|| "actionable".to_owned(), |why| format!("not identifiable: {why}")).into()
}

fn overhead(run: &ReportedRun<'_>, names: &Names, rows: &[&OverheadRow]) -> Block {
    let columns = vec![
        Column::words("backend"),
        Column::words("mode"),
        Column::numbers("models"),
        Column::numbers("overhead a (ms) [95\u{a0}%\u{a0}t]"),
        Column::numbers("b (ms per unit) [95\u{a0}%\u{a0}t]"),
        Column::numbers("R²"),
        Column::numbers("overhead share"),
        Column::words("verdict"),
    ];
    let line = |row: &&OverheadRow| {
        let shown = |value: Option<f64>| value.filter(|_| row.actionable);
        vec![
            names.engine(&row.backend, row.dtype).into(),
            mode(row.mode).into(),
            row.n_models.to_string().into(),
            format::interval(shown(row.a_ms), row.a_low_ms.zip(row.a_high_ms)).into(),
            format::interval(shown(row.b_ms_per_x), row.b_low_ms_per_x.zip(row.b_high_ms_per_x)).into(),
            format::r2(row.r2).into(),
            format::percent(row.overhead_share).into(),
            match &row.overhead_share_reason {
                None => verdict(row.reason.as_ref()),
                Some(why) => format!("actionable; share withheld: {why}").into(),
            },
        ]
    };
    let caption = Text::plain(format!(
        "Overhead plus compute, latency of a whole call = a + b · {}: how much of a middling model's time would be there with no model \
         at all. From ",
        axis_title(run.plan.fit)
    ))
    .code("analysis/overhead_compute_fits.csv")
    .and(".");
    Block::Table(Table { caption, columns, rows: rows.iter().map(line).collect() })
}

fn size_and_depth(names: &Names, rows: &[&MultivariateRow]) -> Block {
    let columns = vec![
        Column::words("backend"),
        Column::words("mode"),
        Column::numbers("models"),
        Column::numbers("size [95\u{a0}%\u{a0}t]"),
        Column::numbers("depth [95\u{a0}%\u{a0}t]"),
        Column::numbers("R²"),
        Column::numbers("condition"),
        Column::words("verdict"),
    ];
    let line = |row: &&MultivariateRow| {
        let shown = |value: Option<f64>| value.filter(|_| row.actionable);
        vec![
            names.engine(&row.backend, row.dtype).into(),
            mode(row.mode).into(),
            row.n_models.to_string().into(),
            format::interval(shown(row.beta_ln_params), row.beta_low.zip(row.beta_high)).into(),
            format::interval(shown(row.gamma_ln_n_layer), row.gamma_low.zip(row.gamma_high)).into(),
            format::r2(row.r2).into(),
            format::number(row.condition_number, 2).into(),
            verdict(row.reason.as_ref()),
        ]
    };
    let caption = Text::plain(
        "Exponents of size and depth together: what more parameters cost at the same number of layers, and the other way round. With \
         a condition number above about 10 the two are hardly told apart. From ",
    )
    .code("analysis/multivariate_fits.csv")
    .and(".");
    Block::Table(Table { caption, columns, rows: rows.iter().map(line).collect() })
}

/// One line per fit, one column per property: ρ with its p.
fn correlations(names: &Names, rows: &[&CorrelationRow]) -> Block {
    let predictors = distinct(rows.iter().map(|row| row.predictor.as_str()));
    let mut columns = vec![Column::words("backend"), Column::words("mode"), Column::numbers("models")];
    columns.extend(predictors.iter().map(|name| Column::numbers(format!("{name}: ρ (p)"))));
    let fits = distinct(rows.iter().map(|row| row.fit_id.as_str()));
    let lines = fits.iter().filter_map(|id| {
        let first = rows.iter().find(|row| row.fit_id == *id)?;
        let mut line: Vec<Text> = vec![
            names.engine(&first.backend, first.dtype).into(),
            mode(first.mode).into(),
            first.n_models.to_string().into(),
        ];
        for name in &predictors {
            let row = rows.iter().find(|row| row.fit_id == *id && row.predictor == *name);
            let rho = row.and_then(|row| Some((row.rho?, row.p_exact.or(row.p_t)?)));
            let text = rho.map(|(rho, p)| format!("{} ({})", format::fixed(rho, 2), format::p_value(p)));
            line.push(text.unwrap_or_else(|| ABSENT.to_owned()).into());
        }
        Some(line)
    });
    let caption = Text::plain(
        "Spearman's ρ: whether latency rises with a property at all, whatever the shape of the law; p over all orders \
         (above 9 models by Student's t). A dash stands where the models do not differ or are fewer than 3. From ",
    )
    .code("analysis/architecture_correlations.csv")
    .and(".");
    Block::Table(Table { caption, columns, rows: lines.collect() })
}
