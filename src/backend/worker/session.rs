//! A model loaded in a worker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tonic::{Response, Status};

use super::clock::{PACE_KNOWN_AFTER, Pace};
use super::connection::promptly;
use super::io::{Io, Pending};
use super::protocol::{CallRequest, CancelRequest, CompileRequest, Prompt, ShutdownRequest, UnloadRequest};
use super::reply::{Asked, outcome, probed};
use super::start::{Broken, Live, Start, reply};
use super::words::failure;
use super::{evidence, protocol};
use crate::backend::cancel::Waited;
use crate::backend::{
    BackendError, Call, CallShape, CancelToken, CompileFailure, Deadline, Failure, LoadReport, Outcome, Probed, Reply,
    Session,
};
use crate::terms::{CompileEvidence, Degraded, Phase, Procedure};
use crate::units::Nanos;

/// How long a worker may take to stop what it was asked to stop.
const GRACE: Duration = Duration::from_secs(2);

/// How long a worker may take to end by itself.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// A loaded model behind the protocol.
pub struct WorkerSession {
    /// The thread that talks to it.
    pub io: Arc<Io>,
    /// How it was started.
    pub start: Arc<Start>,
    /// The worker.
    pub live: Live,
    /// What loading it proved.
    pub report: LoadReport,
    /// Phases that must be compiled.
    pub compiled: BTreeMap<Phase, String>,
    /// Tokens that the model knows: ids from this number on name none.
    pub vocabulary: usize,
    /// Why phases did not compile as asked before the first call, in the engine's words: it gives them once.
    pub broken: BTreeMap<Phase, Vec<String>>,
    /// Whether the worker's clock keeps time.
    pub pace: Pace,
    /// What is wrong with it. `None`: nothing that readings tell.
    pub clock_trouble: Option<String>,
    /// Calls and compilations so far; each has a number.
    pub calls: u64,
    /// Why it can take no call. `None`: it can.
    pub lost: Option<String>,
}

/// How a request to a worker went.
enum Asking<T> {
    /// It answered, if late.
    Answered(T, Waited),
    /// It did not, and is gone now.
    Lost(Failure),
}

impl Session for WorkerSession {
    fn loaded(&self) -> &LoadReport {
        &self.report
    }

    fn compile(
        &mut self,
        shape: CallShape,
        by: Deadline,
        cancel: &CancelToken,
    ) -> Result<Vec<CompileEvidence>, CompileFailure> {
        if !self.live.who.capabilities.compiles {
            return Ok(Vec::new());
        }
        let mut client = self.live.client.clone();
        let request = CompileRequest { shape: Some(wire_shape(shape)) };
        let (reply, waited) = match self.ask("Compile", 0, by, cancel, async move { client.compile(request).await }) {
            Asking::Lost(failure) => {
                return Err(CompileFailure { failure, phases: Vec::new(), session_usable: false });
            }
            Asking::Answered(reply, waited) => (reply, waited),
        };
        let compiled = evidence::of_compile(reply, stopped(waited, by));
        if let Err(failed) = &compiled {
            self.broken.extend(failed.phases.iter().map(|phase| (phase.phase, phase.reasons.clone())));
        }
        compiled
    }

    fn compilers(&self) -> BTreeMap<Phase, String> {
        self.compiled.clone()
    }

    /// Reads the worker's clock: one of its own drifts away from ours, and a shared one is held against ours again. Besides,
    /// the way to the worker is then as warm as the engine, and little of it is left in the time around the phases.
    fn ready(&mut self) {
        if self.lost.is_some() {
            return;
        }
        let age = self.pace.age(self.start.clock.now());
        if age < PACE_KNOWN_AFTER {
            self.start.clock.pass(PACE_KNOWN_AFTER.since(age).duration());
        }
        self.read_clock();
    }

    /// A clock that went wrong in a long call, or in the last window of a loop, is found before the call is believed; of
    /// a short one the next reading tells as much.
    fn inspect(&mut self, outcome: &mut Outcome) {
        if self.lost.is_some() || outcome.failure.is_some() || !self.pace.tells_more(self.start.clock.now()) {
            return;
        }
        self.read_clock();
        let Some(trouble) = &self.clock_trouble else { return };
        outcome.failure = Some(Failure::new(Degraded::Invariant, trouble));
        if let Some(reply) = &mut outcome.reply {
            without_times(reply);
        }
    }

    fn call(&mut self, call: &Call, by: Deadline, cancel: &CancelToken) -> Outcome {
        if let Some(trouble) = &self.clock_trouble {
            let failure = Failure::new(Degraded::Invariant, trouble);
            return Outcome { reply: None, failure: Some(failure), session_usable: true };
        }
        self.calls += 1;
        let call_id = self.calls;
        let mut client = self.live.client.clone();
        let request = request(call, call_id);
        let sent = self.start.clock.now();
        match self.ask("a call", call_id, by, cancel, async move { client.call(request).await }) {
            Asking::Lost(failure) => Outcome { reply: None, failure: Some(failure), session_usable: false },
            Asking::Answered(reply, waited) => {
                let window = (sent, self.start.clock.now());
                let (compiled, vocabulary, mapping) = (&self.compiled, self.vocabulary, self.live.mapping);
                let mut outcome = outcome(reply, &Asked { call, compiled, vocabulary, mapping, window });
                if let Some(reply) = &mut outcome.reply {
                    reply.round_trip = Some(mapping.slowest);
                }
                outcome.failure = stopped(waited, by).or(outcome.failure);
                evidence::recall(&mut outcome, &self.broken);
                if !outcome.session_usable {
                    self.lose("the worker said that its session cannot go on");
                }
                outcome
            }
        }
    }

    fn probe(&mut self, call: &Call, top: u32, by: Deadline) -> Option<Result<Probed, Failure>> {
        if !self.live.who.capabilities.logprobs {
            return None;
        }
        self.calls += 1;
        let call_id = self.calls;
        let mut client = self.live.client.clone();
        let request = CallRequest { top_logprobs: top, ..request(call, call_id) };
        Some(
            match self.ask("a probe", call_id, by, &CancelToken::default(), async move { client.call(request).await }) {
                Asking::Lost(failure) => Err(failure),
                Asking::Answered(reply, waited) => match (stopped(waited, by), reply.error) {
                    (Some(stopped), _) => Err(stopped),
                    (None, Some(error)) => Err(failure(&error)),
                    (None, None) => probed(&reply.logprobs, call, self.vocabulary),
                },
            },
        )
    }

    fn engine_pids(&self) -> Vec<u32> {
        let running = self.live.running.clone();
        self.io.wait(async move { running.lock().await.pids() }).unwrap_or_default()
    }

    fn in_process(&self) -> bool {
        false
    }

    fn close(self: Box<Self>) -> Result<(), BackendError> {
        // Somebody else's worker goes on, and need not keep a model for nobody.
        if self.lost.is_none() || !self.start.ours {
            self.unload();
        }
        self.end();
        Ok(())
    }
}

impl WorkerSession {
    /// Maps the worker's clock again, and notes whether it kept its pace.
    fn read_clock(&mut self) {
        let (start, mut client, who) = (self.start.clone(), self.live.client.clone(), self.live.who.clone());
        if let Some(Ok(mapping)) = self.io.wait(async move { start.map(&mut client, &who).await }) {
            let wrong = self.pace.wrong(mapping, self.start.clock.now());
            self.clock_trouble = wrong.map(|pace| {
                format!("the worker's clock runs at {pace:.3} of the pace of this machine's: no time of it is believed")
            });
            self.live.mapping = mapping;
        }
    }

    /// Sends a request that takes its time, and stops it at the deadline or a cancel. A worker that neither answers nor
    /// stops is ended.
    fn ask<T: Send + 'static>(
        &mut self,
        what: &str,
        call_id: u64,
        by: Deadline,
        cancel: &CancelToken,
        request: impl Future<Output = Result<Response<T>, Status>> + Send + 'static,
    ) -> Asking<T> {
        if let Some(why) = &self.lost {
            return Asking::Lost(Failure::new(Degraded::Crashed, &format!("the session ended before: {why}")));
        }
        let pending = self.io.begin(cancel, reply(self.live.running.clone(), request));
        let (answer, waited) = match pending.wait(by, cancel) {
            Ok(answer) => (Some(answer), Waited::Done),
            Err(waited) => (self.stop(&pending, call_id), waited),
        };
        drop(pending);
        let trouble = match answer {
            Some(Ok(reply)) => return Asking::Answered(reply, waited),
            Some(Err(broken)) => broken.trouble(what),
            None => {
                let why = format!("it did not stop within {} of being asked to", Nanos::from(GRACE));
                let mut failure = stopped(waited, by)
                    .unwrap_or_else(|| Failure::new(Degraded::Error, "the thread that talks to workers is gone"));
                let then = if self.start.ours { "the worker was ended" } else { "the session was given up" };
                failure.message = format!("{}; {why}, so {then}", failure.message);
                self.lose(&why);
                return Asking::Lost(failure);
            }
        };
        self.lose(&trouble.what);
        Asking::Lost(trouble.into())
    }

    /// Asks the worker to stop what it does. `None`: it does not.
    fn stop<T: Send + 'static>(&self, pending: &Pending<Result<T, Broken>>, call_id: u64) -> Option<Result<T, Broken>> {
        let mut client = self.live.client.clone();
        let asked = self.io.begin(&CancelToken::default(), async move {
            drop(promptly(client.cancel(CancelRequest { call_id })).await);
        });
        let answer = pending.linger(GRACE);
        drop(asked);
        answer
    }

    fn lose(&mut self, why: &str) {
        self.lost = Some(why.to_owned());
        self.end();
    }

    /// Frees the model; a worker of ours is then asked to end.
    fn unload(&self) {
        let (mut client, running, ours) = (self.live.client.clone(), self.live.running.clone(), self.start.ours);
        self.io.wait(async move {
            drop(promptly(client.unload(UnloadRequest {})).await);
            if ours && promptly(client.shutdown(ShutdownRequest {})).await.is_ok() {
                let mut running = running.lock().await;
                drop(tokio::time::timeout(ENDS_WITHIN, running.ended()).await);
            }
        });
    }

    /// Ends the worker and what it started, whatever it does.
    fn end(&self) {
        let running = self.live.running.clone();
        self.io.wait(async move { running.lock().await.kill().await });
    }
}

impl Drop for WorkerSession {
    fn drop(&mut self) {
        self.end();
    }
}

/// Leaves what a call proved but when.
fn without_times(reply: &mut Reply) {
    reply.spans.clear();
    reply.step_ends.clear();
    reply.engine_durations.clear();
    reply.outside_engine = None;
}

/// What a request that was stopped is recorded as. `None`: nobody stopped it.
pub(super) fn stopped(waited: Waited, by: Deadline) -> Option<Failure> {
    match waited {
        Waited::Done => None,
        Waited::Cancelled => Some(Failure::new(Degraded::Incomplete, "cancelled")),
        Waited::TimedOut => {
            let limit = Nanos::from(by.0);
            Some(Failure::new(Degraded::Timeout, &format!("stopped at the deadline of {limit}")))
        }
    }
}

/// A procedure as the protocol names it.
#[must_use]
pub fn wire_procedure(procedure: Procedure) -> protocol::Procedure {
    match procedure {
        Procedure::Prefill => protocol::Procedure::Prefill,
        Procedure::PrefillDecode => protocol::Procedure::PrefillDecode,
        Procedure::Uncached => protocol::Procedure::Uncached,
    }
}

fn wire_shape(shape: CallShape) -> protocol::Shape {
    protocol::Shape {
        procedure: wire_procedure(shape.procedure).into(),
        batch: shape.batch,
        prompt_tokens: shape.prompt_tokens,
        steps: shape.steps,
    }
}

fn request(call: &Call, call_id: u64) -> CallRequest {
    CallRequest {
        call_id,
        procedure: wire_procedure(call.procedure).into(),
        prompts: call.prompts.iter().map(|ids| Prompt { ids: ids.clone() }).collect(),
        padded_to: call.padded_to,
        steps: call.steps,
        repeat: None,
        top_logprobs: 0,
    }
}
