//! `doctor` and `models prune` with a server.

use std::sync::Arc;

use phasebench::backend::ollama::manage::how_to_serve;
use serde_json::json;

use crate::ollama::fixture::{Fixture, Scenario, assert_exit, printed};
use crate::standin::Server;
use crate::standin::fault::Fault;
use crate::standin::scripted::model::{Model, Shape};
use crate::standin::scripted::{Script, Scripted};

const SHAPE: Shape =
    Shape { architecture: "llama", parameters: 1_250_432, layers: 4, width: 128, heads: 4, context: 4096 };

const SERVED: &str = "[{ name: here, ollama: \"here:1b\" }, { name: gone, ollama: \"gone:2b\" }]";

fn server(models: &[&str], script: Script) -> (Arc<Scripted>, Server) {
    let model = Arc::new(Scripted::new(script, models.iter().map(|name| Model::new(name, &SHAPE))));
    let server = Server::scripted(&model).unwrap();
    (model, server)
}

fn fixture(url: &str) -> Fixture {
    Fixture::new(&Scenario { url, models: SERVED, prompt: 9, steps: 8, repetitions: 2, more: "" })
}

#[test]
fn only_what_is_ours_is_pruned() {
    let all = ["phasebench/a:f32-1", "phasebench/b:f16-2", "gemma3:270m", "other/phasebench:1b"];
    let (model, server) = server(&all, Script::default());
    let (url, before) = (server.url(), model.models());
    let fixture = fixture(&url);
    let dry = fixture.command(&["models", "prune", "--url", &url, "--dry-run"]).output().unwrap();
    assert_exit(&dry, 0);
    assert_eq!(model.models(), before);
    let output = fixture.command(&["models", "prune", "--url", &url]).output().unwrap();
    assert_exit(&output, 0);
    let said = printed(&output);
    assert!(said.contains("2 models below phasebench/ deleted"), "{said}");
    assert!(
        said.contains("the server keeps the files they were uploaded as") && said.contains("OLLAMA_NOPRUNE"),
        "{said}"
    );
    let left: Vec<String> = model.models().into_iter().collect();
    assert_eq!(left, ["gemma3:270m", "other/phasebench:1b"]);
}

#[test]
fn a_missing_model_is_named_with_the_command_that_fetches_it() {
    let (_, server) =
        server(&["here:1b"], Script { registry: vec![Model::new("gone:2b", &SHAPE)], ..Script::default() });
    let url = server.url();
    let fixture = fixture(&url);
    let found = || printed(&fixture.command(&["doctor", "scenario.yaml"]).output().unwrap());
    let missing = format!("gone:2b is not on the server at {url}");
    let pull = format!("phasebench models pull gone:2b --url {url}");
    let before = found();
    assert!(before.contains(&missing) && before.contains(&pull), "{before}");
    assert!(before.contains("here:1b: 1250432 parameters, F16"), "{before}");
    assert!(before.contains("Ollama 0.33.0-rc2") && before.contains("clock of 0.30 and later"), "{before}");
    let serve = format!("LLAMA_ARG_CACHE_RAM=0 OLLAMA_HOST={} ollama serve", url.trim_start_matches("http://"));
    assert!(before.contains(&serve), "{before}");

    let run = fixture.start().output().unwrap();
    assert_exit(&run, 7);
    assert!(printed(&run).contains("has no model `gone:2b`"), "{}", printed(&run));
    let words: Vec<&str> = pull.split(' ').skip(1).collect();
    assert_exit(&fixture.command(&words).output().unwrap(), 0);
    let after = found();
    assert!(!after.contains("is not on the server") && after.contains("gone:2b: 1250432 parameters"), "{after}");
}

/// Whatever is printed of an address: results, findings, what helps, JSON, errors.
#[test]
fn no_command_shows_the_password_of_an_address() {
    let (_, server) = server(
        &["here:1b", "phasebench/a:f32-1"],
        Script { registry: vec![Model::new("gone:2b", &SHAPE)], ..Script::default() },
    );
    let with = |url: &str| url.replace("http://", "http://me:hunter2@");
    let (there, gone) = (with(&server.url()), with("http://127.0.0.1:1"));
    let fixture = fixture(&there);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/same-weights/tiny-llama");
    for (command, code) in [
        // What helps names the address too.
        (&["doctor", "scenario.yaml"][..], 7),
        (&["doctor", "scenario.yaml", "--json"], 7),
        (&["models", "pull", "gone:2b", "--url", &there], 0),
        (&["models", "prune", "--url", &there], 0),
        (&["models", "pull", "gone:2b", "--url", &gone], 7),
        (&["models", "verify", folder, "--ollama", &gone], 7),
        (&["models", "verify", folder, "--ollama", &gone, "--json"], 7),
        (&["worker", "check", &there, "--dtype", &there], 2),
    ] {
        let output = fixture.command(command).output().unwrap();
        assert_exit(&output, code);
        let said = printed(&output);
        assert!(!said.contains("hunter2"), "{command:?}: {said}");
    }
    let doctor = printed(&fixture.command(&["doctor", "scenario.yaml", "--json"]).output().unwrap());
    assert!(doctor.contains("http://me:***@127.0.0.1:"), "{doctor}");
}

#[test]
fn what_a_server_refuses_is_said_in_its_words() {
    let (_, server) = server(&["here:1b"], Script::default());
    let url = server.url();
    let fixture = fixture(&url);
    let pull = || fixture.command(&["models", "pull", "gone:2b", "--url", &url]).output().unwrap();
    let output = pull();
    assert_exit(&output, 7);
    let said = printed(&output);
    assert!(said.contains("/api/pull: HTTP 500: pull model manifest: file does not exist"), "{said}");
    assert!(said.contains("try: a name that the server's registry has"), "{said}");
    drop(server);
    for output in [pull(), fixture.command(&["models", "prune", "--url", &url]).output().unwrap()] {
        assert_exit(&output, 7);
        let text = printed(&output);
        let serve = format!("try: OLLAMA_HOST={} ollama serve", url.trim_start_matches("http://"));
        assert!(text.contains("Connection refused") && text.contains(&serve), "{text}");
    }
}

#[test]
fn whatever_refuses_to_manage_models_is_told_with_status_and_advice() {
    let page: &[u8] = b"<html><head><title>503 Service Unavailable</title></head><body>busy</body></html>";
    let asked = Server::start(|_, reply| reply.error(401, "who are you?")).unwrap();
    let busy = Server::start(move |_, reply| reply.body(503, "text/html", page)).unwrap();
    let full = Server::start(|_, reply| reply.json(200, &json!({ "error": "no space left on device" }))).unwrap();
    for (server, words, advice) in [
        (asked, "HTTP 401: who are you?", "try: name and password in the address"),
        (busy, "HTTP 503: an HTML page, `503 Service Unavailable`", "try: the log of the server at "),
        (full, "HTTP 200: no space left on device", "try: the log of the server at "),
    ] {
        let url = server.url();
        let fixture = fixture(&url);
        for command in [&["models", "pull", "gone:2b", "--url", &url][..], &["models", "prune", "--url", &url]] {
            let output = fixture.command(command).output().unwrap();
            assert_exit(&output, 7);
            let said = printed(&output);
            assert!(said.contains(words) && said.contains(advice), "{command:?}: {said}");
            assert!(!said.contains("<html>"), "{said}");
        }
    }
}

/// A model that the server has no room for is no mistake of the scenario file.
#[test]
fn a_server_that_takes_no_model_is_unavailable() {
    let server = Server::start(|request, reply| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/api/version") => reply.json(200, &json!({ "version": "0.33.0-rc2" })),
        ("GET", "/api/tags" | "/api/ps") => reply.json(200, &json!({ "models": [] })),
        ("HEAD", _) => reply.body(404, "", b""),
        _ => reply.error(500, "no space left on device"),
    });
    let server = server.unwrap();
    let models = "[{ name: m, synthetic: { family: gpt2, n_layer: 1, n_embd: 8, n_head: 2, vocab: 300 } }]";
    let fixture = Fixture::new(&Scenario { url: &server.url(), models, prompt: 9, steps: 8, repetitions: 2, more: "" });
    let output = fixture.start().output().unwrap();
    assert_exit(&output, 7);
    let said = printed(&output);
    assert!(said.contains("model `m`: /api/") && said.contains("HTTP 500: no space left on device"), "{said}");
}

#[test]
fn a_server_that_is_not_there_has_one_exit_code_and_one_hint_for_every_command() {
    let (_, server) = server(&[], Script::default());
    let url = server.url();
    drop(server);
    let fixture = fixture(&url);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/same-weights/tiny-llama");
    let serve = format!("OLLAMA_HOST={} ollama serve", url.trim_start_matches("http://"));
    for command in [
        &["models", "verify", folder, "--ollama", &url][..],
        &["models", "verify", folder, "--url", &url],
        &["models", "pull", "gone:2b", "--url", &url],
        &["models", "pull", "gone:2b", "--ollama", &url],
        &["models", "prune", "--ollama", &url],
        &["run", "scenario.yaml", "--out", "run"],
        &["doctor", "scenario.yaml"],
    ] {
        let output = fixture.command(command).output().unwrap();
        assert_exit(&output, 7);
        assert!(printed(&output).contains(&serve), "{command:?}: {}", printed(&output));
    }
}

#[test]
fn how_a_server_is_started_goes_by_where_it_is() {
    for (url, command) in [
        ("http://127.0.0.1:11434", "ollama serve"),
        ("http://localhost:11434/", "ollama serve"),
        ("http://127.0.0.1:11500", "OLLAMA_HOST=127.0.0.1:11500 ollama serve"),
        ("http://gpu-box:11434", "OLLAMA_HOST=0.0.0.0:11434 ollama serve, on gpu-box"),
        ("no address", "ollama serve"),
    ] {
        assert_eq!(how_to_serve(url), command, "{url}");
    }
}

#[test]
fn a_server_that_answers_is_not_told_to_be_started() {
    let says = |status: u16| {
        let server = Server::start(move |_, reply| reply.error(status, "who are you?")).unwrap();
        let output = fixture(&server.url()).start().output().unwrap();
        assert_exit(&output, 7);
        printed(&output)
    };
    let asked = says(401);
    assert!(asked.contains("HTTP 401: who are you?"), "{asked}");
    assert!(asked.contains("try: name and password in the address; "), "{asked}");
    let other = says(500);
    assert!(other.contains("try: another address") && !other.contains("ollama serve"), "{other}");
}

/// Its words may hold anything, addresses with paths too.
#[test]
fn doctor_repeats_what_a_server_says_to_its_end() {
    const SAYS: &str = "no key: get one at https://example.com/settings/keys and set it";
    let server = Server::start(move |_, reply| reply.error(401, SAYS)).unwrap();
    let fixture = fixture(&server.url());
    for command in [&["doctor", "scenario.yaml"][..], &["doctor", "scenario.yaml", "--json"]] {
        let output = fixture.command(command).output().unwrap();
        assert_exit(&output, 7);
        let said = printed(&output);
        assert!(said.contains(&format!("/api/version: HTTP 401: {SAYS}")), "{said}");
    }
}

#[test]
fn what_a_server_says_while_prompts_are_prepared_is_repeated() {
    let go_wrong = Box::new(|call| (call == 0).then(|| Fault::error_line("out of tape")));
    let (_, server) = server(&["here:1b", "gone:2b"], Script { go_wrong, ..Script::default() });
    let output = fixture(&server.url()).start().output().unwrap();
    assert_exit(&output, 2);
    let said = printed(&output);
    assert!(said.contains("`here:1b` answers a prompt with: out of tape"), "{said}");
    assert!(!said.contains("does not say how many"), "{said}");
}
