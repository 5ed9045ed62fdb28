//! What a server says about its models, in its own recorded words.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use phasebench::backend::ollama::OllamaBackend;
use phasebench::backend::ollama::manage::{same_name, what_helps};
use phasebench::backend::ollama::served::Served;
use phasebench::backend::ollama::speech::{Speech, Words};
use phasebench::backend::ollama::version::Runner;
use phasebench::backend::{Backend, CancelToken, Prepared, Session, Surroundings};
use phasebench::clock::RealClock;
use phasebench::scenario::{OllamaDevice, OllamaSettings};
use phasebench::terms::Dtype;

use crate::ollama::asking::{BY, VERSIONS, models};
use crate::standin::replay::{Exchange, Replay};
use crate::standin::{Pace, Server};

/// Recordings that are no calls. Each has its test below.
pub const RECORDINGS: [&str; 22] = [
    "create-eos-llama-bpe",
    "create-mid-llama-bpe",
    "create-rep-llama-bpe",
    "create-tiny-llama-bpe",
    "create-tiny-llama-f32",
    "create-tiny-llama-spm",
    "create-tiny-qwen2-bpe",
    "delete",
    "load",
    "ps-after-unload",
    "ps-empty",
    "ps-loaded",
    "ps-several",
    "show-missing",
    "show-tiny-llama-bpe",
    "show-tiny-llama-f32",
    "show-tiny-llama-spm",
    "show-tiny-qwen2-bpe",
    "tags",
    "tags-empty",
    "unload",
    "version",
];

fn recorded(version: &str, name: &str) -> Exchange {
    Exchange::recorded(version, name).unwrap()
}

fn replaying(version: &str, names: &[&str]) -> Server {
    let replay = names.iter().fold(Replay::new(Pace::AtOnce), |replay, name| replay.then(recorded(version, name)));
    Server::replay(replay).unwrap()
}

fn cancel() -> CancelToken {
    CancelToken::default()
}

#[test]
fn versions_are_read() {
    for version in VERSIONS {
        let server = replaying(version, &["version"]);
        assert_eq!(models(&server).version(&cancel()).unwrap(), version[1..]);
    }
}

#[test]
fn lists_of_what_is_resident_are_read() {
    for version in VERSIONS {
        let server = replaying(version, &["ps-empty", "ps-loaded", "ps-several", "ps-after-unload"]);
        let models = models(&server);
        let names = || -> Vec<String> {
            let resident = models.resident(&cancel()).unwrap();
            for model in &resident {
                assert!(model.size.unwrap() > 1_000_000 && model.size_vram == Some(0), "{model:?}");
                assert!(model.context_length == Some(1024) && model.digest.len() == 64, "{model:?}");
            }
            resident.into_iter().map(|model| model.name).collect()
        };
        assert!(names().is_empty());
        assert_eq!(names(), ["tiny-llama-bpe:latest"]);
        assert!(names().len() > 1);
        let left = names();
        assert!(!left.is_empty() && !left.iter().any(|name| same_name(name, "tiny-llama-bpe")), "{left:?}");
    }
}

#[test]
fn digests_are_found_with_and_without_a_tag() {
    for version in VERSIONS {
        let server = replaying(version, &["tags", "tags", "tags", "tags-empty"]);
        let models = models(&server);
        let digest = |name: &str| models.digest(name, &cancel()).unwrap();
        let found = digest("tiny-llama-bpe");
        assert!(found.as_ref().is_some_and(|digest| digest.len() == 64) && found == digest("tiny-llama-bpe:latest"));
        assert_eq!((digest("nope"), digest("tiny-llama-bpe")), (None, None));
    }
}

#[test]
fn names_of_ours_are_none_of_the_recorded() {
    for version in VERSIONS {
        let server = replaying(version, &["tags", "tags-empty"]);
        assert!((0..2).all(|_| models(&server).ours().unwrap().is_empty()));
    }
}

#[test]
fn shapes_are_read() {
    for version in VERSIONS {
        for (name, architecture, quantisation, params) in [
            ("show-tiny-llama-bpe", "llama", Some("F16"), 1_250_432),
            ("show-tiny-llama-f32", "llama", None, 1_250_432),
            ("show-tiny-llama-spm", "llama", Some("F16"), 1_250_432),
            ("show-tiny-qwen2-bpe", "qwen2", Some("F16"), 1_251_456),
        ] {
            let server = replaying(version, &[name]);
            let shown = models(&server).show("x", &cancel()).unwrap().unwrap();
            let texts = [&shown.format, &shown.architecture, &shown.quantisation].map(|text| text.as_deref());
            assert_eq!(texts, [Some("gguf"), Some(architecture), quantisation], "{version} {name}");
            let sizes = (shown.params, shown.n_layer, shown.n_embd, shown.context_length);
            assert_eq!(sizes, (Some(params), Some(4), Some(128), Some(4096)), "{version} {name}");
            assert!(shown.n_head > shown.n_kv_head && shown.n_kv_head > Some(0) && !shown.remote, "{shown:?}");
        }
        let server = replaying(version, &["show-missing"]);
        assert_eq!(models(&server).show("nope", &cancel()).unwrap(), None);
    }
}

#[test]
fn a_model_is_made_of_a_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"GGUF").unwrap();
    for version in VERSIONS {
        for name in RECORDINGS.iter().filter(|name| name.starts_with("create-")) {
            let exchange = recorded(version, name);
            let body = exchange.request.body.clone().unwrap();
            let server = Server::start(move |request, reply| match (request.method.as_str(), request.path.as_str()) {
                ("HEAD", _) => reply.body(404, "", b""),
                ("POST", "/api/create") => exchange.play(Pace::AtOnce, reply),
                _ => reply.body(201, "", b""),
            })
            .unwrap();
            let model = body["model"].as_str().unwrap();
            let digest = body["files"][format!("{model}.gguf")].as_str().unwrap().trim_start_matches("sha256:");
            models(&server).create(model, file.path(), digest, &cancel()).unwrap();
            let requests = server.requests();
            let blob = format!("/api/blobs/sha256:{digest}");
            let paths: Vec<&str> = requests.iter().map(|request| request.path.as_str()).collect();
            assert_eq!(paths, [blob.as_str(), &blob, "/api/create"], "{version} {name}");
            assert_eq!(requests[1].body, b"GGUF");
            let asked = requests[2].json().unwrap();
            assert_eq!(
                (&asked["model"], &asked["files"]["model.gguf"]),
                (&body["model"], &format!("sha256:{digest}").into())
            );
        }
    }
}

/// What helps is not at the server.
#[test]
fn a_file_that_cannot_be_sent_is_named() {
    let server = Server::start(|_, reply| reply.body(404, "", b"")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gone.gguf");
    let error = models(&server).create("m", &file, "00", &cancel()).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot read {}: ", file.display())), "{error}");
    assert!(what_helps(&error, "http://127.0.0.1:1").starts_with("see that whoever runs this may read the file"));
}

#[test]
fn a_model_is_deleted() {
    for version in VERSIONS {
        let server = replaying(version, &["delete"]);
        models(&server).delete("tiny-llama-f32").unwrap();
        let asked = server.requests()[0].json().unwrap();
        assert!(asked["model"] == "tiny-llama-f32" || asked["name"] == "tiny-llama-f32", "{asked}");
    }
}

#[test]
fn an_unloaded_model_is_waited_for() {
    for version in VERSIONS {
        // Still listed once, then gone.
        let server = replaying(version, &["unload", "ps-loaded", "ps-after-unload"]);
        models(&server).unload("tiny-llama-bpe", BY, &cancel()).unwrap();
        assert_eq!(server.count("GET", "/api/ps"), 2);
        assert_eq!(server.requests()[0].json().unwrap()["keep_alive"], 0);
    }
}

fn spec(url: String) -> OllamaSettings {
    OllamaSettings {
        url,
        device: OllamaDevice::Any,
        num_ctx: 1024,
        num_batch: 512,
        threads: None,
        dtype: Dtype::AsServed,
        temperature: 1.0,
        max_resident: None,
    }
}

fn prepared(tag: &str) -> Prepared {
    let words = ["the", "of", "and", "to"].map(str::to_owned).to_vec();
    let served = Served {
        tag: tag.to_owned(),
        runner: Runner::Gguf,
        context: 1024,
        speech: Rc::new(RefCell::new(Speech::Words(Words::new(words, 0)))),
        nonces: Rc::new(Cell::new(0)),
        history: Rc::default(),
        size: Rc::default(),
    };
    Prepared {
        model: tag.to_owned(),
        weights_id: String::new(),
        dtype: Dtype::AsServed,
        params: None,
        bytes: None,
        path: None,
        shape: None,
        quantisation: None,
        inner: Box::new(served),
    }
}

fn backend(server: &Server) -> OllamaBackend {
    let surroundings = Surroundings::new(Arc::new(RealClock::default()), PathBuf::new(), 0);
    OllamaBackend::new("ollama", spec(server.url()), surroundings)
}

/// A loaded model of words.
pub fn session(server: &Server) -> Box<dyn Session> {
    backend(server).load(&prepared("tiny-llama-bpe"), &[], BY, &cancel()).unwrap()
}

#[test]
fn a_load_is_a_load_and_shows_where_the_model_is() {
    for version in VERSIONS {
        let replay = ["ps-empty", "load", "ps-loaded"]
            .iter()
            .fold(Replay::new(Pace::AtOnce), |replay, name| replay.then(recorded(version, name)))
            .always(recorded(version, "version"));
        let server = Server::replay(replay).unwrap();
        let session = session(&server);
        let report = session.loaded();
        let parts: Vec<&str> = report.parts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(parts, ["reach_server", "load_model", "look_up"]);
        assert_eq!(report.attribution.actual.as_deref(), Some("cpu"), "{version}: {:?}", report.attribution);
        assert_eq!(report.attribution.evidence.shown["server.version"], version[1..]);
        let asked = server.requests().into_iter().find(|request| request.path == "/api/generate").unwrap();
        let (asked, recorded) = (asked.json().unwrap(), recorded(version, "load").request.body.unwrap());
        for key in ["keep_alive", "shift"] {
            assert_eq!(asked[key], recorded[key], "{key}");
        }
        assert!(asked["prompt"].is_null() && asked["options"]["num_ctx"] == 1024);
    }
}

/// A server that unloads, or answers a call, where it was asked to load.
#[test]
fn anything_but_a_load_is_none() {
    for answer in ["unload", "generate-count-1", "error-bad-option"] {
        let version = VERSIONS[1];
        let replay = Replay::new(Pace::AtOnce)
            .then(recorded(version, "ps-empty"))
            .then(recorded(version, answer))
            .always(recorded(version, "version"));
        let server = Server::replay(replay).unwrap();
        assert!(backend(&server).load(&prepared("tiny-llama-bpe"), &[], BY, &cancel()).is_err(), "{answer}");
    }
}
