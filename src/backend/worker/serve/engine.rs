//! The thread that does an engine's work, one request after the other.

use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use super::encode;
use crate::backend::worker::planned;
use crate::backend::worker::protocol as wire;
use crate::backend::worker::protocol::error::Kind;
use crate::backend::worker::words::phases;
use crate::backend::{Backend, BackendError, Call, CallShape, CancelToken, Deadline, Prepared, Session};
use crate::clock::SharedClock;
use crate::model::{Form, ModelSource};
use crate::terms::Procedure;
use crate::units::Nanos;

/// Makes an engine set as asked, or says what it does not know.
pub type Maker = Box<dyn Fn(&wire::Settings) -> Result<Box<dyn Backend>, String> + Send>;

/// The client keeps the time and cancels.
const NO_DEADLINE: Deadline = Deadline(Duration::from_secs(10 * 365 * 24 * 3600));

/// Most repetitions of a looped call: its reply stays below the longest message.
const MOST_REPETITIONS: usize = 100_000;

/// A request came that only makes sense after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfOrder(pub &'static str);

/// What the thread is given to do.
pub type Job = Box<dyn FnOnce(&mut ServedEngine) + Send>;

/// A prepared model, with the shapes of the calls that are planned for it.
struct ToLoad {
    backend: Box<dyn Backend>,
    prepared: Prepared,
    /// Empty: not told.
    planned: Vec<CallShape>,
}

/// An engine, and how far it is.
pub struct ServedEngine {
    make: Maker,
    clock: SharedClock,
    prepared: Option<ToLoad>,
    session: Option<Box<dyn Session>>,
}

impl ServedEngine {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives none.
    pub fn start(make: Maker, clock: SharedClock) -> std::io::Result<Sender<Job>> {
        let (jobs, todo) = channel::<Job>();
        thread::Builder::new().name("engine".to_owned()).spawn(move || {
            let mut engine = Self { make, clock, prepared: None, session: None };
            for job in todo {
                job(&mut engine);
            }
        })?;
        Ok(jobs)
    }

    /// An engine set as asked, and the calls that are planned for it.
    fn made(&self, settings: &wire::Settings) -> Result<(Box<dyn Backend>, Vec<CallShape>), String> {
        let mut settings = settings.clone();
        let planned = planned::take(&mut settings)?;
        Ok(((self.make)(&settings)?, planned))
    }

    /// What the engine is when set so.
    pub fn describe(&self, settings: &wire::Settings) -> wire::DescribeReply {
        let mut backend = match self.made(settings) {
            Ok((backend, _)) => backend,
            Err(why) => return encode::undescribed(Kind::Invalid, &why, ""),
        };
        match backend.describe() {
            Ok(description) => encode::description(description),
            Err(BackendError::Unavailable { what, fix, .. }) => encode::undescribed(Kind::Unsupported, &what, &fix),
            Err(error) => encode::undescribed(Kind::Internal, &error.to_string(), ""),
        }
    }

    /// Makes what will be loaded.
    pub fn prepare(&mut self, request: &wire::PrepareRequest) -> Result<wire::PrepareReply, OutOfOrder> {
        if self.session.is_some() {
            return Err(OutOfOrder("a model is loaded; unload it before another is prepared"));
        }
        let refused =
            |kind, why: &str| wire::PrepareReply { error: Some(encode::error(kind, why)), ..Default::default() };
        let settings = request.settings.clone().unwrap_or_default();
        let (mut backend, planned) = match self.made(&settings) {
            Ok(made) => made,
            Err(why) => return Ok(refused(Kind::Invalid, &why)),
        };
        let path = PathBuf::from(&request.path);
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let prepared = match backend.prepare(&ModelSource { name, form: Form::Folder(path) }) {
            Ok(prepared) => prepared,
            Err(BackendError::Prepare { why, .. }) => return Ok(refused(Kind::Invalid, &why)),
            Err(error) => return Ok(refused(Kind::Internal, &error.to_string())),
        };
        if !request.weights_id.is_empty() && prepared.weights_id != request.weights_id {
            let why =
                format!("{} holds the weights {}, {} expected", request.path, prepared.weights_id, request.weights_id);
            return Ok(refused(Kind::Invalid, &why));
        }
        let reply =
            wire::PrepareReply { error: None, parameters: prepared.params, bytes: prepared.bytes.map(|bytes| bytes.0) };
        self.prepared = Some(ToLoad { backend, prepared, planned });
        Ok(reply)
    }

    /// Loads what was prepared.
    pub fn load(&mut self, request: wire::LoadRequest, cancel: &CancelToken) -> Result<wire::LoadReply, OutOfOrder> {
        if self.session.is_some() {
            return Err(OutOfOrder("a model is loaded already"));
        }
        let Some(ToLoad { backend, prepared, planned }) = &mut self.prepared else {
            return Err(OutOfOrder("no model is prepared"));
        };
        // Others tell only the length; the rest is as small as a shape can be.
        let longest =
            CallShape { procedure: Procedure::Prefill, batch: 1, prompt_tokens: request.longest_sequence, steps: 0 };
        let shapes: &[CallShape] = match (planned.as_slice(), request.longest_sequence) {
            ([], 0) => &[],
            ([], _) => std::slice::from_ref(&longest),
            (planned, _) => planned,
        };
        Ok(match backend.load(prepared, shapes, NO_DEADLINE, cancel) {
            Ok(session) => {
                let reply = encode::loaded(session.loaded());
                self.session = Some(session);
                reply
            }
            Err(failure) => wire::LoadReply { error: Some(encode::failure(&failure, true)), ..Default::default() },
        })
    }

    /// Compiles for a shape.
    pub fn compile(
        &mut self,
        request: wire::CompileRequest,
        cancel: &CancelToken,
    ) -> Result<wire::CompileReply, OutOfOrder> {
        let session = self.session.as_mut().ok_or(NOT_LOADED)?;
        let shape = request.shape.unwrap_or_default();
        let Some(procedure) = procedure(shape.procedure()) else {
            let error = Some(encode::error(Kind::Invalid, "the shape names no procedure"));
            return Ok(wire::CompileReply { error, phases: Vec::new() });
        };
        let shape = CallShape { procedure, batch: shape.batch, prompt_tokens: shape.prompt_tokens, steps: shape.steps };
        Ok(match session.compile(shape, NO_DEADLINE, cancel) {
            Ok(phases) => wire::CompileReply { error: None, phases: phases.iter().map(encode::evidence).collect() },
            Err(failed) => wire::CompileReply {
                error: Some(encode::failure(&failed.failure, true)),
                phases: failed.phases.iter().map(encode::evidence).collect(),
            },
        })
    }

    /// Makes a call, or the same call again and again.
    pub fn call(&mut self, request: wire::CallRequest, cancel: &CancelToken) -> Result<wire::CallReply, OutOfOrder> {
        let session = self.session.as_mut().ok_or(NOT_LOADED)?;
        let Some(procedure) = procedure(request.procedure()) else {
            let error = Some(encode::error(Kind::Invalid, "the call names no procedure"));
            return Ok(wire::CallReply { error, session_usable: true, ..Default::default() });
        };
        let call = Call {
            procedure,
            scenario: String::new(),
            prompts: request.prompts.iter().map(|prompt| prompt.ids.clone()).collect(),
            texts: None,
            padded_to: request.padded_to,
            steps: request.steps,
            index: 0,
            attempt: 0,
            seed: 0,
        };
        if request.top_logprobs > 0 {
            return Ok(probed(session.as_mut(), &call, &request, cancel));
        }
        let begin = self.clock.now();
        let mut reply = encode::outcome(session.call(&call, NO_DEADLINE, cancel));
        let Some(repeat) = request.repeat else { return Ok(reply) };
        let whole = |spans: usize| spans / phases(procedure).len() < MOST_REPETITIONS;
        while reply.error.is_none()
            && self.clock.now().since(begin) < Nanos(repeat.duration_ns)
            && whole(reply.spans.len())
        {
            cancel.wait(Deadline(Duration::from_nanos(repeat.gap_ns)), || false);
            let again = encode::outcome(session.call(&call, NO_DEADLINE, cancel));
            reply.spans.extend(again.spans);
            (reply.error, reply.session_usable, reply.memory) = (again.error, again.session_usable, again.memory);
        }
        Ok(reply)
    }

    /// Frees the model; it stays prepared.
    pub fn unload(&mut self) -> Result<wire::UnloadReply, OutOfOrder> {
        let session = self.session.take().ok_or(NOT_LOADED)?;
        let error = session.close().err().map(|error| encode::error(Kind::Internal, &error.to_string()));
        Ok(wire::UnloadReply { error })
    }
}

/// A call that also tells its most probable tokens.
fn probed(
    session: &mut dyn Session,
    call: &Call,
    request: &wire::CallRequest,
    cancel: &CancelToken,
) -> wire::CallReply {
    let refused = |error| wire::CallReply { error: Some(error), session_usable: true, ..Default::default() };
    if request.repeat.is_some() {
        return refused(encode::error(Kind::Invalid, "a looped call is not probed"));
    }
    let mut reply = encode::outcome(session.call(call, NO_DEADLINE, cancel));
    if reply.error.is_none() {
        match session.probe(call, request.top_logprobs, NO_DEADLINE) {
            None => return refused(encode::error(Kind::Unsupported, "this engine tells no log-probabilities")),
            Some(Err(failure)) => reply.error = Some(encode::failure(&failure, true)),
            Some(Ok(rows)) => reply.logprobs = rows.iter().map(|row| encode::logprobs(row)).collect(),
        }
    }
    reply
}

const NOT_LOADED: OutOfOrder = OutOfOrder("no model is loaded");

fn procedure(found: wire::Procedure) -> Option<Procedure> {
    match found {
        wire::Procedure::Unspecified => None,
        wire::Procedure::Prefill => Some(Procedure::Prefill),
        wire::Procedure::PrefillDecode => Some(Procedure::PrefillDecode),
        wire::Procedure::Uncached => Some(Procedure::Uncached),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::backend::worker::load::Wanted;
    use crate::backend::worker::settings::Workers;
    use crate::backend::{Description, Failure};
    use crate::clock::VirtualClock;
    use crate::scenario::{ConnectSettings, OnnxSettings};
    use crate::terms::Degraded;

    /// Notes what it is told to load for.
    struct Noting(Arc<Mutex<Vec<CallShape>>>);

    impl Backend for Noting {
        fn describe(&mut self) -> Result<Description, BackendError> {
            Err(BackendError::Unavailable { backend: String::new(), what: String::new(), fix: String::new() })
        }

        fn prepare(&mut self, model: &ModelSource) -> Result<Prepared, BackendError> {
            Ok(Prepared::bare(&model.name))
        }

        fn load(
            &mut self,
            _: &Prepared,
            shapes: &[CallShape],
            _: Deadline,
            _: &CancelToken,
        ) -> Result<Box<dyn Session>, Failure> {
            *self.0.lock().unwrap() = shapes.to_vec();
            Err(Failure::new(Degraded::Error, "noted"))
        }
    }

    /// What an engine behind the protocol is told to load for, by a client that wants this.
    fn told(wanted: Wanted) -> Vec<CallShape> {
        let noted = Arc::new(Mutex::new(Vec::new()));
        let noting = Arc::clone(&noted);
        let make: Maker = Box::new(move |settings| {
            assert!(!settings.options.contains_key(planned::OPTION), "no option of the engine's");
            Ok(Box::new(Noting(Arc::clone(&noting))))
        });
        let clock = Arc::new(VirtualClock::default());
        let mut engine = ServedEngine { make, clock, prepared: None, session: None };
        let settings = Some(wanted.settings);
        engine
            .prepare(&wire::PrepareRequest { settings, weights_id: wanted.weights_id, ..Default::default() })
            .unwrap();
        let request = wire::LoadRequest { longest_sequence: wanted.longest };
        engine.load(request, &CancelToken::default()).unwrap();
        noted.lock().unwrap().clone()
    }

    #[test]
    fn our_own_worker_is_told_all_planned_calls_and_others_the_longest() {
        let decode = CallShape { procedure: Procedure::PrefillDecode, batch: 4, prompt_tokens: 16, steps: 8 };
        let shapes = [decode, CallShape { procedure: Procedure::Uncached, batch: 1, ..decode }];
        let ours = Workers::onnx(&OnnxSettings::default());
        assert_eq!(told(Wanted::new(&ours, "w", &shapes)), shapes);
        let longest = CallShape { procedure: Procedure::Prefill, batch: 1, prompt_tokens: 24, steps: 0 };
        let theirs = Workers::of_others(&ConnectSettings::at("unix:/s"));
        assert_eq!(told(Wanted::new(&theirs, "w", &shapes)), [longest]);
        assert!(told(Wanted::new(&ours, "w", &[])).is_empty());
    }

    #[test]
    fn planned_calls_that_are_none_are_refused_by_name() {
        let options = [(planned::OPTION.to_owned(), "4 rows".to_owned())].into();
        let mut settings = wire::Settings { options, ..Default::default() };
        let refused = planned::take(&mut settings).unwrap_err();
        assert!(refused.starts_with("option planned_calls: "), "{refused}");
    }
}
