//! Ratios with their intervals and the margin within which they are as good as 1: what changed, and how sure that is.

use plotters::coord::ranged1d::Ranged;
use plotters::element::Rectangle;
use plotters::style::Color;

use super::axis::Axis;
use super::mark::{Mark, Outline};
use super::rows::{Label, Rows};
use super::scaling::Interval;
use super::sheet::{Head, line, render};
use super::{ChartError, Svg, check};
use crate::report::theme::{AXIS, MUTED, RULE, SERIES};
use crate::text::one_line;

/// Ratios, cell by cell, on a logarithmic axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    /// Names what is divided by what.
    pub title: String,
    /// Name of the axis.
    pub x_name: String,
    /// Ratios within this factor of 1 are as good as equal: shaded.
    pub margin: f64,
    /// One row each, top to bottom.
    pub rows: Vec<ForestRow>,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct ForestRow {
    /// The cell.
    pub name: String,
    /// The change in words, at the row's right end.
    pub value: String,
    /// The ratio.
    pub ratio: f64,
    /// Its interval.
    pub interval: Interval,
    /// What is said of it.
    pub standing: ForestStanding,
}

/// What is said of a ratio; each has a colour and a shape of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ForestStanding {
    /// Beyond the margin, for the worse.
    Worse,
    /// Neither.
    Open,
    /// As good as equal.
    Same,
    /// Beyond the margin, for the better.
    Better,
}

impl ForestStanding {
    fn mark(self) -> Mark {
        match self {
            Self::Worse => Mark { colour: SERIES[1], outline: Outline::Diamond },
            Self::Open => Mark { colour: MUTED, outline: Outline::Square },
            Self::Same => Mark { colour: SERIES[0], outline: Outline::Disc },
            Self::Better => Mark { colour: SERIES[2], outline: Outline::TriangleDown },
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Worse => "slower",
            Self::Open => "open",
            Self::Same => "same",
            Self::Better => "faster",
        }
    }
}

/// Draws one mark per row with its interval, over the shaded margin.
///
/// # Errors
/// [`ChartError::Empty`] without a row, [`ChartError::Value`] for a ratio that is not positive.
pub fn forest(data: &Forest) -> Result<Svg, ChartError> {
    let mut values = vec![1.0 / data.margin, 1.0, data.margin];
    for row in &data.rows {
        for (what, value) in
            [("ratio", row.ratio), ("lower bound", row.interval.low), ("upper bound", row.interval.high)]
        {
            values.push(check(&row.name, what, value, f64::MIN_POSITIVE.., "positive numbers")?);
        }
    }
    let Some(x) = Axis::log(values, 7).filter(|_| !data.rows.is_empty()) else {
        return Err(ChartError::Empty { what: "ratios" });
    };
    let labels: Vec<_> =
        data.rows.iter().map(|row| Label { name: row.name.clone(), value: row.value.clone() }).collect();
    let rows = Rows { labels: &labels, x: &x, x_name: &data.x_name, room_px: 0 };
    let mut standings: Vec<ForestStanding> = data.rows.iter().map(|row| row.standing).collect();
    standings.sort_unstable();
    standings.dedup();
    let legend: Vec<_> = standings.iter().map(|standing| (standing.mark(), standing.words().to_owned())).collect();
    let head = Head::new(&data.title, &legend);
    render(&head, describe(data), rows.body_px(), |area| {
        rows.draw(area, |plot| {
            let area = plot.plotting_area();
            let ends = x.range();
            let (low, high) = ((1.0 / data.margin).max(ends.start), data.margin.min(ends.end));
            area.draw(&Rectangle::new([(low, rows.top()), (high, rows.bottom())], RULE.light.filled()))?;
            area.draw(&line((1.0, rows.top()), (1.0, rows.bottom()), AXIS, 2))?;
            for (place, row) in data.rows.iter().enumerate() {
                let (at, mark) = ((row.ratio, Rows::y(place)), row.standing.mark());
                let Interval { low, high } = row.interval;
                area.draw(&line((low, at.1), (high, at.1), mark.colour, 2))?;
                area.draw(&mark.at(at, 5, 1.0))?;
            }
            Ok(())
        })
    })
}

fn describe(data: &Forest) -> String {
    let rows: Vec<_> = data
        .rows
        .iter()
        .map(|row| format!("{}: {}, {}", one_line(&row.name), row.value, row.standing.words()))
        .collect();
    format!("{}, logarithmic axis. {}.", one_line(&data.x_name), rows.join("; "))
}
