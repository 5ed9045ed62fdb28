//! A finished chart, or why there is none.

use maud::{Markup, PreEscaped, html};
use plotters::drawing::DrawingAreaErrorKind;

use crate::report::theme;

/// Drawing units in a pixel: the SVG writer rounds to whole units, which at one per pixel bends straight lines.
pub(super) const PX: i32 = 10;

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
    pub(super) title: String,
    pub(super) description: String,
    pub(super) width_px: u32,
    pub(super) height_px: u32,
    pub(super) body: String,
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
        let unit = PX.unsigned_abs();
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
pub(super) fn check(
    name: &str,
    what: &'static str,
    value: f64,
    range: impl std::ops::RangeBounds<f64>,
    allowed: &'static str,
) -> Result<f64, ChartError> {
    if value.is_finite() && range.contains(&value) {
        return Ok(value);
    }
    Err(ChartError::Value { name: crate::text::one_line(name), what, value, allowed })
}
