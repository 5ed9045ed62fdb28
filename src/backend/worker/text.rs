//! A worker's longer texts, made harmless: bounded, without control characters.

use std::collections::{BTreeMap, HashMap};

pub use crate::backend::text::clean;
use crate::text::visible;

/// Most entries of a map that are kept.
pub const MOST_ENTRIES: usize = 128;

/// Longest message of an error that is kept. Unit: characters.
const LONGEST_MESSAGE: usize = 1900;

/// An engine's message of several lines: its beginning and its end, where it is long.
#[must_use]
pub fn message(text: &str) -> String {
    let text = visible(text);
    let count = text.chars().count();
    if count <= LONGEST_MESSAGE {
        return text.trim().to_owned();
    }
    let half = LONGEST_MESSAGE / 2;
    let begin: String = text.chars().take(half).collect();
    let end: String = text.chars().skip(count - half).collect();
    format!("{} … {}", begin.trim(), end.trim())
}

/// A map of short texts, in order; what is beyond the limit is left out.
#[must_use]
pub fn map(entries: HashMap<String, String>) -> BTreeMap<String, String> {
    let sorted: BTreeMap<String, String> = entries.into_iter().collect();
    sorted.into_iter().take(MOST_ENTRIES).map(|(key, value)| (clean(&key), clean(&value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_go_and_lengths_are_bounded() {
        assert_eq!(message("first\nsecond\u{0}\n"), "first\nsecond");
        let long = message(&format!("begin{}end", "x".repeat(100_000)));
        assert!(long.starts_with("begin") && long.ends_with("end") && long.chars().count() < 2000, "{long}");
        let many = (0..1000).map(|n| (format!("{n:04}"), "v".to_owned())).collect();
        assert_eq!(map(many).len(), MOST_ENTRIES);
    }
}
