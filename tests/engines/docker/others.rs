//! Images of somebody's own: what they lack is said before anything is measured, and one that has torch is measured with
//! what it lacks brought along.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use phasebench::backend::worker::launch::docker::engine;
use phasebench::store;
use tempfile::TempDir;

use crate::docker::fixture::{Turn, build, built};
use crate::worker::fixture::assert_exit;

/// An image whose `python3` says of itself what it is told.
const SAYS: &str = "
ARG BASE
FROM ${BASE}
ARG SAYS
USER root
RUN mkdir /says && printf '#!/bin/sh\\nprintf \"%s\"\\n' \"$SAYS\" > /says/python3 && chmod 755 /says/python3
ENV PATH=/says
";

/// Torch and numpy, and neither gRPC nor the worker.
const BARE: &str = "
ARG BASE
FROM ${BASE}
USER root
RUN rm -rf /opt/worker /opt/venv/lib/python3*/site-packages/grpc* /opt/venv/lib/python3*/site-packages/transformers*
ENV PYTHONPATH=
ENTRYPOINT [\"sh\"]
";

/// A run with one image; the cache is the user's own, whose packages are brought.
fn run(folder: &TempDir, image: &str) -> Output {
    let scenario = format!(
        "version: 1\nname: test\nseed: 1\nwarmups: 1\nrepetitions: {{ fixed: 3 }}\ngen_tokens: [4]\n\
         scenarios: [{{ name: p, prompt: {{ tokens: 6 }} }}]\n\
         models: [{{ name: m, synthetic: {{ family: gpt2, n_layer: 1, n_embd: 64, n_head: 2, vocab: 512 }} }}]\n\
         backends:\n  - {{ name: theirs, torch: {{ launch: docker, image: \"{image}\", threads: 1 }} }}\n  \
         - {{ name: other, simulated: {{ pace: real }} }}\n"
    );
    fs::write(folder.path().join("scenario.yaml"), scenario).unwrap();
    phasebench(folder.path(), &["run", "scenario.yaml", "--out", "run"])
}

fn phasebench(at: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_phasebench")).args(arguments).current_dir(at).output().unwrap()
}

#[tokio::test]
async fn what_an_image_lacks_is_said_and_one_that_has_torch_is_measured() {
    if std::env::var("PHASEBENCH_TEST_DOCKER").as_deref() != Ok("1") {
        eprintln!("not run: PHASEBENCH_TEST_DOCKER is not 1");
        return;
    }
    let (_turn, engine, base) = (Turn::shared().await, engine::connect().await.unwrap(), built().tag);
    let folder = tempfile::tempdir().unwrap();
    let tag = |name: &str| format!("phasebench-test:{name}");
    for (name, says, words) in [
        ("old", "3.9\ncpython\n2.6.0\n1.26.4\n", "it is Python 3.9, and the worker needs 3.11 or newer"),
        ("torchless", "3.12\ncpython\nnone\n2.1.3\n", "it has no torch"),
        (
            "far",
            "3.99\ncpython\n2.9.0\n2.1.3\n",
            "what the worker needs beside it, such as gRPC, is not in the cache yet",
        ),
    ] {
        build(&engine, &tag(name), SAYS, &[("BASE", &base), ("SAYS", says)], &[]).await;
        let output = run(&folder, &tag(name));
        assert_exit(&output, 7);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&format!("the image {}: {words}", tag(name))), "{said}");
    }
    build(&engine, &tag("nothing"), "ARG BASE\nFROM ${BASE}\nENV PATH=/nowhere\n", &[("BASE", &base)], &[]).await;
    for (name, words) in
        [("nothing", "has no python3 that runs"), ("never-built", "has no image phasebench-test:never")]
    {
        let output = run(&folder, &tag(name));
        assert_exit(&output, 7);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(words), "{said}");
    }
    assert!(!folder.path().join("run").exists(), "nothing was measured");

    let version = base_python(&base);
    assert_exit(&phasebench(folder.path(), &["setup", "torch", "--beside", &version]), 0);
    build(&engine, &tag("bare"), BARE, &[("BASE", &base)], &[]).await;
    assert_exit(&run(&folder, &tag("bare")), 0);
    let lines = store::read(&folder.path().join("run")).unwrap().lines;
    let calls = lines.iter().filter_map(|line| match line {
        phasebench::record::Line::Call(call) if call.session.backend == "theirs" => Some(call),
        _ => None,
    });
    let calls: Vec<_> = calls.collect();
    assert!(calls.len() > 3 && calls.iter().all(|call| call.status.is_ok()), "{calls:?}");
    let manifest = fs::read_to_string(folder.path().join("run/manifest.json")).unwrap();
    assert!(manifest.contains("phasebench-test:bare, Python ") && manifest.contains("worker.beside"), "{manifest}");
}

/// Version of the Python that an image has, by Docker's own client.
fn base_python(image: &str) -> String {
    let ask = "import sys; print('%d.%d' % sys.version_info[:2])";
    let output = Command::new("docker").args(["run", "--rm", "--entrypoint", "python3", image, "-c", ask]).output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
}
