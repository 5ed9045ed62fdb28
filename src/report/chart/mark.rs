//! Marks: what stands for a value, told apart by colour and by shape.

use plotters::element::{Circle, DynElement, EmptyElement, IntoDynElement, PathElement, Polygon};
use plotters::prelude::SVGBackend;
use plotters::style::{Color, ShapeStyle};

use super::svg::PX;
use crate::report::theme::{Colour, SERIES};

/// A mark's outline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outline {
    Disc,
    Triangle,
    Square,
    Diamond,
    TriangleDown,
    Cross,
    /// Points to the right: the value lies beyond the axis.
    Beyond,
    /// As [`Outline::Beyond`], to the left.
    Below,
}

/// How one series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub colour: Colour,
    pub outline: Outline,
}

impl Mark {
    /// The mark of the `index`-th series: 36 before one returns, and neighbours share neither colour nor shape.
    pub fn nth(index: usize) -> Self {
        const OUTLINES: [Outline; 6] = [
            Outline::Disc,
            Outline::Triangle,
            Outline::Square,
            Outline::Diamond,
            Outline::TriangleDown,
            Outline::Cross,
        ];
        let (colour, turn) = (index % SERIES.len(), index / SERIES.len());
        Self { colour: SERIES[colour], outline: OUTLINES[(colour + turn) % OUTLINES.len()] }
    }

    /// The mark of radius `r` pixels at a place.
    pub fn at<'a, C: Clone + 'a>(self, place: C, r: i32, opacity: f64) -> DynElement<'a, SVGBackend<'a>, C> {
        let fill: ShapeStyle = self.colour.light.mix(opacity).filled();
        let line: ShapeStyle = self.colour.light.mix(opacity).stroke_width(2 * PX.unsigned_abs());
        let r = r * PX;
        let center = EmptyElement::at(place);
        let polygon = |points: Vec<(i32, i32)>| Polygon::new(points, fill);
        match self.outline {
            Outline::Disc => (center + Circle::new((0, 0), r, fill)).into_dyn(),
            Outline::Triangle => (center + polygon(vec![(0, -r - PX), (r + PX, r), (-r - PX, r)])).into_dyn(),
            Outline::TriangleDown => (center + polygon(vec![(0, r + PX), (r + PX, -r), (-r - PX, -r)])).into_dyn(),
            Outline::Square => (center + polygon(vec![(-r, -r), (r, -r), (r, r), (-r, r)])).into_dyn(),
            Outline::Diamond => {
                let d = r + PX;
                (center + polygon(vec![(0, -d), (d, 0), (0, d), (-d, 0)])).into_dyn()
            }
            Outline::Beyond => (center + polygon(vec![(0, -r), (r + 2 * PX, 0), (0, r)])).into_dyn(),
            Outline::Below => (center + polygon(vec![(0, -r), (-r - 2 * PX, 0), (0, r)])).into_dyn(),
            Outline::Cross => (center
                + PathElement::new(vec![(-r, -r), (r, r)], line)
                + PathElement::new(vec![(-r, r), (r, -r)], line))
            .into_dyn(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_six_series_are_told_apart() {
        let marks: Vec<_> = (0..36).map(Mark::nth).collect();
        for (i, a) in marks.iter().enumerate() {
            assert!(!marks[i + 1..].contains(a), "series {i} has a double");
            if let Some(b) = marks.get(i + 1) {
                assert!(a.colour != b.colour && (a.outline != b.outline || i % 6 == 5));
            }
        }
    }
}
