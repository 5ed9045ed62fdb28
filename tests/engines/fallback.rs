//! A provider that takes a graph in part, through the program: see `tests/fake-onnxruntime`.

use std::fs;
use std::mem::offset_of;
use std::path::Path;
use std::process::Output;

use ort::sys::OrtApi;
use phasebench::backend::onnx::library;

use crate::c_library;
use crate::worker::fixture::{Fixture, REPETITIONS, Recorded, assert_exit};

/// Places of functions in the interface's table, as the `ort` crate knows them.
macro_rules! places {
    ($($function:ident),+ $(,)?) => {
        [$(format!("-DAT_{}={}", stringify!($function), offset_of!(OrtApi, $function) / size_of::<fn()>())),+]
    };
}

/// Compiles a library in front of the user's, whose provider does not take nodes of one operator.
fn compile(into: &Path, elsewhere: &str, wanted: &[&str]) {
    let real = library::locate(&phasebench::cache::root()).unwrap().path;
    let places = places![
        CreateMemoryInfo,
        CreateStatus,
        CreateTensorRTProviderOptions,
        EpAssignedNode_GetOperatorType,
        EpAssignedSubgraph_GetEpName,
        EpAssignedSubgraph_GetNodes,
        GetAvailableProviders,
        ReleaseAvailableProviders,
        ReleaseTensorRTProviderOptions,
        SessionOptionsAppendExecutionProvider_TensorRT_V2,
        Session_GetEpGraphAssignmentInfo,
        UpdateTensorRTProviderOptions,
    ];
    let mut arguments = Vec::from(places);
    arguments.push(format!("-DFUNCTIONS={}", size_of::<OrtApi>() / size_of::<fn()>()));
    arguments.push(format!("-DREAL=\"{}\"", real.display()));
    arguments.push(format!("-DELSEWHERE=\"{elsewhere}\""));
    arguments.extend(wanted.iter().map(|define| format!("-D{define}")));
    arguments.push("-ldl".to_owned());
    c_library::compile("tests/fake-onnxruntime/libonnxruntime.c", into, arguments);
}

/// Runs a scenario with TensorRT on such a library.
fn run(elsewhere: &str, wanted: &[&str]) -> (Fixture, Output) {
    let fixture =
        Fixture::new("onnx: { provider: tensorrt, isolation: none }", "good").with("timeout: 5s", "timeout: 60s");
    let path = fixture.path().join("libonnxruntime.so");
    compile(&path, elsewhere, wanted);
    let output = fixture.start().env(library::VARIABLE, &path).output().unwrap();
    (fixture, output)
}

fn timed_is(recorded: &Recorded, actual: Option<&str>, off_provider_ops: Option<&str>) {
    let calls = recorded.timed("worker");
    assert_eq!(calls.len(), REPETITIONS);
    for call in calls {
        assert_eq!(call.attribution.requested, "TensorrtExecutionProvider");
        assert_eq!(call.attribution.actual.as_deref(), actual);
        assert_eq!(call.attribution.evidence.off_provider_ops.as_deref(), off_provider_ops);
    }
}

#[test]
fn a_provider_that_takes_a_part_fell_back_in_every_call() {
    let (fixture, output) = run("Softmax", &[]);
    assert_exit(&output, 0);
    let recorded = fixture.recorded();
    timed_is(&recorded, None, Some("Softmax×2"));
    let failures = recorded.failures();
    let expected = "fallback: not everything ran on TensorrtExecutionProvider: Softmax×2";
    assert!(failures.len() >= REPETITIONS && failures.iter().all(|failure| failure == expected), "{failures:?}");

    assert_exit(&fixture.command(&["report", "run"]).output().unwrap(), 0);
    let rates = fs::read_to_string(fixture.run.join("analysis/degraded.csv")).unwrap();
    assert!(rates.lines().any(|line| line.contains(",worker,") && line.contains(",fallback,")), "{rates}");
    let report = fs::read_to_string(fixture.run.join("report.md")).unwrap();
    let told: Vec<&str> = report.lines().filter(|line| line.contains("fallback")).collect();
    assert!(told.iter().any(|line| line.contains("Softmax×2")), "{told:#?}");
    assert_exit(&fixture.command(&["validate", "run"]).output().unwrap(), 0);
}

#[test]
fn a_provider_that_takes_all_is_proven() {
    let (fixture, output) = run("", &[]);
    assert_exit(&output, 0);
    let recorded = fixture.recorded();
    assert_eq!(recorded.failures(), [] as [&str; 0]);
    timed_is(&recorded, Some("TensorrtExecutionProvider"), None);
    for call in recorded.timed("worker") {
        assert_eq!(call.attribution.evidence.device.as_deref(), Some("cuda:0"));
        assert!(!call.attribution.evidence.shown.contains_key("nodes.CPUExecutionProvider"));
    }
}

#[test]
fn a_provider_that_does_not_start_is_told_before_anything_is_measured() {
    let (fixture, output) = run("", &["NO_BOARD"]);
    assert_exit(&output, 7);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("provider tensorrt, device 0: CUDA failure 100: no CUDA-capable device is detected"),
        "{said}"
    );
    assert!(said.contains("try: phasebench setup onnxruntime --cuda"), "{said}");
    assert!(!fixture.run.join("raw").exists(), "nothing was measured");
}
