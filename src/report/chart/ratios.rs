//! Ratios: how much slower first calls are than later ones, or one engine than another.

use plotters::element::{EmptyElement, Text};
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::mark::{Mark, Outline};
use super::rows::{Label, Rows};
use super::scaling::Interval;
use super::sheet::{Head, LABEL_PX, Plot, font, line, render};
use super::svg::PX;
use super::{ChartError, Svg, check};
use crate::report::format;
use crate::report::theme::{AXIS, MUTED, SERIES};
use crate::text::one_line;

/// Ratios, cell by cell, on a logarithmic axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratios {
    /// Names what is divided by what.
    pub title: String,
    /// Name of the axis, e.g. `warmup ÷ timed (ratio)`.
    pub x_name: String,
    /// Lines to read the ratios against; always on the axis.
    pub references: Vec<Reference>,
    /// One row each, top to bottom.
    pub rows: Vec<Ratio>,
    /// Ratios that the axis reaches to, drawn or not: charts that are read beside each other have one scale.
    pub reach: Vec<f64>,
}

/// A line at one ratio.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Where.
    pub ratio: f64,
    /// What it means, in two or three words: it stands above the first row.
    pub label: String,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratio {
    /// The cell.
    pub name: String,
    /// The ratio.
    pub ratio: f64,
    /// Its interval. `None`: none could be made, and a line from the first reference is drawn in place of a whisker.
    pub interval: Option<Interval>,
    /// Whether it is what the other rows come to: drawn as a diamond.
    pub is_mean: bool,
}

/// Draws one dot per row with its interval.
///
/// # Errors
/// [`ChartError::Empty`] without a row, [`ChartError::Value`] for a ratio that is not positive.
pub fn ratios(data: &Ratios) -> Result<Svg, ChartError> {
    let mut values = values(data)?;
    values.extend(room_beyond(&values, &data.references));
    let Some(x) = Axis::log(values, 7).filter(|_| !data.rows.is_empty()) else {
        return Err(ChartError::Empty { what: "ratios" });
    };
    let labels: Vec<_> =
        data.rows.iter().map(|r| Label { name: r.name.clone(), value: format::ratio(r.ratio) }).collect();
    let rows =
        Rows { labels: &labels, x: &x, x_name: &data.x_name, room_px: if data.references.is_empty() { 0 } else { 22 } };
    let head = Head::new(&data.title, &[]);
    render(&head, describe(data), rows.body_px(), |area| {
        rows.draw(area, |plot| {
            draw_references(plot, &rows, data)?;
            let from = data.references.first().map(|r| r.ratio);
            for (i, row) in data.rows.iter().enumerate() {
                let at = (row.ratio, Rows::y(i));
                let mark = mark(row);
                let area = plot.plotting_area();
                match (row.interval, from) {
                    (Some(Interval { low, high }), _) => {
                        area.draw(&line((low, at.1), (high, at.1), mark.colour, 2))?;
                    }
                    (None, Some(from)) => area.draw(&line((from, at.1), at, AXIS, 1))?,
                    (None, None) => {}
                }
                area.draw(&mark.at(at, 5, 1.0))?;
            }
            Ok(())
        })
    })
}

/// Share of the axis beyond which a line would run through the printed values.
const CLEAR_OF_VALUES: f64 = 0.8;

/// A ratio to reach to, so that no reference line runs through the values printed at the right end. `None`: none would.
fn room_beyond(values: &[f64], references: &[Reference]) -> Option<f64> {
    let (least, most) = (values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?);
    let last = references.iter().map(|reference| reference.ratio).reduce(f64::max)?;
    let reach = (last / least).ln();
    (reach > CLEAR_OF_VALUES * (most / least).ln()).then(|| least * (reach / CLEAR_OF_VALUES).exp())
}

fn mark(row: &Ratio) -> Mark {
    if row.is_mean {
        Mark { colour: SERIES[1], outline: Outline::Diamond }
    } else {
        Mark { colour: SERIES[0], outline: Outline::Disc }
    }
}

fn draw_references(plot: &Plot<'_>, rows: &Rows<'_>, data: &Ratios) -> Result<(), ChartError> {
    for r in &data.references {
        let (top, bottom) = ((r.ratio, rows.top()), (r.ratio, rows.bottom()));
        let area = plot.plotting_area();
        area.draw(&line(top, bottom, AXIS, 2))?;
        // Near the right end there is room only to the left of the line.
        let near_end = rows.x.fraction(r.ratio) > 0.7;
        let (side, dx) = if near_end { (HPos::Right, -6 * PX) } else { (HPos::Left, 6 * PX) };
        let style = font(LABEL_PX, MUTED, side, VPos::Center);
        let label = Text::new(one_line(&r.label), (dx, 10 * PX), style);
        area.draw(&(EmptyElement::at(top) + label))?;
    }
    Ok(())
}

fn values(data: &Ratios) -> Result<Vec<f64>, ChartError> {
    let positive = |name: &str, what, v| check(name, what, v, f64::MIN_POSITIVE.., "positive numbers");
    let mut values = Vec::new();
    for r in &data.references {
        values.push(positive(&r.label, "reference ratio", r.ratio)?);
    }
    for &reach in &data.reach {
        values.push(positive(&data.title, "ratio on its axis", reach)?);
    }
    for r in &data.rows {
        values.push(positive(&r.name, "ratio", r.ratio)?);
        if let Some(i) = r.interval {
            values.push(positive(&r.name, "lower bound", i.low)?);
            values.push(positive(&r.name, "upper bound", i.high)?);
        }
    }
    Ok(values)
}

fn describe(data: &Ratios) -> String {
    let rows: Vec<_> = data.rows.iter().map(|r| format!("{}: {}", one_line(&r.name), format::ratio(r.ratio))).collect();
    format!("{}, logarithmic axis. {}.", one_line(&data.x_name), rows.join("; "))
}
