//! Scripted truth: an engine whose every time is known, so that the whole program can be tested against it.
//!
//! Nothing about a call depends on the calls of another process, so that a resumed run meets the same faults.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::SeedableRng;
use rand::distr::{Distribution, Uniform};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::backend::{
    Backend, BackendError, Call, CallShape, CancelToken, Deadline, Description, Failure, LoadReport, Memory, Outcome,
    Prepared, Reply, Session, Span, SpanClock, Surroundings, cancel::Waited,
};
use crate::hash::sha256_hex;
use crate::model::{self, ModelSource};
use crate::scenario::{Fault, FaultKind, Pace, SimulatedSettings};
use crate::terms::model::Architecture;
use crate::terms::{Attribution, Degraded, Dtype, Finish, Mode, Phase, Procedure, SIMULATED};
use crate::units::{Bytes, Nanos, total};

/// The scripted engine.
pub struct SimulatedBackend {
    name: String,
    script: SimulatedSettings,
    surroundings: Surroundings,
    /// Loads so far, by model.
    loads: BTreeMap<String, u32>,
}

impl SimulatedBackend {
    /// An engine that follows `script`.
    #[must_use]
    pub fn new(name: &str, script: SimulatedSettings, surroundings: Surroundings) -> Self {
        Self { name: name.to_owned(), script, surroundings, loads: BTreeMap::new() }
    }
}

impl Backend for SimulatedBackend {
    fn describe(&mut self) -> Result<Description, BackendError> {
        let boundary = "scripted; no engine ran and no number of this backend is a measurement";
        let modes = [Mode::Prefill, Mode::KvDecode, Mode::GenerateUncached];
        let pace = match self.script.pace {
            Pace::Virtual => "virtual",
            Pace::Real => "real",
        };
        Ok(Description {
            engine: SIMULATED.to_owned(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            facts: BTreeMap::from([("pace".to_owned(), pace.to_owned())]),
            library: None,
            server: None,
            max_resident: self.script.max_resident,
            boundary: modes.into_iter().map(|mode| (mode, boundary.to_owned())).collect(),
            procedures: Procedure::ALL.to_vec(),
            token_times: true,
            virtual_clock: self.script.pace == Pace::Virtual,
        })
    }

    fn prepare(&mut self, model: &ModelSource) -> Result<Prepared, BackendError> {
        let architecture = model::architecture(&model.form).map_err(|e| BackendError::Prepare {
            model: model.name.clone(),
            backend: self.name.clone(),
            why: e.to_string(),
        })?;
        let params = architecture.parameters();
        Ok(Prepared {
            model: model.name.clone(),
            weights_id: format!("simulated-{}", sha256_hex(format!("{architecture:?}").as_bytes())),
            dtype: Dtype::F32,
            params: Some(params),
            bytes: Dtype::F32.bytes().map(|bytes| Bytes(params * bytes)),
            path: None,
            shape: None,
            quantisation: None,
            inner: Box::new(architecture),
        })
    }

    fn load(
        &mut self,
        model: &Prepared,
        _shapes: &[CallShape],
        by: Deadline,
        cancel: &CancelToken,
    ) -> Result<Box<dyn Session>, Failure> {
        let Some(architecture) = model.inner.downcast_ref::<Architecture>() else {
            return Err(Failure::new(Degraded::Error, "prepared by another backend"));
        };
        let number = self.loads.entry(model.model.clone()).or_default();
        *number += 1;
        let mut faults = self.script.faults.iter().filter(|fault| fault.kind == FaultKind::Load);
        let scripted = faults.any(|fault| hits(fault, &model.model, *number));
        let millions = millions(architecture);
        let time = self.script.load.at(millions);
        pass(&self.script, &self.surroundings, time.min(by.0), cancel)?;
        if time > by.0 {
            return Err(Failure::new(Degraded::Timeout, "the load did not end in time"));
        }
        if scripted {
            return Err(Failure::new(Degraded::Error, "scripted load failure"));
        }
        let attribution = Attribution {
            requested: SIMULATED.to_owned(),
            actual: Some(SIMULATED.to_owned()),
            evidence: BTreeMap::from([("script".to_owned(), "scenario file".to_owned())]).into(),
        };
        Ok(Box::new(SimulatedSession {
            script: self.script.clone(),
            surroundings: self.surroundings.clone(),
            model: model.model.clone(),
            architecture: architecture.clone(),
            millions,
            calls: 0,
            shapes: BTreeSet::new(),
            noise: BTreeMap::new(),
            report: LoadReport { parts: vec![("load".to_owned(), time.into())], attribution, ..LoadReport::default() },
        }))
    }
}

/// A time so many times over; the longest there is where it would be longer.
fn stretched(time: Duration, times: f64) -> Duration {
    Duration::try_from_secs_f64(times * time.as_secs_f64()).unwrap_or(Duration::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "2^53 parameters are beyond any model")]
fn millions(architecture: &Architecture) -> f64 {
    architecture.parameters() as f64 / 1e6
}

/// Lets scripted time pass, on the virtual clock or really.
fn pass(
    script: &SimulatedSettings,
    surroundings: &Surroundings,
    time: Duration,
    cancel: &CancelToken,
) -> Result<(), Failure> {
    let cancelled = match script.pace {
        Pace::Virtual => {
            surroundings.clock.pass(time);
            cancel.is_cancelled()
        }
        Pace::Real => cancel.wait(Deadline(time), || false) == Waited::Cancelled,
    };
    if cancelled { Err(Failure::new(Degraded::Incomplete, "cancelled")) } else { Ok(()) }
}

/// Whether a fault is for a model, and for the call or load of this number, counted from 1.
fn hits(fault: &Fault, model: &str, number: u32) -> bool {
    fault.model.as_ref().is_none_or(|m| m == model) && number.is_multiple_of(fault.every.max(1))
}

/// Share of all processors' time that other programs use where they are scripted to.
const SCRIPTED_FOREIGN_CPU: f64 = 0.5;

/// What makes a shape cold: procedure, rows, prompt length.
type SeenShape = (Procedure, usize, u32);

struct SimulatedSession {
    script: SimulatedSettings,
    surroundings: Surroundings,
    model: String,
    architecture: Architecture,
    millions: f64,
    calls: u32,
    shapes: BTreeSet<SeenShape>,
    /// Last standardised deviation of each phase, for the autocorrelation.
    noise: BTreeMap<Phase, f64>,
    report: LoadReport,
}

impl Session for SimulatedSession {
    fn loaded(&self) -> &LoadReport {
        &self.report
    }

    fn call(&mut self, call: &Call, by: Deadline, cancel: &CancelToken) -> Outcome {
        let mut random = ChaCha8Rng::seed_from_u64(call.seed);
        let disturbed = self.is_disturbed(call);
        let slowdown = self.script.disturbances.filter(|_| disturbed).map_or(1.0, |scripted| 1.0 + scripted.slowdown);
        let rested = self.rested_factor(call) * slowdown;
        let fault = self.script.faults.iter().find(|fault| self.strikes(fault, call)).map(|fault| fault.kind);
        match fault {
            Some(FaultKind::Error) => return lost(Degraded::Error, "scripted error", true),
            Some(FaultKind::Oom) => return lost(Degraded::Oom, "scripted out of memory", false),
            Some(FaultKind::Crashed) => return lost(Degraded::Crashed, "scripted crash", false),
            Some(FaultKind::Timeout) => {
                let waited = pass(&self.script, &self.surroundings, by.0, cancel);
                let failure = waited.err().unwrap_or_else(|| Failure::new(Degraded::Timeout, "scripted hang"));
                return Outcome { reply: None, failure: Some(failure), session_usable: true };
            }
            Some(FaultKind::EarlyStop | FaultKind::Load) | None => {}
        }
        let steps = self.steps_made(call, fault == Some(FaultKind::EarlyStop), &mut random);
        let mut outcome = self.reply(call, steps, rested, &mut random, by, cancel);
        if let Some(reply) = &mut outcome.reply {
            reply.scripted_foreign_cpu =
                self.script.disturbances.map(|_| if disturbed { SCRIPTED_FOREIGN_CPU } else { 0.0 });
        }
        outcome
    }

    fn engine_pids(&self) -> Vec<u32> {
        Vec::new()
    }

    fn close(self: Box<Self>) -> Result<(), BackendError> {
        Ok(())
    }
}

fn lost(kind: Degraded, message: &str, session_usable: bool) -> Outcome {
    Outcome { reply: None, failure: Some(Failure::new(kind, message)), session_usable }
}

impl SimulatedSession {
    /// Factor on every phase for how fresh the session and the shape are, and for drift.
    fn rested_factor(&mut self, call: &Call) -> f64 {
        let shape = (call.procedure, call.prompts.len(), call.padded_to);
        let new_shape = self.shapes.insert(shape);
        let rested = match (self.calls, new_shape) {
            (0, _) => self.script.cold_factor,
            (_, true) => self.script.cold_shape_factor,
            (_, false) => 1.0,
        };
        let drift = 1.0 + self.script.drift_per_call * f64::from(self.calls);
        self.calls += 1;
        rested * drift
    }

    /// Drawn apart from everything else, so that the same calls take the same time with it and without.
    fn is_disturbed(&self, call: &Call) -> bool {
        let Some(scripted) = self.script.disturbances else { return false };
        let mut random = ChaCha8Rng::seed_from_u64(!call.seed);
        Uniform::new(0.0, 1.0).is_ok_and(|unit| unit.sample(&mut random) < scripted.rate)
    }

    fn strikes(&self, fault: &Fault, call: &Call) -> bool {
        let scenario = fault.scenario.as_ref().is_none_or(|s| *s == call.scenario);
        scenario && fault.kind != FaultKind::Load && hits(fault, &self.model, call.index + 1)
    }

    fn steps_made(&self, call: &Call, scripted: bool, random: &mut ChaCha8Rng) -> u32 {
        let unit = Uniform::new(0.0, 1.0).ok();
        let mut draw = || unit.map_or(1.0, |u| u.sample(random));
        let (stops, place) = (draw() < self.script.early_stop_rate, draw());
        if scripted {
            call.steps / 2
        } else if stops {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below steps, a u32")]
            let made = (place * f64::from(call.steps)) as u32;
            made
        } else {
            call.steps
        }
    }

    /// Next factor of a phase's noise: log-normal with median 1, first-order autoregressive within the session.
    fn noise(&mut self, phase: Phase, random: &mut ChaCha8Rng) -> f64 {
        let fresh: f64 = StandardNormal.sample(random);
        let rho = self.script.autocorrelation;
        let deviation = match self.noise.get(&phase) {
            None => fresh,
            Some(last) => rho * last + (1.0 - rho * rho).sqrt() * fresh,
        };
        self.noise.insert(phase, deviation);
        (self.script.noise * deviation).exp()
    }

    /// Scripted time of a phase before noise.
    fn truth(&self, phase: Phase, call: &Call, steps: u32) -> Duration {
        let rows = u32::try_from(call.prompts.len()).unwrap_or(u32::MAX);
        let per_token = self.script.prefill_per_token.at(self.millions).saturating_mul(rows);
        match phase {
            Phase::Prefill => per_token.saturating_mul(call.padded_to),
            Phase::KvDecode => self.script.decode_per_step.at(self.millions).saturating_mul(steps),
            // One full pass over a sequence that grows by a token a step.
            Phase::GenerateUncached => {
                per_token.saturating_mul(total((0..steps).map(|step| call.padded_to.saturating_add(step))))
            }
        }
    }

    fn reply(
        &mut self,
        call: &Call,
        steps: u32,
        rested: f64,
        random: &mut ChaCha8Rng,
        by: Deadline,
        cancel: &CancelToken,
    ) -> Outcome {
        let phases: &[Phase] = match call.procedure {
            Procedure::Prefill => &[Phase::Prefill],
            Procedure::PrefillDecode => &[Phase::Prefill, Phase::KvDecode],
            Procedure::Uncached => &[Phase::GenerateUncached],
        };
        let started = self.surroundings.clock.now();
        let mut reply = Reply { attribution: self.report.attribution.clone(), ..Reply::default() };
        for &phase in phases {
            let time = stretched(self.truth(phase, call, steps), rested * self.noise(phase, random));
            let begin = self.surroundings.clock.now();
            let left = by.0.saturating_sub(begin.since(started).duration());
            let passed = pass(&self.script, &self.surroundings, time.min(left), cancel);
            let failure = match passed {
                Err(failure) => Some(failure),
                Ok(()) if time > left => Some(Failure::new(Degraded::Timeout, "the call did not end in time")),
                Ok(()) => None,
            };
            if failure.is_some() {
                reply.finish = Some(Finish::Interrupted);
                return Outcome { reply: Some(reply), failure, session_usable: true };
            }
            reply.spans.push(Span {
                phase,
                begin,
                end: self.surroundings.clock.now(),
                clock: SpanClock::Exact,
                uncertainty: Nanos(0),
                mean_power_w: self.script.power_w,
                device: None,
            });
        }
        self.complete(call, steps, &mut reply);
        Outcome { reply: Some(reply), failure: None, session_usable: true }
    }

    /// Fills in what does not take time: counts, tokens, memory.
    fn complete(&self, call: &Call, steps: u32, reply: &mut Reply) {
        let decodes = call.procedure != Procedure::Prefill;
        let made = if call.procedure == Procedure::Uncached { steps } else { steps + 1 };
        let vocab = u32::try_from(self.architecture.vocab).unwrap_or(u32::MAX);
        let token = Uniform::new(2, vocab.max(3)).ok();
        reply.steps_timed = if decodes { steps } else { 0 };
        reply.new_tokens = vec![made; call.prompts.len()];
        reply.tokens = call
            .prompts
            .iter()
            .map(|prompt| {
                // The same prompt gives the same tokens, as greedy decoding does.
                let seed = prompt.iter().fold(self.surroundings.seed, |hash, &id| hash.rotate_left(5) ^ u64::from(id));
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                (0..made).map(|_| token.map_or(2, |t| t.sample(&mut random))).collect()
            })
            .collect();
        reply.prompt_tokens = Some(call.prompts.iter().map(|p| u32::try_from(p.len()).unwrap_or(u32::MAX)).collect());
        reply.finish = Some(if steps < call.steps { Finish::Stop } else { Finish::Length });
        let length = u64::from(call.padded_to + if call.procedure == Procedure::PrefillDecode { steps } else { 0 });
        let kv =
            self.architecture.kv_bytes_per_token(crate::terms::model::Dtype::F32) * length * call.prompts.len() as u64;
        reply.memory = Memory { kv: (call.procedure != Procedure::Uncached).then_some(Bytes(kv)), ..Memory::default() };
        let decode = reply.spans.iter().find(|s| s.phase != Phase::Prefill);
        if let (Some(span), true) = (decode, steps > 0) {
            let step = span.end.since(span.begin).0 / u64::from(steps);
            reply.step_ends = (1..=u64::from(steps)).map(|i| span.begin + Nanos(step * i)).collect();
        }
    }
}
