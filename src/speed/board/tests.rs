//! On a driver library of our own, see `tests/fake-cuda`.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::*;
use crate::units::Bytes;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fake-cuda/libcuda.c");
const TIME: Duration = Duration::from_millis(30);
const UUID: &str = "GPU-abababab-abab-abab-abab-ababababab00";

/// A driver library, compiled with what the test wants of it.
fn driver(at: &Path, wanted: &[&str]) -> PathBuf {
    let library = at.join("libcuda.so.1");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(SOURCE);
    let output = compiler.args(wanted.iter().map(|define| format!("-D{define}"))).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}

fn measured(wanted: &[&str]) -> Vec<BoardSpeed> {
    let folder = tempfile::tempdir().unwrap();
    copy::measure(driver(folder.path(), wanted).as_os_str(), 3, TIME)
}

#[test]
fn bytes_read_and_written_count_and_every_board_is_named() {
    let boards = measured(&["BOARDS=2", "RATE=2.5e12"]);
    let names: Vec<_> = boards.iter().map(|board| board.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["fake board 0", "fake board 1"]);
    assert_eq!(boards[0].uuid.as_deref(), Some(UUID));
    for board in &boards {
        assert_eq!((board.l2_bytes, board.buffer_bytes), (Some(Bytes(32 << 20)), Some(Bytes(1 << 30))));
        assert_eq!((board.per_second.len(), &board.not_measured), (3, &None));
        // The driver tells times as 32-bit floats.
        assert!(board.per_second.iter().all(|rate| (rate / 2.5e12 - 1.0).abs() < 1e-5), "{board:?}");
    }
}

#[test]
fn buffers_are_beyond_the_cache_and_within_what_is_free() {
    for (wanted, buffer, why) in [
        (&["FREE_BYTES=(2ULL<<30)"][..], Some(512 << 20), None),
        (&["ROOM_BYTES=(300ULL<<20)"][..], Some(256 << 20), None),
        (
            &["L2_BYTES=(100<<20)", "ROOM_BYTES=(300ULL<<20)"][..],
            None,
            Some("a buffer of 400 MiB is needed twice (four times its L2 cache), and 8.00 GiB are free"),
        ),
        (
            &["FREE_BYTES=(256ULL<<20)"][..],
            None,
            Some("a buffer of 128 MiB is needed twice (four times its L2 cache), and 256 MiB are free"),
        ),
        (&["L2_BYTES=0"][..], Some(1 << 30), None),
        (
            &["L2_BYTES=0", "FREE_BYTES=(2ULL<<30)"][..],
            None,
            Some("a buffer of 1.00 GiB is needed twice (it does not tell its L2 cache), and 2.00 GiB are free"),
        ),
    ] {
        let boards = measured(wanted);
        assert_eq!(boards[0].buffer_bytes, buffer.map(Bytes), "{wanted:?}: {boards:?}");
        assert_eq!(boards[0].not_measured.as_deref(), why, "{wanted:?}");
        assert_eq!(boards[0].per_second.is_empty(), why.is_some());
        assert_eq!(boards[0].uuid.as_deref(), Some(UUID), "a board without a figure is named all the same");
    }
}

#[test]
fn what_the_driver_lacks_or_refuses_is_said_in_its_words() {
    for (wanted, why) in [
        (&["OLD"][..], "the NVIDIA driver is too old: its library has no cuEventElapsedTime"),
        (&["FAILS=\"cuInit\"", "STATUS=100"][..], "cuInit failed: no CUDA-capable device is detected (CUDA error 100)"),
        (&["BOARDS=0"][..], "the NVIDIA driver shows no board"),
        (
            &["FAILS=\"cuDevicePrimaryCtxRetain\"", "STATUS=2"][..],
            "cuDevicePrimaryCtxRetain failed: out of memory (CUDA error 2)",
        ),
        (&["FAILS=\"cuMemcpyDtoDAsync_v2\""][..], "cuMemcpyDtoDAsync_v2 failed: unknown error (CUDA error 999)"),
        (&["FAILS=\"cuStreamCreate\""][..], "cuStreamCreate failed: unknown error (CUDA error 999)"),
        (&["NO_TIME=0"][..], "1 copies of 1.00 GiB took 0 ms by the driver's events, which is no time"),
        (
            &["NO_TIME=1e-3f"][..],
            "131072 copies of 1.00 GiB took 0.0010000000474974513 ms by the driver's events, which is no time",
        ),
    ] {
        let boards = measured(wanted);
        let told: Vec<_> = boards.iter().map(|board| board.not_measured.as_deref()).collect();
        assert_eq!(told, [Some(why)], "{wanted:?}");
        assert!(boards[0].per_second.is_empty());
    }
    let absent = copy::measure("/nonexistent/libcuda.so.1".as_ref(), 1, TIME);
    let why = absent[0].not_measured.as_deref().unwrap();
    assert!(why.starts_with("the NVIDIA driver library cannot be loaded: /nonexistent/libcuda.so.1: "), "{why}");
}

/// The management library knows a part of a board by another name than the board, and so does the record.
#[test]
fn a_part_of_a_board_is_not_taken_for_the_board() {
    assert_eq!(measured(&["PARTS"])[0].uuid.as_deref(), Some("MIG-01ababab-abab-abab-abab-ababababab00"));
}

/// A program in the place of this one.
fn program(at: &Path, script: &str) -> PathBuf {
    let path = at.join("program");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn whatever_becomes_of_the_process_that_asks_is_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let within = Duration::from_secs(20);
    let ask = |script: &str| answer(&program(folder.path(), script), 3, TIME, within);
    let board = BoardSpeed { per_second: vec![1e12], ..BoardSpeed::default() };
    let text = serde_json::to_string(&[&board]).unwrap();
    let script = format!("[ \"$*\" = 'boards --repetitions 3 --time-ms 30' ] && echo '{text}'");
    assert_eq!(ask(&script), Ok(vec![board]));
    for (script, why) in [
        ("kill -SEGV $$", "the process that asked the driver ended with signal: 11"),
        ("exit 3", "the process that asked the driver ended with exit status: 3"),
        ("echo '[]'", "the process that asked the driver told of no board"),
        ("echo nothing", "what was measured cannot be read: "),
    ] {
        let told = ask(script).unwrap_err();
        assert!(told.starts_with(why), "{script}: {told}");
    }
    let told = answer(&folder.path().join("absent"), 1, TIME, within).unwrap_err();
    assert!(told.contains("absent cannot be started: "), "{told}");
}

#[test]
fn a_driver_that_hangs_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let told = answer(&program(folder.path(), "exec sleep 600"), 1, TIME, Duration::from_millis(200));
    assert_eq!(told, Err("the driver did not answer within 0.2 s".to_owned()));
    assert!(begin.elapsed() < Duration::from_secs(300));
}
