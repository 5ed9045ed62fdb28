//! Every fault does on the wire what it says.

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::standin::Server;
use crate::standin::fault::{ESCAPE_CODES, Fault, SCRIPT_NAME};
use crate::standin::replay::Exchange;
use crate::standin_test::client::{Answer, End, ask, send};

const TOKENS: u64 = 4;

fn request() -> Vec<u8> {
    json!({ "model": "m", "prompt": "a b", "options": { "num_predict": TOKENS } }).to_string().into_bytes()
}

fn server(fault: Fault) -> Server {
    Server::start(move |request, reply| fault.play(request, reply)).unwrap()
}

fn generate(address: SocketAddr) -> Answer {
    ask(address, "POST", "/api/generate", &request())
}

/// How the body of an answer is framed and how that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// Chunks, and the one that ends them.
    Chunks,
    /// Chunks that do not end.
    CutChunks,
    /// A length that is right.
    Length,
    /// A length that is wrong.
    WrongLength,
    /// Neither.
    Nothing,
}

fn framing(answer: &Answer) -> Framing {
    match answer.header("content-length").map(|length| length.parse::<usize>().unwrap()) {
        Some(length) if length == answer.rest.len() => Framing::Length,
        Some(_) => Framing::WrongLength,
        None if answer.is_chunked() && answer.chunks().1 => Framing::Chunks,
        None if answer.is_chunked() => Framing::CutChunks,
        None => Framing::Nothing,
    }
}

/// The first two lines are good; returns what follows.
fn after_two(answer: &Answer) -> Vec<Result<Value, String>> {
    let mut lines = answer.lines();
    let rest = lines.split_off(2);
    for (index, line) in lines.iter().enumerate() {
        let line = line.as_ref().unwrap();
        assert_eq!((&line["response"], &line["done"]), (&json!(format!(" w{index}")), &json!(false)));
    }
    rest
}

/// Two good lines and one more.
fn third(answer: &Answer) -> Value {
    let rest = after_two(answer);
    assert_eq!(rest.len(), 1);
    rest[0].clone().unwrap()
}

fn is_healthy_end(line: &Value) -> bool {
    line["done"] == true && line["done_reason"] == "length" && line["eval_count"] == TOKENS
}

fn error_text(answer: &Answer) -> String {
    answer.json()["error"].as_str().unwrap().to_owned()
}

struct Row(Fault, Option<u16>, Framing, End, fn(&Answer) -> bool);

fn check(rows: Vec<Row>) {
    for Row(fault, status, framed, end, holds) in rows {
        let name = fault.name();
        let server = server(fault);
        let answer = generate(server.address());
        assert_eq!(answer.status(), status, "{name}");
        assert_eq!(framing(&answer), framed, "{name}");
        assert_eq!(answer.end, end, "{name}");
        assert!(holds(&answer), "{name}: {} {:?}", answer.head, String::from_utf8_lossy(&answer.rest));
    }
}

#[test]
fn connections_break_as_they_should() {
    check(vec![
        Row(Fault::reset_at_once(), None, Framing::Nothing, End::Reset, |a| a.head.is_empty() && a.rest.is_empty()),
        Row(Fault::reset_mid_body(), Some(200), Framing::CutChunks, End::Reset, |a| after_two(a).is_empty()),
        Row(Fault::cut_stream(), Some(200), Framing::CutChunks, End::Closed, |a| after_two(a).is_empty()),
        Row(Fault::cut_line(), Some(200), Framing::CutChunks, End::Closed, |a| {
            let rest = after_two(a);
            rest.len() == 1 && rest[0].as_ref().is_err_and(|line| line.starts_with('{')) && !a.text().ends_with('\n')
        }),
        Row(Fault::no_done(), Some(200), Framing::Chunks, End::Closed, |a| after_two(a).is_empty()),
    ]);
}

#[test]
fn bytes_are_framed_as_they_should() {
    check(vec![
        Row(Fault::huge_line(8 << 20), Some(200), Framing::Chunks, End::Closed, |a| {
            let rest = after_two(a);
            let text = rest[0].as_ref().unwrap()["response"].as_str().unwrap().len();
            text == 8 << 20 && rest.len() == 2 && is_healthy_end(rest[1].as_ref().unwrap())
        }),
        Row(Fault::no_newline(1 << 20), Some(200), Framing::Chunks, End::Closed, |a| {
            let rest = after_two(a);
            rest.len() == 1 && rest[0].as_ref().is_err_and(|line| line.len() == 1 << 20) && !a.text().ends_with('\n')
        }),
        Row(Fault::split_character(), Some(200), Framing::Chunks, End::Closed, |a| {
            let (chunks, _) = a.chunks();
            let rest = after_two(a);
            std::str::from_utf8(chunks[2]).is_err()
                && rest[0].as_ref().unwrap()["response"] == " €"
                && is_healthy_end(rest[1].as_ref().unwrap())
        }),
        Row(Fault::two_lines_in_one_packet(), Some(200), Framing::Chunks, End::Closed, |a| {
            let ends = |chunk: &&[u8]| chunk.iter().filter(|&&byte| byte == b'\n').count();
            a.chunks().0.iter().map(ends).collect::<Vec<_>>() == [2, 2] && after_two(a).iter().all(Result::is_ok)
        }),
        Row(Fault::one_byte_packets(), Some(200), Framing::Chunks, End::Closed, |a| {
            let (chunks, _) = a.chunks();
            let rest = after_two(a);
            chunks[2..chunks.len() - 1].iter().all(|chunk| chunk.len() == 1)
                && rest[0].as_ref().unwrap()["response"] == " w2"
                && is_healthy_end(rest[1].as_ref().unwrap())
        }),
        Row(Fault::length_too_long(), Some(200), Framing::WrongLength, End::Closed, |a| {
            a.header("content-length") == Some((a.rest.len() + 100).to_string().as_str())
        }),
        Row(Fault::length_too_short(), Some(200), Framing::WrongLength, End::Closed, |a| {
            a.header("content-length") == Some((a.rest.len() - 10).to_string().as_str())
        }),
        Row(Fault::http_1_0(), Some(200), Framing::Nothing, End::Closed, |a| {
            let lines = a.lines();
            a.head.starts_with("HTTP/1.0 ") && lines.len() == 2 && is_healthy_end(lines[1].as_ref().unwrap())
        }),
    ]);
}

#[test]
fn statuses_say_no() {
    let (length, closed) = (Framing::Length, End::Closed);
    check(vec![
        Row(Fault::redirect("http://127.0.0.1:1/x"), Some(302), length, closed, |a| {
            a.header("location") == Some("http://127.0.0.1:1/x") && a.rest.is_empty()
        }),
        Row(Fault::busy(), Some(503), length, closed, |a| error_text(a).contains("server busy")),
        Row(Fault::runner_stopped(), Some(500), length, closed, |a| error_text(a).contains("runner")),
        Row(Fault::model_missing(), Some(404), length, closed, |a| error_text(a) == "model 'm' not found"),
        Row(Fault::empty_body(), Some(200), length, closed, |a| a.rest.is_empty()),
        Row(Fault::escape_codes_in_plain_error(), Some(500), length, closed, |a| a.text() == ESCAPE_CODES),
        Row(Fault::escape_codes_in_error(), Some(500), length, closed, |a| {
            error_text(a) == ESCAPE_CODES && !a.rest.contains(&0x1b)
        }),
    ]);
}

#[test]
fn a_context_that_is_full_is_said_as_recorded() {
    for (version, fault) in
        [("v0.24.0", Fault::context_exceeded_plain()), ("v0.33.0-rc2", Fault::context_exceeded_json())]
    {
        let server = server(fault);
        let answer = generate(server.address());
        let recorded = Exchange::recorded(version, "error-context-exceeded").unwrap().response;
        assert_eq!((answer.status(), answer.text()), (Some(recorded.status), recorded.lines[0].text.clone()));
    }
}

#[test]
fn lines_are_wrong_as_they_should() {
    let (chunks, closed) = (Framing::Chunks, End::Closed);
    check(vec![
        Row(Fault::error_line("out of memory"), Some(200), chunks, closed, |a| {
            third(a) == json!({ "error": "out of memory" })
        }),
        Row(Fault::wrong_json(), Some(200), chunks, closed, |a| {
            let rest = after_two(a);
            rest.len() == 2 && rest[0].is_err() && is_healthy_end(rest[1].as_ref().unwrap())
        }),
        Row(Fault::done_twice(), Some(200), chunks, closed, |a| {
            let rest = after_two(a);
            rest.len() == 2 && rest[0] == rest[1] && is_healthy_end(rest[0].as_ref().unwrap())
        }),
        Row(Fault::no_metrics(), Some(200), chunks, closed, |a| {
            let keys: Vec<String> = third(a).as_object().unwrap().keys().cloned().collect();
            third(a)["done"] == true && keys == ["model", "created_at", "response", "done", "done_reason"]
        }),
        Row(Fault::negative_durations(), Some(200), chunks, closed, |a| {
            let last = third(a);
            let mut durations = last.as_object().unwrap().iter().filter(|(name, _)| name.ends_with("_duration"));
            last["eval_count"] == TOKENS && durations.all(|(_, value)| value.as_i64().unwrap() < 0)
        }),
        Row(Fault::huge_number(), Some(200), chunks, closed, |a| {
            let huge = format!("\"eval_duration\":1{}}}", "0".repeat(400));
            let rest = after_two(a);
            rest.len() == 1 && rest[0].as_ref().is_err_and(|line| line.ends_with(&huge))
        }),
        Row(Fault::short_length(), Some(200), chunks, closed, |a| {
            let last = third(a);
            last["done_reason"] == "length" && last["eval_count"] == TOKENS - 1
        }),
        Row(Fault::escape_codes_in_name(), Some(200), chunks, closed, |a| {
            a.lines().iter().all(|line| line.as_ref().unwrap()["model"] == ESCAPE_CODES) && !a.rest.contains(&0x1b)
        }),
        Row(Fault::script_in_name(), Some(200), chunks, closed, |a| {
            a.lines().iter().all(|line| line.as_ref().unwrap()["model"] == SCRIPT_NAME)
        }),
    ]);
}

#[test]
fn a_slow_first_byte_comes_no_sooner_and_then_all_is_well() {
    let wait = Duration::from_millis(30);
    let server = server(Fault::slow_first_byte(wait));
    let begin = Instant::now();
    let mut stream = send(server.address(), "POST", "/api/generate", &request(), "close");
    stream.read_exact(&mut [0]).unwrap();
    assert!(begin.elapsed() >= wait, "{:?}", begin.elapsed());
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n") && rest.contains("\"done_reason\":\"length\""), "{rest}");
}

/// Silence lasts until the client leaves or the server is dropped, and holds up neither.
#[test]
fn a_hang_ends_with_the_server_or_the_client() {
    for (fault, lines) in [(Fault::hang_at_once(), 0), (Fault::hang_mid_stream(), 2)] {
        let name = fault.name();
        let server = server(fault);
        let begin = || {
            let mut stream = send(server.address(), "POST", "/api/generate", &request(), "keep-alive");
            let mut all = Vec::new();
            while all.windows(4).filter(|four| four == b"}\n\r\n").count() < lines {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                all.extend(byte);
            }
            stream
        };
        drop(begin());
        let mut stays = begin();
        stays.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let silence = stays.read(&mut [0]).unwrap_err();
        assert_eq!(silence.kind(), ErrorKind::WouldBlock, "{name}");
        stays.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        drop(server);
        assert_eq!(stays.read(&mut [0]).unwrap(), 0, "{name}: no byte came with the end");
    }
}
