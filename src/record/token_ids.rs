//! Ids of new tokens, of which a call may have thousands: each while they are written, and of a record that is read what is asked
//! of them.

use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::counted::counted;

/// Ids of the new tokens of a call's first row. Where one side is [counted](Self::Counted), equal are those that are as many and
/// rise alike.
#[derive(Debug, Clone)]
pub enum TokenIds {
    /// Each, of a call that was made.
    Each(Vec<u32>),
    /// Of a call that was read and has any.
    Counted {
        /// How many there were.
        count: u32,
        /// Those that are larger than all before them, in their order.
        rising: Box<[u32]>,
    },
}

impl TokenIds {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Each(ids) => ids.len(),
            Self::Counted { count, .. } => *count as usize,
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first that is none of the `vocabulary` first. `None`: all are of them.
    #[must_use]
    pub fn first_beyond(&self, vocabulary: usize) -> Option<u32> {
        let is_beyond = |id: &u32| usize::try_from(*id).is_ok_and(|id| id >= vocabulary);
        match self {
            Self::Each(ids) => ids.iter().copied().find(is_beyond),
            // What comes first above any limit is larger than all before it.
            Self::Counted { rising, .. } => rising.iter().copied().find(is_beyond),
        }
    }

    fn rising(&self) -> Vec<u32> {
        match self {
            Self::Each(ids) => {
                let mut found = Vec::new();
                ids.iter().for_each(|&id| add_rising(&mut found, id));
                found
            }
            Self::Counted { rising, .. } => rising.to_vec(),
        }
    }
}

/// Adds an id if it is larger than all before it.
fn add_rising(found: &mut Vec<u32>, id: u32) {
    if found.last().is_none_or(|&last| id > last) {
        found.push(id);
    }
}

impl Default for TokenIds {
    fn default() -> Self {
        Self::Each(Vec::new())
    }
}

impl From<Vec<u32>> for TokenIds {
    fn from(ids: Vec<u32>) -> Self {
        Self::Each(ids)
    }
}

impl PartialEq for TokenIds {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Each(own), Self::Each(others)) => own == others,
            _ => self.len() == other.len() && self.rising() == other.rising(),
        }
    }
}

/// Why a call that was read cannot be written again.
const COUNTED: &str = "the tokens of a call that was read are not kept one by one";

impl Serialize for TokenIds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Each(ids) => ids.serialize(serializer),
            Self::Counted { .. } => Err(S::Error::custom(COUNTED)),
        }
    }
}

impl<'de> Deserialize<'de> for TokenIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut rising = Vec::new();
        let count = counted(deserializer, |id| add_rising(&mut rising, id))?;
        Ok(if count == 0 { TokenIds::default() } else { TokenIds::Counted { count, rising: rising.into() } })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_answers_as_what_was_written() {
        let ids = TokenIds::from(vec![7, 3, 7, 40, 12, 41, 9]);
        let read: TokenIds = serde_json::from_str(&serde_json::to_string(&ids).unwrap()).unwrap();
        assert_eq!((read.len(), &read), (7, &ids));
        for vocabulary in 0..43 {
            assert_eq!(read.first_beyond(vocabulary), ids.first_beyond(vocabulary), "{vocabulary}");
        }
        assert_eq!((read.first_beyond(8), read.first_beyond(41), read.first_beyond(42)), (Some(40), Some(41), None));
        assert_ne!(read, TokenIds::from(vec![7, 3, 7, 40, 12, 42, 9]));
        assert_eq!(serde_json::to_string(&read).unwrap_err().to_string(), COUNTED);
        let none: TokenIds = serde_json::from_str("[]").unwrap();
        assert!(none.is_empty() && serde_json::to_string(&none).unwrap() == "[]");
    }
}
