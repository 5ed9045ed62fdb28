//! Answers to `/api/generate` that go wrong, each in one definite way.
//!
//! A fault is a list of acts on the wire, made for the model and the number of tokens that the request asks for.

mod content;
mod wire;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::body::{Metrics, done, token};
use super::http::Request;
use super::reply::{JSON, Reply};

/// A model name that would run as a script where a page shows it unescaped.
pub const SCRIPT_NAME: &str = "<script>alert(1)</script>";
/// A text that would colour, ring and overwrite where a terminal shows it unescaped.
pub const ESCAPE_CODES: &str = "\u{1b}[31mred\u{1b}[0m\u{7}bell\rover";

/// What a fault takes from the request.
struct Asked {
    model: String,
    tokens: u64,
}

impl Asked {
    /// Takes anything, so that a fault also answers a request that makes no sense. Without a number: 8 tokens.
    fn of(request: &Request) -> Self {
        let body = request.json().unwrap_or_default();
        let tokens = body["options"]["num_predict"].as_u64().unwrap_or(8);
        Self { model: body["model"].as_str().unwrap_or("standin").to_owned(), tokens }
    }

    fn token(&self, index: usize) -> Act {
        Act::Line(token(&self.model, &format!(" w{index}")))
    }

    fn done(&self) -> Act {
        Act::Line(done(&self.model, "length", &Metrics::of(self.tokens)))
    }

    fn renamed(&self, model: &str) -> Self {
        Self { model: model.to_owned(), tokens: self.tokens }
    }

    /// A whole healthy reply, with as many lines as tokens.
    fn healthy(&self) -> Vec<Act> {
        let tokens = (0..usize::try_from(self.tokens).unwrap_or(usize::MAX)).map(|index| self.token(index));
        [Act::Stream].into_iter().chain(tokens).chain([self.done(), Act::End]).collect()
    }
}

/// Something done to the connection.
enum Act {
    /// The head of a stream of lines.
    Stream,
    /// One chunk that is a line.
    Line(String),
    /// One chunk.
    Chunk(Vec<u8>),
    /// That many of the byte, in chunks that are made on the way.
    Fill(u8, usize),
    /// Bytes without framing, an HTTP head included.
    Raw(Vec<u8>),
    /// A whole answer of known length.
    Whole(u16, &'static str, String),
    /// The end of the chunks.
    End,
    Wait(Duration),
    Hang,
    Reset,
    Close,
}

type Acts = dyn Fn(&Asked) -> Vec<Act> + Send + Sync;

/// One way in which the reply to one request goes wrong. The constructors name them.
#[derive(Clone)]
pub struct Fault {
    name: &'static str,
    acts: Arc<Acts>,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({})", self.name)
    }
}

impl Fault {
    fn new(name: &'static str, acts: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self { name, acts: Arc::new(acts) }
    }

    /// Two good lines, then `bad`, then whatever else is needed.
    fn after_two(name: &'static str, bad: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::new(name, move |asked| {
            let good = [Act::Stream, asked.token(0), asked.token(1)];
            good.into_iter().chain(bad(asked)).collect()
        })
    }

    /// A healthy stream whose last line is this one.
    fn ending(name: &'static str, last: impl Fn(&Asked) -> String + Send + Sync + 'static) -> Self {
        Self::after_two(name, move |asked| vec![Act::Line(last(asked)), Act::End])
    }

    fn whole(name: &'static str, status: u16, content_type: &'static str, body: String) -> Self {
        Self::new(name, move |_| vec![Act::Whole(status, content_type, body.clone())])
    }

    fn error(name: &'static str, status: u16, text: &str) -> Self {
        Self::whole(name, status, JSON, json!({ "error": text }).to_string())
    }

    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Answers so.
    ///
    /// # Errors
    /// The client left, or the server is being dropped.
    pub fn play(&self, request: &Request, reply: &mut Reply) -> io::Result<()> {
        (self.acts)(&Asked::of(request)).into_iter().try_for_each(|act| act.play(reply))
    }
}

impl Act {
    fn play(self, reply: &mut Reply) -> io::Result<()> {
        match self {
            Self::Stream => {
                reply.stream_head();
                Ok(())
            }
            Self::Line(text) => reply.line(&text),
            Self::Chunk(bytes) => reply.chunk(&bytes),
            Self::Fill(byte, bytes) => fill(reply, byte, bytes),
            Self::Raw(bytes) => reply.raw(&bytes),
            Self::Whole(status, content_type, body) => reply.body(status, content_type, body.as_bytes()),
            Self::End => reply.end(),
            Self::Wait(wait) => reply.wait(wait),
            Self::Hang => reply.hang(),
            Self::Reset => reply.reset(),
            Self::Close => {
                reply.close();
                Ok(())
            }
        }
    }
}

fn fill(reply: &mut Reply, byte: u8, mut left: usize) -> io::Result<()> {
    let piece = vec![byte; left.min(1 << 16)];
    while left > 0 {
        let now = left.min(piece.len());
        reply.chunk(&piece[..now])?;
        left -= now;
    }
    Ok(())
}
