//! Serves the tests' stand-in for Ollama with scripted times until its input ends, so that clients of the HTTP API can
//! be compared without an engine in between. See `scripts/bench-client`.
//!
//! Prints its base URL. The last line of every reply says when its first and last line were sent, on the machine's
//! monotonic clock: `standin_first_ns`, `standin_last_ns`.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;

#[path = "../tests/standin/standin.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod standin;

use standin::Server;
use standin::scripted::model::{Model, Shape};
use standin::scripted::{Script, Scripted};

/// A healthy server with one model, `standin`
#[derive(Debug, Parser)]
struct Args {
    /// Steps after the first token, where a request sets no num_predict
    #[arg(long)]
    steps: u64,
    /// Microseconds from one token to the next
    #[arg(long)]
    step_us: u64,
    /// Microseconds per token of the prompt
    #[arg(long)]
    prefill_us: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let shape = Shape { architecture: "llama", parameters: 1_250_432, layers: 4, width: 128, heads: 4, context: 4096 };
    let script = Script {
        step: Duration::from_micros(args.step_us),
        prefill_per_token: Duration::from_micros(args.prefill_us),
        default_tokens: Some(args.steps + 1),
        stamped: true,
        ..Script::default()
    };
    let server = Server::scripted(&Arc::new(Scripted::new(script, [Model::new("standin", &shape)])))?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", server.url())?;
    out.flush()?;
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}
