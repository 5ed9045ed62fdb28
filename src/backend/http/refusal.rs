//! The words of a server that says no.

use serde_json::Value;

use crate::backend::text::clean;

/// Bytes of a body that are looked at where it is no JSON.
const LONGEST_PLAIN: usize = 1 << 16;

/// The server's words in the body of a refused request, made harmless.
#[must_use]
pub fn error_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(LONGEST_PLAIN)]);
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(fields)) if fields.contains_key("error") => error_text(&fields["error"]),
        _ if text.trim().is_empty() => "no explanation".to_owned(),
        _ => page(&text).unwrap_or_else(|| clean(&text)),
    }
}

/// What an HTML page is called: one comes from what stands before a server, and its marks say nothing. `None`: it is none.
fn page(text: &str) -> Option<String> {
    const TITLE: (&str, &str) = ("<title>", "</title>");
    let lower = text.to_ascii_lowercase();
    if !["<!doctype html", "<html"].iter().any(|begin| lower.trim_start().starts_with(begin)) {
        return None;
    }
    let title = lower.find(TITLE.0).and_then(|at| {
        let begin = at + TITLE.0.len();
        let length = lower[begin..].find(TITLE.1)?;
        Some(clean(&text[begin..begin + length]))
    });
    let title = title.filter(|title| !title.is_empty());
    Some(title.map_or_else(|| "an HTML page".to_owned(), |title| format!("an HTML page, `{title}`")))
}

/// An error's words: it is a text, or an object with a `message`, or a text that holds another server's JSON document.
#[must_use]
pub fn error_text(error: &Value) -> String {
    let Some(text) = error.as_str() else {
        return clean(error["message"].as_str().unwrap_or(&error.to_string()));
    };
    let nested = serde_json::from_str::<Value>(text).ok();
    let inner = nested.as_ref().and_then(|inner| inner["error"]["message"].as_str().or(inner["message"].as_str()));
    clean(inner.unwrap_or(text))
}

/// Whether a server's words say that memory ran out, on the host or on a device.
#[must_use]
pub fn is_out_of_memory(words: &str) -> bool {
    let lower = words.to_lowercase();
    ["out of memory", "out-of-memory", "cudamalloc failed"].iter().any(|part| lower.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_wherever_servers_put_them() {
        for (body, words) in [
            (&br#"{"error":"unexpected EOF"}"#[..], "unexpected EOF"),
            (br#"{"error":{"code":400,"message":"too long"}}"#, "too long"),
            (br#"{"error":"{\"error\":{\"code\":400,\"message\":\"too long\"}}"}"#, "too long"),
            (br#"{"error":{"code":7}}"#, "{\"code\":7}"),
            (b"plain \x1b[1mtext", "plain text"),
            (b"", "no explanation"),
            (b"<html><title>503 Unavailable</title></html>", "an HTML page, `503 Unavailable`"),
            (b" <!DOCTYPE html>\n<p>none</p>", "an HTML page"),
        ] {
            assert_eq!(error_of(body), words);
        }
    }
}
