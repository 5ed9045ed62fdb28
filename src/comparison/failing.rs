//! Whether calls fail on the candidate that did not on the baseline.

use std::collections::BTreeMap;

use crate::stats::InputError;
use crate::stats::fisher::{Counts, more_often};
use crate::stats::multiplicity::holm;
use crate::terms::Degraded;

/// What was asked of a cell and what of it went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failures {
    /// Timed calls made, and those that never were although they were to be.
    pub calls: u64,
    /// Those of them that do not count, by kind.
    pub degraded: BTreeMap<Degraded, u64>,
    /// Those of them that were never made: the session did not load, or was lost to the calls before.
    pub never_made: u64,
}

impl Failures {
    /// Those that do not count, of whatever kind.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.degraded.values().sum::<u64>() + self.never_made
    }

    /// Of one kind.
    fn of_kind(&self, kind: Degraded) -> Counts {
        Counts { hits: self.degraded.get(&kind).copied().unwrap_or(0), of: self.calls }
    }

    fn of_never_made(&self) -> Counts {
        Counts { hits: self.never_made, of: self.calls }
    }

    fn counts(&self) -> Counts {
        Counts { hits: self.all(), of: self.calls }
    }

    /// Kinds with how often, for people. Empty: none.
    #[must_use]
    pub fn kinds(&self) -> String {
        let mut each: Vec<String> = self.degraded.iter().map(|(kind, n)| format!("{n} {}", kind.as_str())).collect();
        each.extend((self.never_made > 0).then(|| format!("{} never made", self.never_made)));
        each.join(", ")
    }
}

/// p of the candidate failing no more often than the baseline, one per pair, corrected after Holm for all pairs and for
/// looking at kinds apart: the least of the rate's and of every kind's that the baseline does not have.
///
/// # Errors
/// More failures than calls, which no record has.
pub fn worse(pairs: &[(&Failures, &Failures)]) -> Result<Vec<f64>, InputError> {
    let mut least = Vec::with_capacity(pairs.len());
    for (a, b) in pairs {
        let new = b.degraded.keys().copied().filter(|kind| !a.degraded.contains_key(kind));
        let mut found = vec![more_often(a.counts(), b.counts())?];
        for kind in new {
            found.push(more_often(a.of_kind(kind), b.of_kind(kind))?);
        }
        if a.never_made == 0 && b.never_made > 0 {
            found.push(more_often(a.of_never_made(), b.of_never_made())?);
        }
        let tests = found.len() as f64;
        least.push(found.into_iter().fold(1.0, f64::min).mul_add(tests, 0.0).min(1.0));
    }
    holm(&least)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn failures(calls: u64, kinds: &[(Degraded, u64)]) -> Failures {
        Failures { calls, degraded: kinds.iter().copied().collect(), never_made: 0 }
    }

    #[test]
    fn one_failure_is_chance_and_many_are_not() {
        let (well, once) = (failures(20, &[]), failures(20, &[(Degraded::Timeout, 1)]));
        let often = failures(20, &[(Degraded::Error, 12)]);
        let p = worse(&[(&well, &once), (&well, &often), (&often, &well)]).unwrap();
        assert!(p[0] > 0.5 && p[1] < 0.001 && p[2] > 0.99, "{p:?}");
        // As many failures, but of a kind that was not there.
        let other = failures(20, &[(Degraded::Oom, 12)]);
        assert!(worse(&[(&often, &other)]).unwrap()[0] < 0.001);
        assert_eq!(other.kinds(), "12 oom");
    }

    /// A session that crashes with its first calls leaves few that failed, and many that were never made.
    #[test]
    fn calls_that_were_never_made_failed() {
        let well = failures(15, &[]);
        let lost = Failures { never_made: 13, ..failures(15, &[(Degraded::Crashed, 2)]) };
        let p = worse(&[(&well, &lost), (&lost, &lost)]).unwrap();
        assert!(p[0] < 1e-6 && p[1] > 0.99, "{p:?}");
        assert_eq!((lost.all(), lost.kinds().as_str()), (15, "2 crashed, 13 never made"));
    }
}
