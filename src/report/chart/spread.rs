//! Every timed call, cell by cell, around its cell's median.

use plotters::coord::ranged1d::Ranged;
use plotters::element::{EmptyElement, Text};
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::{Axis, percent_label};
use super::gathered::{MOST_MARKS, on_a_line};
use super::mark::{Mark, Outline};
use super::rows::{Label, Rows};
use super::sheet::{Head, LABEL_PX, Plot, font, line, render};
use super::svg::PX;
use super::{ChartError, Svg, check};
use crate::report::format;
use crate::report::theme::{AXIS, MUTED, SERIES};
use crate::text::one_line;

/// Outliers may stretch the axis by this factor; what lies beyond is drawn at its end with its value.
const OUTLIER_STRETCH: f64 = 3.0;

/// How far calls lie from their cell's median.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    /// Names the phase.
    pub title: String,
    /// One row per cell, top to bottom.
    pub rows: Vec<SpreadRow>,
    /// Deviations in percent that the axis reaches to, drawn or not: charts that are read beside each other have one scale.
    pub reach: Vec<f64>,
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub struct SpreadRow {
    /// The cell.
    pub name: String,
    /// Stands at the row's right end, e.g. the coefficient of variation.
    pub note: String,
    /// Every timed call.
    pub calls: Vec<SpreadCall>,
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpreadCall {
    /// Difference from the cell's median, in percent of it.
    pub deviation_percent: f64,
    /// Flagged as outlier; drawn apart, never left out.
    pub outlier: bool,
}

/// Draws one dot per call.
///
/// # Errors
/// [`ChartError::Empty`] without a call, [`ChartError::Value`] for a deviation that is not a number.
pub fn spread(data: &Spread) -> Result<Svg, ChartError> {
    for row in &data.rows {
        for call in &row.calls {
            check(&row.name, "deviation in percent", call.deviation_percent, .., "finite numbers")?;
        }
    }
    let Some(x) = axis(data) else {
        return Err(ChartError::Empty { what: "timed calls" });
    };
    let labels: Vec<_> = data.rows.iter().map(|r| Label { name: r.name.clone(), value: r.note.clone() }).collect();
    let rows = Rows { labels: &labels, x: &x, x_name: "difference from the cell's median (%)", room_px: 0 };
    let calls = || data.rows.iter().flat_map(|r| &r.calls);
    let gathers = calls().count() > MOST_MARKS;
    let together = if gathers { ", many to a mark: the darker the more" } else { "" };
    let mut legend = vec![(CALL, format!("timed call{together}"))];
    if calls().any(|c| c.outlier) {
        legend.push((OUTLIER, "outlier (flagged, kept)".to_owned()));
    }
    let places = gathers.then(|| MOST_MARKS / 2 / data.rows.len().max(1));
    let head = Head::new(&data.title, &legend);
    render(&head, describe(data, places), rows.body_px(), |area| {
        rows.draw(area, |plot| {
            let zero = ((0.0, rows.top()), (0.0, rows.bottom()));
            plot.plotting_area().draw(&line(zero.0, zero.1, AXIS, 1))?;
            for (i, row) in data.rows.iter().enumerate() {
                draw_row(plot, &x, Rows::y(i), row, places)?;
            }
            Ok(())
        })
    })
}

const CALL: Mark = Mark { colour: SERIES[0], outline: Outline::Disc };
const OUTLIER: Mark = Mark { colour: SERIES[1], outline: Outline::Cross };

/// Calls as marks: where they stand, and how opaque.
fn marks(row: &SpreadRow, x: &Axis, places: Option<usize>) -> Vec<(Mark, f64, f64)> {
    let ends = x.range();
    let inside = row.calls.iter().filter(|call| ends.contains(&call.deviation_percent));
    let Some(places) = places else {
        let each = inside.map(|call| match call.outlier {
            true => (OUTLIER, call.deviation_percent, 1.0),
            false => (CALL, call.deviation_percent, 0.55),
        });
        return each.collect();
    };
    let kind = |outlier: bool| {
        let values = inside.clone().filter(move |call| call.outlier == outlier).map(|call| call.deviation_percent);
        on_a_line(values, (ends.start, ends.end), places)
    };
    let calls = kind(false);
    let most = calls.iter().map(|gathered| gathered.count).max().unwrap_or(1);
    let usual = calls.iter().map(|gathered| (CALL, gathered.at, darkness(gathered.count, most)));
    usual.chain(kind(true).iter().map(|gathered| (OUTLIER, gathered.at, 1.0))).collect()
}

/// How opaque a mark is that stands for so many calls of at most so many.
#[expect(clippy::cast_precision_loss, reason = "a shade")]
fn darkness(count: usize, most: usize) -> f64 {
    0.1 + 0.9 * count as f64 / most as f64
}

fn draw_row(plot: &Plot<'_>, x: &Axis, y: f64, row: &SpreadRow, places: Option<usize>) -> Result<(), ChartError> {
    let area = plot.plotting_area();
    let ends = x.range();
    for (mark, at, opacity) in marks(row, x, places) {
        area.draw(&mark.at((at, y), 4, opacity))?;
    }
    for above in [false, true] {
        let beyond: Vec<f64> = row
            .calls
            .iter()
            .map(|c| c.deviation_percent)
            .filter(|v| if above { *v >= ends.end } else { *v < ends.start })
            .collect();
        let farthest = beyond.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs()));
        let Some(farthest) = farthest else { continue };
        let (end, outline, side, dx) = if above {
            (ends.end, Outline::Beyond, HPos::Right, -8 * PX)
        } else {
            (ends.start, Outline::Below, HPos::Left, 8 * PX)
        };
        let mut text = percent_label(farthest, 0);
        if beyond.len() > 1 {
            text = format!("{} calls, up to {text}", beyond.len());
        }
        let mark = Mark { outline, ..OUTLIER };
        area.draw(&mark.at((end, y), 5, 1.0))?;
        let style = font(LABEL_PX, MUTED, side, VPos::Center);
        area.draw(&(EmptyElement::at((end, y)) + Text::new(text, (dx, 0), style)))?;
    }
    Ok(())
}

/// Wide enough for all but far outliers; 0 is always on it. `None` without a call.
fn axis(data: &Spread) -> Option<Axis> {
    let shown = spread_reach(data);
    if shown.is_empty() {
        return None;
    }
    let narrow = [-0.1, 0.0, 0.1];
    Axis::linear(shown.into_iter().chain(data.reach.iter().copied()).chain(narrow), 7, percent_label)
}

/// The deviations that a chart's axis reaches to, in percent: far outliers are drawn at its end. Empty without a call.
#[must_use]
pub fn spread_reach(data: &Spread) -> Vec<f64> {
    let calls = || data.rows.iter().flat_map(|r| &r.calls);
    let reach = |outliers: bool| {
        calls().filter(|c| outliers || !c.outlier).map(|c| c.deviation_percent.abs()).fold(0.0, f64::max)
    };
    let all = reach(true);
    let limit = match reach(false) {
        0.0 => all,
        usual => usual.max(1.0) * OUTLIER_STRETCH,
    };
    calls().map(|c| c.deviation_percent.clamp(-limit, limit)).collect()
}

fn describe(data: &Spread, places: Option<usize>) -> String {
    let rows: Vec<_> = data
        .rows
        .iter()
        .map(|r| {
            let values = || r.calls.iter().map(|c| c.deviation_percent);
            let (low, high) = (values().reduce(f64::min), values().reduce(f64::max));
            let outliers = r.calls.iter().filter(|c| c.outlier).count();
            format!(
                "{}: {} calls from {} to {}, {outliers} outliers",
                one_line(&r.name),
                r.calls.len(),
                format::change_percent(low),
                format::change_percent(high)
            )
        })
        .collect();
    let gathered = places.map_or_else(String::new, |places| {
        format!(" Calls are gathered: a row has at most {places} marks of each kind, which stand for all of its calls.")
    });
    format!("Each timed call's difference from its cell's median.{gathered} {}.", rows.join("; "))
}
