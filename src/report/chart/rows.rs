//! Charts with one row per cell: the name above, the value's place below it, so that no name needs a margin.

use plotters::coord::ranged1d::Ranged;
use plotters::element::{EmptyElement, Text};
use plotters::style::text_anchor::{HPos, VPos};

use super::ChartError;
use super::axis::Axis;
use super::sheet::{
    Area, Frame, LABEL_PX, Plot, TOP_TICKS_PX, WIDTH_PX, X_LABELS_PX, as_px, font, shorten, text_width,
};
use super::svg::PX;
use crate::report::theme::INK;
use crate::text::one_line;

const ROW_PX: i32 = 42;
/// Where in a row its name stands, from its top.
const NAME_AT_PX: i32 = 14;
/// Where in a row its values are drawn, as a fraction from its top.
const VALUES_AT: f64 = 0.74;
/// Rows from which on the axis is named at the top too.
const TALL_ROWS: usize = 12;

/// What names one row.
pub(super) struct Label {
    pub name: String,
    /// Printed at the row's right end.
    pub value: String,
}

/// The rows of a chart and the axis they share.
pub(super) struct Rows<'a> {
    pub labels: &'a [Label],
    pub x: &'a Axis,
    pub x_name: &'a str,
    /// Free height above the first row, for the labels of reference lines.
    pub room_px: i32,
}

impl Rows<'_> {
    /// The height of the sheet below its head.
    pub fn body_px(&self) -> i32 {
        let axes = X_LABELS_PX + if self.tall() { TOP_TICKS_PX } else { 0 };
        ROW_PX * as_px(self.labels.len()) + self.room_px + axes
    }

    fn tall(&self) -> bool {
        self.labels.len() >= TALL_ROWS
    }

    /// Where the `index`-th row's values lie on the vertical axis.
    pub fn y(index: usize) -> f64 {
        -(f64::from(as_px(index)) + VALUES_AT)
    }

    /// Half the height of a bar, in rows.
    pub const HALF_BAR: f64 = 0.17;

    /// The top of the plot.
    pub fn top(&self) -> f64 {
        f64::from(self.room_px) / f64::from(ROW_PX)
    }

    /// The bottom of the plot.
    pub fn bottom(&self) -> f64 {
        -f64::from(as_px(self.labels.len()))
    }

    /// Draws the axis, what `values` puts into the plot, and the labels on top.
    pub fn draw(
        &self,
        area: &Area<'_>,
        values: impl for<'a> FnOnce(&Plot<'a>) -> Result<(), ChartError>,
    ) -> Result<(), ChartError> {
        let y = Axis::fixed(self.bottom()..self.top(), Vec::new());
        let frame = Frame { x: self.x, y: &y, x_name: self.x_name, y_name: None, ticks_on_top: self.tall() };
        let plot = frame.draw(area)?;
        values(&plot)?;
        let ends = self.x.range();
        for (i, label) in self.labels.iter().enumerate() {
            let top = -f64::from(as_px(i));
            let value = one_line(&label.value);
            let room = WIDTH_PX - 44 - text_width(&value, LABEL_PX);
            let name = shorten(&one_line(&label.name), LABEL_PX, room);
            let text = |text, side| {
                let style = font(LABEL_PX, INK, side, VPos::Center);
                Text::new(text, (0, NAME_AT_PX * PX), style)
            };
            let area = plot.plotting_area();
            area.draw(&(EmptyElement::at((ends.start, top)) + text(name, HPos::Left)))?;
            area.draw(&(EmptyElement::at((ends.end, top)) + text(value, HPos::Right)))?;
        }
        Ok(())
    }
}
