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

/// What the kernels tell of the machine's own speed together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OwnSpeed<'m> {
    /// Every interval lies within the margin.
    Same {
        /// The lowest end of any.
        low: f64,
        /// The highest.
        high: f64,
    },
    /// It changed, as this kernel shows for sure: of those whose interval excludes 1 the one whose nearer end is farthest away.
    Moved(&'m MachineRow),
    /// Neither is known.
    Unknown {
        /// The lowest end of any.
        low: f64,
        /// The highest.
        high: f64,
        /// The kernel with the narrowest interval.
        best: &'m MachineRow,
    },
}

impl<'m> OwnSpeed<'m> {
    /// Of the kernels of a comparison. `None`: there is none.
    #[must_use]
    pub fn of(machine: &'m [MachineRow], margin: f64) -> Option<Self> {
        let first = machine.first()?;
        let low = machine.iter().fold(first.low, |low, row| low.min(row.low));
        let high = machine.iter().fold(first.high, |high, row| high.max(row.high));
        if machine.iter().all(|row| row.is_within(margin)) {
            return Some(Self::Same { low, high });
        }
        let beyond: Vec<&MachineRow> = machine.iter().filter(|row| !row.is_within(margin)).collect();
        let either = [true, false].map(|slower| moved(beyond.iter().copied(), 1.0, slower));
        if let Some(row) = either.into_iter().flatten().max_by(|a, b| a.nearer_end_ln().total_cmp(&b.nearer_end_ln())) {
            return Some(Self::Moved(row));
        }
        let best = machine.iter().fold(first, |best, row| if row.width_ln() < best.width_ln() { row } else { best });
        Some(Self::Unknown { low, high, best })
    }
}

impl MachineRow {
    /// Whether its interval holds 1, so that it does not tell whether the machine changed.
    #[must_use]
    pub fn holds_one(&self) -> bool {
        self.low <= 1.0 && self.high >= 1.0
    }

    fn is_within(&self, margin: f64) -> bool {
        self.low > 1.0 / margin && self.high < margin
    }

    /// How far from 1 it lies at least. Below 0: its interval holds 1.
    fn nearer_end_ln(&self) -> f64 {
        self.low.ln().max(-self.high.ln())
    }

    fn width_ln(&self) -> f64 {
        (self.high / self.low).ln()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn row(kernel: &str, low: f64, high: f64) -> MachineRow {
        MachineRow { kernel: kernel.to_owned(), board: None, n_a: 3, n_b: 3, ratio: (low * high).sqrt(), low, high }
    }

    #[test]
    fn the_noisiest_kernel_says_nothing_where_another_is_sure() {
        let (noisy, sure) = (row("noisy", 0.04, 38.3), row("sure", 1.05, 1.09));
        let faster = row("faster", 0.80, 0.90);
        let close = row("close", 0.99, 1.01);
        let rows = [noisy.clone(), sure.clone(), close.clone()];
        assert_eq!(OwnSpeed::of(&rows, 1.03).unwrap(), OwnSpeed::Moved(&sure));
        let rows = [noisy.clone(), sure, faster.clone()];
        assert_eq!(OwnSpeed::of(&rows, 1.03).unwrap(), OwnSpeed::Moved(&faster));
        let rows = [noisy.clone(), close.clone()];
        assert_eq!(OwnSpeed::of(&rows, 1.03).unwrap(), OwnSpeed::Unknown { low: 0.04, high: 38.3, best: &close });
        // A change that is sure and lies within the margin is none that moved the machine.
        let small = row("small", 1.005, 1.015);
        let rows = [small.clone(), close.clone()];
        assert_eq!(OwnSpeed::of(&rows, 1.03).unwrap(), OwnSpeed::Same { low: 0.99, high: 1.015 });
        let rows = [small.clone(), noisy];
        assert_eq!(OwnSpeed::of(&rows, 1.03).unwrap(), OwnSpeed::Unknown { low: 0.04, high: 38.3, best: &small });
        assert_eq!(OwnSpeed::of(&[], 1.03), None);
    }
}
