//! A replay gives back exactly what was recorded.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::standin::replay::{Exchange, Replay};
use crate::standin::{Pace, Server};
use crate::standin_test::client::{Answer, ask};

const VERSIONS: [&str; 2] = ["v0.24.0", "v0.33.0-rc2"];

/// Names of the exchanges of a version. The tables of several calls, `aba*`, are none.
fn names(version: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ollama").join(version);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = files.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).collect();
    names.retain(|name| !name.starts_with("aba"));
    names.sort();
    names
}

fn ask_as_recorded(server: &Server, exchange: &Exchange) -> Answer {
    let asked = &exchange.request;
    let body = match (&asked.body, &asked.raw_body) {
        (Some(json), None) => json.to_string(),
        (None, raw) => raw.clone().unwrap_or_default(),
        (Some(_), Some(_)) => panic!("{}: two bodies", exchange.name),
    };
    ask(server.address(), &asked.method, &asked.path, body.as_bytes())
}

#[test]
fn every_recording_comes_back_as_it_was() {
    for version in VERSIONS {
        let names = names(version);
        assert!(names.len() > 50, "{version}: {} recordings", names.len());
        for name in names {
            let exchange = Exchange::recorded(version, &name).unwrap();
            let server = Server::replay(Replay::new(Pace::AtOnce).then(exchange.clone())).unwrap();
            let answer = ask_as_recorded(&server, &exchange);
            let recorded = &exchange.response;
            assert_eq!(answer.status(), Some(recorded.status), "{version} {name}: {}", exchange.note);
            for (header, value) in &recorded.headers {
                assert_eq!(answer.header(header), Some(value.as_str()), "{version} {name}: {header}");
            }
            let lines: Vec<&[u8]> = recorded.lines.iter().map(|line| line.text.as_bytes()).collect();
            if answer.is_chunked() {
                assert_eq!(answer.chunks(), (lines, true), "{version} {name}: a chunk for each line");
            } else {
                assert_eq!(answer.rest, lines.concat(), "{version} {name}");
                let length = answer.header("content-length").unwrap();
                assert_eq!(length, answer.rest.len().to_string(), "{version} {name}");
            }
            assert_eq!(server.replies()[0].lines, recorded.lines.len(), "{version} {name}");
        }
    }
}

#[test]
fn a_queue_is_used_up_in_order() {
    let recorded = |name| Exchange::recorded("v0.33.0-rc2", name).unwrap();
    let replay = Replay::new(Pace::AtOnce)
        .then(recorded("ps-empty"))
        .then(recorded("ps-loaded"))
        .always(recorded("version"))
        .then(recorded("load"));
    let server = Server::replay(replay).unwrap();
    let answer = |method, path| {
        let answer = ask(server.address(), method, path, b"");
        (answer.status(), answer.json())
    };
    let mut loaded = Vec::new();
    for _ in 0..2 {
        assert_eq!(answer("GET", "/api/version").1["version"], "0.33.0-rc2");
        loaded.push(answer("GET", "/api/ps").1["models"].as_array().unwrap().len());
    }
    assert_eq!(loaded, [0, 1]);
    let (status, body) = answer("GET", "/api/ps");
    assert_eq!((status, body["error"].as_str()), (Some(500), Some("no recording left for GET /api/ps")));
    assert_eq!(answer("POST", "/api/generate").1["done_reason"], "load");
    assert_eq!((server.count("GET", "/api/ps"), server.count("POST", "/api/ps"), server.requests().len()), (3, 0, 6));
}

#[test]
fn a_kept_pace_is_no_faster_than_recorded() {
    let exchange = Exchange::recorded("v0.33.0-rc2", "generate-length-stop").unwrap();
    let recorded = exchange.response.clone();
    let server = Server::replay(Replay::new(Pace::Kept).then(exchange.clone())).unwrap();
    let begin = Instant::now();
    ask_as_recorded(&server, &exchange);
    let end = begin.elapsed();
    assert!(end >= Duration::from_nanos(recorded.end_ns), "{end:?}");
    let stamps = &server.replies()[0];
    let (first, last) = (stamps.first.unwrap() - begin, stamps.last.unwrap() - begin);
    assert!(first >= Duration::from_nanos(recorded.lines[0].at_ns), "{first:?}");
    assert!(last >= Duration::from_nanos(recorded.lines.last().unwrap().at_ns) && last <= end, "{last:?}");
}
