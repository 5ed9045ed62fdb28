//! Secrets that stand inside other text.

use std::borrow::Cow;

/// What stands in a password's place.
const HIDDEN: &str = "***";

/// A text in which no address holds a password: `http://me:word@host` becomes `http://me:***@host`.
#[must_use]
pub fn without_passwords(text: &str) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, password, after)) = first_password(rest) {
        shown.push_str(before);
        shown.push_str(if password.is_empty() { "" } else { HIDDEN });
        rest = after;
    }
    if shown.is_empty() {
        return Cow::Borrowed(text);
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// Whether a text holds an address whose password was taken out.
#[must_use]
pub fn lacks_a_password(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, password, after)) = first_password(rest) {
        if password == HIDDEN {
            return true;
        }
        rest = after;
    }
    false
}

/// What comes before the first password of a text, the password, and what comes after it.
fn first_password(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let begin = from + text.get(from..)?.find("://")? + "://".len();
        let ends = |c: char| c.is_whitespace() || "/?#\"'`<>\\".contains(c);
        let end = text[begin..].find(ends).map_or(text.len(), |length| begin + length);
        let user = &text[begin..end];
        if let Some((user, _)) = user.rsplit_once('@')
            && let Some(colon) = user.find(':')
        {
            let (password, after) = (begin + colon + 1, begin + user.len());
            return Some((&text[..password], &text[password..after], &text[after..]));
        }
        from = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_go_and_all_else_stays() {
        for (text, shown) in [
            ("url: \"http://me:pa:ss@host:1/x@y\"", "url: \"http://me:***@host:1/x@y\""),
            ("at https://u:p@h, and http://a:b@c", "at https://u:***@h, and http://a:***@c"),
            ("http://me@host and http://host:80/a:b@c", "http://me@host and http://host:80/a:b@c"),
            ("http://:p@h", "http://:***@h"),
            ("a@b:c // d: e@f", "a@b:c // d: e@f"),
            ("http://é:ü@ö", "http://é:***@ö"),
        ] {
            assert_eq!(without_passwords(text), shown);
            assert_eq!(without_passwords(shown), shown);
            assert_eq!(lacks_a_password(shown), text != shown);
        }
    }
}
