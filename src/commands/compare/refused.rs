//! Why a comparison is not made.

use crate::comparison::words::percent;
use crate::stats::InputError;

use super::gate::GateError;

/// Why runs are not compared at all.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// One run on both sides.
    #[error(
        "{a} and {b} are the same run\n  try: two runs, or two backends of one: phasebench compare {a} --between backend=X,Y"
    )]
    SameRun {
        /// The one.
        a: String,
        /// The other.
        b: String,
    },
    /// A number of runs that makes no comparison.
    #[error("{0}")]
    Runs(&'static str),
    /// A slowdown that is as good as none.
    #[error(
        "--slowdown {factor}: lies within --margin {}, where cells are as good as equal\n  allowed: more than {margin}",
        percent(*margin)
    )]
    Slowdown {
        /// The slowdown.
        factor: f64,
        /// The margin as a factor.
        margin: f64,
    },
    /// A backend that the run does not have.
    #[error("{run} has no backend `{name}`, known: {}", known.join(", "))]
    Backend {
        /// The run.
        run: String,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// `--gate` that makes no sense.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Figures that cannot be: a fault of ours.
    #[error(transparent)]
    Figures(#[from] InputError),
}
