//! Mean, spread and extremes of values that are already checked.

/// Arithmetic mean of at least one value.
pub(in crate::stats) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Sample standard deviation (divisor n−1), two passes. `None`: fewer than 2 values.
pub(in crate::stats) fn sd(values: &[f64]) -> Option<f64> {
    let centre = mean(values);
    let squares: f64 = values.iter().map(|v| (v - centre).powi(2)).sum();
    (values.len() >= 2).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

/// Smallest and largest value; infinities the wrong way round where there is none.
pub(in crate::stats) fn extremes(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)))
}
