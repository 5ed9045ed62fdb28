//! How much is done per second, against anything, on logarithmic axes.

use std::fmt::Write as _;

use plotters::element::PathElement;
use plotters::style::Color;

use super::axis::Axis;
use super::mark::Mark;
use super::scaling::Interval;
use super::sheet::{Area, Frame, Head, line, render};
use super::svg::PX;
use super::{ChartError, Svg, check};
use crate::report::format;
use crate::text::one_line;

const BODY_PX: i32 = 350;

/// What is done per second.
#[derive(Debug, Clone, PartialEq)]
pub struct Rates {
    /// What the points are.
    pub title: String,
    /// Name and unit of the horizontal axis.
    pub x_name: String,
    /// Name and unit of the vertical axis.
    pub y_name: String,
    /// Each with a mark of its own.
    pub series: Vec<RateSeries>,
}

/// Points, or a line, or both.
#[derive(Debug, Clone, PartialEq)]
pub struct RateSeries {
    /// Stands in the legend.
    pub name: String,
    /// What was measured.
    pub points: Vec<RatePoint>,
    /// A line through these places, in this order. Empty: none is drawn.
    pub line: Vec<(f64, f64)>,
}

/// One rate that was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatePoint {
    /// Where it stands.
    pub x: f64,
    /// The rate.
    pub y: f64,
    /// Its interval. `None`: no whisker is drawn.
    pub interval: Option<Interval>,
}

/// Draws lines, and points with whiskers.
///
/// # Errors
/// [`ChartError::Empty`] without a point, [`ChartError::Value`] for a place that is not positive.
pub fn rates(data: &Rates) -> Result<Svg, ChartError> {
    let points = || data.series.iter().flat_map(|series| &series.points);
    for series in &data.series {
        let whiskers = series.points.iter().filter_map(|point| point.interval).flat_map(|i| [i.low, i.high]);
        let places = series.points.iter().flat_map(|point| [point.x, point.y]);
        for value in places.chain(whiskers).chain(series.line.iter().flat_map(|(x, y)| [*x, *y])) {
            check(&series.name, "a place", value, f64::MIN_POSITIVE.., "positive numbers")?;
        }
    }
    if points().next().is_none() {
        return Err(ChartError::Empty { what: "rates" });
    }
    let lines = || data.series.iter().flat_map(|series| &series.line);
    let ends = points().filter_map(|point| point.interval).flat_map(|i| [i.low, i.high]);
    let x = Axis::log(points().map(|point| point.x).chain(lines().map(|place| place.0)), 7);
    let y = Axis::log(points().map(|point| point.y).chain(ends).chain(lines().map(|place| place.1)), 7);
    let (Some(x), Some(y)) = (x, y) else { return Err(ChartError::Empty { what: "rates" }) };
    let legend: Vec<_> = data.series.iter().enumerate().map(|(i, s)| (Mark::nth(i), s.name.clone())).collect();
    render(&Head::new(&data.title, &legend), describe(data), BODY_PX, |area| {
        let frame = Frame { x: &x, y: &y, x_name: &data.x_name, y_name: Some((&data.y_name, 48)), ticks_on_top: false };
        draw(&frame, area, data)
    })
}

fn draw(frame: &Frame<'_>, area: &Area<'_>, data: &Rates) -> Result<(), ChartError> {
    let plot = frame.draw(area)?;
    let area = plot.plotting_area();
    for (i, series) in data.series.iter().enumerate() {
        let mark = Mark::nth(i);
        if series.line.len() >= 2 {
            let stroke = mark.colour.light.stroke_width(2 * PX.unsigned_abs());
            area.draw(&PathElement::new(series.line.clone(), stroke))?;
        }
        for point in &series.points {
            if let Some(Interval { low, high }) = point.interval {
                area.draw(&line((point.x, low), (point.x, high), mark.colour, 2))?;
            }
            area.draw(&mark.at((point.x, point.y), 4, 1.0))?;
        }
    }
    Ok(())
}

fn describe(data: &Rates) -> String {
    let mut text = format!("{} against {}, both axes logarithmic.", one_line(&data.y_name), one_line(&data.x_name));
    for series in &data.series {
        let _ = write!(text, " {}:", one_line(&series.name));
        let marked = series.points.iter().map(|point| (point.x, point.y));
        let places: Vec<(f64, f64)> = if series.points.is_empty() { series.line.clone() } else { marked.collect() };
        for (x, y) in places {
            let _ = write!(text, " {} → {};", format::number(x, 3), format::number(y, 3));
        }
    }
    text
}
