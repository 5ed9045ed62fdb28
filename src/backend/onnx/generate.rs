//! The timed loops. Between two clock readings: forward passes, the choice of the next token, nothing else;
//! every buffer of ours is allocated before.

use ort::session::RunOptions;

use super::batch::Batch;
use super::forward::{Cache, ForwardError, LoadedGraph, Pass, choose};
use crate::backend::{Call, Span, SpanClock};
use crate::clock::Clock;
use crate::terms::{Phase, Procedure};
use crate::units::Nanos;

/// What a call has done so far; whole, or up to where it stopped.
#[derive(Debug, Default)]
pub struct Progress {
    /// Phases that ended, and the part of the last one that is known.
    pub spans: Vec<Span>,
    /// End of each timed step.
    pub step_ends: Vec<Nanos>,
    /// Time of each timed step outside the runtime.
    pub outside: Vec<Nanos>,
    /// Chosen tokens, one per row and pass.
    pub tokens: Vec<i64>,
    /// KV cache at the end. Empty: no pass ended.
    pub cache: Cache,
}

/// Makes a call on a graph; `progress` tells what was done even where it fails.
///
/// # Errors
/// See [`ForwardError`].
pub fn generate(
    graph: &mut LoadedGraph,
    call: &Call,
    clock: &dyn Clock,
    options: &RunOptions,
    progress: &mut Progress,
) -> Result<(), ForwardError> {
    let (rows, steps) = (call.prompts.len(), size(call.steps));
    let batch = Batch::new(&call.prompts, size(call.padded_to), steps);
    progress.step_ends.reserve(steps);
    progress.outside.reserve(steps);
    progress.tokens.reserve(rows * (steps + 1));
    progress.spans.reserve(2);
    let past = graph.empty_cache(rows)?;
    progress.cache.reserve(past.len());
    let mut timed = Timed { graph, clock, options, batch, past, next: vec![0; rows], progress };
    match call.procedure {
        Procedure::Prefill => timed.prefill(),
        Procedure::PrefillDecode => {
            timed.prefill()?;
            timed.decode(steps)
        }
        Procedure::Uncached => timed.uncached(steps),
    }
}

/// A call in flight.
struct Timed<'a> {
    graph: &'a mut LoadedGraph,
    clock: &'a dyn Clock,
    options: &'a RunOptions,
    batch: Batch,
    /// KV cache that the next pass starts from.
    past: Cache,
    /// The token of each row that was chosen last.
    next: Vec<i64>,
    progress: &'a mut Progress,
}

impl Timed<'_> {
    /// One pass over the prompts, until the first new token is known.
    fn prefill(&mut self) -> Result<(), ForwardError> {
        let begin = self.clock.now();
        self.pass()?;
        let end = self.clock.now();
        self.progress.spans.push(exact(Phase::Prefill, begin, end));
        self.progress.tokens.extend_from_slice(&self.next);
        Ok(())
    }

    /// `steps` passes over one column each.
    fn decode(&mut self, steps: usize) -> Result<(), ForwardError> {
        let begin = self.clock.now();
        self.steps(Phase::KvDecode, begin, steps, |this| {
            std::mem::swap(&mut this.past, &mut this.progress.cache);
            this.batch.step(&this.next);
            this.pass()
        })
    }

    /// `steps` passes over everything so far. The first takes the prompts as they are.
    fn uncached(&mut self, steps: usize) -> Result<(), ForwardError> {
        let begin = self.clock.now();
        let mut first = true;
        self.steps(Phase::GenerateUncached, begin, steps, |this| {
            if !std::mem::take(&mut first) {
                this.batch.append(&this.next);
            }
            this.pass()
        })
    }

    /// Times `steps` passes. If one fails, the span ends with the last that did not.
    fn steps(
        &mut self,
        phase: Phase,
        begin: Nanos,
        steps: usize,
        mut pass: impl FnMut(&mut Self) -> Result<Nanos, ForwardError>,
    ) -> Result<(), ForwardError> {
        let (mut last, mut result) = (begin, Ok(()));
        for _ in 0..steps {
            match pass(self) {
                Ok(inside) => {
                    let end = self.clock.now();
                    self.progress.step_ends.push(end);
                    self.progress.outside.push(end.since(last).since(inside));
                    self.progress.tokens.extend_from_slice(&self.next);
                    last = end;
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        if last > begin {
            self.progress.spans.push(exact(phase, begin, last));
        }
        result
    }

    /// One forward pass and the choice of the next tokens. The time it spent inside the runtime.
    fn pass(&mut self) -> Result<Nanos, ForwardError> {
        let pass = Pass { view: self.batch.view(), past: &self.past, options: self.options, clock: self.clock };
        let answer = self.graph.forward(&pass, &mut self.progress.cache)?;
        choose(&answer.value, &mut self.next)?;
        Ok(answer.inside)
    }
}

fn exact(phase: Phase, begin: Nanos, end: Nanos) -> Span {
    Span { phase, begin, end, clock: SpanClock::Exact, uncertainty: Nanos(0), mean_power_w: None, device: None }
}

fn size(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
