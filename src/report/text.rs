//! Makes text from elsewhere (model names, server messages) fit to print.

/// `text` without terminal escapes, control characters and characters that reorder what follows them.
///
/// Line breaks and tabs become spaces. What is left is still to be escaped for the format it is printed in.
///
/// ```
/// assert_eq!(phasebench::report::text::clean("\x1b[31mred\x1b[0m\nname"), "red name");
/// ```
#[must_use]
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\u{9b}' => skip_control_sequence(&mut chars),
            '\n' | '\t' | '\r' => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            c if c.is_control() || reorders(c) || !is_xml(c) => {}
            c => out.push(c),
        }
    }
    out
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Skips what follows an escape character.
fn skip_escape(chars: &mut Chars<'_>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            skip_control_sequence(chars);
        }
        // Strings (title, clipboard, device control) run to a bell or to ESC \.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' || c == '\u{9c}' {
                    break;
                }
                if c == '\u{1b}' {
                    chars.next_if_eq(&'\\');
                    break;
                }
            }
        }
        Some(' '..='~') => {
            chars.next();
        }
        _ => {}
    }
}

/// Skips parameters and the final character of a control sequence.
fn skip_control_sequence(chars: &mut Chars<'_>) {
    while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
    chars.next_if(|c| ('@'..='~').contains(c));
}

/// Bidirectional controls and invisible marks: they make one name look like another.
fn reorders(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// False for the characters that no XML document may hold, not even escaped.
fn is_xml(c: char) -> bool {
    !matches!(c, '\u{fffe}' | '\u{ffff}')
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
            assert_eq!(clean(dirty), tidy);
        }
    }
}
