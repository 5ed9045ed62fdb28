//! What others used while this process alone was at work.

use super::{cpu, process};
use crate::units::Nanos;

/// A stretch that has begun, in which nobody but this process is ours.
#[derive(Debug, Clone, Copy)]
pub struct Meanwhile {
    times: Option<cpu::Times>,
    own: Option<Nanos>,
}

/// Shares of all processors' time, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares {
    /// Programs other than this one.
    pub foreign: f64,
    /// The hypervisor.
    pub steal: f64,
}

impl Meanwhile {
    /// Begins now.
    #[must_use]
    pub fn begin() -> Self {
        Self { times: cpu::times(), own: process::cpu_self() }
    }

    /// Until now. `None`: the system does not tell, or its counters have not moved.
    #[must_use]
    pub fn shares(self) -> Option<Shares> {
        shares(self, Self::begin())
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 ns is 104 days of one processor")]
fn shares(before: Meanwhile, after: Meanwhile) -> Option<Shares> {
    let (then, now) = (before.times?, after.times?);
    let total = now.total.since(then.total).0 as f64;
    let ours = after.own?.since(before.own?).0 as f64;
    let busy = now.busy.since(then.busy).0 as f64;
    let share = |part: f64| (part / total).clamp(0.0, 1.0);
    (total > 0.0).then(|| Shares { foreign: share(busy - ours), steal: share(now.steal.since(then.steal).0 as f64) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_used_is_what_was_busy_and_not_ours() {
        let at = |busy, steal, total, own| Meanwhile {
            times: Some(cpu::Times { busy: Nanos(busy), steal: Nanos(steal), total: Nanos(total), started: None }),
            own: Some(Nanos(own)),
        };
        let (before, after) = (at(0, 0, 0, 0), at(600, 100, 1000, 400));
        assert_eq!(shares(before, after), Some(Shares { foreign: 0.2, steal: 0.1 }));
        assert_eq!(shares(before, before), None);
        assert_eq!(shares(Meanwhile { times: None, ..before }, after), None);
    }
}
