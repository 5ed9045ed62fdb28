//! One request through the adapter's own client, judged as the session judges it.

use std::sync::Arc;
use std::time::Duration;

use phasebench::backend::http::{Client, Exchange};
use phasebench::backend::ollama::judge::{self, Asked, History, Verdict};
use phasebench::backend::ollama::manage;
use phasebench::backend::ollama::version::{self, Runner, ServerClock};
use phasebench::backend::{CancelToken, Deadline};
use phasebench::clock::RealClock;
use reqwest::Method;
use serde_json::Value;

use crate::standin::Server;

/// Longer than any stall of the machine; ends a test that would hang.
pub const BY: Deadline = Deadline(Duration::from_secs(60));

pub const VERSIONS: [&str; 2] = ["v0.24.0", "v0.33.0-rc2"];

pub fn client(server: &Server) -> Client {
    Client::new("ollama", &server.url(), Arc::new(RealClock::default())).unwrap()
}

/// The models of a server.
pub fn models(server: &Server) -> manage::Server {
    manage::Server::new(Arc::new(client(server)))
}

pub fn post(client: &Client, path: &str, body: &Value) -> Exchange {
    client.exchange(Method::POST, path, Some(body), BY, &CancelToken::default())
}

pub fn clock_of(version: &str) -> ServerClock {
    version::clock(&version::release(version).unwrap()).unwrap()
}

/// Judges a reply and, if it is good, remembers it for the next one.
pub fn judged(exchange: &Exchange, asked: Asked, version: &str, history: &mut History) -> Verdict {
    let verdict = judge::judge(exchange, asked, &clock_of(version), history);
    if let (None, Some(metrics)) = (&verdict.failure, &verdict.stream.metrics) {
        history.calls.extend(judge::remembered(metrics, asked));
    }
    verdict
}

pub fn asked(prompt: Option<u32>, tokens: u32) -> Asked {
    Asked { prompt, tokens, runner: Runner::Gguf, sent_before: false, shared: 1 }
}
