//! The connection breaks, hangs, or frames its bytes in an odd way.

use std::time::Duration;

use serde_json::Value;

use super::super::body::{Metrics, done, token};
use super::{Act, Asked, Fault};

/// The connection.
impl Fault {
    /// The connection is reset before any byte of an answer.
    pub fn reset_at_once() -> Self {
        Self::new("reset at once", |_| vec![Act::Reset])
    }

    /// Two good lines, then the connection is reset.
    pub fn reset_mid_body() -> Self {
        Self::after_two("reset mid-body", |_| vec![Act::Reset])
    }

    /// Two good lines, then the connection is closed without `done` and without the chunk that ends a body.
    pub fn cut_stream() -> Self {
        Self::after_two("cut stream", |_| vec![Act::Close])
    }

    /// Two good lines, then half a line, then the connection is closed.
    pub fn cut_line() -> Self {
        Self::after_two("cut line", |asked| {
            let whole = token(&asked.model, " w2");
            vec![Act::Chunk(whole.as_bytes()[..whole.len() / 2].to_vec()), Act::Close]
        })
    }

    /// Two good lines and a body that ends as it should, but without `done`: what the real repeat guard does.
    pub fn no_done() -> Self {
        Self::after_two("no done", |_| vec![Act::End])
    }

    /// Nothing for so long, then a healthy reply.
    pub fn slow_first_byte(wait: Duration) -> Self {
        Self::new("slow first byte", move |asked| [Act::Wait(wait)].into_iter().chain(asked.healthy()).collect())
    }

    /// Two good lines, then silence until the client leaves or the server is dropped.
    pub fn hang_mid_stream() -> Self {
        Self::after_two("hang mid-stream", |_| vec![Act::Hang])
    }

    /// Silence from the start, until the client leaves or the server is dropped.
    pub fn hang_at_once() -> Self {
        Self::new("hang at once", |_| vec![Act::Hang])
    }
}

/// The framing.
impl Fault {
    /// A healthy line whose text is that long. The bytes are made while they are sent.
    pub fn huge_line(text_bytes: usize) -> Self {
        Self::after_two("huge line", move |asked| {
            let begin = format!("{{\"model\":{},\"response\":\"", Value::from(asked.model.as_str()));
            let end = b"\",\"done\":false}\n".to_vec();
            vec![Act::Chunk(begin.into()), Act::Fill(b'a', text_bytes), Act::Chunk(end), asked.done(), Act::End]
        })
    }

    /// Two good lines, then that many bytes without an end of line, then an orderly end.
    pub fn no_newline(bytes: usize) -> Self {
        Self::after_two("no newline", move |_| vec![Act::Fill(b'x', bytes), Act::End])
    }

    /// Healthy, but a chunk ends inside the bytes of one character.
    pub fn split_character() -> Self {
        Self::after_two("split character", |asked| {
            let whole = token(&asked.model, " \u{20ac}").into_bytes();
            let middle = whole.iter().position(|&byte| byte == 0xe2).map_or(whole.len(), |euro| euro + 1);
            let (begin, end) = whole.split_at(middle);
            vec![Act::Chunk(begin.to_vec()), Act::Chunk(end.to_vec()), asked.done(), Act::End]
        })
    }

    /// Healthy, but every two lines come as one chunk in one write, the last line with the one before.
    pub fn two_lines_in_one_packet() -> Self {
        Self::new("two lines in one packet", |asked| {
            let two = |a: &str, b: &str| Act::Chunk([a, b].concat().into_bytes());
            let word = |index: usize| token(&asked.model, &format!(" w{index}"));
            let last = done(&asked.model, "length", &Metrics::of(3));
            vec![Act::Stream, two(&word(0), &word(1)), two(&word(2), &last), Act::End]
        })
    }

    /// Healthy, but one line comes in chunks of one byte, each in a write of its own.
    pub fn one_byte_packets() -> Self {
        Self::after_two("one-byte packets", |asked| {
            let bytes = token(&asked.model, " w2").into_bytes();
            let pieces = bytes.into_iter().map(|byte| Act::Chunk(vec![byte]));
            pieces.chain([asked.done(), Act::End]).collect()
        })
    }

    /// A healthy body of which the head promises 100 bytes more; then the connection is closed.
    pub fn length_too_long() -> Self {
        Self::new("length too long", |asked| with_length(asked, 100))
    }

    /// A healthy body of which the head promises 10 bytes less; then the connection is closed.
    pub fn length_too_short() -> Self {
        Self::new("length too short", |asked| with_length(asked, -10))
    }

    /// A healthy body after an HTTP/1.0 head that names no length: it ends where the connection does.
    pub fn http_1_0() -> Self {
        Self::new("HTTP/1.0", |asked| {
            let head = "HTTP/1.0 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n";
            vec![Act::Raw(format!("{head}{}", two_lines(asked)).into()), Act::Close]
        })
    }
}

/// One word and the last line, as a body without framing.
fn two_lines(asked: &Asked) -> String {
    token(&asked.model, " w0") + &done(&asked.model, "length", &Metrics::of(asked.tokens))
}

/// [`two_lines`] after a head whose length is off by `difference`.
fn with_length(asked: &Asked, difference: isize) -> Vec<Act> {
    let body = two_lines(asked);
    let length = body.len().saturating_add_signed(difference);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ncontent-length: {length}\r\n\r\n");
    vec![Act::Raw(format!("{head}{body}").into()), Act::Close]
}
