//! A server that means harm: what it says reaches a terminal, a page and our memory only made harmless.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Output};
use std::sync::Arc;

use serde_json::json;

use crate::ollama::fixture::{Fixture, Scenario, assert_exit, failures, kind, printed};
use crate::standin::Server;
use crate::standin::fault::Fault;
use crate::standin::http::Request;
use crate::standin::reply::Reply;
use crate::standin::scripted::model::{Model, Shape};
use crate::standin::scripted::{Script, Scripted};

/// Colours, rings, overwrites, and runs where a page shows it unescaped.
const EVIL: &str = "\u{1b}[31mred\u{7}\r\u{9b}2J<script>alert(1)</script>";

const NAME: &str = "<script>alert(1)</script>:1b";

const HUGE: usize = 100 << 20;

/// What the program may take while a server sends [`HUGE`] bytes.
const MOST_BYTES: u64 = 400_000_000;

/// Calls that find words of one token come first, then the cold one and its repeat.
const FIRST_TIMED: u64 = 5;

fn served(name: &str) -> Model {
    let shape = Shape { architecture: "llama", parameters: 1000, layers: 1, width: 2, heads: 1, context: 512 };
    Model { digest: EVIL.to_owned(), ..Model::new(name, &shape) }
}

/// Says evil things in every field that a run or a report may show.
fn server(version: String, script: Script) -> Server {
    let model = Arc::new(Scripted::new(Script { version, ..script }, [served(NAME)]));
    let answer = move |request: &Request, reply: &mut Reply| {
        if request.path != "/api/show" {
            return model.answer(request, reply);
        }
        let info = json!({ "general.architecture": EVIL, "general.parameter_count": 1000 });
        let details = json!({ "format": "gguf", "quantization_level": EVIL, "family": EVIL });
        reply.json(200, &json!({ "details": details, "model_info": info }))
    };
    Server::start(answer).unwrap()
}

fn fixture(url: &str, repetitions: u32) -> Fixture {
    let models = format!("[{{ name: m1, ollama: \"{NAME}\" }}]");
    Fixture::new(&Scenario { url, models: &models, prompt: 5, steps: 4, repetitions, more: "" })
}

/// Runs a command to its end; checks what it printed and how much memory it took at most.
#[track_caller]
#[expect(clippy::zombie_processes, reason = "`wait` waits for it, and says what it took")]
fn harmless(fixture: &Fixture, command: &mut Command) -> Output {
    let file = |name: &str| fixture.path().join(name);
    let (out, err) = (file("stdout"), file("stderr"));
    let child = command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap()).spawn().unwrap();
    let (status, peak) = wait(child.id());
    let output = Output { status, stdout: std::fs::read(&out).unwrap(), stderr: std::fs::read(&err).unwrap() };
    let text = printed(&output);
    let hidden = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(hidden, None, "{text:?}");
    assert!(peak < MOST_BYTES, "{peak} bytes: {text}");
    output
}

/// How a child ended, and its largest resident set in bytes.
fn wait(pid: u32) -> (ExitStatus, u64) {
    let mut status = 0;
    // SAFETY: all zeros is a value of this struct of numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes to two live places; the child is ours and nobody else waits for it.
    let found = unsafe { libc::wait4(i32::try_from(pid).unwrap(), &raw mut status, 0, &raw mut usage) };
    assert_eq!(u32::try_from(found).unwrap(), pid);
    (ExitStatus::from_raw(status), u64::try_from(usage.ru_maxrss).unwrap() * 1024)
}

#[test]
fn words_and_numbers_are_made_harmless() {
    let faults = |call: u64| match call.checked_sub(FIRST_TIMED)? {
        0 => Some(Fault::error_line(EVIL)),
        2 => Some(Fault::escape_codes_in_plain_error()),
        4 => Some(Fault::huge_line(HUGE)),
        6 => Some(Fault::no_newline(HUGE)),
        8 => Some(Fault::huge_number()),
        10 => Some(Fault::negative_durations()),
        12 => Some(Fault::script_in_name()),
        _ => None,
    };
    let server = server(format!("0.33.0-{EVIL}"), Script { go_wrong: Box::new(faults), ..Script::default() });
    let url = server.url();
    let fixture = fixture(&url, 20);
    assert_exit(&harmless(&fixture, &mut fixture.start()), 0);

    let calls = fixture.calls();
    let kinds: Vec<String> = calls.iter().skip(1).map(kind).collect();
    let (error, invariant) = ("error", "invariant");
    // The last reply claims more time than has passed.
    let expected =
        [error, "ok", error, "ok", invariant, "ok", invariant, "ok", invariant, "ok", invariant, "ok", invariant];
    assert_eq!(kinds[..expected.len()], expected, "{:?}", failures(&calls));
    assert!(kinds[expected.len()..].iter().all(|kind| kind == "ok"), "{:?}", failures(&calls));
    for call in &calls {
        let shown = call.detail.iter().chain(call.attribution.evidence.shown.values());
        assert!(shown.flat_map(|text| text.chars()).all(|c| !c.is_control()), "{}", call.call_id);
    }

    for command in [&["validate", "run"][..], &["analyze", "run"], &["report", "run"], &["doctor", "scenario.yaml"]] {
        assert_exit(&harmless(&fixture, &mut fixture.command(command)), 0);
    }
    for file in ["report.html", "report.md"] {
        let text = std::fs::read_to_string(fixture.run.join(file)).unwrap();
        assert!(text.contains("alert(1)"), "{file}: the server's words are shown");
        assert!(!text.contains("<script>alert"), "{file}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{file}");
    }
}

/// A version that cannot be read is quoted in the message.
#[test]
fn an_evil_version_is_quoted_without_its_codes() {
    let server = server(EVIL.to_owned(), Script::default());
    let url = server.url();
    let fixture = fixture(&url, 2);
    let run = harmless(&fixture, &mut fixture.start());
    assert_exit(&run, 7);
    assert!(printed(&run).contains("red <script>"), "{}", printed(&run));
    assert!(printed(&harmless(&fixture, &mut fixture.command(&["doctor", "scenario.yaml"]))).contains("red <script>"));
}

/// Any answer may be without end, not only those of calls.
#[test]
fn an_endless_answer_is_not_kept() {
    for path in ["/api/version", "/api/ps", "/api/tags", "/api/show", "/api/generate"] {
        let model = Arc::new(Scripted::new(Script::default(), [served(NAME)]));
        let answer = move |request: &Request, reply: &mut Reply| {
            if request.path == path {
                Fault::no_newline(HUGE).play(request, reply)
            } else {
                model.answer(request, reply)
            }
        };
        let server = Server::start(answer).unwrap();
        let url = server.url();
        let fixture = fixture(&url, 2);
        let run = harmless(&fixture, &mut fixture.start());
        assert!(!run.status.success() && run.status.code() != Some(101), "{path}: {}", printed(&run));
        harmless(&fixture, &mut fixture.command(&["doctor", "scenario.yaml"]));
        let prune = harmless(&fixture, &mut fixture.command(&["models", "prune", "--url", &url]));
        assert_eq!(prune.status.success(), path != "/api/tags", "{path}: {}", printed(&prune));
    }
}
