//! What every engine must do, wherever it runs: one suite, one list of engines.

use std::path::Path;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use phasebench::backend::worker::settings;
use phasebench::backend::{
    Backend, BackendError, Call, CallShape, CancelToken, Deadline, Outcome, Probed, Reply, Session,
};
use phasebench::model::verify::Closeness;
use phasebench::model::{Form, ModelSource};
use phasebench::process::kill;
use phasebench::terms::model::{Family, Synthetic};
use phasebench::terms::{Degraded, Finish, Mode, Phase, Procedure};

use crate::worker::engines::{Case, ONNX, not_asked_for, onnx_in_process, onnx_of_other_versions, onnx_out_of_process};
use crate::worker::fixture::{is_alive, soon};

/// Long enough for a cold compiler on a busy machine.
const BY: Deadline = Deadline(Duration::from_secs(600));

/// A test for every engine of the list.
macro_rules! engines {
    ($($name:ident),+ $(,)?) => {
        mod engine {
            $(#[test]
            fn $name() {
                super::keep(stringify!($name), crate::worker::engines::$name());
            })+
        }
    };
}

engines!(
    simulated,
    simulated_at_an_address,
    onnx_in_process,
    onnx_out_of_process,
    torch_eager,
    torch_compile,
    torch_in_docker,
);

const LONG: [u32; 9] = [0, 41, 42, 43, 44, 45, 46, 47, 48];
const SHORT: [u32; 4] = [0, 71, 72, 73];
const STEPS: u32 = 6;

fn call(procedure: Procedure, prompts: &[&[u32]], padded_to: u32, steps: u32) -> Call {
    Call {
        procedure,
        scenario: "test".to_owned(),
        prompts: prompts.iter().map(|row| row.to_vec()).collect(),
        texts: None,
        padded_to,
        steps,
        index: 0,
        attempt: 0,
        seed: 1,
    }
}

/// Every procedure, on rows of different lengths.
fn calls() -> [Call; 3] {
    let rows: [&[u32]; 2] = [&LONG, &SHORT];
    [
        call(Procedure::Prefill, &rows, 9, 0),
        call(Procedure::PrefillDecode, &rows, 9, STEPS),
        call(Procedure::Uncached, &rows, 9, STEPS),
    ]
}

/// Takes seconds.
fn endless() -> Call {
    call(Procedure::PrefillDecode, &[&LONG], 9, 1000)
}

fn tiny() -> ModelSource {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/same-weights/tiny-llama");
    ModelSource { name: "tiny-llama".to_owned(), form: Form::Folder(folder) }
}

/// A model whose calls take long enough to be stopped in flight.
fn slow() -> ModelSource {
    ModelSource { name: "slow".to_owned(), form: Form::Synthetic(Synthetic::new(Family::Gpt2, 6, 256, 4)) }
}

/// What the weights say, by the engine in this process.
struct Reference {
    /// Tokens of each call.
    tokens: [Vec<Vec<u32>>; 3],
    /// What the second call chose among.
    probed: Probed,
}

fn reference() -> &'static Reference {
    static REFERENCE: OnceLock<Reference> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let mut case = onnx_in_process().unwrap();
        let mut session = load(case.backend.as_mut(), &tiny(), &calls());
        let tokens = calls().map(|call| session.call(&call, BY, &CancelToken::default()).reply.unwrap().tokens);
        // The whole vocabulary: another engine may rank equals otherwise.
        let probed = session.probe(&calls()[1], u32::MAX, BY).unwrap().unwrap();
        Reference { tokens, probed }
    })
}

fn load(backend: &mut dyn Backend, model: &ModelSource, calls: &[Call]) -> Box<dyn Session> {
    let prepared = backend.prepare(model).unwrap();
    let shapes: Vec<CallShape> = calls.iter().map(Call::shape).collect();
    let mut session = backend.load(&prepared, &shapes, BY, &CancelToken::default()).unwrap();
    for shape in shapes {
        session.compile(shape, BY, &CancelToken::default()).unwrap();
    }
    session
}

fn good(session: &mut dyn Session, call: &Call) -> Reply {
    let outcome = session.call(call, BY, &CancelToken::default());
    assert_eq!((outcome.failure, outcome.session_usable), (None, true), "{:?}", call.procedure);
    outcome.reply.unwrap()
}

/// The whole contract.
fn keep(name: &str, case: Result<Case, String>) {
    let mut case = match case {
        Ok(case) => case,
        Err(why) => return not_asked_for(&format!("the contract of {name}"), &why),
    };
    describes_itself(&mut case);
    refuses_an_unknown_model(&mut case);
    let made = if case.uncached { 3 } else { 2 };
    let mut session = load(case.backend.as_mut(), &tiny(), &calls()[..made]);
    accounts_for_its_calls(&case, session.as_mut());
    if case.real {
        computes_the_log_probabilities(session.as_mut());
        refuses_unknown_ids(session.as_mut());
    }
    is_gone_when_closed(&mut case, session);
    stops_when_told(&mut case);
    survives_its_death(&mut case);
    says_when_memory_runs_out(name, &mut case);
}

fn describes_itself(case: &mut Case) {
    let description = case.backend.describe().unwrap();
    assert!(!description.engine.is_empty() && description.version.is_some(), "{description:?}");
    assert_eq!(description.procedures, Procedure::ALL);
    for mode in [Mode::Prefill, Mode::KvDecode, Mode::GenerateUncached] {
        assert!(!description.boundary[&mode].is_empty(), "{mode}");
    }
    let again = case.backend.describe().unwrap();
    assert_eq!(description, again, "what is in the manifest does not change by itself");
}

fn refuses_an_unknown_model(case: &mut Case) {
    let form = Form::Folder("/nonexistent/model".into());
    let unknown = case.backend.prepare(&ModelSource { name: "unknown".to_owned(), form });
    let Err(BackendError::Prepare { model, why, .. }) = unknown else { panic!("prepared") };
    assert!(model == "unknown" && why.contains("/nonexistent/model"), "{why}");
}

fn accounts_for_its_calls(case: &Case, session: &mut dyn Session) {
    let report = session.loaded();
    assert!(!report.parts.is_empty() && !report.attribution.requested.is_empty(), "{report:?}");
    let made = calls()
        .into_iter()
        .zip(&reference().tokens)
        .filter(|(call, _)| case.uncached || call.procedure != Procedure::Uncached);
    for (call, expected) in made {
        let begin = case.surroundings.clock.now();
        let reply = good(session, &call);
        let end = case.surroundings.clock.now();
        let phases: Vec<Phase> = reply.spans.iter().map(|span| span.phase).collect();
        let steps = call.steps;
        let (expected_phases, made) = match call.procedure {
            Procedure::Prefill => (&[Phase::Prefill][..], 1),
            Procedure::PrefillDecode => (&[Phase::Prefill, Phase::KvDecode][..], steps + 1),
            Procedure::Uncached => (&[Phase::GenerateUncached][..], steps),
        };
        assert_eq!((phases.as_slice(), reply.steps_timed), (expected_phases, steps));
        let mut last = begin;
        for span in &reply.spans {
            assert!(last <= span.begin + span.uncertainty && span.begin < span.end, "{:?}", reply.spans);
            last = span.end;
        }
        assert!(last <= end + reply.spans[0].uncertainty);
        assert!(reply.step_ends.is_empty() || reply.step_ends.len() == steps as usize, "{:?}", reply.step_ends);
        assert_eq!(reply.new_tokens, [made, made]);
        assert_eq!(reply.prompt_tokens, Some(vec![9, 4]));
        assert_eq!(reply.finish, Some(Finish::Length));
        assert!(reply.tokens.iter().all(|row| row.len() == made as usize) && reply.tokens.len() == 2);
        assert!(reply.attribution.actual.is_some(), "{:?}", reply.attribution);
        if case.real {
            assert_eq!(&reply.tokens, expected, "{}", call.procedure);
        }
    }
}

/// Not only the tokens: of the prefill and of every decode step, in both rows.
fn computes_the_log_probabilities(session: &mut dyn Session) {
    const TOP: usize = 8;
    let probed = session.probe(&calls()[1], 8, BY).unwrap().unwrap();
    let expected = &reference().probed;
    assert_eq!((probed.len(), probed[0].len(), probed[1].len()), (2, STEPS as usize + 1, STEPS as usize + 1));
    for (row, (found, expected)) in probed.iter().zip(expected).enumerate() {
        for (step, (found, expected)) in found.iter().zip(expected).enumerate() {
            let of = |id: u32| expected.iter().find(|(other, _)| *other == id).map(|&(_, logprob)| logprob);
            let close = Closeness::of(found, of).unwrap();
            assert_eq!(close.values, TOP, "row {row}, step {step}: {found:?}");
            assert!(close.largest_difference <= 1e-4, "row {row}, step {step}: {found:?}, not {:?}", &expected[..TOP]);
        }
    }
    // A probe leaves no trace.
    assert_eq!(good(session, &calls()[1]).tokens, reference().tokens[1]);
}

fn refuses_unknown_ids(session: &mut dyn Session) {
    let call = call(Procedure::Prefill, &[&[0, 4_000_000_000]], 2, 0);
    let outcome = session.call(&call, BY, &CancelToken::default());
    let failure = outcome.failure.unwrap();
    assert_eq!(failure.kind, Degraded::Error);
    assert!(failure.message.contains("4000000000"), "{failure}");
    assert!(outcome.session_usable);
    good(session, &calls()[0]);
}

/// Twice: what was closed can be opened again, and closed again.
fn is_gone_when_closed(case: &mut Case, session: Box<dyn Session>) {
    let close = |session: Box<dyn Session>| {
        let pids = session.engine_pids();
        session.close().unwrap();
        // A worker at an address is not ours to end; here it is this test itself.
        if case.processes {
            assert!(!pids.is_empty() && pids.into_iter().all(|pid| !is_alive(pid)));
        }
    };
    close(session);
    close(load(case.backend.as_mut(), &tiny(), &[]));
}

/// At the deadline, and on a cancel; both leave the session as good as before.
fn stops_when_told(case: &mut Case) {
    let short = call(Procedure::PrefillDecode, &[&LONG], 9, 2);
    let mut session = load(case.backend.as_mut(), &slow(), &[endless(), short.clone()]);
    let first = good(session.as_mut(), &short).tokens;
    // That it ended before its end is told by its steps: how soon after it was told to, is the machine's affair too.
    let stopped = |outcome: Outcome, kind: Degraded| {
        let failure = outcome.failure.unwrap();
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(outcome.session_usable, "{failure}");
        assert!(outcome.reply.is_none_or(|reply| reply.steps_timed < endless().steps), "{failure}");
    };
    let by = Deadline(Duration::from_millis(100));
    stopped(session.call(&endless(), by, &CancelToken::default()), Degraded::Timeout);
    assert_eq!(good(session.as_mut(), &short).tokens, first);

    let cancel = CancelToken::default();
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            // Nobody cancels this one: it ends after 100 ms, while the call is in flight.
            CancelToken::default().wait(by, || false);
            cancel.cancel();
        });
        session.call(&endless(), BY, &cancel)
    });
    stopped(outcome, Degraded::Incomplete);
    assert_eq!(good(session.as_mut(), &short).tokens, first);
    session.close().unwrap();

    let cancelled = CancelToken::default();
    cancelled.cancel();
    let prepared = case.backend.prepare(&slow()).unwrap();
    let loaded = case.backend.load(&prepared, &[], BY, &cancelled);
    assert_eq!(loaded.err().map(|failure| failure.kind), Some(Degraded::Incomplete), "a load can be stopped");
}

fn survives_its_death(case: &mut Case) {
    if !case.processes {
        return;
    }
    let mut session = load(case.backend.as_mut(), &tiny(), &[]);
    let pids = session.engine_pids();
    pids.iter().copied().for_each(kill);
    for _ in 0..2 {
        let outcome = session.call(&calls()[0], BY, &CancelToken::default());
        assert_eq!(outcome.failure.unwrap().kind, Degraded::Crashed);
        assert!(!outcome.session_usable);
    }
    // The kernel takes its time over a large process, and its keeper was killed too.
    soon("its processes end", || !pids.iter().any(|&pid| is_alive(pid)));
    session.close().unwrap();
    let mut session = load(case.backend.as_mut(), &tiny(), &calls()[..1]);
    good(session.as_mut(), &calls()[0]);
}

fn says_when_memory_runs_out(name: &str, case: &mut Case) {
    let starved = match &mut case.starved {
        Ok(starved) => starved,
        Err(why) => return crate::not_run::not_run(&format!("{name} without memory"), why),
    };
    let rows = if case.real { 4000 } else { 1 };
    let row: Vec<u32> = (0..600).collect();
    let large = call(Procedure::Prefill, &vec![row.as_slice(); rows], 600, 0);
    for _ in 0..2 {
        let mut session = load(starved.as_mut(), &slow(), &[]);
        let outcome = session.call(&large, BY, &CancelToken::default());
        let failure = outcome.failure.unwrap();
        assert_eq!((failure.kind, outcome.session_usable), (Degraded::Oom, false), "{failure}");
        session.close().unwrap();
    }
}

/// Whatever version and build: of each what is not there is a capability that is missing, and the rest is the contract.
#[test]
fn every_other_onnx_runtime_keeps_the_contract() {
    match onnx_of_other_versions() {
        Ok(cases) => cases.into_iter().for_each(|(name, case)| keep(&format!("onnx {name}"), Ok(case))),
        Err(why) => not_asked_for("the contract of other versions of ONNX Runtime", &why),
    }
}

/// The runtime aborts where it finds itself broken: in a process of its own that costs the call.
#[test]
fn an_abort_of_onnx_out_of_process_costs_one_call() {
    let mut case = onnx_out_of_process().unwrap();
    let mut session = load(case.backend.as_mut(), &tiny(), &[]);
    let is_worker = |pid: &u32| {
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.contains("\0worker\0onnx\0") && !command.contains("\0supervise\0")
    };
    let workers: Vec<u32> = session.engine_pids().into_iter().filter(is_worker).collect();
    let [worker] = workers[..] else { panic!("{workers:?}") };
    // SAFETY: touches no memory; the process is ours, and its parent has not collected it.
    assert_eq!(unsafe { libc::kill(worker.try_into().unwrap(), libc::SIGABRT) }, 0);
    let outcome = session.call(&calls()[0], BY, &CancelToken::default());
    let failure = outcome.failure.unwrap();
    assert_eq!((failure.kind, outcome.session_usable), (Degraded::Crashed, false), "{failure}");
    assert!(failure.message.contains("signal 6"), "{failure}");
    session.close().unwrap();
    good(load(case.backend.as_mut(), &tiny(), &[]).as_mut(), &calls()[0]);
}

/// What a scenario asks of our own worker is what the engine in this process is set to.
#[test]
fn both_ways_to_run_onnx_describe_the_same_engine() {
    let inside = onnx_in_process().unwrap().backend.describe().unwrap();
    let outside = onnx_out_of_process().unwrap().backend.describe().unwrap();
    assert_eq!(settings::onnx(&settings::of_onnx(&ONNX)).unwrap(), ONNX);
    assert_eq!((&inside.engine, &inside.version), (&outside.engine, &outside.version));
    assert_eq!(inside.boundary, outside.boundary);
    for (key, value) in &inside.facts {
        assert_eq!(outside.facts.get(key), Some(value), "{key}");
    }
    let more: Vec<&String> = outside.facts.keys().filter(|key| !inside.facts.contains_key(*key)).collect();
    assert_eq!(more, ["worker", "worker.clock", "worker.launch", "worker.protocol"]);
}
