//! What lines that are read have in common, held once: it is looked for while a line is read, so that only what is new takes room.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use super::beside::BesideRecord;
use super::call::{CallRecord, MemoryRecord, TokenCounts};
use super::plan::{CellId, SessionKey};
use super::shared::{Common, Shared};
use crate::terms::{Attribution, CompileEvidence, Flag};
use crate::units::Nanos;

/// Values of one kind beyond which they are hardly ones that lines have in common.
const MOST_KNOWN: usize = 1 << 14;

thread_local! {
    /// Of the lines that this thread has read.
    static KNOWN: RefCell<KnownParts> = RefCell::default();
}

/// Lets go of what the threads of the pool and this one hold for lines to come.
pub fn forget_known() {
    rayon::broadcast(|_| drop(KNOWN.take()));
    drop(KNOWN.take());
}

/// What calls that were read so far have in common.
#[derive(Debug, Default)]
struct KnownParts {
    cells: Known<CellId>,
    sessions: Known<SessionKey>,
    /// Weights and scenarios.
    names: Known<String>,
    attributions: Known<Attribution>,
    tokens: Known<TokenCounts>,
    memories: Known<MemoryRecord>,
    flags: Known<Vec<Flag>>,
    no_durations: Shared<BTreeMap<String, Nanos>>,
    no_compiler: Shared<Vec<CompileEvidence>>,
    /// Of the last call: most of what is in it has no end of values.
    beside: Shared<BesideRecord>,
}

/// Values that lines were found to hold.
#[derive(Debug)]
struct Known<T> {
    all: HashSet<Shared<T>>,
    /// The last two, the later first: most lines follow one that has the same.
    recent: [Option<Shared<T>>; 2],
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { all: HashSet::new(), recent: [None, None] }
    }
}

impl<T: Eq + Hash> Known<T> {
    /// One of the last, if it is the value.
    fn recent(&mut self, is_value: impl Fn(&T) -> bool) -> Option<Shared<T>> {
        let is_it = |known: &Option<Shared<T>>| known.as_ref().is_some_and(|known| is_value(known));
        if !is_it(&self.recent[0]) {
            if !is_it(&self.recent[1]) {
                return None;
            }
            self.recent.swap(0, 1);
        }
        self.recent[0].clone()
    }

    /// Holds a value as one of the last.
    fn hold(&mut self, value: &Shared<T>) {
        self.recent.swap(0, 1);
        self.recent[0] = Some(value.clone());
    }

    /// The value as it is known; it is known from now on.
    fn of(&mut self, value: T) -> Shared<T> {
        if let Some(known) = self.recent(|known| *known == value) {
            return known;
        }
        let known = self.all.get(&value).cloned().unwrap_or_else(|| self.learn(value));
        self.hold(&known);
        known
    }

    fn learn(&mut self, value: T) -> Shared<T> {
        if self.all.len() >= MOST_KNOWN {
            self.all.clear();
        }
        let value = Shared::from(value);
        self.all.insert(value.clone());
        value
    }
}

/// A text by another name.
trait Text: Eq + Hash + Sized {
    fn of(text: &str) -> Self;
    fn text(&self) -> &str;
    fn known(parts: &mut KnownParts) -> &mut Known<Self>;
}

impl Text for String {
    fn of(text: &str) -> Self {
        text.to_owned()
    }

    fn text(&self) -> &str {
        self
    }

    fn known(parts: &mut KnownParts) -> &mut Known<Self> {
        &mut parts.names
    }
}

impl Text for CellId {
    fn of(text: &str) -> Self {
        Self(text.to_owned())
    }

    fn text(&self) -> &str {
        &self.0
    }

    fn known(parts: &mut KnownParts) -> &mut Known<Self> {
        &mut parts.cells
    }
}

/// Reads a text, of which only what is new is copied.
struct TextVisitor<T>(PhantomData<T>);

impl<T: Text> Visitor<'_> for TextVisitor<T> {
    type Value = Shared<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Shared<T>, E> {
        Ok(KNOWN.with_borrow_mut(|parts| {
            let known = T::known(parts);
            known.recent(|known| known.text() == text).unwrap_or_else(|| known.of(T::of(text)))
        }))
    }
}

/// Those that are looked for as they are, and how.
macro_rules! common {
    ($($type:ty: $look:expr;)+) => {$(
        impl Common for $type {
            fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Shared<Self>, D::Error> {
                let value = <$type>::deserialize(deserializer)?;
                let look: fn(&mut KnownParts, $type) -> Shared<$type> = $look;
                Ok(KNOWN.with_borrow_mut(|known| look(known, value)))
            }
        }
    )+};
}

common! {
    SessionKey: |known, value| known.sessions.of(value);
    Attribution: |known, value| known.attributions.of(value);
    TokenCounts: |known, value| known.tokens.of(value);
    MemoryRecord: |known, value| known.memories.of(value);
    Vec<Flag>: |known, value| known.flags.of(value);
    BTreeMap<String, Nanos>: |known, value| if value.is_empty() { known.no_durations.clone() } else { value.into() };
    Vec<CompileEvidence>: |known, value| if value.is_empty() { known.no_compiler.clone() } else { value.into() };
    BesideRecord: |known, value| {
        if *known.beside != value {
            known.beside = value.into();
        }
        known.beside.clone()
    };
}

impl Common for String {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Shared<Self>, D::Error> {
        deserializer.deserialize_str(TextVisitor(PhantomData))
    }
}

impl Common for CellId {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Shared<Self>, D::Error> {
        deserializer.deserialize_str(TextVisitor(PhantomData))
    }
}

/// No two are alike.
impl Common for CallRecord {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Shared<Self>, D::Error> {
        let mut call = Self::deserialize(deserializer)?;
        call.spans.shrink_to_fit();
        Ok(call.into())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::ptr;

    use super::*;

    fn read<T: Common>(text: &str) -> Shared<T> {
        T::read(&mut serde_json::Deserializer::from_str(text)).unwrap()
    }

    #[test]
    fn equal_values_are_held_once_whatever_came_between() {
        let texts = ["a", "b", "c", "a", "\\u0061"].map(|text| read::<String>(&format!("\"{text}\"")));
        assert_eq!(texts.each_ref().map(|text| text.as_str()), ["a", "b", "c", "a", "a"]);
        assert!(ptr::eq(&*texts[0], &*texts[3]) && ptr::eq(&*texts[0], &*texts[4]) && !ptr::eq(&*texts[0], &*texts[1]));
        let session = r#"{"backend":"e","model":"m"}"#;
        let [first, other, again] = [session, r#"{"backend":"e","model":"n"}"#, session].map(read::<SessionKey>);
        assert!(ptr::eq(&*first, &*again) && !ptr::eq(&*first, &*other));
    }

    #[test]
    fn what_was_forgotten_is_held_anew() {
        let first = read::<CellId>("\"cell\"");
        forget_known();
        let other = read::<CellId>("\"cell\"");
        assert!(first == other && !ptr::eq(&*first, &*other));
    }

    #[test]
    fn what_is_no_text_is_refused_as_ever() {
        let error = |text: &str| CellId::read(&mut serde_json::Deserializer::from_str(text)).unwrap_err().to_string();
        assert_eq!(error("7"), "invalid type: integer `7`, expected a string at line 1 column 1");
    }
}
