//! What is not the same on two sides besides their speed.

use crate::record::manifest::Change;

use super::side::{Sides, SidesKind};

/// Every difference, those that can change speed first.
#[must_use]
pub fn between(sides: &Sides<'_>) -> Vec<Change> {
    let (a, b) = (&sides.baseline.run.manifest.stack, &sides.candidate.run.manifest.stack);
    match sides.kind {
        SidesKind::Halves => Vec::new(),
        SidesKind::Runs => a.changes(b),
        SidesKind::Backends => {
            let engines = a.backends.get(&sides.baseline.name).zip(b.backends.get(&sides.candidate.name));
            engines.map(|(own, theirs)| own.changes(theirs)).unwrap_or_default()
        }
    }
}
