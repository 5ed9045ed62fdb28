//! HTTP with a server: one I/O thread reads bytes and stamps lines, the caller waits, cancels or gives up.
//!
//! Nothing is parsed while a reply arrives. Bodies and lines are bounded, redirects and proxies are not followed, and
//! the HTTP status is kept whatever the body says.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Method, Url};
use serde_json::Value;

use super::lines::{Framing, LineEnd};
use super::{lines, refusal};
use crate::backend::cancel::{CancelToken, Deadline, Waited};
use crate::backend::text::clean;
use crate::clock::SharedClock;
use crate::units::Nanos;

/// Longest line that is read. A model's description can take megabytes.
pub const LONGEST_LINE: usize = 8 << 20;

/// Longest body that is read.
pub const LONGEST_BODY: usize = 64 << 20;

/// Longest time to connect: the server is on this machine.
const CONNECT: Duration = Duration::from_secs(5);

/// One request with its reply as it came.
#[derive(Debug, Clone, Default)]
pub struct Exchange {
    /// When sending began, on the run's clock.
    pub sent: Nanos,
    /// When the headers were there. `None`: they never came.
    pub headers: Option<Nanos>,
    /// When the first whole line was there.
    pub first_line: Option<Nanos>,
    /// When the last whole line was there.
    pub last_line: Option<Nanos>,
    /// When nothing more was to come.
    pub end: Nanos,
    /// HTTP status. `None`: no reply.
    pub status: Option<u16>,
    /// The body as far as it was read.
    pub body: Vec<u8>,
    /// How it ended.
    pub ended: ExchangeEnd,
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ExchangeEnd {
    /// The server ended its reply.
    Whole,
    /// No connection.
    Unreachable(String),
    /// The connection broke, or spoke something else than HTTP.
    #[default]
    Broken,
    /// See [`ExchangeEnd::Broken`], with the transport's words.
    Cut(String),
    /// A line or the body was longer than what is read.
    TooLong(&'static str),
    /// The deadline passed.
    TimedOut,
    /// Someone cancelled.
    Cancelled,
}

impl Exchange {
    /// The whole lines of the body, and what follows the last one if anything does.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        lines::of_body(&self.body)
    }
}

/// Why a management request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error("{engine} at {url} cannot be reached: {why}")]
    Unreachable {
        /// What should answer there, e.g. `ollama`.
        engine: &'static str,
        /// The server.
        url: String,
        /// The transport's words.
        why: String,
    },
    /// The server says no.
    #[error("{path}: HTTP {status}: {message}")]
    Status {
        /// The path asked for.
        path: String,
        /// HTTP status.
        status: u16,
        /// The server's words, made harmless.
        message: String,
    },
    /// The reply is not what it should be.
    #[error("{path}: {why}")]
    Malformed {
        /// The path asked for.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of this machine that was to be sent cannot be read.
    #[error("cannot read {}: {why}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's words.
        why: String,
    },
    /// The deadline passed.
    #[error("{path}: no answer within {}", Nanos::from(*after))]
    TimedOut {
        /// The path asked for.
        path: String,
        /// The deadline.
        after: Duration,
    },
    /// Someone cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// A server, and the thread that talks to it.
pub struct Client {
    engine: &'static str,
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    base: Url,
    clock: SharedClock,
}

impl Client {
    /// A client for the server at `url`, which messages call `engine`. Connects to nobody yet.
    ///
    /// # Errors
    /// The address cannot be read, or the system gives no thread.
    pub fn new(engine: &'static str, url: &str, clock: SharedClock) -> Result<Self, String> {
        let base = Url::parse(url).map_err(|e| format!("`{url}` is no address: {e}"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(format!("{engine}-io"))
            .enable_all()
            .build()
            .map_err(|e| format!("no thread for the network: {e}"))?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .http1_only()
            .build()
            .map_err(|e| format!("no HTTP client: {e}"))?;
        Ok(Self { engine, runtime, http, base, clock })
    }

    /// The server's address.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.base
    }

    /// Nobody answers, with the transport's words.
    pub fn unreachable(&self, why: &str) -> ClientError {
        ClientError::Unreachable { engine: self.engine, url: self.base.to_string(), why: why.to_owned() }
    }

    /// For the model management library: the same HTTP client and the thread to run it on.
    pub fn parts(&self) -> (&tokio::runtime::Runtime, reqwest::Client) {
        (&self.runtime, self.http.clone())
    }

    /// Sends a JSON body (or none) and reads the reply to its end, the deadline or a cancel.
    pub fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        by: Deadline,
        cancel: &CancelToken,
    ) -> Exchange {
        let body = body.map(|value| reqwest::Body::from(value.to_string()));
        self.send(method, path, body, by, cancel)
    }

    /// Sends a file as it is. Untimed.
    ///
    /// # Errors
    /// The file cannot be read, or the server does not take it.
    pub fn upload(&self, path: &str, file: &Path, cancel: &CancelToken) -> Result<(), ClientError> {
        let opened = std::fs::File::open(file)
            .map_err(|error| ClientError::Unreadable { file: file.to_owned(), why: error.to_string() })?;
        let stream = tokio_util::io::ReaderStream::with_capacity(tokio::fs::File::from_std(opened), 1 << 20);
        let by = Deadline(Duration::from_secs(3600));
        let exchange = self.send(Method::POST, path, Some(reqwest::Body::wrap_stream(stream)), by, cancel);
        self.succeeded(path, &exchange, by).map(drop)
    }

    /// A management request with a JSON reply of one document.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        by: Deadline,
        cancel: &CancelToken,
    ) -> Result<Value, ClientError> {
        let exchange = self.exchange(method, path, body, by, cancel);
        let body = self.succeeded(path, &exchange, by)?;
        let reply: Value = serde_json::from_slice(body)
            .map_err(|e| ClientError::Malformed { path: path.to_owned(), why: format!("no JSON: {e}") })?;
        // A server that began its reply before it failed says so in it.
        if let Some(error) = reply.get("error").filter(|error| !error.is_null()) {
            let (path, status) = (path.to_owned(), exchange.status.unwrap_or_default());
            return Err(ClientError::Status { path, status, message: refusal::error_text(error) });
        }
        Ok(reply)
    }

    /// The HTTP status of a request without a body, whatever it is.
    ///
    /// # Errors
    /// No reply.
    pub fn status(&self, method: Method, path: &str, cancel: &CancelToken) -> Result<u16, ClientError> {
        let by = Deadline(Duration::from_secs(30));
        let exchange = self.exchange(method, path, None, by, cancel);
        match exchange.status {
            Some(status) => Ok(status),
            None => self.succeeded(path, &exchange, by).map(|_| 0),
        }
    }

    /// The body of an exchange that went well.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn succeeded<'a>(&self, path: &str, exchange: &'a Exchange, by: Deadline) -> Result<&'a [u8], ClientError> {
        let malformed = |why: &str| ClientError::Malformed { path: path.to_owned(), why: why.to_owned() };
        match (&exchange.ended, exchange.status) {
            (ExchangeEnd::Cancelled, _) => Err(ClientError::Cancelled),
            (ExchangeEnd::TimedOut, _) => Err(ClientError::TimedOut { path: path.to_owned(), after: by.0 }),
            (ExchangeEnd::Unreachable(why), _) => Err(self.unreachable(why)),
            (ExchangeEnd::TooLong(what), _) => {
                Err(malformed(&format!("{what} of the reply is longer than what is read")))
            }
            (ExchangeEnd::Cut(why), _) => Err(malformed(why)),
            (ExchangeEnd::Broken, _) | (ExchangeEnd::Whole, None) => Err(malformed("the connection broke")),
            (ExchangeEnd::Whole, Some(200 | 201)) => Ok(&exchange.body),
            (ExchangeEnd::Whole, Some(status)) => {
                let message = refusal::error_of(&exchange.body);
                Err(ClientError::Status { path: path.to_owned(), status, message })
            }
        }
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<reqwest::Body>,
        by: Deadline,
        cancel: &CancelToken,
    ) -> Exchange {
        let shared = Arc::new(Mutex::new(Exchange::default()));
        let done = Arc::new(AtomicBool::new(false));
        let Ok(url) = self.base.join(path) else {
            return Exchange { ended: ExchangeEnd::Unreachable(format!("{path} is no path")), ..Exchange::default() };
        };
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let reading = Reading { exchange: shared.clone(), clock: self.clock.clone(), arriving: Arriving::default() };
        let (finished, wake) = (done.clone(), cancel.clone());
        let sent = self.clock.now();
        let task = self.runtime.spawn(async move {
            reading.drive(request).await;
            finished.store(true, Ordering::SeqCst);
            wake.wake();
        });
        let waited = cancel.wait(by, || done.load(Ordering::SeqCst));
        task.abort();
        let mut exchange = std::mem::take(&mut *shared.lock().unwrap_or_else(PoisonError::into_inner));
        exchange.sent = sent;
        match waited {
            Waited::Done => {}
            Waited::Cancelled => exchange.ended = ExchangeEnd::Cancelled,
            Waited::TimedOut => exchange.ended = ExchangeEnd::TimedOut,
        }
        if exchange.end == Nanos(0) {
            exchange.end = self.clock.now();
        }
        exchange
    }
}

/// The I/O thread's side of an exchange.
struct Reading {
    exchange: Arc<Mutex<Exchange>>,
    clock: SharedClock,
    arriving: Arriving,
}

/// A body that is still arriving: where its lines end, without a look at what is in them.
#[derive(Debug)]
pub struct Arriving {
    framing: Framing,
    /// Bytes since the last line ended.
    in_line: usize,
}

impl Default for Arriving {
    fn default() -> Self {
        Self { framing: Framing::new(LineEnd::Lf), in_line: 0 }
    }
}

impl Arriving {
    /// Keeps a chunk that arrived at `now` and stamps the lines it ends. `Some`: enough, the body or a line is too long.
    pub fn take(&mut self, chunk: &[u8], now: Nanos, exchange: &mut Exchange) -> Option<ExchangeEnd> {
        if exchange.body.len() + chunk.len() > LONGEST_BODY {
            return Some(ExchangeEnd::TooLong("the body"));
        }
        let mut rest = chunk;
        while let Some((piece, after)) = self.framing.next(rest) {
            rest = after;
            self.in_line += piece.bytes.len();
            if self.in_line > LONGEST_LINE {
                return Some(ExchangeEnd::TooLong("a line"));
            }
            if piece.ends {
                self.in_line = 0;
                exchange.first_line.get_or_insert(now);
                exchange.last_line = Some(now);
            }
        }
        exchange.body.extend_from_slice(chunk);
        None
    }
}

impl Reading {
    async fn drive(mut self, request: reqwest::RequestBuilder) {
        let ended = match request.send().await {
            Err(error) if error.is_connect() => ExchangeEnd::Unreachable(error_text(&error)),
            Err(error) => ExchangeEnd::Cut(error_text(&error)),
            Ok(reply) => self.read(reply).await,
        };
        let now = self.clock.now();
        let mut exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        exchange.end = now;
        exchange.ended = ended;
    }

    async fn read(&mut self, mut reply: reqwest::Response) -> ExchangeEnd {
        let now = self.clock.now();
        {
            let mut exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
            exchange.headers = Some(now);
            exchange.status = Some(reply.status().as_u16());
            exchange.body.reserve(64 << 10);
        }
        loop {
            let chunk = match reply.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return ExchangeEnd::Whole,
                Err(error) => return ExchangeEnd::Cut(error_text(&error)),
            };
            if let Some(ended) = self.take(&chunk) {
                return ended;
            }
        }
    }

    fn take(&mut self, chunk: &[u8]) -> Option<ExchangeEnd> {
        let now = self.clock.now();
        let mut exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        self.arriving.take(chunk, now, &mut exchange)
    }
}

/// The innermost reason, which is the one that helps.
#[must_use]
pub fn error_text(error: &reqwest::Error) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    clean(&reason.to_string())
}
