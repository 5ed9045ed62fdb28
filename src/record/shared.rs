//! What many lines of a record have in common, held once.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that other lines may hold too. In files it stands as itself.
///
/// A change of one holder's value is no change of the others'.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Shared<T>(Arc<T>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: fmt::Display> fmt::Display for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T: PartialEq> PartialEq<T> for Shared<T> {
    fn eq(&self, other: &T) -> bool {
        **self == *other
    }
}

impl PartialEq<str> for Shared<String> {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Shared<String> {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

/// Values of one kind beyond which they are hardly ones that lines have in common.
const MOST_KNOWN: usize = 1 << 14;

/// Values that lines were found to hold.
#[derive(Debug)]
pub struct Known<T> {
    all: HashSet<Shared<T>>,
    /// That of the last line: most lines follow one that has the same.
    last: Option<Shared<T>>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { all: HashSet::new(), last: None }
    }
}

impl<T: Eq + Hash> Known<T> {
    /// Lets `value` be the one that is known already, if there is an equal one.
    pub fn share(&mut self, value: &mut Shared<T>) {
        if let Some(last) = self.last.as_ref().filter(|last| *last == value) {
            *value = last.clone();
            return;
        }
        match self.all.get(value) {
            Some(known) => *value = known.clone(),
            None => {
                if self.all.len() >= MOST_KNOWN {
                    self.all.clear();
                }
                self.all.insert(value.clone());
            }
        }
        self.last = Some(value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_held_once_whatever_came_between() {
        let mut known = Known::default();
        let [mut first, mut other, mut again] = ["a", "b", "a"].map(|text| Shared::from(text.to_owned()));
        for value in [&mut first, &mut other, &mut again] {
            known.share(value);
        }
        assert!(Arc::ptr_eq(&first.0, &again.0) && !Arc::ptr_eq(&first.0, &other.0));
        assert_eq!((first.as_str(), other.as_str()), ("a", "b"));
    }

    #[test]
    fn what_one_holder_changes_the_others_keep() {
        let kept = Shared::from("a".to_owned());
        let mut changed = kept.clone();
        changed.push('b');
        assert_eq!((kept.as_str(), changed.as_str()), ("a", "ab"));
    }
}
