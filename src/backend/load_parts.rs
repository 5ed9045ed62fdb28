//! How long each part of a load takes.

use crate::clock::SharedClock;
use crate::units::Nanos;

/// The parts of a load, one after the other: each begins where the one before it ended.
pub struct LoadParts {
    clock: SharedClock,
    /// End of the last part.
    mark: Nanos,
    ended: Vec<(String, Nanos)>,
}

impl LoadParts {
    /// The first part begins now.
    pub fn begin(clock: SharedClock) -> Self {
        Self::after(Vec::new(), clock)
    }

    /// The next part begins now; others were timed before.
    pub fn after(earlier: Vec<(String, Nanos)>, clock: SharedClock) -> Self {
        let mark = clock.now();
        Self { clock, mark, ended: earlier }
    }

    /// Ends the part that is under way.
    pub fn end(&mut self, name: &str) {
        let now = self.clock.now();
        self.ended.push((name.to_owned(), now.since(self.mark)));
        self.mark = now;
    }

    /// The parts that have ended, in order, with what each took.
    pub fn ended(self) -> Vec<(String, Nanos)> {
        self.ended
    }
}
