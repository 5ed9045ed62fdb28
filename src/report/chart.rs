//! Charts as SVG: plain data in, the same bytes out on every machine.
//!
//! A chart is drawn on a fixed width with text large enough to survive a phone, and carries its title, a
//! description for screen readers, axis names with units, and no font of its own. Statistics are not made here:
//! medians, intervals, bands and outlier marks come in with the data.
//!
//! Data that would make a false or empty picture gives a [`ChartError`] with the reason.

mod axis;
mod drift;
mod forest;
mod gathered;
mod graded;
mod history;
mod mark;
mod rates;
mod ratios;
mod rows;
mod scaling;
mod sequence;
mod shares;
mod sheet;
mod spread;
mod svg;
#[cfg(test)]
mod tests;
mod trace;

pub use drift::{Drift, DriftCall, DriftSeries, drift};
pub use forest::{Forest, ForestRow, ForestStanding, forest};
pub use graded::{Graded, GradedPoint, GradedSeries, graded};
pub use history::{Trend, TrendLevel, TrendPoint, trend};
pub use rates::{RatePoint, RateSeries, Rates, rates};
pub use ratios::{Ratio, Ratios, Reference, ratios};
pub use scaling::{CurvePoint, Interval, Scaling, ScalingPoint, ScalingSeries, scaling, scaling_reach};
pub use sequence::{Sequence, SequenceCall, SequenceSeries, sequence};
pub use shares::{Share, Shares, shares};
pub use spread::{Spread, SpreadCall, SpreadRow, spread, spread_reach};
use svg::check;
pub use svg::{ChartError, Svg};
pub use trace::{Quantity, Shade, Trace, TraceLine, trace};
