//! A model loaded in the server: requests that cannot be cached, replies that are judged, evidence looked up afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::judge::{self, Asked, Verdict};
use super::manage::{Server, same_name};
use super::placement::{after_restart, attribution, wrong_device};
use super::process::{self, ServerProcess};
use super::request::request;
use super::served::Served;
use super::speech::{Row, Speech, Spoken};
use super::version::ServerClock;
use super::wire::Metrics;
use crate::backend::http::clocks::{Clocks, Durations};
use crate::backend::http::{ClientError, Exchange};
use crate::backend::{
    BackendError, Call, CancelToken, Deadline, Failure, LoadReport, Outcome, Reply, Session, Span, SpanClock,
};
use crate::scenario::{OllamaDevice, OllamaSettings};
use crate::terms::kept_prompt::{PROMPT_BEGIN, REPEATED_PREFILL};
use crate::terms::{Attribution, Degraded, Phase, Procedure};
use crate::units::Nanos;

/// Longest time a model may take to leave the server.
const UNLOAD: Deadline = Deadline(Duration::from_secs(60));

/// Decode steps of a prompt that is sent again on purpose: only its prefill matters.
const STEPS_OF_REPEAT: u32 = 1;

/// Time per new token that a clock which leaves sampling and streaming out may leave out.
const LEFT_OUT_PER_STEP: Nanos = Nanos(10_000_000);

/// A loaded model.
pub struct OllamaSession {
    pub(super) backend: String,
    pub(super) settings: OllamaSettings,
    pub(super) server: Server,
    pub(super) process: Option<ServerProcess>,
    pub(super) version: String,
    pub(super) clock: ServerClock,
    pub(super) model: Served,
    pub(super) report: LoadReport,
    pub(super) since_load: SinceLoad,
    /// The run's: closing hears it too.
    pub(super) cancel: CancelToken,
}

/// What was asked of a model since it was loaded. A new load is a new process, which keeps nothing of earlier prompts.
#[derive(Default)]
pub(super) struct SinceLoad {
    /// Beginnings of the prompts that were sent.
    begun: BTreeSet<String>,
    /// That of the last one.
    last_begun: Option<String>,
    /// The last request that went well, to be sent again.
    last: Option<(Value, Deadline, CancelToken)>,
    /// Whether one was sent again on purpose.
    repeated: bool,
    /// The prefill of that repeat, until the next call's record carries it.
    repeat: Option<Nanos>,
    clocks: Clocks,
}

impl SinceLoad {
    /// Whether the server may keep a prompt that began so.
    fn keeps(&self, begin: &str, clock: &ServerClock) -> bool {
        if clock.host_prompt_cache {
            return self.begun.contains(begin);
        }
        self.last_begun.as_deref() == Some(begin)
    }
}

impl Session for OllamaSession {
    fn loaded(&self) -> &LoadReport {
        &self.report
    }

    fn call(&mut self, call: &Call, by: Deadline, cancel: &CancelToken) -> Outcome {
        let refused = |why: &str| Outcome {
            reply: None,
            failure: Some(Failure::new(Degraded::Error, why)),
            session_usable: true,
        };
        let [ids] = &call.prompts[..] else { return refused("the server takes one row per call") };
        let steps = match call.procedure {
            Procedure::Prefill => 0,
            Procedure::PrefillDecode => call.steps,
            Procedure::Uncached => return refused("the server always decodes on its KV cache"),
        };
        let text = call.texts.as_ref().and_then(|texts| texts.first()).map(String::as_str);
        let row = Row { ids, text: text.filter(|_| ids.is_empty()), tokens: call.padded_to };
        let number = self.model.nonces.replace(self.model.nonces.get() + 1);
        let spoken = match self.model.speech.borrow().speak(&call.scenario, &row, number) {
            Ok(spoken) => spoken,
            Err(why) => return refused(&why),
        };
        let tokens = self.model.runner.tokens_for(steps);
        let body = request(&self.settings, &self.model, &spoken.text, tokens, call.seed);
        let exchange = self.server.client().exchange(Method::POST, "/api/generate", Some(&body), by, cancel);
        let sent_before = self.since_load.keeps(&spoken.nonce, &self.clock);
        let (runner, shared) = (self.model.runner, spoken.shared);
        let asked = Asked { prompt: spoken.tokens, tokens, runner, sent_before, shared };
        let mut verdict = judge::judge(&exchange, asked, &self.clock, &self.model.history.borrow());
        if let Some(metrics) = verdict.stream.metrics.as_ref().filter(|_| verdict.failure.is_none()) {
            let durations = self.compared(metrics, &exchange, verdict.steps);
            let contradiction = self.since_load.clocks.contradiction(&durations);
            verdict.failure = contradiction.map(|why| Failure::new(Degraded::Invariant, &why));
        }
        self.remember(&call.scenario, &verdict, asked);
        let cached = self.cached(&verdict, asked);
        self.since_load.begun.insert(spoken.nonce.clone());
        self.since_load.last_begun = Some(spoken.nonce.clone());
        self.since_load.last = verdict.failure.is_none().then(|| (body, by, cancel.clone()));
        let mut reply =
            verdict.stream.metrics.as_ref().map(|m| self.reply(m, &verdict, &exchange, &spoken, call.procedure));
        if let Some(reply) = &mut reply {
            reply.prompt_cached = cached;
            let repeat = self.since_load.repeat.take();
            reply.engine_durations.extend(repeat.map(|prefill| (REPEATED_PREFILL.to_owned(), prefill)));
        }
        Outcome { reply, failure: verdict.failure, session_usable: !verdict.lost }
    }

    /// Sends the load's first good prompt again, once: what a cached prefill takes is measured, not assumed.
    fn ready(&mut self) {
        if self.since_load.repeated {
            return;
        }
        let Some((mut body, by, cancel)) = self.since_load.last.take() else { return };
        self.since_load.repeated = true;
        let tokens = self.model.runner.tokens_for(STEPS_OF_REPEAT);
        body["options"]["num_predict"] = json!(tokens);
        let exchange = self.server.client().exchange(Method::POST, "/api/generate", Some(&body), by, &cancel);
        let asked = Asked { prompt: None, tokens, runner: self.model.runner, sent_before: false, shared: u32::MAX };
        let verdict = judge::judge(&exchange, asked, &self.clock, &self.model.history.borrow());
        let metrics = verdict.stream.metrics.filter(|_| verdict.failure.is_none());
        if let Some(metrics) = &metrics {
            let durations = self.compared(metrics, &exchange, verdict.steps);
            drop(self.since_load.clocks.contradiction(&durations));
        }
        self.since_load.repeat = metrics.and_then(|metrics| metrics.prompt_eval);
        self.model.history.borrow_mut().repeats_ms.extend(self.since_load.repeat.map(Nanos::as_ms));
    }

    fn inspect(&mut self, outcome: &mut Outcome) {
        let cancel = CancelToken::default();
        let looked = self.server.version(&cancel).and_then(|version| Ok((version, self.server.resident(&cancel)?)));
        let (version, resident) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                outcome.session_usable = false;
                let why = format!("after the call: {error}");
                if outcome.failure.as_ref().is_none_or(|f| f.kind == Degraded::Incomplete) {
                    outcome.failure = Some(Failure::new(Degraded::Crashed, &why));
                }
                return;
            }
        };
        let own = resident.iter().find(|model| same_name(&model.name, &self.model.tag));
        let attribution = attribution(self.settings.device, &self.version, &self.clock, own, self.device_memory());
        let wrong = wrong_device(self.settings.device, own);
        let failure = if version != self.version {
            Some(Failure::new(Degraded::StackChanged, &format!("the server was {} and is {version}", self.version)))
        } else if let Some(why) = own.and_then(|own| self.model.other_size(own)) {
            Some(Failure::new(Degraded::StackChanged, &why))
        } else if let Some(restarted) = self.process.as_ref().filter(|process| !process.runs()) {
            outcome.session_usable = false;
            Some(after_restart(restarted, self.server.listener().as_ref()))
        } else if own.is_none() {
            outcome.session_usable = false;
            Some(Failure::new(Degraded::Reloaded, "the model is no longer resident: the server unloaded it"))
        } else {
            wrong.map(|why| Failure::new(Degraded::WrongDevice, &why))
        };
        outcome.session_usable &= failure.as_ref().is_none_or(|failure| failure.kind != Degraded::StackChanged);
        if let Some(reply) = &mut outcome.reply {
            let mut evidence = std::mem::take(&mut reply.attribution.evidence);
            evidence.shown.extend(attribution.evidence.shown);
            reply.attribution = Attribution { evidence, ..attribution };
        }
        if outcome.failure.is_none() {
            outcome.failure = failure;
        }
    }

    fn engine_pids(&self) -> Vec<u32> {
        self.process.as_ref().map(|process| process::ours(process.pid)).unwrap_or_default()
    }

    fn in_process(&self) -> bool {
        false
    }

    fn close(self: Box<Self>) -> Result<(), BackendError> {
        let unloaded = self.server.unload(&self.model.tag, UNLOAD, &self.cancel);
        if self.cancel.is_cancelled() {
            // The server was asked; nobody waits for what it makes of it.
            return Ok(());
        }
        if self.settings.device != OllamaDevice::Cpu {
            super::device::settle();
        }
        match unloaded {
            // A server that is gone has nothing loaded.
            Ok(()) | Err(ClientError::Unreachable { .. }) => Ok(()),
            Err(error) => Err(BackendError::Close { backend: self.backend.clone(), why: error.to_string() }),
        }
    }
}

impl OllamaSession {
    /// Keeps what later calls are judged against.
    fn remember(&mut self, scenario: &str, verdict: &Verdict, asked: Asked) {
        let Some(metrics) = verdict.stream.metrics.as_ref().filter(|_| verdict.failure.is_none()) else { return };
        if let (Some(count), Speech::Words(words)) = (metrics.prompt_eval_count, &mut *self.model.speech.borrow_mut()) {
            words.learn(scenario, count);
        }
        self.model.history.borrow_mut().calls.extend(judge::remembered(metrics, asked));
    }

    /// Prompt tokens that were not evaluated: as the server says, else those that every prompt of the model begins with,
    /// once one was evaluated. `None`: no reply, or none.
    fn cached(&self, verdict: &Verdict, asked: Asked) -> Option<u32> {
        let metrics = verdict.stream.metrics.as_ref()?;
        let begun = !self.since_load.begun.is_empty();
        let common = asked.prompt.filter(|_| begun).map(|_| self.model.speech.borrow().always_shared());
        metrics.prompt_eval_cached_count.or(common).filter(|&cached| cached > 0)
    }

    /// The server's durations beside ours.
    fn compared(&self, metrics: &Metrics, exchange: &Exchange, steps: u32) -> Durations {
        let since = |at: Option<Nanos>| at.unwrap_or(exchange.end).since(exchange.sent);
        Durations {
            total: metrics.total,
            load: metrics.load,
            prefill: metrics.prompt_eval,
            decode: metrics.eval.filter(|_| steps > 0),
            steps,
            left_out_per_step: if self.clock.decode_is_wall { Nanos(0) } else { LEFT_OUT_PER_STEP },
            to_first: since(exchange.first_line),
            to_last: since(exchange.last_line),
        }
    }

    fn reply(
        &self,
        metrics: &Metrics,
        verdict: &Verdict,
        exchange: &Exchange,
        spoken: &Spoken,
        procedure: Procedure,
    ) -> Reply {
        let steps = if procedure == Procedure::PrefillDecode { verdict.steps } else { 0 };
        Reply {
            spans: spans(metrics, exchange, steps),
            engine_durations: durations(metrics, exchange),
            steps_timed: steps,
            prompt_tokens: metrics.prompt_eval_count.map(|count| vec![count]),
            new_tokens: metrics.eval_count.into_iter().collect(),
            finish: verdict.finish,
            attribution: Attribution {
                requested: self.settings.device.as_str().to_owned(),
                actual: None,
                evidence: BTreeMap::from([(PROMPT_BEGIN.to_owned(), spoken.nonce.clone())]).into(),
            },
            ..Reply::default()
        }
    }

    /// Device memory of the server's processes. `None`: no driver, or it cannot be told.
    fn device_memory(&self) -> Option<u64> {
        if self.settings.device == OllamaDevice::Cpu {
            return None;
        }
        super::device::memory_of(&self.engine_pids())
    }
}

/// The phases placed in the run's time: the last line comes when decoding ends. The rest of the request is how far
/// they may be shifted.
#[must_use]
pub fn spans(metrics: &Metrics, exchange: &Exchange, steps: u32) -> Vec<Span> {
    let end = exchange.last_line.unwrap_or(exchange.end);
    let parts = [metrics.load, metrics.prompt_eval, metrics.eval].into_iter().flatten();
    let known = parts.fold(Nanos(0), |sum, part| sum + part);
    let uncertainty = end.since(exchange.sent).since(known);
    let decode = metrics.eval.filter(|_| steps > 0);
    let between = end.since(Nanos(0)) - decode.unwrap_or(Nanos(0));
    let span = |phase, begin, end| Span {
        phase,
        begin,
        end,
        clock: SpanClock::Reconstructed,
        uncertainty,
        mean_power_w: None,
        device: None,
    };
    let prefill = metrics.prompt_eval.map(|time| span(Phase::Prefill, between - time, between));
    prefill.into_iter().chain(decode.map(|_| span(Phase::KvDecode, between, end))).collect()
}

/// Every time there is, under the server's names and ours.
#[must_use]
pub fn durations(metrics: &Metrics, exchange: &Exchange) -> BTreeMap<String, Nanos> {
    let since = |at: Option<Nanos>| at.map(|at| at.since(exchange.sent));
    let named = [
        ("total_duration", metrics.total),
        ("load_duration", metrics.load),
        ("prompt_eval_duration", metrics.prompt_eval),
        ("eval_duration", metrics.eval),
        ("client_headers", since(exchange.headers)),
        ("client_first_line", since(exchange.first_line)),
        ("client_last_line", since(exchange.last_line)),
    ];
    named.into_iter().filter_map(|(name, time)| Some((name.to_owned(), time?))).collect()
}
