//! The one way to a terminal: no text that this program prints can move the cursor, change colours or turn the direction of
//! what is read, wherever it comes from; and none shows a password.

use std::io::{self, Write};

use crate::secret::without_passwords;
use crate::text::is_hidden;

/// A text of one or more lines without hidden characters and passwords.
#[must_use]
pub fn harmless(text: &str) -> String {
    let kept = |c: &char| matches!(c, '\n' | '\t') || !is_hidden(*c);
    without_passwords(text).chars().filter(kept).collect()
}

/// Tells people something beside the results. A closed standard error must not stop anything.
pub fn warn(message: &str) {
    let _ = writeln!(io::stderr(), "phasebench: {}", harmless(message));
}

/// Tells people why the program ends.
pub fn fail(message: &str) {
    let _ = writeln!(io::stderr(), "{}", harmless(message));
}

/// What becomes of hidden characters in results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    /// They are left out.
    Removed,
    /// They are written as JSON writes them, inside of whose strings alone they can be.
    Escaped,
}

/// Results on their way out.
#[derive(Debug)]
pub struct Results<W: Write> {
    out: W,
    hidden: Hidden,
    /// The bytes of a character whose others are yet to come.
    partial: Vec<u8>,
}

impl<W: Write> Results<W> {
    /// Sends results to `out`.
    #[must_use]
    pub const fn new(out: W, hidden: Hidden) -> Self {
        Self { out, hidden, partial: Vec::new() }
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        let mut from = 0;
        for (at, c) in text.char_indices().filter(|(_, c)| is_hidden(*c) && !matches!(c, '\n' | '\t')) {
            self.out.write_all(&text.as_bytes()[from..at])?;
            if self.hidden == Hidden::Escaped {
                write!(self.out, "\\u{:04x}", u32::from(c))?;
            }
            from = at + c.len_utf8();
        }
        self.out.write_all(&text.as_bytes()[from..])
    }
}

impl<W: Write> Write for Results<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.partial.extend(bytes);
        let text = std::mem::take(&mut self.partial);
        for chunk in text.utf8_chunks() {
            self.put(chunk.valid())?;
            // What is no text at all is left out; what only lacks its end waits for it.
            let open = text.ends_with(chunk.invalid()) && !chunk.invalid().is_empty();
            if open && std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none()) {
                self.partial = chunk.invalid().to_vec();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Everything that reaches a terminal, written byte by byte.
    fn shown(text: &str, hidden: Hidden) -> String {
        let mut results = Results::new(Vec::new(), hidden);
        text.bytes().for_each(|byte| results.write_all(&[byte]).unwrap());
        results.write_all(text.as_bytes()).unwrap();
        String::from_utf8(results.out).unwrap()
    }

    #[test]
    fn nothing_hidden_reaches_a_terminal() {
        let text = "a\u{1b}[31mé\u{202e}\u{9b}2J\n\tö\u{2066}";
        assert_eq!(shown(text, Hidden::Removed), "a[31mé2J\n\tö".repeat(2));
        assert_eq!(shown(text, Hidden::Escaped), "a\\u001b[31mé\\u202e\\u009b2J\n\tö\\u2066".repeat(2));
        assert_eq!(harmless(text), "a[31mé2J\n\tö");
    }

    #[test]
    fn bytes_that_are_no_text_are_left_out() {
        let mut results = Results::new(Vec::new(), Hidden::Removed);
        results.write_all(b"a\xffb\xe2\x82").unwrap();
        results.write_all(b"\xacc").unwrap();
        assert_eq!(results.out, "ab€c".as_bytes());
    }
}
