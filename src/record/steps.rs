//! Durations of decode steps, of which a call may have thousands: each while they are written, and of a record that is read what
//! is asked of them.

use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::counted::counted;
use crate::units::Nanos;

/// Durations of the decode steps of a call. Where one side is [summed](Self::Summed), equal are those that are as many and take
/// as long together.
#[derive(Debug, Clone)]
pub enum StepTimes {
    /// Each, of a call that was made.
    Each(Vec<Nanos>),
    /// How many there were and how long they took together, of a call that was read and has any.
    Summed {
        /// How many.
        count: u32,
        /// All together.
        total: Nanos,
    },
}

impl StepTimes {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Each(steps) => steps.len(),
            Self::Summed { count, .. } => *count as usize,
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All together.
    #[must_use]
    pub fn total(&self) -> Nanos {
        match self {
            Self::Each(steps) => steps.iter().copied().sum(),
            Self::Summed { total, .. } => *total,
        }
    }
}

impl Default for StepTimes {
    fn default() -> Self {
        Self::Each(Vec::new())
    }
}

impl From<Vec<Nanos>> for StepTimes {
    fn from(steps: Vec<Nanos>) -> Self {
        Self::Each(steps)
    }
}

impl PartialEq for StepTimes {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Each(own), Self::Each(others)) => own == others,
            _ => (self.len(), self.total()) == (other.len(), other.total()),
        }
    }
}

/// Why a call that was read cannot be written again.
const SUMMED: &str = "the steps of a call that was read are not kept one by one";

impl Serialize for StepTimes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Each(steps) => steps.serialize(serializer),
            Self::Summed { .. } => Err(S::Error::custom(SUMMED)),
        }
    }
}

impl<'de> Deserialize<'de> for StepTimes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut total = Nanos(0);
        let count = counted(deserializer, |step: Nanos| total = total + step)?;
        Ok(if count == 0 { StepTimes::default() } else { StepTimes::Summed { count, total } })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_answers_as_what_was_written() {
        let steps = StepTimes::from(vec![Nanos(3), Nanos(4)]);
        let read: StepTimes = serde_json::from_str(&serde_json::to_string(&steps).unwrap()).unwrap();
        assert_eq!((read.len(), read.total(), &read), (2, Nanos(7), &steps));
        assert_ne!(steps, StepTimes::from(vec![Nanos(4), Nanos(3)]));
        assert_eq!(serde_json::to_string(&read).unwrap_err().to_string(), SUMMED);
        let none: StepTimes = serde_json::from_str("[]").unwrap();
        assert!(none.is_empty() && serde_json::to_string(&none).unwrap() == "[]");
    }
}
