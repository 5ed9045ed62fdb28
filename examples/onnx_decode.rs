//! Makes one call of the ONNX Runtime backend per line `run` on stdin and answers with a line of JSON, so that a
//! driver can alternate it with another client of the same graph. `record` begins to record power beside the calls, and
//! `rest` ends that; so the same process can be timed with and without. See `scripts/bench-client`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use phasebench::backend::onnx::OnnxBackend;
use phasebench::backend::{Backend, Call, CancelToken, Deadline, Reply, Session, Surroundings};
use phasebench::clock::{RealClock, SharedClock};
use phasebench::model::{Form, ModelSource};
use phasebench::scenario::{ArgMax, Isolation, OnnxSettings, Optimisation, Provider, RuntimeSource};
use phasebench::telemetry::sampler::Sampler;
use phasebench::terms::model::{Family, Synthetic};
use phasebench::terms::{Dtype, Phase, Procedure, SensorKind};
use serde::Serialize;

/// A synthetic GPT-2 and how it is decoded
#[derive(Debug, Parser)]
struct Args {
    /// Layers
    #[arg(long)]
    n_layer: usize,
    /// Width
    #[arg(long)]
    n_embd: usize,
    /// Heads
    #[arg(long)]
    n_head: usize,
    /// Threads inside an operator
    #[arg(long)]
    threads: u32,
    /// Choose the next token inside the graph
    #[arg(long)]
    inside: bool,
    /// Prompt tokens
    #[arg(long, default_value_t = 17)]
    prompt: u32,
    /// Timed decode steps of a call
    #[arg(long, default_value_t = 64)]
    steps: u32,
    /// Milliseconds between two readings of the power sensors
    #[arg(long, default_value_t = 20)]
    period: u64,
}

/// First line: what the other client needs to do the same.
#[derive(Debug, Serialize)]
struct Ready {
    graph: Option<PathBuf>,
    prompt: Vec<u32>,
    facts: BTreeMap<String, String>,
}

/// Answer to `record`.
#[derive(Debug, Serialize)]
struct Recording {
    sensors: usize,
}

/// Answer to `run`.
#[derive(Debug, Serialize)]
struct Answer {
    prefill_ns: u64,
    /// Decode time divided by its steps.
    mean_step_ns: f64,
    median_step_ns: u64,
    /// Median over the steps of the time outside ONNX Runtime's `Run`.
    median_outside_ns: u64,
    tokens: Vec<u32>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let spec = OnnxSettings {
        source: RuntimeSource::Selected,
        provider: Provider::Cpu,
        provider_options: Vec::new(),
        device: 0,
        threads: Some(args.threads),
        optimisation: Optimisation::All,
        dtype: Dtype::F32,
        arg_max: if args.inside { ArgMax::Inside } else { ArgMax::Outside },
        isolation: Isolation::None,
    };
    let recipe = Synthetic::new(Family::Gpt2, args.n_layer, args.n_embd, args.n_head);
    let source = ModelSource { name: "bench".to_owned(), form: Form::Synthetic(recipe) };
    let clock: SharedClock = Arc::new(RealClock::default());
    let surroundings = Surroundings::new(Arc::clone(&clock), phasebench::cache::root(), 1);
    let mut backend = OnnxBackend::new("bench", spec, surroundings);
    let facts = backend.describe()?.facts;
    let prepared = backend.prepare(&source)?;
    let by = Deadline(Duration::from_secs(600));
    let mut session = backend.load(&prepared, &[], by, &CancelToken::default())?;

    let prompt: Vec<u32> = (1..=args.prompt).collect();
    let mut out = io::stdout().lock();
    write_line(&mut out, &Ready { graph: prepared.path, prompt: prompt.clone(), facts })?;
    let mut sampler: Option<Sampler> = None;
    for line in io::stdin().lines() {
        match line?.trim() {
            "run" => {
                // Ends the idle gap, on both sides.
                decode(session.as_mut(), &prompt, 4)?;
                let reply = decode(session.as_mut(), &prompt, args.steps)?;
                write_line(&mut out, &answer(&reply)?)?;
            }
            "record" => {
                let started = Sampler::start(
                    &[SensorKind::Nvml],
                    Duration::from_millis(args.period),
                    Default::default(),
                    clock.clone(),
                )?;
                write_line(&mut out, &Recording { sensors: started.found().sensors.len() })?;
                sampler = Some(started);
            }
            "rest" => {
                let continuity = sampler.take().context("nothing is recorded")?.finish(drop);
                write_line(&mut out, &continuity)?;
            }
            other => bail!("`{other}` is no request: known are run, record and rest"),
        }
    }
    Ok(())
}

fn decode(session: &mut dyn Session, prompt: &[u32], steps: u32) -> anyhow::Result<Reply> {
    let call = Call {
        procedure: Procedure::PrefillDecode,
        scenario: "bench".to_owned(),
        prompts: vec![prompt.to_vec()],
        texts: None,
        padded_to: u32::try_from(prompt.len())?,
        steps,
        index: 0,
        attempt: 0,
        seed: 0,
    };
    let outcome = session.call(&call, Deadline(Duration::from_secs(600)), &CancelToken::default());
    if let Some(failure) = outcome.failure {
        return Err(failure.into());
    }
    outcome.reply.context("no reply")
}

#[expect(clippy::cast_precision_loss, reason = "2^53 ns is 104 days")]
fn answer(reply: &Reply) -> anyhow::Result<Answer> {
    let span = |phase| reply.spans.iter().find(|span| span.phase == phase).context("a phase is missing");
    let (prefill, decode) = (span(Phase::Prefill)?, span(Phase::KvDecode)?);
    let mut last = decode.begin;
    let mut steps = Vec::new();
    for &end in &reply.step_ends {
        steps.push(end.since(last).0);
        last = end;
    }
    steps.sort_unstable();
    let outside = reply.engine_durations.get("step_outside_run_median").context("no time outside Run")?;
    Ok(Answer {
        prefill_ns: prefill.end.since(prefill.begin).0,
        mean_step_ns: decode.end.since(decode.begin).0 as f64 / steps.len() as f64,
        median_step_ns: steps[steps.len() / 2],
        median_outside_ns: outside.0,
        tokens: reply.tokens.first().cloned().unwrap_or_default(),
    })
}

fn write_line(out: &mut impl Write, line: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    writeln!(out)?;
    Ok(out.flush()?)
}
