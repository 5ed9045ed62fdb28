//! How far engines may differ.

use crate::terms::Dtype;

/// How far an element type may take an engine from the reference.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed {
    /// Largest difference of a log-probability.
    pub(super) difference: f64,
    /// Whether tokens must come in the reference's order. Half precision gives neighbours the same logit.
    pub(super) order: bool,
}

impl Allowed {
    pub(super) fn of(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Self { difference: 1e-4, order: true },
            Dtype::F16 | Dtype::AsServed => Self { difference: 2e-2, order: false },
        }
    }
}
