//! What an engine in another process says, made harmless: bounded, without terminal escapes or other control characters.

use crate::secret::without_passwords;
use crate::text::one_line;

/// Longest text that is kept of a name, a version or an error. Unit: characters.
const LONGEST: usize = 500;

/// Text that may go to a terminal and into a record; HTML is escaped where HTML is written.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut clean: String = one_line(&without_passwords(text)).chars().take(LONGEST + 1).collect();
    if clean.chars().count() > LONGEST {
        clean.pop();
        clean.push('…');
    }
    clean.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_lengths_are_bounded() {
        assert_eq!(clean("a\u{1b}[31mb\u{7}\r\n c\u{202e}"), "ab  c");
        let long = clean(&"é".repeat(10_000));
        assert_eq!(long.chars().count(), LONGEST + 1);
        assert!(long.ends_with('…'));
    }
}
