//! What came from outside during either side's calls: other programs, a hypervisor, a control group. No change of the stack.

use super::cells::{CellRow, Compared};
use super::side::{OneSide, Sides};

/// Share of the slower side's calls that were disturbed, beyond the other side's, from which on the disturbance may be all
/// there is.
const BEYOND: f64 = 0.25;

/// Share of a side's calls from which on a reader must know of it.
const MANY: f64 = 0.25;

/// Why a cell that looks slower, or faster, shows what disturbed the side that took longer. `None`: it does not.
pub(super) fn explains(row: &CellRow, slower: bool) -> Option<String> {
    let (own, other) = (share(row.disturbed_b, row.calls_b), share(row.disturbed_a, row.calls_a));
    let (longer, shorter, of) = if slower { (own, other, "the candidate's") } else { (other, own, "the baseline's") };
    (longer - shorter > BEYOND).then(|| {
        format!(
            "{:.0} % of {of} calls were disturbed from outside, {:.0} % of the other side's",
            100.0 * longer,
            100.0 * shorter
        )
    })
}

/// What a reader must know of it. `None`: few calls were disturbed.
pub(super) fn note(cells: &[Compared], sides: &Sides<'_>) -> Option<String> {
    let of = |count: fn(&CellRow) -> (u64, usize), side: &OneSide<'_>| {
        let compared = cells.iter().map(|cell| count(&cell.row));
        let (disturbed, calls) = compared.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        (share(disturbed, calls), format!("{:.0} % of the calls of {}", 100.0 * share(disturbed, calls), side.name))
    };
    let baseline = of(|row| (row.disturbed_a, row.calls_a), &sides.baseline);
    let candidate = of(|row| (row.disturbed_b, row.calls_b), &sides.candidate);
    (baseline.0.max(candidate.0) >= MANY).then(|| {
        format!(
            "{} and {} were disturbed from outside, other programs mostly; `disturbed.csv` of `analyze` says by what. What \
             took longer on the side that was disturbed more is not judged. A quiet machine would tell.",
            baseline.1, candidate.1
        )
    })
}

#[expect(clippy::cast_precision_loss, reason = "a share of calls")]
fn share(disturbed: u64, calls: usize) -> f64 {
    disturbed as f64 / calls.max(1) as f64
}
