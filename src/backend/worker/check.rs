//! Whether a worker keeps to `docs/worker-protocol.md`, rule by rule: what `phasebench worker check` tries.
//!
//! - [`mod@bench`] is the worker with a model in it, and how it is asked; `starting` is about a program that is started here.
//! - `order`, `refusals`, `clock`, `calls`, `stopping`, `loading` and `reference` hold the rules.

pub mod bench;
mod calls;
mod clock;
mod finding;
mod loading;
mod order;
mod reference;
mod refusals;
mod starting;
mod stopping;

use std::sync::Arc;
use std::time::Instant;

use self::bench::{Bench, Model, READY_WITHIN};
use self::finding::{Findings, Tell, Tried};
use super::launch::process::Transport;
use super::settings::Origin;
use super::start::{Start, Trouble, interest};
use super::{Opened, WorkerBackend};
use crate::backend::{Backend as _, BackendError};
use crate::model::{self, ModelSource};
use crate::terms::Degraded;

pub use self::finding::{Finding, Verdict};

impl WorkerBackend {
    /// Tries every rule on a worker with this model.
    ///
    /// # Errors
    /// It does not answer, or the model cannot be made.
    pub fn check(&mut self, source: &ModelSource, tell: Tell<'_>) -> Result<Vec<Finding>, BackendError> {
        let prepared = self.prepare(source)?;
        let unmade = |why: &dyn std::fmt::Display| BackendError::Prepare {
            model: source.name.clone(),
            backend: self.name.clone(),
            why: why.to_string(),
        };
        let architecture = model::architecture(&source.form).map_err(|error| unmade(&error))?;
        let path = prepared.path.ok_or_else(|| unmade(&"it has no folder"))?;
        let model = Arc::new(Model {
            source: source.clone(),
            path,
            weights_id: prepared.weights_id,
            vocabulary: u32::try_from(architecture.vocab).unwrap_or(u32::MAX),
            context: u32::try_from(architecture.n_positions).unwrap_or(u32::MAX),
        });
        let mut findings = Findings::new(tell);
        let started_here = matches!(self.workers.origin, Origin::Command(_));
        if started_here {
            starting::tried(self, &mut findings).map_err(|trouble| self.unavailable(trouble))?;
            // A port comes with a token and with the ready line.
            self.transport = Some(Transport::Tcp);
        }
        self.opened = None;
        let bench = self.bench(model).map_err(|trouble| self.unavailable(trouble))?;
        let (io, surroundings, dtype) = (self.io()?, self.surroundings.clone(), self.workers.dtype);
        let bench = Arc::new(bench);
        for rule in RULES {
            let bench = bench.clone();
            let tried = io.wait(async move { (rule.attempt)(&bench).await });
            findings.add(
                rule.name,
                tried.unwrap_or_else(|| Tried::Fail("the thread that talks to workers is gone".into())),
            );
        }
        let (probed, top) = io.wait(reference::ask(bench.clone())).unwrap_or((Err("no answer".to_owned()), false));
        findings.add("reference", reference::judge(&bench, probed, top, dtype, surroundings));
        io.wait(async move { bench.leave(started_here).await });
        Ok(findings.all())
    }

    fn io(&mut self) -> Result<Arc<super::io::Io>, BackendError> {
        let opened = self.opened().map(|opened| opened.io.clone());
        opened.map_err(|trouble| self.unavailable(trouble))
    }

    /// A worker that has said who it is.
    fn bench(&mut self, model: Arc<Model>) -> Result<Bench, Trouble> {
        self.tell_of_waiting();
        let settings = self.workers.settings.clone();
        let Opened { io, start } = self.opened()?;
        let start: Arc<Start> = start.clone();
        let begun = io.wait(async move {
            let (_interest, mut awaited) = interest();
            let live = start.start(Some(&model.path), Instant::now() + READY_WITHIN, &mut awaited).await?;
            Bench::new(start, live, settings, model).await
        });
        begun.unwrap_or_else(|| Err(Trouble::new(Degraded::Error, "the thread that talks to workers is gone".into())))
    }
}

type Attempt = for<'a> fn(&'a Bench) -> std::pin::Pin<Box<dyn Future<Output = Tried> + Send + 'a>>;

/// A rule and how it is tried. Each leaves a model loaded and the worker idle.
struct Rule {
    name: &'static str,
    attempt: Attempt,
}

macro_rules! rules {
    ($($name:literal: $attempt:path),+ $(,)?) => {
        [$(Rule { name: $name, attempt: |bench| Box::pin(async move { Tried::from($attempt(bench).await) }) }),+]
    };
}

/// In the order in which they are tried.
const RULES: [Rule; 19] = rules!(
    "hello": order::hello,
    "token": order::token,
    "describe": order::describe,
    "order": order::order,
    "invalid": refusals::invalid,
    "clock": clock::clock,
    "tokens": calls::tokens,
    "steps": calls::steps,
    "prompt tokens": calls::prompt_tokens,
    "repeatable": calls::repeatable,
    "padding": calls::padding,
    "evidence": calls::evidence,
    "device": calls::device,
    "spans": calls::spans,
    "one client": stopping::one_client,
    "answers": stopping::answers,
    "cancel": stopping::cancel,
    "leaving": stopping::leaving,
    "loading": loading::loading,
);
