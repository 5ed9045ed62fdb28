//! A cell through many runs: points, levels, and where the stack changed.

use std::fmt::Write as _;

use plotters::coord::ranged1d::Ranged;

use super::axis::Axis;
use super::mark::Mark;
use super::scaling::Interval;
use super::sheet::{Frame, Head, line, render};
use super::{ChartError, Svg, check};
use crate::report::format;
use crate::report::theme::{AXIS, INK};
use crate::text::one_line;

const BODY_PX: i32 = 280;

/// A cell through many runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Trend {
    /// Names the cell.
    pub title: String,
    /// The runs that have it, by their number from 1.
    pub points: Vec<TrendPoint>,
    /// Levels between changes.
    pub levels: Vec<TrendLevel>,
    /// Numbers of the first runs with another stack.
    pub stack_changes: Vec<usize>,
}

/// A cell in one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrendPoint {
    /// Number of the run, from 1.
    pub run: usize,
    /// Latency in milliseconds.
    pub ms: f64,
    /// Its interval within the run. `None`: not known.
    pub interval: Option<Interval>,
}

/// Runs between two changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrendLevel {
    /// Number of its first run.
    pub first: usize,
    /// Number of its last run.
    pub last: usize,
    /// Latency in milliseconds.
    pub ms: f64,
}

/// Draws the points with their intervals, a line for each level, and an upright line where the stack changed.
///
/// # Errors
/// [`ChartError::Empty`] without a point, [`ChartError::Value`] for a latency that is not positive.
pub fn trend(data: &Trend) -> Result<Svg, ChartError> {
    for point in &data.points {
        check(&data.title, "latency in ms", point.ms, f64::MIN_POSITIVE.., "positive numbers")?;
    }
    let ends = data.points.iter().flat_map(|point| {
        let interval = point.interval.map(|interval| [interval.low, interval.high]);
        [point.ms].into_iter().chain(interval.into_iter().flatten())
    });
    let runs = data.points.iter().flat_map(|point| [point.run as f64 - 0.5, point.run as f64 + 0.5]);
    let (Some(x), Some(y)) = (Axis::linear(runs, 7, whole), Axis::linear(ends, 7, plain)) else {
        return Err(ChartError::Empty { what: "runs" });
    };
    let mut legend = vec![(Mark::nth(0), "run, with its own 95 % interval".to_owned())];
    if !data.stack_changes.is_empty() {
        legend.push((Mark { colour: AXIS, ..Mark::nth(5) }, "upright line: another stack from here on".to_owned()));
    }
    let head = Head::new(&data.title, &legend);
    render(&head, describe(data), BODY_PX, |area| {
        let frame = Frame { x: &x, y: &y, x_name: "number of the run", y_name: Some(("ms", 48)), ticks_on_top: false };
        let plot = frame.draw(area)?;
        let area = plot.plotting_area();
        let range = y.range();
        for &at in &data.stack_changes {
            let at = at as f64 - 0.5;
            area.draw(&line((at, range.start), (at, range.end), AXIS, 2))?;
        }
        let mark = Mark::nth(0);
        for point in &data.points {
            let at = point.run as f64;
            if let Some(interval) = point.interval {
                area.draw(&line((at, interval.low), (at, interval.high), mark.colour, 1))?;
            }
            area.draw(&mark.at((at, point.ms), 3, 1.0))?;
        }
        for level in &data.levels {
            let (first, last) = (level.first as f64 - 0.5, level.last as f64 + 0.5);
            area.draw(&line((first, level.ms), (last, level.ms), INK, 2))?;
        }
        Ok(())
    })
}

fn whole(value: f64, _: usize) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { String::new() }
}

fn plain(value: f64, decimals: usize) -> String {
    format!("{value:.decimals$}")
}

fn describe(data: &Trend) -> String {
    let mut text = format!("Latency of {} in {} runs.", one_line(&data.title), data.points.len());
    for level in &data.levels {
        let _ = write!(text, " Runs {} to {}: {} ms.", level.first, level.last, format::number(level.ms, 3));
    }
    if !data.stack_changes.is_empty() {
        let at: Vec<String> = data.stack_changes.iter().map(usize::to_string).collect();
        let _ = write!(text, " The stack is another one from run {} on.", at.join(", "));
    }
    text
}
