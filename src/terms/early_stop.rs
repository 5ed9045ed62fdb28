//! What is made of calls that end before their time.

use serde::{Deserialize, Serialize};

use crate::terms::{Disturbed, Procedure, Role};

/// What is made of a call that an engine ends at a stop token before all decode steps were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStop {
    /// How often a timed call is made again; each try is a record of its own.
    pub retries: u32,
    /// Fewest steps whose time may be scaled to all of them.
    pub min_steps: u32,
    /// Whether the last try counts, its decode time scaled by step.
    pub scale: bool,
}

impl EarlyStop {
    /// What a plan means that was written before there was a choice: such a call is degraded, once and for all.
    #[must_use]
    pub fn unscaled() -> Self {
        Self { retries: 0, min_steps: 8, scale: false }
    }

    /// Whether a call that made so many `steps` counts although it ended early.
    ///
    /// Only the last try of a timed call does; calls of other roles have but one. A step without a KV cache takes longer
    /// than the one before it, so those are never scaled.
    #[must_use]
    pub fn scales(self, procedure: Procedure, role: Role, attempt: u32, steps: u32) -> bool {
        let last = role != Role::Timed || attempt >= self.retries;
        self.scale && last && steps >= self.min_steps && procedure == Procedure::PrefillDecode
    }
}

/// Rules by which a timed call is made again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retries {
    /// Where it ended early.
    pub early_stop: EarlyStop,
    /// Where something outside disturbed it.
    pub disturbed: Disturbed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_try_with_a_cache_and_enough_steps_is_scaled() {
        use Procedure::{PrefillDecode, Uncached};
        use Role::{Cold, Rewarm, Timed};
        let rule = EarlyStop { retries: 2, min_steps: 8, scale: true };
        for (procedure, role, attempt, steps, scales) in [
            (PrefillDecode, Timed, 2, 8, true),
            (PrefillDecode, Timed, 2, 7, false),
            (PrefillDecode, Timed, 1, 8, false),
            (PrefillDecode, Cold, 0, 8, true),
            (PrefillDecode, Rewarm, 0, 3, false),
            (Uncached, Timed, 2, 60, false),
        ] {
            assert_eq!(rule.scales(procedure, role, attempt, steps), scales, "{procedure} {role} {attempt} {steps}");
            assert!(!EarlyStop { scale: false, ..rule }.scales(procedure, role, attempt, steps));
        }
    }
}
