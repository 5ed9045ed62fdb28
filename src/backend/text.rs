//! What an engine in another process says, made harmless: bounded, without terminal escapes or other control characters.

/// Longest text that is kept of a name, a version or an error.
const LONGEST: usize = 500;

/// Text that may go to a terminal and into a record. Escape sequences lose their escape character, and are told
/// from words by what is left of them; HTML is escaped where HTML is written.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut clean: String =
        text.chars().map(|c| if c == '\n' { ' ' } else { c }).filter(|c| !is_hidden(*c)).take(LONGEST + 1).collect();
    if clean.chars().count() > LONGEST {
        clean.pop();
        clean.push('…');
    }
    clean.trim().to_owned()
}

/// Whether it has no place in a text: control characters, and those that turn the direction of text or take no
/// room.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_lengths_are_bounded() {
        assert_eq!(clean("a\u{1b}[31mb\u{7}\r\n c\u{202e}"), "a[31mb  c");
        let long = clean(&"é".repeat(10_000));
        assert_eq!(long.chars().count(), LONGEST + 1);
        assert!(long.ends_with('…'));
    }
}
