//! Latency against model size: charts and the table of fits.

use crate::analysis::summary::SummaryRow;
use crate::analysis::{self, ScalingFitRow};
use crate::report::chart::{self, CurvePoint, Interval, Scaling, ScalingPoint, ScalingSeries};
use crate::report::document::{Block, Section, Text};
use crate::terms::{FitAxis, Mode};

use super::ReportedRun;
use super::findings::headlines;
use super::names::{Names, axis_title, call_shape, mode};

mod fits;

pub(super) use fits::verdict;

/// Points on a fitted line.
const CURVE_POINTS: usize = 40;
/// Most series in one chart of scenarios.
const MOST_SERIES: usize = 6;

pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Option<Section> {
    if run.manifest.imported.is_some() {
        return None;
    }
    let intro = "A line is drawn only for a fit that is actionable: at least 4 models, R² of at least 0.2, and both 95\u{a0}% \
                 intervals of the slope exclude 0. The band around it is the line's own 95\u{a0}% interval; single models may lie \
                 outside of it.";
    let mut blocks = vec![Block::Paragraph(intro.into())];
    for mode in [Mode::Prefill, Mode::KvDecode, Mode::GenerateUncached] {
        let fits: Vec<&ScalingFitRow> = headlines(run).filter(|fit| fit.key.mode == mode).collect();
        blocks.extend(overview(run, names, mode, &fits));
        let mut apart: Vec<Apart> = fits.iter().filter_map(|fit| by_scenario(run, names, fit)).collect();
        let reach: Vec<(f64, f64)> = apart.iter().flat_map(|chart| chart::scaling_reach(&chart.data)).collect();
        for chart in &mut apart {
            chart.data.reach.clone_from(&reach);
        }
        blocks.extend(apart.into_iter().map(Apart::block));
    }
    blocks.extend(names.backends().iter().filter_map(|backend| fits::table(run, names, backend)));
    Some(Section { id: "scaling", title: "How latency scales".to_owned(), blocks })
}

/// Aggregates of every backend in one chart.
fn overview(run: &ReportedRun<'_>, names: &Names, timed: Mode, fits: &[&ScalingFitRow]) -> Option<Block> {
    let first = fits.first()?;
    let alike = fits.iter().all(|fit| (fit.key.batch, fit.key.gen_tokens) == (first.key.batch, first.key.gen_tokens));
    let series = fits.iter().map(|fit| {
        let mut name = names.engine(&fit.key.backend, fit.key.dtype);
        if !alike {
            name = format!("{name}, {}", call_shape(timed, fit.key.batch, fit.key.gen_tokens));
        }
        ScalingSeries { name, points: aggregate_points(run, fit), curve: curve(run, fit) }
    });
    let of =
        if alike { format!(", {}", call_shape(timed, first.key.batch, first.key.gen_tokens)) } else { String::new() };
    let data = Scaling {
        title: format!("{}{of}: geometric mean over scenarios", mode(timed)),
        x_name: axis_title(run.plan.fit).to_owned(),
        y_name: y_name(timed).to_owned(),
        series: series.collect(),
        reach: Vec::new(),
    };
    let caption = Text::plain("One point per model: the geometric mean of its scenarios' medians, from ")
        .code("analysis/scaling_residuals.csv")
        .and(".");
    Some(Block::figure(&format!("scaling_{timed}"), caption, chart::scaling(&data)))
}

/// A chart of scenarios, before those of all engines share their axes.
struct Apart {
    id: String,
    caption: Text,
    data: Scaling,
}

impl Apart {
    fn block(self) -> Block {
        Block::figure(&self.id, self.caption, chart::scaling(&self.data))
    }
}

/// The scenarios behind one aggregate, apart. `None`: there is but one.
fn by_scenario(run: &ReportedRun<'_>, names: &Names, headline: &ScalingFitRow) -> Option<Apart> {
    let scenarios: Vec<&ScalingFitRow> =
        run.tables.scaling_fits.iter().filter(|fit| fit.key.scenario.is_some() && same_shape(fit, headline)).collect();
    if scenarios.len() < 2 {
        return None;
    }
    let left_out = scenarios.len().saturating_sub(MOST_SERIES);
    let series = scenarios.iter().take(MOST_SERIES).map(|fit| ScalingSeries {
        name: fit.key.scenario.clone().unwrap_or_default(),
        points: scenario_points(run, fit),
        curve: without_band(curve(run, fit)),
    });
    let engine = names.engine(&headline.key.backend, headline.key.dtype);
    let data = Scaling {
        title: format!("{} on {engine}, by scenario", mode(headline.key.mode)),
        x_name: axis_title(run.plan.fit).to_owned(),
        y_name: y_name(headline.key.mode).to_owned(),
        series: series.collect(),
        reach: Vec::new(),
    };
    let mut caption = Text::plain("Points are medians, bars the 95\u{a0}% intervals of the location, from ")
        .code("analysis/summary_by_model_backend_mode.csv")
        .and(". Bands are left out where lines would hide each other.");
    if names.several_backends() {
        caption = caption.and(" The engines' charts have the same axes.");
    }
    if left_out > 0 {
        caption = caption.and(format!(" {left_out} more scenarios are in the table of fits."));
    }
    let id = names.figure(&format!("scaling_{}_by_scenario", headline.key.mode), &headline.key.backend);
    Some(Apart { id, caption, data })
}

fn same_shape(a: &ScalingFitRow, b: &ScalingFitRow) -> bool {
    (&a.key.backend, a.key.dtype, a.key.mode, a.key.batch, a.key.gen_tokens)
        == (&b.key.backend, b.key.dtype, b.key.mode, b.key.batch, b.key.gen_tokens)
}

fn y_name(timed: Mode) -> &'static str {
    if timed.is_of_steps() { "latency (ms per step)" } else { "latency (ms)" }
}

/// What latencies of a fit are divided by to be per step; a prefill has no steps.
fn steps(fit: &ScalingFitRow) -> f64 {
    fit.key.mode.units(fit.key.gen_tokens)
}

/// The models a fit was made from; where there is none, the models as aggregated.
fn aggregate_points(run: &ReportedRun<'_>, fit: &ScalingFitRow) -> Vec<ScalingPoint> {
    let point = |x: f64, latency_ms: f64| ScalingPoint { x, median_ms: latency_ms / steps(fit), interval_ms: None };
    let residuals = run.tables.scaling_residuals.iter().filter(|row| row.fit_id == fit.key.fit_id);
    let fitted: Vec<ScalingPoint> = residuals.map(|row| point(row.x, row.latency_ms)).collect();
    if !fitted.is_empty() {
        return fitted;
    }
    let aggregated = run.tables.aggregate.iter().filter(|row| {
        (&row.backend, row.dtype, row.mode, row.batch, row.gen_tokens)
            == (&fit.key.backend, fit.key.dtype, fit.key.mode, fit.key.batch, fit.key.gen_tokens)
    });
    let points = aggregated.filter_map(|row| {
        let x = size(
            run.plan.fit,
            row.architecture.params_millions,
            row.architecture.n_layer,
            row.architecture.n_embd,
            row.architecture.n_head,
        )?;
        Some(point(x, row.latency_ms))
    });
    points.collect()
}

fn scenario_points(run: &ReportedRun<'_>, fit: &ScalingFitRow) -> Vec<ScalingPoint> {
    let of_fit = |row: &&SummaryRow| {
        row.is_proven()
            && (&row.key.backend, row.key.dtype, row.mode, row.key.batch, row.key.gen_tokens)
                == (&fit.key.backend, fit.key.dtype, fit.key.mode, fit.key.batch, fit.key.gen_tokens)
            && Some(&row.key.scenario) == fit.key.scenario.as_ref()
    };
    let point = |row: &SummaryRow| {
        let interval = row.ci_low_ms.zip(row.ci_high_ms);
        Some(ScalingPoint {
            x: size(
                run.plan.fit,
                row.architecture.params_millions,
                row.architecture.n_layer,
                row.architecture.n_embd,
                row.architecture.n_head,
            )?,
            median_ms: row.median_ms / steps(fit),
            interval_ms: interval.map(|(low, high)| Interval { low: low / steps(fit), high: high / steps(fit) }),
        })
    };
    run.tables.summary.iter().filter(of_fit).filter_map(point).collect()
}

/// A model's place on the axis. `None`: not known of it.
fn size(
    axis: FitAxis,
    params_millions: Option<f64>,
    layers: Option<u64>,
    width: Option<u64>,
    heads: Option<u64>,
) -> Option<f64> {
    match axis {
        FitAxis::Params => params_millions,
        FitAxis::NLayer => layers.map(|n| n as f64),
        FitAxis::NEmbd => width.map(|n| n as f64),
        FitAxis::NHead => heads.map(|n| n as f64),
    }
}

/// The law with its band. Empty: it is not actionable.
fn curve(run: &ReportedRun<'_>, fit: &ScalingFitRow) -> Vec<CurvePoint> {
    if !fit.actionable {
        return Vec::new();
    }
    let points: Vec<_> =
        run.tables.scaling_residuals.iter().filter(|row| row.fit_id == fit.key.fit_id).cloned().collect();
    let steps = steps(fit);
    let draw = |point: analysis::CurvePoint| CurvePoint {
        x: point.x,
        fit_ms: point.fitted_ms / steps,
        band_ms: Some(Interval { low: point.band_ms.low / steps, high: point.band_ms.high / steps }),
    };
    analysis::curve(&points, CURVE_POINTS).unwrap_or_default().into_iter().map(draw).collect()
}

fn without_band(curve: Vec<CurvePoint>) -> Vec<CurvePoint> {
    curve.into_iter().map(|point| CurvePoint { band_ms: None, ..point }).collect()
}
