//! Reads a sequence of which a call may have thousands of elements without keeping them.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// How many elements a sequence has; `take` is given each in turn.
///
/// # Errors
/// What is read is no sequence of such elements.
pub(super) fn counted<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
    take: impl FnMut(T),
) -> Result<u32, D::Error> {
    deserializer.deserialize_seq(Counting { take, elements: PhantomData })
}

struct Counting<T, F> {
    take: F,
    elements: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>, F: FnMut(T)> Visitor<'de> for Counting<T, F> {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<u32, A::Error> {
        let mut count = 0_u32;
        while let Some(element) = elements.next_element()? {
            count = count.saturating_add(1);
            (self.take)(element);
        }
        Ok(count)
    }
}
