//! What two runs at different times may differ by although nothing changed.

use serde::Serialize;

use crate::record::manifest::{Machine, Manifest};
use crate::stats::{LEVEL, student};

use super::words::span;

/// Standard deviation of a run's logarithm on a virtual or shared machine, where nothing better is known.
pub const SHARED: f64 = 0.05;
/// The same on a machine of one's own with fixed clocks.
pub const OWN: f64 = 0.02;

/// What the logarithm of either side may be off by because they were not measured in turns.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Allowance {
    /// Its standard deviation, beyond how sessions differ. Unit: natural logarithm.
    pub ln: f64,
    /// Where that is from.
    pub source: AllowanceSource,
}

/// Where an allowance is from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowanceSource {
    /// Runs of this plan on one stack.
    History {
        /// How many.
        runs: usize,
        /// From the first one's beginning to the last one's.
        minutes: u64,
    },
    /// Runs of this plan on one stack with one session each, which are the baseline together: their sessions are runs, and how runs
    /// differ is in the intervals already.
    Runs {
        /// How many.
        runs: usize,
        /// From the first one's beginning to the last one's.
        minutes: u64,
    },
    /// A small model on ONNX Runtime, watched on this machine.
    Watched {
        /// For so many minutes.
        minutes: usize,
    },
    /// Said on the command line.
    Given,
    /// The default of a virtual or shared machine.
    Shared,
    /// The default of a machine of one's own with fixed clocks.
    Own,
}

impl Allowance {
    /// What is supposed of a machine of which nothing is known.
    #[must_use]
    pub fn supposed(manifest: &Manifest) -> Self {
        if is_own(&manifest.stack.machine) {
            Self { ln: OWN, source: AllowanceSource::Own }
        } else {
            Self { ln: SHARED, source: AllowanceSource::Shared }
        }
    }

    /// What runs of one stack differ by: `ln` is the standard deviation of a run's logarithm that `runs` of them showed. So few
    /// runs know it badly, whatever the number of cells in each: it is as much wider as Student's t is than the normal's.
    #[must_use]
    pub fn of_history(ln: f64, runs: usize, minutes: u64) -> Self {
        Self { ln: ln * widened(runs), source: AllowanceSource::History { runs, minutes } }
    }

    /// What is left to allow for where so many runs of one stack are the baseline together: nothing.
    #[must_use]
    pub fn within_runs(runs: usize, minutes: u64) -> Self {
        Self { ln: 0.0, source: AllowanceSource::Runs { runs, minutes } }
    }

    /// Of how many runs the baseline is, and how many minutes lie between their beginnings. `None`: of the one that was named.
    #[must_use]
    pub fn baseline_runs(&self) -> Option<(usize, u64)> {
        match self.source {
            AllowanceSource::Runs { runs, minutes } => Some((runs, minutes)),
            AllowanceSource::History { .. }
            | AllowanceSource::Watched { .. }
            | AllowanceSource::Given
            | AllowanceSource::Shared
            | AllowanceSource::Own => None,
        }
    }

    /// What minutes of one machine differ by, where a small model was watched: as [`of_history`](Self::of_history).
    #[must_use]
    pub fn of_watch(ln: f64, minutes: usize) -> Self {
        Self { ln: ln * widened(minutes), source: AllowanceSource::Watched { minutes } }
    }

    /// Where it is from, in words.
    #[must_use]
    pub fn because(&self) -> String {
        match self.source {
            AllowanceSource::History { runs, minutes } => {
                format!("measured over {runs} runs of one stack, begun within {}", span(minutes))
            }
            AllowanceSource::Runs { runs, .. } => format!("how {runs} runs of one stack differ is in the intervals"),
            AllowanceSource::Watched { minutes } => {
                format!("measured over {minutes} minutes of machine --watch, on a small model")
            }
            AllowanceSource::Given => "as given with --drift".to_owned(),
            AllowanceSource::Shared => "the default of a virtual or shared machine".to_owned(),
            AllowanceSource::Own => "the default of a machine of one's own with fixed clocks".to_owned(),
        }
    }
}

/// How much wider a standard deviation is taken that so many values showed.
fn widened(values: usize) -> f64 {
    let critical = |df: f64| student::critical(LEVEL, df).unwrap_or(f64::INFINITY);
    critical(values.saturating_sub(1) as f64) / critical(f64::MAX)
}

/// Whether nobody else is on it and its clocks stay where they are, as far as the system tells.
fn is_own(machine: &Machine) -> bool {
    let governed =
        !machine.governors.is_empty() && machine.governors.values().all(|governor| governor == "performance");
    machine.virtualised == Some(false) && machine.boost == Some(false) && governed && !machine.is_held()
}
