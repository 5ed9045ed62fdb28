//! Charts as SVG: plain data in, the same bytes out on every machine.
//!
//! A chart is drawn on a fixed width with text large enough to survive a phone, and carries its title, a
//! description for screen readers, axis names with units, and no font of its own. Statistics are not made here:
//! medians, intervals, bands and outlier marks come in with the data.
//!
//! Data that would make a false or empty picture gives a [`ChartError`] with the reason.

mod axis;
mod drift;
mod graded;
mod mark;
mod ratios;
mod rows;
mod scaling;
mod sequence;
mod shares;
mod sheet;
mod spread;
#[cfg(test)]
mod tests;
mod trace;

pub use drift::{Drift, DriftCall, DriftSeries, drift};
pub use graded::{Graded, GradedPoint, GradedSeries, graded};
pub use ratios::{Ratio, Ratios, Reference, ratios};
pub use scaling::{CurvePoint, Interval, Scaling, ScalingPoint, ScalingSeries, scaling};
pub use sequence::{Sequence, SequenceCall, SequenceSeries, sequence};
pub use shares::{Share, Shares, shares};
pub use spread::{Spread, SpreadCall, SpreadRow, spread};
pub use trace::{Quantity, Shade, Trace, TraceLine, trace};

use maud::{Markup, PreEscaped, html};
use plotters::drawing::DrawingAreaErrorKind;

use crate::report::theme;

/// Why there is no chart.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// Nothing to show.
    #[error("no {what} to draw")]
    Empty {
        /// What is missing.
        what: &'static str,
    },
    /// A value that has no place on the axis.
    #[error("`{name}` has a {what} of {value}, allowed: {allowed}")]
    Value {
        /// The series, row or cell.
        name: String,
        /// The quantity with its unit.
        what: &'static str,
        /// The value.
        value: f64,
        /// What the axis can show.
        allowed: &'static str,
    },
    /// The SVG writer failed.
    #[error("the chart could not be drawn")]
    Draw(#[from] DrawingAreaErrorKind<std::io::Error>),
}

/// A finished chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Svg {
    title: String,
    description: String,
    width_px: u32,
    height_px: u32,
    body: String,
}

impl Svg {
    /// What the chart shows, in words.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// For a page that already has the rules of [`theme::css`].
    #[must_use]
    pub fn inline(&self) -> String {
        self.element(None).into_string()
    }

    /// For a file of its own: brings its rules along.
    #[must_use]
    pub fn standalone(&self) -> String {
        self.element(Some(&theme::css())).into_string()
    }

    fn element(&self, style: Option<&str>) -> Markup {
        let unit = sheet::PX.unsigned_abs();
        html! {
            svg xmlns="http://www.w3.org/2000/svg" role="img" width=(self.width_px) height=(self.height_px)
                viewBox={ "0 0 " (self.width_px * unit) " " (self.height_px * unit) } {
                title { (self.title) }
                desc { (self.description) }
                @if let Some(style) = style { style { (PreEscaped(style)) } }
                (PreEscaped(&self.body))
            }
        }
    }
}

/// `value` if it is finite and `allowed`, else an error that names it.
fn check(
    name: &str,
    what: &'static str,
    value: f64,
    range: impl std::ops::RangeBounds<f64>,
    allowed: &'static str,
) -> Result<f64, ChartError> {
    if value.is_finite() && range.contains(&value) {
        return Ok(value);
    }
    Err(ChartError::Value { name: crate::report::text::clean(name), what, value, allowed })
}
