//! Shares of counted things.

/// `counted` of `whole`. `None`: the whole is 0.
pub(super) fn share_of(counted: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| counted as f64 / whole as f64)
}
