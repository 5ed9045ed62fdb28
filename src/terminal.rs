//! The one way to a terminal: no text that this program prints can move the cursor, change colours or turn the direction of
//! what is read, wherever it comes from; and none shows a password.

use std::io::{self, Write};

use crate::secret::without_passwords;
use crate::text::is_hidden;

/// A text of one or more lines without hidden characters and passwords.
#[must_use]
pub fn harmless(text: &str) -> String {
    // Hidden characters first: without them something may be an address that was none.
    let shown: String = text.chars().filter(|&c| stays(c)).collect();
    without_passwords(&shown).into_owned()
}

/// The same inside of JSON: hidden characters as JSON writes them, inside of whose strings alone they can be.
fn harmless_json(text: &str) -> String {
    // Passwords first: what escapes a character would end an address.
    let mut shown = String::with_capacity(text.len());
    for c in without_passwords(text).chars() {
        if stays(c) {
            shown.push(c);
        } else {
            shown.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
    }
    shown
}

/// Whether a character may be shown.
fn stays(c: char) -> bool {
    matches!(c, '\n' | '\t') || !is_hidden(c)
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

/// Results on their way out, line by line: what is to be looked for in a line may have been written in pieces.
#[derive(Debug)]
pub struct Results<W: Write> {
    out: W,
    hidden: Hidden,
    /// A line whose end is yet to come.
    begun: Vec<u8>,
}

impl<W: Write> Results<W> {
    /// Sends results to `out`.
    #[must_use]
    pub const fn new(out: W, hidden: Hidden) -> Self {
        Self { out, hidden, begun: Vec::new() }
    }

    /// Shows whole lines, or what there is of the last. What is no text at all is left out.
    fn show(&mut self, bytes: &[u8]) -> io::Result<()> {
        let text: String = bytes.utf8_chunks().map(|chunk| chunk.valid()).collect();
        let shown = match self.hidden {
            Hidden::Removed => harmless(&text),
            Hidden::Escaped => harmless_json(&text),
        };
        self.out.write_all(shown.as_bytes())
    }
}

impl<W: Write> Write for Results<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(end) = bytes.iter().rposition(|&byte| byte == b'\n') else {
            self.begun.extend(bytes);
            return Ok(bytes.len());
        };
        let (whole, begun) = bytes.split_at(end + 1);
        let mut lines = std::mem::replace(&mut self.begun, begun.to_vec());
        lines.extend(whole);
        self.show(&lines)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let begun = std::mem::take(&mut self.begun);
        self.show(&begun)?;
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
        results.flush().unwrap();
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
        results.flush().unwrap();
        assert_eq!(results.out, "ab€c".as_bytes());
    }

    #[test]
    fn no_password_reaches_a_terminal() {
        for (text, visible, escaped) in [
            ("at http://me:word@host:1\n", "at http://me:***@host:1\n", "at http://me:***@host:1\n"),
            // One that hidden characters would have hidden, or that they are in.
            ("http:/\u{200b}/me:word@host", "http://me:***@host", "http:/\\u200b/me:word@host"),
            ("\"http://me:wo\u{200b}rd@host\"", "\"http://me:***@host\"", "\"http://me:***@host\""),
        ] {
            assert_eq!(shown(text, Hidden::Removed), visible.repeat(2));
            assert_eq!(shown(text, Hidden::Escaped), escaped.repeat(2));
            assert_eq!(harmless(text), visible);
        }
    }

    #[test]
    fn a_line_is_shown_once_it_is_whole_or_flushed() {
        let mut results = Results::new(Vec::new(), Hidden::Removed);
        write!(results, "one\ntwo, ").unwrap();
        assert_eq!(results.out, b"one\n");
        write!(results, "three").unwrap();
        results.flush().unwrap();
        assert_eq!(results.out, b"one\ntwo, three");
    }
}
