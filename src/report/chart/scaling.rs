//! Latency against model size on logarithmic axes.

use std::fmt::Write as _;

use plotters::element::{PathElement, Polygon};
use plotters::style::Color;

use super::axis::Axis;
use super::mark::Mark;
use super::sheet::{Area, Frame, Head, Plot, line, render};
use super::svg::PX;
use super::{ChartError, Svg, check};
use crate::report::format;
use crate::text::one_line;

const BODY_PX: i32 = 350;
/// How far a fit's band may stretch the axis beyond the points, in powers of ten. A band from three points can
/// span a universe; beyond this it runs off the plot's edge.
const BAND_STRETCH: f64 = 0.4;

/// What latency does as models grow.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaling {
    /// Names phase, backend and what the points are.
    pub title: String,
    /// Name and unit of the horizontal axis, e.g. `parameters (millions)`.
    pub x_name: String,
    /// Name and unit of the vertical axis, e.g. `latency (ms)`; every latency here is in it.
    pub y_name: String,
    /// Scenarios or backends.
    pub series: Vec<ScalingSeries>,
    /// Sizes and latencies that the axes reach to, drawn or not: charts that are read beside each other have one scale.
    pub reach: Vec<(f64, f64)>,
}

/// One scenario or backend.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalingSeries {
    /// Stands in the legend.
    pub name: String,
    /// One point per model.
    pub points: Vec<ScalingPoint>,
    /// The fitted law, ascending in x. Empty: no fit is shown, e.g. because it is not identifiable.
    pub curve: Vec<CurvePoint>,
}

/// One model's cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScalingPoint {
    /// Model size, in the unit that [`Scaling::x_name`] states.
    pub x: f64,
    /// Median latency.
    pub median_ms: f64,
    /// The median's interval. `None`: too few calls for one, no whisker is drawn.
    pub interval_ms: Option<Interval>,
}

/// Lower and upper bound, in the unit of the value they belong to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// The fitted law at one size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurvePoint {
    /// Model size, as in [`ScalingPoint::x`].
    pub x: f64,
    /// What the law says.
    pub fit_ms: f64,
    /// Its 95 % band there. `None`: no band is drawn at this size.
    pub band_ms: Option<Interval>,
}

/// The places of a chart that its axes reach to: points with their whiskers, and lines.
#[must_use]
pub fn scaling_reach(data: &Scaling) -> Vec<(f64, f64)> {
    let ends = |p: &ScalingPoint| {
        let whisker = p.interval_ms.into_iter().flat_map(|interval| [interval.low, interval.high]);
        [p.median_ms].into_iter().chain(whisker).map(|y| (p.x, y)).collect::<Vec<_>>()
    };
    let points = data.series.iter().flat_map(|s| &s.points).flat_map(ends);
    let curves = data.series.iter().flat_map(|s| &s.curve).map(|c| (c.x, c.fit_ms));
    points.chain(curves).collect()
}

/// Draws points with whiskers, fitted lines and their bands.
///
/// # Errors
/// [`ChartError::Empty`] without a point, [`ChartError::Value`] for a size or latency that is not positive.
pub fn scaling(data: &Scaling) -> Result<Svg, ChartError> {
    validate(data)?;
    let (Some(x), Some(y)) = (x_axis(data), y_axis(data)) else {
        return Err(ChartError::Empty { what: "medians" });
    };
    let legend: Vec<_> = data.series.iter().enumerate().map(|(i, s)| (Mark::nth(i), s.name.clone())).collect();
    let head = Head::new(&data.title, &legend);
    render(&head, describe(data), BODY_PX, |area| {
        let frame = Frame { x: &x, y: &y, x_name: &data.x_name, y_name: Some((&data.y_name, 48)), ticks_on_top: false };
        draw(&frame, area, data)
    })
}

fn draw(frame: &Frame<'_>, area: &Area<'_>, data: &Scaling) -> Result<(), ChartError> {
    let plot = frame.draw(area)?;
    for (i, series) in data.series.iter().enumerate() {
        draw_curve(&plot, series, Mark::nth(i))?;
    }
    for (i, series) in data.series.iter().enumerate() {
        let mark = Mark::nth(i);
        for p in &series.points {
            let area = plot.plotting_area();
            if let Some(Interval { low, high }) = p.interval_ms {
                area.draw(&line((p.x, low), (p.x, high), mark.colour, 2))?;
            }
            area.draw(&mark.at((p.x, p.median_ms), 4, 1.0))?;
        }
    }
    Ok(())
}

fn draw_curve(plot: &Plot<'_>, series: &ScalingSeries, mark: Mark) -> Result<(), ChartError> {
    let edge =
        |of: fn(&Interval) -> f64| series.curve.iter().filter_map(move |c| c.band_ms.as_ref().map(|b| (c.x, of(b))));
    let mut band: Vec<_> = edge(|b| b.high).collect();
    band.extend(edge(|b| b.low).collect::<Vec<_>>().into_iter().rev());
    let area = plot.plotting_area();
    if band.len() >= 4 {
        area.draw(&Polygon::new(band, mark.colour.light.mix(0.13)))?;
    }
    if series.curve.len() >= 2 {
        let path: Vec<_> = series.curve.iter().map(|c| (c.x, c.fit_ms)).collect();
        area.draw(&PathElement::new(path, mark.colour.light.stroke_width(2 * PX.unsigned_abs())))?;
    }
    Ok(())
}

fn x_axis(data: &Scaling) -> Option<Axis> {
    Axis::log(scaling_reach(data).iter().chain(&data.reach).map(|(x, _)| *x), 7)
}

fn y_axis(data: &Scaling) -> Option<Axis> {
    let curves = data.series.iter().flat_map(|s| &s.curve);
    let seen: Vec<f64> = scaling_reach(data).iter().chain(&data.reach).map(|(_, y)| *y).collect();
    let (low, high) = seen.iter().fold((f64::INFINITY, 0.0f64), |(l, h), v| (l.min(*v), h.max(*v)));
    let stretch = 10f64.powf(BAND_STRETCH);
    let band = curves
        .filter_map(|c| c.band_ms.as_ref())
        .flat_map(|i| [i.low, i.high])
        .map(|v| v.clamp(low / stretch, high * stretch))
        .collect::<Vec<_>>();
    Axis::log(seen.into_iter().chain(band), 8)
}

fn validate(data: &Scaling) -> Result<(), ChartError> {
    if data.series.iter().all(|s| s.points.is_empty()) {
        return Err(ChartError::Empty { what: "medians" });
    }
    let positive = |name: &str, what, v| check(name, what, v, f64::MIN_POSITIVE.., "positive numbers").map(|_| ());
    for &(x, y) in &data.reach {
        positive(&data.title, "model size on its axis", x)?;
        positive(&data.title, "latency in ms on its axis", y)?;
    }
    for s in &data.series {
        for p in &s.points {
            positive(&s.name, "model size", p.x)?;
            positive(&s.name, "median latency in ms", p.median_ms)?;
            if let Some(i) = p.interval_ms {
                positive(&s.name, "lower bound in ms", i.low)?;
                positive(&s.name, "upper bound in ms", i.high)?;
            }
        }
        for c in &s.curve {
            positive(&s.name, "fitted model size", c.x)?;
            positive(&s.name, "fitted latency in ms", c.fit_ms)?;
            if let Some(i) = c.band_ms {
                positive(&s.name, "lower band in ms", i.low)?;
                positive(&s.name, "upper band in ms", i.high)?;
            }
        }
    }
    Ok(())
}

fn describe(data: &Scaling) -> String {
    let mut text = format!("{} against {}, both axes logarithmic.", one_line(&data.y_name), one_line(&data.x_name));
    for s in &data.series {
        let _ = write!(text, " {}:", one_line(&s.name));
        for p in &s.points {
            let (x, y) = (format::number(p.x, 3), format::ms(p.median_ms));
            let _ = write!(text, " {x} → {y};");
        }
    }
    text
}
