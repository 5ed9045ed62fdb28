//! Latency over the order of calls: does the machine, or the engine, wander?

use std::fmt::Write as _;

use plotters::coord::ranged1d::Ranged;
use plotters::element::PathElement;
use plotters::style::Color;

use super::axis::{Axis, percent_label};
use super::gathered;
use super::mark::Mark;
use super::sheet::{Frame, Head, line, render};
use super::svg::PX;
use super::{ChartError, Svg, check};
use crate::report::format;
use crate::report::theme::AXIS;
use crate::text::one_line;

const BODY_PX: i32 = 320;

/// Calls in the order they were made.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// Names the phase and how the cells were chosen.
    pub title: String,
    /// The chosen cells.
    pub series: Vec<DriftSeries>,
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub struct DriftSeries {
    /// Stands in the legend.
    pub name: String,
    /// Its timed calls, ascending in order.
    pub calls: Vec<DriftCall>,
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DriftCall {
    /// The call's number in the run's order.
    pub call_idx: u64,
    /// Difference from the cell's median, in percent of it.
    pub deviation_percent: f64,
}

/// Draws each cell's calls, joined in order.
///
/// # Errors
/// [`ChartError::Empty`] without a call, [`ChartError::Value`] for a deviation that is not a number.
pub fn drift(data: &Drift) -> Result<Svg, ChartError> {
    for s in &data.series {
        for call in &s.calls {
            check(&s.name, "deviation in percent", call.deviation_percent, .., "finite numbers")?;
        }
    }
    let per_mark = gathered::per_mark(data.series.iter().map(|s| s.calls.len()).sum());
    let paths: Vec<Vec<(f64, f64)>> = data.series.iter().map(|s| path(&s.calls, per_mark)).collect();
    let calls = || data.series.iter().flat_map(|s| &s.calls);
    let order = calls().map(|c| position(c.call_idx));
    let narrow = [-0.1, 0.0, 0.1].into_iter().take(calls().take(1).count() * 3);
    let deviations = calls().map(|c| c.deviation_percent).chain(narrow);
    let (Some(x), Some(y)) = (Axis::linear(order, 7, order_label), Axis::linear(deviations, 7, percent_label)) else {
        return Err(ChartError::Empty { what: "timed calls" });
    };
    let legend: Vec<_> = data.series.iter().enumerate().map(|(i, s)| (Mark::nth(i), s.name.clone())).collect();
    let title = gathered::titled(&data.title, per_mark, "means");
    let head = Head::new(&title, &legend);
    render(&head, describe(data, per_mark), BODY_PX, |area| {
        let frame = Frame {
            x: &x,
            y: &y,
            x_name: "number of the call in the run's order",
            y_name: Some(("difference from the cell's median (%)", 56)),
            ticks_on_top: false,
        };
        let plot = frame.draw(area)?;
        let area = plot.plotting_area();
        let ends = x.range();
        area.draw(&line((ends.start, 0.0), (ends.end, 0.0), AXIS, 1))?;
        for (i, path) in paths.into_iter().enumerate() {
            let mark = Mark::nth(i);
            let thin = mark.colour.light.mix(0.6).stroke_width(PX.unsigned_abs());
            area.draw(&PathElement::new(path.clone(), thin))?;
            for at in path {
                area.draw(&mark.at(at, 3, 1.0))?;
            }
        }
        Ok(())
    })
}

/// Where calls are drawn: each, or the mean of so many successive ones.
fn path(calls: &[DriftCall], per_mark: usize) -> Vec<(f64, f64)> {
    let mean_of = |calls: &[DriftCall]| {
        let order = gathered::mean(calls.iter().map(|call| position(call.call_idx)));
        (order, gathered::mean(calls.iter().map(|call| call.deviation_percent)))
    };
    calls.chunks(per_mark).map(mean_of).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a place on an axis")]
fn position(call_idx: u64) -> f64 {
    call_idx as f64
}

/// Calls have whole numbers: ticks between them stay unnamed.
fn order_label(value: f64, _decimals: usize) -> String {
    if value.fract() == 0.0 { format::fixed(value, 0) } else { String::new() }
}

fn describe(data: &Drift, per_mark: usize) -> String {
    let mut text = String::from("Difference from the cell's median in percent, in order of calls.");
    text.push_str(&gathered::drawn(per_mark, "means"));
    for s in &data.series {
        let ends = (s.calls.first(), s.calls.last());
        let (first, last) = (ends.0.map(|c| c.deviation_percent), ends.1.map(|c| c.deviation_percent));
        let _ = write!(
            text,
            " {}: {} calls, first {}, last {};",
            one_line(&s.name),
            s.calls.len(),
            format::change_percent(first),
            format::change_percent(last)
        );
    }
    text
}
