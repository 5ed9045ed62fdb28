//! Recorded exchanges with real servers, given back line by line.
//!
//! The recordings are in `tests/data/ollama/<version>/`; see [`Exchange`] for what one holds.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::Pace;
use super::http::Request;
use super::reply::Reply;
use super::shared::lock;

/// One request and what a real server answered. Times are the client's, from when it began to send.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// What it was recorded as.
    pub name: String,
    /// What is special about it; may be empty.
    pub note: String,
    /// What was asked.
    pub request: Asked,
    /// What was answered.
    pub response: Answered,
}

/// The request of an exchange.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// `GET`, `POST`, …
    pub method: String,
    /// Without a query.
    pub path: String,
    /// `None`: there was none, or it was not JSON.
    pub body: Option<Value>,
    /// A body that is not JSON.
    pub raw_body: Option<String>,
}

/// The response of an exchange.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    /// Content type, and either a length or the chunked encoding.
    pub headers: BTreeMap<String, String>,
    /// Arrival of the headers.
    pub header_ns: u64,
    /// Arrival of the end.
    pub end_ns: u64,
    /// The body, cut after each end of line.
    pub lines: Vec<Line>,
}

/// A line of a response.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Its arrival.
    pub at_ns: u64,
    /// Its end of line included, where it had one.
    pub text: String,
}

impl Exchange {
    /// The exchange `tests/data/ollama/<version>/<name>.json`.
    ///
    /// # Errors
    /// There is none of that name, or it is not an exchange; both name the file.
    pub fn recorded(version: &str, name: &str) -> io::Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ollama").join(version);
        let path = folder.join(format!("{name}.json"));
        let wrong = |error: String| io::Error::other(format!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
    }

    /// Answers with this exchange, whatever was asked.
    ///
    /// # Errors
    /// The client left, or the server is being dropped.
    pub fn play(&self, pace: Pace, reply: &mut Reply) -> io::Result<()> {
        let wait = |reply: &Reply, at_ns: u64| match pace {
            Pace::Kept => reply.wait(Duration::from_nanos(at_ns)),
            Pace::AtOnce => Ok(()),
        };
        let headers: Vec<(&str, &str)> =
            self.response.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let chunked = self.response.headers.contains_key("transfer-encoding");
        wait(reply, self.response.header_ns)?;
        reply.head(self.response.status, &headers);
        reply.flush()?;
        for line in &self.response.lines {
            wait(reply, line.at_ns)?;
            if chunked { reply.line(&line.text)? } else { reply.unframed_line(&line.text)? }
        }
        wait(reply, self.response.end_ns)?;
        if chunked { reply.end() } else { Ok(()) }
    }
}

/// A server that answers from recordings: for every method and path a queue, used up one exchange per request.
#[derive(Debug)]
pub struct Replay {
    pace: Pace,
    queues: Mutex<BTreeMap<(String, String), Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    next: VecDeque<Exchange>,
    standing: Option<Exchange>,
}

impl Replay {
    /// A server that knows nothing yet.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { pace, queues: Mutex::default() }
    }

    /// Adds an exchange to the end of its path's queue.
    #[must_use]
    pub fn then(self, exchange: Exchange) -> Self {
        let key = key(&exchange);
        lock(&self.queues).entry(key).or_default().next.push_back(exchange);
        self
    }

    /// Answers with this exchange whenever its path's queue is empty.
    #[must_use]
    pub fn always(self, exchange: Exchange) -> Self {
        let key = key(&exchange);
        lock(&self.queues).entry(key).or_default().standing = Some(exchange);
        self
    }

    /// Answers with the next exchange; 500 where none is left.
    ///
    /// # Errors
    /// The client left, or the server is being dropped.
    pub fn answer(&self, request: &Request, reply: &mut Reply) -> io::Result<()> {
        let next = {
            let mut queues = lock(&self.queues);
            let queue = queues.get_mut(&(request.method.clone(), request.path.clone()));
            queue.and_then(|queue| queue.next.pop_front().or_else(|| queue.standing.clone()))
        };
        match next {
            Some(exchange) => exchange.play(self.pace, reply),
            None => reply.error(500, &format!("no recording left for {} {}", request.method, request.path)),
        }
    }
}

fn key(exchange: &Exchange) -> (String, String) {
    (exchange.request.method.clone(), exchange.request.path.clone())
}
