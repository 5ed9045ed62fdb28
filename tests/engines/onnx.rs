//! The ONNX Runtime backend on the real runtime: numbers against a reference, rows of a batch against single rows,
//! calls that are stopped, and what is said where something is missing.
//!
//! The runtime comes from `PHASEBENCH_ONNXRUNTIME` or from the user's cache; without one these tests fail.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ort::memory::AllocationDevice;
use phasebench::backend::onnx::api::TELLS_ASSIGNMENT;
use phasebench::backend::onnx::forward::LoadedGraph;
use phasebench::backend::onnx::session::OnnxSession;
use phasebench::backend::onnx::verify::verify;
use phasebench::backend::onnx::{OnnxBackend, graph, library, options, runtime};
use phasebench::backend::{Backend, Call, CancelToken, Deadline, Outcome, Session, Surroundings};
use phasebench::clock::RealClock;
use phasebench::model::onnx::{DATA_FILE, Weights};
use phasebench::model::{self, Folder, Form, ModelSource};
use phasebench::scenario::{ArgMax, Isolation, OnnxSettings, Optimisation, Provider, RuntimeSource};
use phasebench::terms::model::{Family, Synthetic};
use phasebench::terms::{Degraded, Dtype, Finish, Phase, Procedure};
use phasebench::units::Nanos;

const BY: Deadline = Deadline(Duration::from_secs(120));

const SPEC: OnnxSettings = OnnxSettings {
    source: RuntimeSource::Selected,
    provider: Provider::Cpu,
    provider_options: Vec::new(),
    device: 0,
    threads: Some(1),
    optimisation: Optimisation::All,
    dtype: Dtype::F32,
    arg_max: ArgMax::Outside,
    isolation: Isolation::None,
};

/// Exports of all tests, so that none is made twice; the runtime is looked for where the program looks.
fn surroundings() -> Surroundings {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("onnx-cache");
    let located = library::locate(&phasebench::cache::root());
    let located = located.unwrap_or_else(|e| panic!("{e}\n  these tests need it: run `phasebench setup onnxruntime`"));
    if std::env::var_os(library::VARIABLE).is_none() {
        library::select(&cache, &located.path).unwrap();
    }
    Surroundings::new(Arc::new(RealClock::default()), cache, 1)
}

fn fixture(family: Family) -> ModelSource {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/same-weights/tiny-{family}"));
    ModelSource { name: format!("tiny-{family}"), form: Form::Folder(folder) }
}

/// A model whose calls take long enough to be stopped in flight.
fn slow() -> ModelSource {
    ModelSource { name: "slow".to_owned(), form: Form::Synthetic(Synthetic::new(Family::Gpt2, 6, 256, 4)) }
}

fn load(source: &ModelSource, spec: OnnxSettings) -> OnnxSession {
    let mut backend = OnnxBackend::new("ort", spec, surroundings());
    backend.describe().unwrap();
    let prepared = backend.prepare(source).unwrap();
    backend.load_session(&prepared, BY, &CancelToken::default()).unwrap()
}

fn call(procedure: Procedure, prompts: &[&[u32]], padded_to: u32, steps: u32) -> Call {
    let prompts = prompts.iter().map(|row| row.to_vec()).collect();
    Call {
        procedure,
        scenario: "test".to_owned(),
        prompts,
        texts: None,
        padded_to,
        steps,
        index: 0,
        attempt: 0,
        seed: 0,
    }
}

fn run(session: &mut OnnxSession, call: &Call) -> Outcome {
    let outcome = session.call(call, BY, &CancelToken::default());
    assert_eq!(outcome.failure, None);
    assert!(outcome.session_usable);
    outcome
}

fn tokens(session: &mut OnnxSession, call: &Call) -> Vec<Vec<u32>> {
    run(session, call).reply.unwrap().tokens
}

const LONG: [u32; 9] = [0, 41, 42, 43, 44, 45, 46, 47, 48];
const SHORT: [u32; 4] = [0, 71, 72, 73];

fn check_log_probabilities(spec: &OnnxSettings) {
    for &family in Family::ALL {
        let source = fixture(family);
        let Form::Folder(folder) = &source.form else { unreachable!() };
        let reference = folder.join("reference.json");
        for (dtype, tolerance) in [(Dtype::F32, 1e-4), (Dtype::F16, 2e-2)] {
            let spec = OnnxSettings { dtype, ..spec.clone() };
            let verified = verify(&source, &reference, spec, surroundings()).unwrap();
            assert_eq!(verified.len(), 6);
            for row in verified {
                let found = row.agreement;
                assert_eq!(row.steps, 6, "{family} {dtype:?} {:?}", row.prompt);
                assert!(found.largest_difference <= tolerance, "{family} {dtype:?} {:?}: {found:?}", row.prompt);
                if dtype == Dtype::F32 {
                    assert!(found.same_greedy_tokens && found.same_order, "{family} {:?}: {found:?}", row.prompt);
                }
            }
        }
    }
}

/// Rows of equal prompts and padded rows against a row alone: logits and tokens.
fn check_rows(session: &mut OnnxSession, what: &str) {
    let fed = [5, 6, 7];
    let alone = session.teacher_forced(&[SHORT.to_vec()], 0, &[&fed]).unwrap().remove(0);
    let equal = session.teacher_forced(&vec![SHORT.to_vec(); 4], 0, &[&fed[..]; 4]).unwrap();
    let padded = session.teacher_forced(&[LONG.to_vec(), SHORT.to_vec()], 12, &[&fed, &fed]).unwrap();
    for row in equal.iter().chain([&padded[1]]) {
        assert_eq!(row.len(), 4);
        for (step, (logits, expected)) in row.iter().zip(&alone).enumerate() {
            let largest = logits.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(largest < 1e-4, "{what}, step {step}: {largest}");
        }
    }
    let one = tokens(session, &call(Procedure::PrefillDecode, &[&SHORT], 4, 6));
    let four = tokens(session, &call(Procedure::PrefillDecode, &[&SHORT[..]; 4], 4, 6));
    assert_eq!(four, vec![one[0].clone(); 4], "{what}");
    let mixed = tokens(session, &call(Procedure::PrefillDecode, &[&LONG, &SHORT], 12, 6));
    assert_eq!(mixed[1], one[0], "{what}");
}

fn check_without_cache(session: &mut OnnxSession, what: &str) {
    let cached = tokens(session, &call(Procedure::PrefillDecode, &[&LONG, &SHORT], 9, 7));
    let uncached = tokens(session, &call(Procedure::Uncached, &[&LONG, &SHORT], 9, 8));
    assert_eq!(cached, uncached, "{what}");
}

fn check_arg_max(spec: &OnnxSettings) {
    for &family in Family::ALL {
        for dtype in [Dtype::F32, Dtype::F16] {
            let spec = OnnxSettings { dtype, ..spec.clone() };
            let call = call(Procedure::PrefillDecode, &[&LONG, &SHORT], 9, 8);
            let outside = tokens(&mut load(&fixture(family), spec.clone()), &call);
            let inside = tokens(&mut load(&fixture(family), OnnxSettings { arg_max: ArgMax::Inside, ..spec }), &call);
            assert_eq!(outside, inside, "{family} {dtype:?}");
        }
    }
}

#[test]
fn log_probabilities_are_the_reference_s_in_every_step() {
    check_log_probabilities(&SPEC);
}

#[test]
fn a_row_does_not_depend_on_its_batch_or_padding() {
    for &family in Family::ALL {
        check_rows(&mut load(&fixture(family), SPEC), family.as_str());
    }
}

#[test]
fn without_a_cache_the_same_tokens_come_out() {
    for &family in Family::ALL {
        check_without_cache(&mut load(&fixture(family), SPEC), family.as_str());
    }
}

#[test]
fn the_arg_max_inside_the_graph_chooses_the_same_tokens() {
    check_arg_max(&SPEC);
}

/// The way a device's memory is used, on the memory that every machine has.
#[test]
fn bound_memory_gives_the_same_rows() {
    for &family in Family::ALL {
        let mut session = load(&fixture(family), SPEC);
        let expected = tokens(&mut session, &call(Procedure::PrefillDecode, &[&LONG, &SHORT], 9, 8));

        let runtime = runtime::start(library::locate(&surroundings().cache).unwrap()).unwrap();
        let graph = OnnxBackend::new("ort", SPEC, surroundings()).prepare(&fixture(family)).unwrap().path.unwrap();
        let bound = options::builder(&runtime.environment, &SPEC, runtime.library.api)
            .unwrap()
            .commit_from_file(graph)
            .unwrap();
        let signature = graph::signature(&bound).unwrap();
        session.graph = LoadedGraph::bound(bound, signature, AllocationDevice::CPU, 0).unwrap();
        let found = tokens(&mut session, &call(Procedure::PrefillDecode, &[&LONG, &SHORT], 9, 8));
        assert_eq!(found, expected, "{family}");
        check_rows(&mut session, family.as_str());
        check_without_cache(&mut session, family.as_str());
    }
}

/// How models of over 2 GB are exported, on small ones.
#[test]
fn weights_beside_the_graph_give_the_same_tokens() {
    let call = call(Procedure::PrefillDecode, &[&LONG, &SHORT], 9, 8);
    for &family in Family::ALL {
        let mut inside = load(&fixture(family), SPEC);
        let Form::Folder(folder) = fixture(family).form else { unreachable!() };
        let into = tempfile::tempdir().unwrap();
        let folder = Folder::open(&folder, &surroundings().cache).unwrap();
        model::onnx::write(&folder, Default::default(), Weights::Beside, into.path()).unwrap();
        assert!(into.path().join(DATA_FILE).metadata().unwrap().len() >= folder.bytes(), "{family}");

        let backend = OnnxBackend::new("ort", SPEC, surroundings());
        let graph = into.path().join(model::onnx::FILE);
        let mut beside = backend.open(&graph, inside.bounds, BY, &CancelToken::default()).unwrap();
        assert_eq!(tokens(&mut beside, &call), tokens(&mut inside, &call), "{family}");
    }
}

/// A model that repeats one token, or can only end, has no decode of a given length that a server would serve.
#[test]
fn a_random_model_generates_hundreds_of_tokens() {
    const STEPS: u32 = 300;
    for &family in Family::ALL {
        let source = ModelSource {
            name: format!("random-{family}"),
            form: Form::Synthetic(Synthetic { vocab: 5000, ..Synthetic::new(family, 3, 128, 4) }),
        };
        let folder = model::materialise(&source.form, &surroundings().cache).unwrap();
        let mut session = load(&source, SPEC);
        let made = tokens(&mut session, &call(Procedure::PrefillDecode, &[&LONG], 9, STEPS)).remove(0);
        let distinct: BTreeSet<_> = made.iter().collect();
        let same = made.chunk_by(|a, b| a == b).map(<[u32]>::len).max().unwrap();
        assert_eq!(made.len(), STEPS as usize + 1);
        assert!(distinct.len() >= 50, "{family}: {} distinct tokens", distinct.len());
        assert!(same < 8, "{family}: one token {same} times in a row");
        assert!(!made.iter().any(|id| folder.architecture().eos_ids.contains(id)), "{family}: it ended");
    }
}

#[test]
fn a_reply_accounts_for_its_time_tokens_and_memory() {
    let mut session = load(&fixture(Family::Llama), SPEC);
    let before = session.clock.now();
    let outcome = run(&mut session, &call(Procedure::PrefillDecode, &[&LONG, &SHORT], 9, 5));
    let after = session.clock.now();
    let reply = outcome.reply.unwrap();
    let phases: Vec<_> = reply.spans.iter().map(|span| span.phase).collect();
    assert_eq!(phases, [Phase::Prefill, Phase::KvDecode]);
    let (prefill, decode) = (reply.spans[0], reply.spans[1]);
    assert!(before <= prefill.begin && prefill.end <= decode.begin && decode.end <= after);
    assert_eq!((reply.steps_timed, reply.step_ends.len()), (5, 5));
    assert!(reply.step_ends.is_sorted() && reply.step_ends[0] > decode.begin);
    assert_eq!(reply.step_ends[4], decode.end);
    let outside = reply.outside_engine.unwrap();
    assert!(outside > Nanos(0) && outside < decode.end.since(decode.begin));
    assert_eq!(reply.prompt_tokens, Some(vec![9, 4]));
    assert_eq!(reply.tokens.iter().map(Vec::len).collect::<Vec<_>>(), [6, 6]);
    assert_eq!(reply.finish, Some(Finish::Length));
    assert!(reply.memory.host_rss.is_some() && reply.memory.host_peak >= reply.memory.host_rss);
    // What the process held before is no part of a call's peak.
    let before = vec![1_u8; 256 << 20];
    assert_eq!(before.iter().map(|&byte| u64::from(byte)).sum::<u64>(), 256 << 20);
    drop(before);
    let again = run(&mut session, &call(Procedure::PrefillDecode, &[&LONG, &SHORT], 9, 5)).reply.unwrap();
    assert!(again.memory.host_peak.unwrap().0 < reply.memory.host_peak.unwrap().0 + (200 << 20));

    // 2 × layers × rows × (9 prompt + 5 decoded) × heads × width × 4 bytes
    let signature = session.graph.signature();
    let width = u64::try_from(signature.heads * signature.head_dim).unwrap();
    assert_eq!(reply.memory.kv.unwrap().0, signature.slots as u64 * 2 * 14 * width * 4);

    let reply = run(&mut session, &call(Procedure::Uncached, &[&SHORT], 4, 3)).reply.unwrap();
    assert_eq!(reply.spans.iter().map(|span| span.phase).collect::<Vec<_>>(), [Phase::GenerateUncached]);
    assert_eq!((reply.steps_timed, reply.tokens[0].len(), reply.memory.kv), (3, 3, None));

    let reply = run(&mut session, &call(Procedure::Prefill, &[&SHORT], 4, 0)).reply.unwrap();
    assert_eq!((reply.spans.len(), reply.steps_timed, reply.tokens[0].len()), (1, 0, 1));
    assert_eq!(reply.outside_engine, None);
}

#[test]
fn every_row_proves_where_it_ran() {
    let mut session = load(&fixture(Family::Gpt2), SPEC);
    let reply = run(&mut session, &call(Procedure::Prefill, &[&SHORT], 4, 0)).reply.unwrap();
    let attribution = reply.attribution;
    assert_eq!(attribution.requested, "CPUExecutionProvider");
    assert_eq!(attribution.actual.as_deref(), Some("CPUExecutionProvider"));
    let nodes: u32 = attribution.evidence.shown["nodes.CPUExecutionProvider"].parse().unwrap();
    assert!(nodes > 20, "{nodes}");
    let api = runtime::start(library::locate(&surroundings().cache).unwrap()).unwrap().library.api;
    let record = api >= TELLS_ASSIGNMENT;
    let way = if record {
        "the runtime's record of where it assigned each node"
    } else {
        "the runtime's profile of one call that is not timed"
    };
    assert_eq!(attribution.evidence.shown["placement"], way);
    assert_eq!(session.loaded().proof.is_none(), record, "a proof that takes long is told apart from the load");
    assert_eq!(attribution.evidence.shown["kv_cache.memory"], "Cpu");
    assert_eq!(session.loaded().attribution.actual, attribution.actual);
}

#[test]
fn a_deadline_stops_the_call_and_the_session_goes_on() {
    let mut session = load(&slow(), SPEC);
    let prompt: Vec<u32> = (0..200).collect();
    let long = call(Procedure::PrefillDecode, &[&prompt], 200, 800);
    // A whole call takes seconds; where it does not, this asks for less time than it takes.
    let outcome = session.call(&long, Deadline(Duration::from_millis(300)), &CancelToken::default());
    assert_eq!(outcome.failure.unwrap().to_string(), "timeout: stopped at the deadline of 300 ms");
    assert!(outcome.session_usable);
    let reply = outcome.reply.unwrap();
    assert_eq!(reply.finish, Some(Finish::Interrupted));
    assert_eq!(reply.steps_timed as usize, reply.step_ends.len());
    assert!(reply.steps_timed < 800);
    run(&mut session, &call(Procedure::PrefillDecode, &[&SHORT], 4, 2));
}

#[test]
fn a_cancel_stops_the_call_and_the_session_goes_on() {
    let mut session = load(&slow(), SPEC);
    let prompt: Vec<u32> = (0..200).collect();
    let long = call(Procedure::Uncached, &[&prompt], 200, 800);
    let cancel = CancelToken::default();
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            // Nobody cancels this one: it ends after 200 ms, while the call is in flight.
            CancelToken::default().wait(Deadline(Duration::from_millis(200)), || false);
            cancel.cancel();
        });
        session.call(&long, BY, &cancel)
    });
    assert_eq!(outcome.failure.unwrap().to_string(), "incomplete: cancelled");
    assert!(outcome.session_usable);
    let reply = outcome.reply.unwrap();
    assert_eq!(reply.tokens[0].len(), reply.steps_timed as usize);
    assert!(reply.steps_timed < 800);
    run(&mut session, &call(Procedure::PrefillDecode, &[&SHORT], 4, 2));
}

#[test]
fn a_load_can_be_stopped() {
    let mut backend = OnnxBackend::new("ort", SPEC, surroundings());
    backend.describe().unwrap();
    let prepared = backend.prepare(&slow()).unwrap();
    let cancel = CancelToken::default();
    cancel.cancel();
    let Err(failure) = backend.load(&prepared, &[], BY, &cancel) else { panic!("the load was not stopped") };
    assert_eq!(failure.to_string(), "incomplete: cancelled");
}

#[test]
fn what_exceeds_the_context_is_refused_by_name() {
    let mut session = load(&fixture(Family::Gpt2), SPEC);
    let context = session.bounds.context;
    let steps = u32::try_from(context).unwrap();
    let outcome = session.call(&call(Procedure::PrefillDecode, &[&SHORT], 4, steps), BY, &CancelToken::default());
    let failure = outcome.failure.unwrap();
    assert_eq!(failure.kind, Degraded::Error);
    let expected = format!("4 prompt tokens and {steps} fed back exceed the model's context of {context} tokens");
    assert_eq!(failure.message, expected);
    assert!(outcome.session_usable);
}

#[test]
fn the_description_says_what_was_set() {
    let mut backend = OnnxBackend::new("ort", SPEC, surroundings());
    let description = backend.describe().unwrap();
    assert_eq!(description.engine, "ONNX Runtime");
    assert!(description.version.unwrap().starts_with("1."));
    assert_eq!(description.facts["library_sha256"].len(), 64);
    for (key, value) in [
        ("provider", "CPUExecutionProvider"),
        ("intra_op_threads", "1"),
        ("graph_optimisation", "all"),
        ("session.force_spinning_stop", "1"),
        ("dtype", "f32"),
    ] {
        assert_eq!(description.facts[key], value);
    }
    assert!(description.facts["arg_max"].starts_with("outside"));
    assert_eq!(description.procedures, Procedure::ALL);
    assert!(description.token_times && !description.virtual_clock);
}

#[test]
fn a_wrong_library_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("libonnxruntime.so.1.31.1");
    let error = library::inspect(&missing).unwrap_err();
    assert!(error.to_string().contains("libonnxruntime.so.1.31.1: No such file"), "{error}");
    assert!(error.fix().starts_with("phasebench setup onnxruntime"), "{}", error.fix());

    std::fs::write(&missing, b"\x7fELF and nothing more").unwrap();
    let error = library::inspect(&missing).unwrap_err();
    assert!(error.to_string().contains("libonnxruntime.so.1.31.1 cannot be loaded"), "{error}");
}

#[test]
fn cuda_that_is_not_there_is_an_error_before_anything_is_loaded() {
    // Either the library has no CUDA, or the machine has not so many devices.
    let spec = OnnxSettings { provider: Provider::Cuda, device: 63, ..SPEC };
    let error = OnnxBackend::new("ort-gpu", spec, surroundings()).describe().unwrap_err().to_string();
    let lines: Vec<_> = error.lines().collect();
    assert!(lines[0].starts_with("backend `ort-gpu`: provider cuda"), "{error}");
    assert!(lines.last().unwrap().starts_with("  try: phasebench setup onnxruntime --cuda"), "{error}");
}

/// The same contract on a CUDA device; built and run by scripts/gpu-check.
#[cfg(feature = "cuda-tests")]
mod cuda {
    use super::*;

    fn on_cuda() -> OnnxSettings {
        OnnxSettings { provider: Provider::Cuda, ..SPEC }
    }

    #[test]
    fn log_probabilities_are_the_reference_s_in_every_step() {
        check_log_probabilities(&on_cuda());
    }

    #[test]
    fn rows_caches_and_arg_max_agree() {
        for &family in Family::ALL {
            let mut session = load(&fixture(family), on_cuda());
            check_rows(&mut session, family.as_str());
            check_without_cache(&mut session, family.as_str());
        }
        check_arg_max(&on_cuda());
    }

    #[test]
    fn runs_every_computing_node_and_holds_the_kv_cache() {
        for &family in Family::ALL {
            for dtype in [Dtype::F32, Dtype::F16] {
                let mut session = load(&fixture(family), OnnxSettings { dtype, ..on_cuda() });
                let reply = run(&mut session, &call(Procedure::PrefillDecode, &[&SHORT], 4, 4)).reply.unwrap();
                let attribution = reply.attribution;
                assert_eq!(attribution.actual.as_deref(), Some("CUDAExecutionProvider"), "{attribution:?}");
                assert_eq!(attribution.evidence.shown["kv_cache.memory"], "Cuda");
            }
        }
    }

    #[test]
    fn calls_are_stopped_and_the_session_goes_on() {
        let mut session = load(&slow(), on_cuda());
        let prompt: Vec<u32> = (0..200).collect();
        let long = call(Procedure::PrefillDecode, &[&prompt], 200, 800);
        let outcome = session.call(&long, Deadline(Duration::from_millis(50)), &CancelToken::default());
        assert_eq!(outcome.failure.unwrap().kind, Degraded::Timeout);
        assert!(outcome.session_usable);
        run(&mut session, &call(Procedure::PrefillDecode, &[&SHORT], 4, 2));
    }
}
