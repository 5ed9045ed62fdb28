//! Every call in order, against what its cell usually takes: where calls compile, it shows.

use std::fmt::Write as _;

use super::axis::Axis;
use super::gathered;
use super::mark::Mark;
use super::sheet::{Frame, Head, render};
use super::{ChartError, Svg, check};
use crate::report::format;
use crate::text::one_line;

const BODY_PX: i32 = 320;
/// Stands in the legend for calls that compiled.
const COMPILED: &str = "compiled inside the call";

/// Calls in the order they were made.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    /// Names the phase, the backend and the model.
    pub title: String,
    /// Backends.
    pub series: Vec<SequenceSeries>,
}

/// One backend.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceSeries {
    /// Stands in the legend.
    pub name: String,
    /// Its calls.
    pub calls: Vec<SequenceCall>,
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SequenceCall {
    /// Number among the backend's calls of the model, from 1.
    pub number: u32,
    /// How long the phase took, divided by the median of the cell's timed calls: cells of long and of short prompts lie on
    /// one line.
    pub of_median: f64,
    /// Whether something was compiled meanwhile.
    pub compiled: bool,
}

/// Draws one mark per call, on a logarithmic axis.
///
/// # Errors
/// [`ChartError::Empty`] without a call, [`ChartError::Value`] for a time that is not positive.
pub fn sequence(data: &Sequence) -> Result<Svg, ChartError> {
    for s in &data.series {
        for call in &s.calls {
            check(&s.name, "time against its cell", call.of_median, f64::MIN_POSITIVE.., "positive numbers")?;
        }
    }
    let per_mark = gathered::per_mark(data.series.iter().map(|s| s.calls.len()).sum());
    let calls = || data.series.iter().flat_map(|s| &s.calls);
    let numbers = calls().map(|call| f64::from(call.number));
    let times = calls().map(|call| call.of_median);
    let (Some(x), Some(y)) = (Axis::linear(numbers, 7, whole), Axis::log(times, 7)) else {
        return Err(ChartError::Empty { what: "calls" });
    };
    let special = Mark::nth(data.series.len());
    let mut legend: Vec<_> = data.series.iter().enumerate().map(|(i, s)| (Mark::nth(i), s.name.clone())).collect();
    if calls().any(|call| call.compiled) {
        legend.push((special, COMPILED.to_owned()));
    }
    let title = gathered::titled(&data.title, per_mark, "the longest");
    let head = Head::new(&title, &legend);
    render(&head, describe(data, per_mark), BODY_PX, |area| {
        let frame = Frame {
            x: &x,
            y: &y,
            x_name: "number of the call on its backend",
            y_name: Some(("times its cell's median", 48)),
            ticks_on_top: false,
        };
        let plot = frame.draw(area)?;
        let area = plot.plotting_area();
        for (i, s) in data.series.iter().enumerate() {
            for call in s.calls.chunks(per_mark).filter_map(longest) {
                let (mark, radius) = if call.compiled { (special, 5) } else { (Mark::nth(i), 3) };
                area.draw(&mark.at((f64::from(call.number), call.of_median), radius, 0.8))?;
            }
        }
        Ok(())
    })
}

/// The longest of calls; of several it stands for, one that compiled if any did. `None`: no call.
fn longest(calls: &[SequenceCall]) -> Option<SequenceCall> {
    let longest = calls.iter().copied().max_by(|a, b| a.of_median.total_cmp(&b.of_median))?;
    Some(SequenceCall { compiled: calls.iter().any(|call| call.compiled), ..longest })
}

/// Calls have whole numbers: ticks between them stay unnamed.
fn whole(value: f64, _decimals: usize) -> String {
    if value.fract() == 0.0 { format::fixed(value, 0) } else { String::new() }
}

fn describe(data: &Sequence, per_mark: usize) -> String {
    let mut text = String::from("Every call in order, as a multiple of the median of its cell's timed calls.");
    text.push_str(&gathered::drawn(per_mark, "the longest"));
    for s in &data.series {
        let compiled: Vec<&SequenceCall> = s.calls.iter().filter(|call| call.compiled).collect();
        let longest = s.calls.iter().map(|call| call.of_median).fold(0.0, f64::max);
        let _ = write!(
            text,
            " {}: {} calls, the longest {} its cell's median, {} of them compiled;",
            one_line(&s.name),
            s.calls.len(),
            format::ratio(longest),
            compiled.len()
        );
    }
    text
}
