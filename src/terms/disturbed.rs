//! What disturbs a call from outside, and what is made of it.

use serde::{Deserialize, Serialize};

use crate::units::Nanos;

/// Share of all processors' time above which the hypervisor's takings disturb a call.
///
/// Stolen time falls inside timed windows directly, so the limit is tighter than that for foreign work.
pub const STEAL_LIMIT: f64 = 0.02;

/// What is made of a timed call that something outside disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disturbed {
    /// How often it is made again; each try is a record of its own, and the last one counts.
    pub retry: u32,
    /// Share of all processors' time above which other programs' work disturbs, 0 to 1.
    pub foreign_cpu: f64,
    /// How long the machine is waited for before a timed call, where it is not quiet. 0: never.
    pub wait_quiet_ns: Nanos,
}

impl Disturbed {
    /// What a plan means that was written before there was a choice, or whose engines nothing outside can disturb.
    #[must_use]
    pub fn never() -> Self {
        Self { retry: 0, foreign_cpu: 1.0, wait_quiet_ns: Nanos(0) }
    }

    /// Whether nothing is made of it.
    #[must_use]
    pub fn is_never(&self) -> bool {
        *self == Self::never()
    }
}
