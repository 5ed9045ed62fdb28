//! How a cell's timed calls are divided over sessions.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Repetitions;

/// How many sessions each cell is measured in. A session is one load in one fresh engine process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionCount {
    /// Fewest.
    pub min: u32,
    /// Most; more than the fewest only where repetitions are adaptive.
    pub max: u32,
}

impl SessionCount {
    /// One session: what differs between processes stays unknown.
    pub const ONE: Self = Self { min: 1, max: 1 };

    /// Whether a cell is measured in more than one.
    #[must_use]
    pub fn is_several(self) -> bool {
        self.max > 1
    }

    /// Whether it is one, which files leave out.
    #[must_use]
    pub fn is_one(&self) -> bool {
        *self == Self::ONE
    }
}

impl Default for SessionCount {
    fn default() -> Self {
        Self::ONE
    }
}

/// Which of a cell's timed calls belong to which of its sessions.
///
/// A fixed number of calls is divided evenly, the first sessions take what is left over. Of an adaptive number every session
/// takes as many as the fewest calls make in the fewest sessions, until the most calls or the most sessions are reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Division {
    /// When a cell has enough timed calls.
    pub repetitions: Repetitions,
    /// Over how many sessions they are divided.
    pub sessions: SessionCount,
}

impl Division {
    /// The session that a timed call belongs to, both from 0. One beyond the last call belongs to the last session.
    #[must_use]
    pub fn session_of(self, call: u32) -> u32 {
        let last = self.sessions.max.saturating_sub(1);
        match (self.repetitions, self.block()) {
            (_, Some(block)) => (call / block).min(last),
            (Repetitions::Fixed(calls), None) => {
                // The first `longer` sessions have one call more.
                let (each, longer) = (calls / self.sessions.max, calls % self.sessions.max);
                let in_longer = longer * (each + 1);
                let session =
                    if call < in_longer { call / (each + 1) } else { longer + (call - in_longer) / each.max(1) };
                session.min(last)
            }
            (Repetitions::Adaptive { .. }, None) => 0,
        }
    }

    /// The timed calls of a session.
    #[must_use]
    pub fn calls_of(self, session: u32) -> Range<u32> {
        let of_session = |call: &u32| self.session_of(*call) == session;
        let begin = (0..self.most_calls()).find(of_session).unwrap_or(self.most_calls());
        let length = (begin..self.most_calls()).take_while(of_session).count();
        begin..begin + u32::try_from(length).unwrap_or(u32::MAX)
    }

    /// Whether so many timed calls make whole sessions.
    #[must_use]
    pub fn ends_session(self, calls: u32) -> bool {
        calls > 0 && (calls >= self.most_calls() || self.session_of(calls) != self.session_of(calls - 1))
    }

    /// Fewest timed calls of a cell.
    #[must_use]
    pub fn fewest_calls(self) -> u32 {
        self.block()
            .map_or(self.repetitions.min(), |block| block.saturating_mul(self.sessions.min).min(self.repetitions.max()))
    }

    /// Most timed calls of a cell.
    #[must_use]
    pub fn most_calls(self) -> u32 {
        let most = self.repetitions.max();
        self.block().map_or(most, |block| block.saturating_mul(self.sessions.max).min(most))
    }

    /// Calls of a session of an adaptive cell. `None`: a fixed number is divided, or there is one session.
    fn block(self) -> Option<u32> {
        let adaptive = matches!(self.repetitions, Repetitions::Adaptive { .. }) && self.sessions.is_several();
        adaptive.then(|| self.repetitions.min().div_ceil(self.sessions.min.max(1)).max(1))
    }

    /// The same with a number of calls that is fixed: for dry runs.
    #[must_use]
    pub fn fixed(self, calls: u32) -> Self {
        let sessions = self.session_of(calls.saturating_sub(1)) + 1;
        Self { repetitions: Repetitions::Fixed(calls), sessions: SessionCount { min: sessions, max: sessions } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(repetitions: Repetitions, min: u32, max: u32) -> Division {
        Division { repetitions, sessions: SessionCount { min, max } }
    }

    #[test]
    fn a_fixed_number_is_divided_evenly() {
        let division = of(Repetitions::Fixed(11), 3, 3);
        let sessions: Vec<u32> = (0..11).map(|call| division.session_of(call)).collect();
        assert_eq!(sessions, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]);
        assert_eq!((division.calls_of(1), division.calls_of(2)), (4..8, 8..11));
        assert_eq!((1..=11).filter(|&calls| division.ends_session(calls)).collect::<Vec<_>>(), [4, 8, 11]);
        assert_eq!((division.fewest_calls(), division.most_calls()), (11, 11));
        assert_eq!(of(Repetitions::Fixed(5), 1, 1).session_of(4), 0);
    }

    #[test]
    fn an_adaptive_number_grows_by_sessions_of_one_length() {
        let adaptive = Repetitions::Adaptive { min: 10, max: 30, until_relative_ci: 0.02 };
        let division = of(adaptive, 3, 10);
        assert_eq!((division.calls_of(0), division.calls_of(1), division.calls_of(7)), (0..4, 4..8, 28..30));
        assert_eq!((division.fewest_calls(), division.most_calls()), (12, 30));
        assert!(division.ends_session(4) && !division.ends_session(5) && division.ends_session(30));
        let fixed = division.fixed(30);
        assert_eq!((fixed.sessions.max, fixed.most_calls()), (8, 30));
        let one = of(adaptive, 1, 1);
        assert_eq!((one.fewest_calls(), one.most_calls(), one.session_of(29)), (10, 30, 0));
        let few = of(Repetitions::Adaptive { min: 3, max: 100, until_relative_ci: 0.02 }, 4, 6);
        assert_eq!((few.fewest_calls(), few.most_calls()), (8, 12));
    }
}
