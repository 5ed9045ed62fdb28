//! The machine's own speed on both sides: kernels that use nothing of any engine. A witness, never a correction.

use serde::Serialize;

use crate::stats::LEVEL;
use crate::stats::log_estimate::LogEstimate;

use super::kernels::KernelReading;
use super::side::{RunSide, Sides};

/// One kernel on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MachineRow {
    /// What was run.
    pub kernel: String,
    /// UUID of the NVIDIA board that it ran on. `None`: the processor.
    pub board: Option<String>,
    /// Its readings during the baseline.
    pub n_a: usize,
    /// During the candidate.
    pub n_b: usize,
    /// Time of the kernel on the candidate ÷ time on the baseline: above 1, the machine became slower.
    pub ratio: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Every kernel that both sides ran often enough. Empty where they are one run: the machine is the same for both.
#[must_use]
pub fn rows(sides: &Sides<'_>) -> Vec<MachineRow> {
    if sides.is_one_run() {
        return Vec::new();
    }
    let (a, b) = (&sides.baseline.run, &sides.candidate.run);
    let mut kernels: Vec<&KernelReading> = Vec::new();
    for reading in a.kernels {
        if !kernels.iter().any(|known| known.is_like(reading)) {
            kernels.push(reading);
        }
    }
    kernels.into_iter().filter_map(|kernel| row(kernel, a, b)).collect()
}

fn row(kernel: &KernelReading, a: &RunSide<'_>, b: &RunSide<'_>) -> Option<MachineRow> {
    let (own, theirs) = (rates(a, kernel), rates(b, kernel));
    // Time is the inverse of the rate: the baseline's rate ÷ the candidate's.
    let ratio = LogEstimate::unpaired(&own, &theirs).ok()?;
    let interval = ratio.interval(LEVEL)?;
    Some(MachineRow {
        kernel: kernel.kernel.clone(),
        board: kernel.board.clone(),
        n_a: own.len(),
        n_b: theirs.len(),
        ratio: ratio.value(),
        low: interval.low,
        high: interval.high,
    })
}

fn rates(run: &RunSide<'_>, kernel: &KernelReading) -> Vec<f64> {
    run.kernels.iter().filter(|reading| reading.is_like(kernel)).map(|reading| reading.rate).collect()
}

/// The kernel among these that shows its device slower, or faster, by more than the margin. `None`: none does.
#[must_use]
pub fn moved<'m>(machine: impl Iterator<Item = &'m MachineRow>, margin: f64, slower: bool) -> Option<&'m MachineRow> {
    let beyond = |row: &&MachineRow| if slower { row.low > margin } else { row.high < 1.0 / margin };
    let far = |row: &&MachineRow| if slower { row.low } else { -row.high };
    machine.filter(beyond).max_by(|a, b| far(a).total_cmp(&far(b)))
}
