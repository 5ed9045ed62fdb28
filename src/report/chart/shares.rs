//! How much of a request's time is decode.

use plotters::element::Rectangle;
use plotters::style::Color;

use super::axis::{Axis, Tick};
use super::mark::{Mark, Outline};
use super::rows::{Label, Rows};
use super::sheet::{Head, render};
use super::{ChartError, Svg, check};
use crate::report::format;
use crate::report::theme::SERIES;
use crate::text::one_line;

/// Decode's share of end-to-end time, cell by cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares {
    /// Names backend and decode length.
    pub title: String,
    /// One bar each, top to bottom.
    pub rows: Vec<Share>,
}

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// E.g. model and scenario.
    pub name: String,
    /// Decode time divided by end-to-end time: 0 to 1.
    pub decode_fraction: f64,
}

/// Draws one bar per row: decode first, prefill fills up to 100 %.
///
/// # Errors
/// [`ChartError::Empty`] without a row, [`ChartError::Value`] for a share outside 0 to 1.
pub fn shares(data: &Shares) -> Result<Svg, ChartError> {
    if data.rows.is_empty() {
        return Err(ChartError::Empty { what: "decode shares" });
    }
    for row in &data.rows {
        check(&row.name, "decode share", row.decode_fraction, 0.0..=1.0, "0 to 1")?;
    }
    let ticks = [0.0, 25.0, 50.0, 75.0, 100.0].map(|v| Tick { value: v / 100.0, label: v.to_string() });
    let x = Axis::fixed(0.0..1.0, ticks.into());
    let labels: Vec<_> =
        data.rows.iter().map(|r| Label { name: r.name.clone(), value: format::percent(r.decode_fraction) }).collect();
    let rows = Rows { labels: &labels, x: &x, x_name: "share of end-to-end time (%)", room_px: 0 };
    let square = |colour| Mark { colour, outline: Outline::Square };
    let (decode, prefill) = (SERIES[0], SERIES[4]);
    let head =
        Head::new(&data.title, &[(square(decode), "decode".to_owned()), (square(prefill), "prefill".to_owned())]);
    render(&head, describe(data), rows.body_px(), |area| {
        rows.draw(area, |plot| {
            for (i, row) in data.rows.iter().enumerate() {
                let y = Rows::y(i);
                let (top, bottom) = (y + Rows::HALF_BAR, y - Rows::HALF_BAR);
                let bar = |from, to, colour: crate::report::theme::Colour| {
                    Rectangle::new([(from, top), (to, bottom)], colour.light.filled())
                };
                let area = plot.plotting_area();
                area.draw(&bar(0.0, row.decode_fraction, decode))?;
                area.draw(&bar(row.decode_fraction, 1.0, prefill))?;
            }
            Ok(())
        })
    })
}

fn describe(data: &Shares) -> String {
    let rows: Vec<_> =
        data.rows.iter().map(|r| format!("{}: {}", one_line(&r.name), format::percent(r.decode_fraction))).collect();
    format!("Decode's share of end-to-end time. {}.", rows.join("; "))
}
