//! What came from outside during either side's calls: other programs, a hypervisor, a control group. No change of the stack.

/// Share of the slower side's calls that were disturbed, beyond the other side's, from which on the disturbance may be all
/// there is.
const BEYOND: f64 = 0.25;

/// Why a cell that looks slower, or faster, shows what disturbed the side that took longer. `None`: it does not. `candidate` and
/// `baseline` are disturbed calls, and of how many.
pub(super) fn explains(candidate: (u64, usize), baseline: (u64, usize), slower: bool) -> Option<String> {
    let (own, other) = (share(candidate.0, candidate.1), share(baseline.0, baseline.1));
    let (longer, shorter, of) = if slower { (own, other, "the candidate's") } else { (other, own, "the baseline's") };
    (longer - shorter > BEYOND).then(|| {
        format!(
            "{:.0} % of {of} calls were disturbed from outside, {:.0} % of the other side's",
            100.0 * longer,
            100.0 * shorter
        )
    })
}

/// Of calls.
#[expect(clippy::cast_precision_loss, reason = "a share of calls")]
pub(super) fn share(disturbed: u64, calls: usize) -> f64 {
    disturbed as f64 / calls.max(1) as f64
}
