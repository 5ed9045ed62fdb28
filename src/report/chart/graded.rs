//! Energy against model size on logarithmic axes, each figure with its grade.

use std::fmt::Write as _;

use plotters::coord::ranged1d::Ranged;
use plotters::element::{EmptyElement, Text};
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::mark::Mark;
use super::scaling::Interval;
use super::sheet::{Frame, Head, LABEL_PX, font, line, render};
use super::svg::PX;
use super::{ChartError, Svg, check};
use crate::report::format;
use crate::report::theme::INK;
use crate::text::one_line;

const BODY_PX: i32 = 350;
/// Room between a mark and its grade.
const BESIDE_PX: i32 = 8;

/// Graded figures over model size.
#[derive(Debug, Clone, PartialEq)]
pub struct Graded {
    /// Names the phase.
    pub title: String,
    /// Name and unit of the horizontal axis.
    pub x_name: String,
    /// Name and unit of the vertical axis.
    pub y_name: String,
    /// Scenarios or backends.
    pub series: Vec<GradedSeries>,
}

/// One scenario or backend.
#[derive(Debug, Clone, PartialEq)]
pub struct GradedSeries {
    /// Stands in the legend.
    pub name: String,
    /// One point per model.
    pub points: Vec<GradedPoint>,
}

/// One model's figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradedPoint {
    /// Model size, in the unit that [`Graded::x_name`] states.
    pub x: f64,
    /// The figure, in the unit of [`Graded::y_name`]. `None`: only its interval may be shown, so no mark is drawn.
    pub value: Option<f64>,
    /// Its interval. One that reaches to 0 or below runs off the plot's lower edge.
    pub interval: Interval,
    /// Stands beside it.
    pub grade: &'static str,
}

/// Draws marks with whiskers and grades; a figure that is an interval only has no mark.
///
/// # Errors
/// [`ChartError::Empty`] without a figure, [`ChartError::Value`] for a size or an upper end that is not positive.
pub fn graded(data: &Graded) -> Result<Svg, ChartError> {
    let points = || data.series.iter().flat_map(|series| &series.points);
    for series in &data.series {
        for point in &series.points {
            let positive = |what, value| check(&series.name, what, value, f64::MIN_POSITIVE.., "positive numbers");
            positive("model size", point.x)?;
            positive("upper end", point.interval.high)?;
            if let Some(value) = point.value {
                positive("figure", value)?;
            }
        }
    }
    let ends = points().flat_map(|point| [Some(point.interval.low), point.value, Some(point.interval.high)]);
    let seen = ends.flatten().filter(|value| *value > 0.0);
    let (Some(x), Some(y)) = (Axis::log(points().map(|point| point.x), 7), Axis::log(seen, 8)) else {
        return Err(ChartError::Empty { what: "graded figures" });
    };
    let legend: Vec<_> = data.series.iter().enumerate().map(|(i, s)| (Mark::nth(i), s.name.clone())).collect();
    let head = Head::new(&data.title, &legend);
    render(&head, describe(data), BODY_PX, |area| {
        let frame = Frame { x: &x, y: &y, x_name: &data.x_name, y_name: Some((&data.y_name, 48)), ticks_on_top: false };
        let plot = frame.draw(area)?;
        let area = plot.plotting_area();
        let bottom = y.range().start;
        for (i, series) in data.series.iter().enumerate() {
            let mark = Mark::nth(i);
            for point in &series.points {
                let low = point.interval.low.max(bottom);
                area.draw(&line((point.x, low), (point.x, point.interval.high), mark.colour, 2))?;
                if let Some(value) = point.value {
                    area.draw(&mark.at((point.x, value), 4, 1.0))?;
                }
                // Beside the mark; of an interval alone, beside its upper end, which is always in the plot.
                let beside = (point.x, point.value.unwrap_or(point.interval.high));
                let style = font(LABEL_PX, INK, HPos::Left, VPos::Center);
                let grade = Text::new(point.grade, (BESIDE_PX * PX, 0), style);
                area.draw(&(EmptyElement::at(beside) + grade))?;
            }
        }
        Ok(())
    })
}

fn describe(data: &Graded) -> String {
    let mut text = format!("{} against {}, both axes logarithmic.", one_line(&data.y_name), one_line(&data.x_name));
    for series in &data.series {
        let _ = write!(text, " {}:", one_line(&series.name));
        for point in &series.points {
            let Interval { low, high } = point.interval;
            let (x, low, high) = (format::number(point.x, 3), format::number(low, 2), format::number(high, 2));
            let value = point.value.map(|value| format!("{} ", format::number(value, 3))).unwrap_or_default();
            let _ = write!(text, " {x} → {value}[{low}, {high}], grade {};", point.grade);
        }
    }
    text
}
