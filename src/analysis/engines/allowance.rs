//! What one process of an engine leaves open of the engine.

use crate::record::plan::Plan;
use crate::stats::log_estimate::LogEstimate;

/// What an engine that is known from one process may be off by, since the next process of the same engine is faster or
/// slower: a standard deviation of its times' logarithm. Two equal ONNX Runtimes that took turns on a virtual machine of two
/// cores differed by 10 % on average, 15 % at most, for as long as they lived (16 pairs of processes).
pub const PROCESS_ALLOWANCE: f64 = 0.07;

/// [`PROCESS_ALLOWANCE`] where a run measured its engines in one session. `None`: in several, which tell it themselves.
#[must_use]
pub fn process_allowance(plan: &Plan) -> Option<f64> {
    (!plan.session_count.is_several()).then_some(PROCESS_ALLOWANCE)
}

/// A ratio with what both sides may be off by.
pub(super) fn allowed_for(ratio: LogEstimate, process_allowance_ln: Option<f64>) -> LogEstimate {
    match process_allowance_ln {
        Some(of_a_side) => ratio.with_error(of_a_side * std::f64::consts::SQRT_2),
        None => ratio,
    }
}
