//! Text from elsewhere (names of models, messages of engines), made fit to be shown. What is left is still to be escaped
//! for the format it is written in.

use anstream::adapter::strip_str;

/// What is to be seen of a text: terminal escapes go whole, and so do control characters but for line breaks and tabs.
#[must_use]
pub fn visible(text: &str) -> String {
    // The control sequence introducer in one character, which terminals take for the two.
    let text = text.replace('\u{9b}', "\u{1b}[");
    let without_escapes = strip_str(&text).to_string();
    without_escapes.chars().filter(|&c| matches!(c, '\n' | '\r' | '\t') || !is_hidden(c)).collect()
}

/// As [`visible`], in one line: line breaks and tabs become spaces.
///
/// ```
/// assert_eq!(phasebench_ground::text::one_line("\x1b[31mred\x1b[0m\nname"), "red name");
/// ```
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '\n' | '\r' | '\t' if line.ends_with(' ') => {}
            '\n' | '\r' | '\t' => line.push(' '),
            _ => line.push(c),
        }
    }
    line
}

/// Whether it has no place in a text: control characters, those that turn the direction of text or take no room (they make
/// one name look like another), and those that no XML document may hold.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_controls_go_names_stay() {
        for (dirty, tidy) in [
            ("gpt2-25m", "gpt2-25m"),
            ("\x1b[1;31mred\x1b[0m", "red"),
            ("\u{9b}2Jcleared", "cleared"),
            ("\x1b]0;window title\x07name", "name"),
            ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("a\r\nb\tc", "a b c"),
            ("a\0b\u{7f}", "ab"),
            ("evil\u{202e}gpj.exe", "evilgpj.exe"),
            ("ends in \x1b", "ends in "),
            ("modèle-α 模型", "modèle-α 模型"),
        ] {
            assert_eq!(one_line(dirty), tidy);
        }
    }

    #[test]
    fn lines_stay_lines_where_they_may() {
        assert_eq!(visible("\x1b[1mfirst\x1b[0m\n\tsecond\0"), "first\n\tsecond");
    }
}
