//! ONNX Runtimes that a scenario names: those of somebody's Python, and those that cannot be had.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use phasebench::backend::onnx::library;
use phasebench::backend::worker::WorkerBackend;
use phasebench::backend::worker::settings::Workers;
use phasebench::backend::{Backend, BackendError, Call, CancelToken, Deadline};
use phasebench::hash::sha256_file;
use phasebench::model::{Form, ModelSource};
use phasebench::scenario::{OnnxSettings, Provider, RuntimeSource};
use phasebench::terms::Procedure;

use crate::worker::engines::{ONNX, program, surroundings};

const BY: Deadline = Deadline(Duration::from_secs(120));

fn backend(settings: &OnnxSettings) -> WorkerBackend {
    WorkerBackend::new("theirs", Workers::onnx(settings), &surroundings()).with_program(program())
}

/// An environment as `venv` and `pip` lay it out, its library the one that is in use here.
fn environment(at: &Path) -> PathBuf {
    let site = at.join("lib/site-packages");
    let package = site.join("onnxruntime");
    fs::create_dir_all(package.join("capi")).unwrap();
    fs::create_dir_all(at.join("bin")).unwrap();
    fs::write(package.join("__init__.py"), "raise SystemExit('it was imported')\n").unwrap();
    let library = library::locate(&surroundings().cache).unwrap().path;
    fs::copy(&library, package.join("capi").join(library.file_name().unwrap())).unwrap();
    let python = at.join("bin/python");
    fs::write(&python, format!("#!/bin/sh\nPYTHONPATH='{}' exec python3 \"$@\"\n", site.display())).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    python
}

/// Every file with its content's hash.
fn listing(at: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![at.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path)
            } else {
                drop(files.insert(path.clone(), sha256_file(&path).unwrap()))
            }
        }
    }
    files
}

#[test]
fn what_a_python_would_import_is_measured_and_nothing_there_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let python = environment(folder.path());
    let before = listing(folder.path());
    let mut backend = backend(&OnnxSettings { source: RuntimeSource::Python(python), ..ONNX });
    let described = backend.describe().unwrap();
    let library = Path::new(&described.facts["library"]);
    assert!(library.starts_with(folder.path().canonicalize().unwrap()), "{}", library.display());
    assert_eq!(described.facts["library_sha256"], before[library]);

    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/same-weights/tiny-llama");
    let model = ModelSource { name: "tiny-llama".to_owned(), form: Form::Folder(model) };
    let prepared = backend.prepare(&model).unwrap();
    let mut session = backend.load(&prepared, &[], BY, &CancelToken::default()).unwrap();
    let call = Call {
        procedure: Procedure::PrefillDecode,
        scenario: "test".to_owned(),
        prompts: vec![vec![0, 71, 72]],
        texts: None,
        padded_to: 3,
        steps: 2,
        index: 0,
        attempt: 0,
        seed: 1,
    };
    let outcome = session.call(&call, BY, &CancelToken::default());
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.reply.unwrap().attribution.actual.as_deref(), Some("CPUExecutionProvider"));
    session.close().unwrap();
    assert_eq!(listing(folder.path()), before);
}

#[test]
fn what_cannot_be_had_is_told_with_what_helps_before_anything_is_loaded() {
    let of = |source| OnnxSettings { source, ..ONNX };
    let theirs = tempfile::tempdir().unwrap();
    let broken = environment(theirs.path());
    let library = listing(theirs.path()).into_keys().find(|path| path.to_string_lossy().contains(".so")).unwrap();
    fs::remove_file(library).unwrap();
    for (settings, what, fix) in [
        (
            of(RuntimeSource::Version("1.29.0".to_owned())),
            "ONNX Runtime 1.29.0 (cpu) was not fetched",
            "phasebench setup onnxruntime --version 1.29.0",
        ),
        (of(RuntimeSource::Python(broken)), "holds no libonnxruntime.so", "onnxruntime 1.20 or later"),
        (of(RuntimeSource::Library("/nonexistent.so".into())), "/nonexistent.so", "phasebench setup onnxruntime"),
        (
            OnnxSettings { provider: Provider::Tensorrt, ..ONNX },
            "was built without TensorrtExecutionProvider",
            "phasebench setup onnxruntime --cuda",
        ),
        (
            OnnxSettings { provider: Provider::Coreml, ..ONNX },
            "was built without CoreMLExecutionProvider",
            "name a library that was built with it",
        ),
    ] {
        let Err(BackendError::Unavailable { what: found, fix: helps, .. }) = backend(&settings).describe() else {
            panic!("{what}: it can be had")
        };
        assert!(found.contains(what), "{found}");
        assert!(helps.contains(fix), "{helps}");
    }
}
