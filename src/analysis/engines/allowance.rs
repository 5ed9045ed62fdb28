//! What one process of an engine leaves open of the engine.

use crate::record::plan::Plan;
use crate::stats::log_estimate::LogEstimate;
use crate::stats::{LEVEL, student};

/// What an engine that is known from one process may be off by, since the next process of the same engine is faster or
/// slower: a standard deviation of its times' logarithm. Two equal ONNX Runtimes that took turns on a virtual machine of two
/// cores differed by 10 % on average, 15 % at most, for as long as they lived (16 pairs of processes).
pub const PROCESS_ALLOWANCE: f64 = 0.07;

/// [`PROCESS_ALLOWANCE`] where a run measured its engines in one session. `None`: in several, which tell it themselves.
#[must_use]
pub fn process_allowance(plan: &Plan) -> Option<f64> {
    (!plan.session_count.is_several()).then_some(PROCESS_ALLOWANCE)
}

/// Half the width of the interval, of the logarithm, of a ratio of which either side may be off by so much and nothing else is
/// unknown.
#[must_use]
pub fn allowance_half_width(of_a_side: f64) -> f64 {
    student::critical(LEVEL, f64::INFINITY).unwrap_or(f64::INFINITY) * of_a_side * std::f64::consts::SQRT_2
}

/// A ratio with what both sides may be off by.
#[must_use]
pub fn allowed_for(ratio: LogEstimate, process_allowance_ln: Option<f64>) -> LogEstimate {
    match process_allowance_ln {
        Some(of_a_side) => ratio.with_error(of_a_side * std::f64::consts::SQRT_2),
        None => ratio,
    }
}
