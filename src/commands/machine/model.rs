//! A small model on ONNX Runtime, in this process: engines move more from minute to minute than kernels do.

use std::path::Path;

use crate::backend::{CallShape, CancelToken, Deadline};
use crate::commands::error::CommandError;
use crate::commands::measuring;
use crate::commands::scenario::{self, Purpose};
use crate::manifest;
use crate::record::plan::Plan;
use crate::run::{Engines, Prompts};
use crate::stats::summary::geometric_mean;
use crate::terminal::warn;

/// What the scenario is called in messages; there is no such file.
const CALLED: &str = "machine --watch";
/// One cell, whose calls take some ten milliseconds.
const SCENARIO: &str = "version: 1
name: watch
gen_tokens: [16]
modes: [kv_decode]
scenarios: [ { name: short, prompt: { tokens: 32 } } ]
models: [ { name: small, synthetic: { family: gpt2, n_layer: 4, n_embd: 256, n_head: 4, vocab: 8192 } } ]
backends: [ { name: onnx, onnx: {} } ]
";
/// Digits of a stack's hash that are kept.
const SHOWN: usize = 12;
/// Calls of a session that are not counted, and those that are.
const WARMUPS: usize = 2;
const CALLS: usize = 10;

/// The model, made and ready to be loaded.
pub(super) struct SmallModel {
    plan: Plan,
    prompts: Prompts,
    engines: Engines,
    cancel: CancelToken,
    /// Hash of engine, program and system.
    pub(super) stack: String,
}

impl SmallModel {
    /// Makes it, or finds it in the cache. `None`: there is no ONNX Runtime, which is said; or someone cancelled.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub(super) fn ready(cancel: &CancelToken) -> Result<Option<Self>, CommandError> {
        let loaded = scenario::of_text(SCENARIO.to_owned(), Path::new(CALLED), &[], Purpose::Look)?;
        match measuring::engines(loaded, cancel) {
            Ok(ready) => Ok(ready.map(|(plan, prompts, engines, stack)| {
                let stack = manifest::stack_sha256(&stack)[..SHOWN].to_owned();
                Self { plan, prompts, engines, cancel: cancel.clone(), stack }
            })),
            Err(CommandError::Missing(missing)) => {
                warn(&format!("no small model is measured beside the kernels: {missing}"));
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// Loads it, calls it and frees it. Geometric mean of the calls. Unit: milliseconds. `None`: one of them failed.
    pub(super) fn look(&mut self) -> Option<f64> {
        let (cell, session) = (self.plan.cells.first()?, self.plan.sessions.first()?);
        let prepared = self.engines.prepared.get(&session.key)?;
        let backend = self.engines.backends.get_mut(&session.key.backend)?;
        let by = Deadline(self.plan.timeout_ns.duration());
        let call = self.prompts.call(cell);
        let shapes: [CallShape; 1] = [call.shape()];
        let mut loaded = backend.load(prepared, &shapes, by, &self.cancel).ok()?;
        let mut times = Vec::with_capacity(CALLS);
        for number in 0..WARMUPS + CALLS {
            let outcome = loaded.call(&call, by, &self.cancel);
            let reply = outcome.reply.filter(|_| outcome.failure.is_none())?;
            if number >= WARMUPS {
                times.push(reply.spans.iter().map(|span| span.end.since(span.begin).as_ms()).sum());
            }
        }
        loaded.close().ok()?;
        geometric_mean(&times)
    }
}
