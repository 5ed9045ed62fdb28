//! Makes calls through the Ollama client against the tests' stand-in and says when their first and last lines arrived,
//! as a line of JSON each. See `scripts/bench-client`.
//!
//! Times are on the machine's monotonic clock, which the stand-in stamps its lines with.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use phasebench::backend::http::Client;
use phasebench::backend::ollama::judge::{self, Asked, History};
use phasebench::backend::ollama::version::{self, Runner};
use phasebench::backend::{CancelToken, Deadline};
use phasebench::clock::{Clock, RealClock};
use phasebench::telemetry::process::cpu_self;
use phasebench::units::Nanos;
use reqwest::Method;
use semver::Version;
use serde::Serialize;
use serde_json::{Value, json};

/// Calls to a stand-in server
#[derive(Debug, Parser)]
struct Args {
    /// Its address, as it printed it
    url: String,
    /// Calls
    #[arg(long)]
    calls: u32,
    /// Tokens of a call
    #[arg(long)]
    tokens: u32,
}

/// One call; every time in nanoseconds.
#[derive(Debug, Serialize)]
struct Answer {
    /// When the server handed over its first line.
    server_first_ns: u64,
    /// When we had it.
    client_first_ns: u64,
    /// When the server handed over its last line.
    server_last_ns: u64,
    /// When we had it.
    client_last_ns: u64,
    /// Processor time of this process from sending to the verdict.
    cpu_ns: u64,
    /// How long that took.
    wall_ns: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let clock = Arc::new(RealClock::default());
    let start = monotonic_ns()?.saturating_sub(clock.now().0);
    let client = Client::new("ollama", &args.url, clock.clone()).map_err(anyhow::Error::msg)?;
    let mut out = io::stdout().lock();
    for number in 0..args.calls {
        let answer = call(&client, &*clock, start, number, args.tokens)?;
        serde_json::to_writer(&mut out, &answer)?;
        writeln!(out)?;
    }
    Ok(())
}

fn call(client: &Client, clock: &dyn Clock, start: u64, number: u32, tokens: u32) -> anyhow::Result<Answer> {
    let body = json!({
        "model": "standin", "prompt": format!("{number} the quick brown fox"), "raw": true, "stream": true,
        "truncate": false, "shift": false, "keep_alive": -1,
        "options": { "num_ctx": 4096, "num_predict": tokens, "stop": [] },
    });
    let asked = Asked { prompt: None, tokens, runner: Runner::Gguf, sent_before: false, shared: 1 };
    let server = version::clock(&Version::new(0, 33, 0)).context("the stand-in's version has no clock")?;
    let (cpu, begin) = (cpu()?, clock.now());
    let by = Deadline(Duration::from_secs(60));
    let exchange = client.exchange(Method::POST, "/api/generate", Some(&body), by, &CancelToken::default());
    let verdict = judge::judge(&exchange, asked, &server, &History::default());
    let (cpu, wall) = (self::cpu()? - cpu, clock.now().since(begin));
    if let Some(failure) = verdict.failure {
        return Err(failure.into());
    }
    let last: Value = serde_json::from_slice(exchange.lines().last().context("no line came")?)?;
    let sent = |key: &str| last[key].as_u64().with_context(|| format!("the last line has no `{key}`"));
    let at = |time: Option<Nanos>| time.map(|time| start + time.0).context("no line was stamped");
    Ok(Answer {
        server_first_ns: sent("standin_first_ns")?,
        client_first_ns: at(exchange.first_line)?,
        server_last_ns: sent("standin_last_ns")?,
        client_last_ns: at(exchange.last_line)?,
        cpu_ns: cpu.0,
        wall_ns: wall.0,
    })
}

fn cpu() -> anyhow::Result<Nanos> {
    cpu_self().context("the system does not tell our processor time")
}

fn monotonic_ns() -> anyhow::Result<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one struct, which is live.
    if unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error().into());
    }
    Ok(1_000_000_000 * u64::try_from(time.tv_sec)? + u64::try_from(time.tv_nsec)?)
}
