//! Power or temperature over time, with what ran meanwhile shaded.

use std::fmt::Write as _;

use plotters::coord::ranged1d::Ranged;
use plotters::element::{PathElement, Rectangle, Text};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::gathered::per_mark;
use super::mark::Mark;
use super::sheet::{Frame, Head, LABEL_PX, font, render, text_width};
use super::svg::PX;
use super::{ChartError, Svg, check};
use crate::report::format;
use crate::report::theme::INK;
use crate::text::one_line;

const BODY_PX: i32 = 320;
/// Stretches closer together than this touch for the eye, in seconds.
const TOUCHING_S: f64 = 0.01;
/// Most readings of a register that get a mark each.
const MOST_MARKS: usize = 100;

/// What sensors said while something ran.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Names what ran and the sensor.
    pub title: String,
    /// What its lines hold.
    pub quantity: Quantity,
    /// What time counts from, as `the call's begin`.
    pub origin: &'static str,
    /// What ran when.
    pub phases: Vec<Shade>,
    /// Registers.
    pub lines: Vec<TraceLine>,
}

/// What is drawn over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// In watts, from 0.
    Power,
    /// In °C, from where it begins.
    Temperature,
}

impl Quantity {
    /// Name and unit.
    fn name(self) -> &'static str {
        match self {
            Self::Power => "power (W)",
            Self::Temperature => "temperature (°C)",
        }
    }
}

/// A stretch in which something ran.
#[derive(Debug, Clone, PartialEq)]
pub struct Shade {
    /// Its name, which stands in it; empty: none.
    pub name: String,
    /// Begin, in seconds from the origin.
    pub begin_s: f64,
    /// End.
    pub end_s: f64,
}

/// One register over time.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceLine {
    /// Stands in the legend.
    pub name: String,
    /// Seconds from the origin, and watts or °C; ascending in time.
    pub points: Vec<(f64, f64)>,
}

/// Draws the registers over the shaded phases.
///
/// # Errors
/// [`ChartError::Empty`] without a reading, [`ChartError::Value`] for one that is not a number.
pub fn trace(data: &Trace) -> Result<Svg, ChartError> {
    for line in &data.lines {
        for &(_, value) in &line.points {
            check(&line.name, data.quantity.name(), value, .., "finite numbers")?;
        }
    }
    let points = || data.lines.iter().flat_map(|line| &line.points);
    let times = points().map(|point| point.0).chain(data.phases.iter().flat_map(|phase| [phase.begin_s, phase.end_s]));
    let label = |value: f64, decimals: usize| format::fixed(value, decimals);
    let from_zero = data.quantity == Quantity::Power && points().next().is_some();
    let values = points().map(|point| point.1).chain(from_zero.then_some(0.0));
    let (Some(x), Some(y)) = (Axis::linear(times, 7, label), Axis::linear(values, 7, label)) else {
        return Err(ChartError::Empty { what: "readings" });
    };
    let legend: Vec<_> = data.lines.iter().enumerate().map(|(i, line)| (Mark::nth(i), line.name.clone())).collect();
    let head = Head::new(&data.title, &legend);
    let x_name = format!("time from {} (s)", data.origin);
    render(&head, describe(data), BODY_PX, |area| {
        let frame =
            Frame { x: &x, y: &y, x_name: &x_name, y_name: Some((data.quantity.name(), 48)), ticks_on_top: false };
        let plot = frame.draw(area)?;
        let area = plot.plotting_area();
        let (bottom, top) = (y.range().start, y.range().end);
        let across = area.get_pixel_range().0;
        let across_px = (across.end - across.start) / PX;
        let mut turn = 0;
        for (i, phase) in data.phases.iter().enumerate() {
            // Two shades in turn, so that those without a gap are told apart.
            let touching =
                i > 0 && data.phases.get(i - 1).is_some_and(|before| phase.begin_s <= before.end_s + TOUCHING_S);
            turn = if touching { 1 - turn } else { 0 };
            let shade = Mark::nth(3 + turn).colour.light.mix(0.15).filled();
            area.draw(&Rectangle::new([(phase.begin_s, bottom), (phase.end_s, top)], shade))?;
            // The name of a phase too short for it would lie under the next one's.
            let next_s = data.phases.get(i + 1).map_or(f64::INFINITY, |next| next.begin_s);
            let name = one_line(&phase.name);
            let room_px = (x.fraction(next_s.min(x.range().end)) - x.fraction(phase.begin_s)) * f64::from(across_px);
            if f64::from(text_width(&name, LABEL_PX)) <= room_px || next_s.is_infinite() {
                let style = font(LABEL_PX, INK, HPos::Left, VPos::Top);
                area.draw(&Text::new(name, (phase.begin_s, top), style))?;
            }
        }
        for (i, line) in data.lines.iter().enumerate() {
            let mark = Mark::nth(i);
            let thin = mark.colour.light.mix(0.8).stroke_width(PX.unsigned_abs());
            area.draw(&PathElement::new(outline(&line.points), thin))?;
            // Marks of many readings would hide the lines, and each other.
            for &at in line.points.iter().filter(|_| line.points.len() <= MOST_MARKS) {
                area.draw(&mark.at(at, 2, 1.0))?;
            }
        }
        Ok(())
    })
}

/// A line that is drawn: of very many readings the lowest and the highest of so many successive ones.
fn outline(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let together = per_mark(points.len());
    if together == 1 {
        return points.to_vec();
    }
    let ends_of = |points: &[(f64, f64)]| {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let (low, high) = (points.iter().min_by(by_value).copied(), points.iter().max_by(by_value).copied());
        let mut ends: Vec<(f64, f64)> = low.into_iter().chain(high).collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        ends
    };
    points.chunks(2 * together).flat_map(ends_of).collect()
}

fn describe(data: &Trace) -> String {
    let mut text = format!("{} over seconds from {}.", data.quantity.name(), data.origin);
    for phase in data.phases.iter().filter(|phase| !phase.name.is_empty()) {
        let (begin, end) = (format::fixed(phase.begin_s, 3), format::fixed(phase.end_s, 3));
        let _ = write!(text, " {} from {begin} to {end} s;", one_line(&phase.name));
    }
    for line in &data.lines {
        let values = || line.points.iter().map(|point| point.1);
        let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max));
        let (low, high) = (format::number(low, 3), format::number(high, 3));
        let _ = write!(text, " {}: {} readings, {low} to {high};", one_line(&line.name), line.points.len());
        if per_mark(line.points.len()) > 1 {
            let _ = write!(text, " drawn are the lowest and highest of {} each;", 2 * per_mark(line.points.len()));
        }
    }
    text
}
