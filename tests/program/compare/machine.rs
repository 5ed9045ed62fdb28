//! The machine itself became slower, or another program slowed it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::fixture::{
    PLAIN, SLOWER_DECODE, cells, compare, edit_lines, edit_manifest, phasebench, run, scenario, sentence, verdicts,
};
use crate::program::text;

/// Adds readings of a reference kernel to a run, scattered by half a per cent about `rate`.
fn kernel_readings(run: &Path, rate: f64) {
    kernel_readings_scattered(run, rate, 1.0);
}

/// The same with so many times the scatter.
fn kernel_readings_scattered(run: &Path, rate: f64, scatter: f64) {
    add_references(run, |off| {
        let rate = rate * (1.0 + scatter * off);
        json!({ "speeds": [{ "kernel": "memory", "threads": 2, "per_second": [rate] }] })
    });
}

/// Adds readings to a run; `found` says what was found in each, by how far off it is.
fn add_references(run: &Path, found: impl Fn(f64) -> Value) {
    let path = run.join("measurements.jsonl");
    let mut record = fs::read_to_string(&path).unwrap();
    for (index, off) in [0.0, 0.005, -0.005, 0.002, -0.002, 0.001].into_iter().enumerate() {
        let mut reference = json!({
            "reference_index": index, "when": "between", "epoch": 0, "begin_ns": 0, "end_ns": 1, "buffer_bytes": 1,
            "last_level_cache_bytes": null, "foreign_cpu": null,
        });
        reference.as_object_mut().unwrap().extend(found(off).as_object().unwrap().clone());
        record.push_str(&format!("{}\n", json!({ "reference": reference })));
    }
    fs::write(&path, record).unwrap();
}

#[test]
fn what_moves_with_the_machine_is_no_regression() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let a = run(folder, "a", &scenario(1, 2, PLAIN));
    let b = run(folder, "b", &scenario(3, 2, [("x", SLOWER_DECODE), ("y", SLOWER_DECODE)]));
    let slowed = run(folder, "slowed", &scenario(4, 2, [("x", SLOWER_DECODE), ("y", SLOWER_DECODE)]));
    kernel_readings(&a, 100.0);
    kernel_readings(&b, 100.0);
    kernel_readings(&slowed, 86.0);
    let (code, found) = compare(folder, &["a", "b", "--drift", "0.1"]);
    assert_eq!((code, verdicts(&found, "kv_decode")), (Some(5), vec!["slower".to_owned(); 8]));
    assert!(sentence(&found).contains("the machine is the same ["), "{}", sentence(&found));
    let (code, found) = compare(folder, &["a", "slowed", "--drift", "0.1"]);
    assert_eq!((code, verdicts(&found, "kv_decode")), (Some(8), vec!["not_comparable".to_owned(); 8]));
    let decode = cells(&found).iter().find(|cell| cell["mode"] == "kv_decode").unwrap();
    assert!(decode["reason"].as_str().unwrap().starts_with("the machine is 16 % slower [1"), "{decode:#}");
    assert!(sentence(&found).contains("the machine itself is 16 % slower"), "{}", sentence(&found));
}

/// Has every call of a backend run on a device.
fn ran_on(run: &Path, backend: &str, device: &str, evidence: &Value) {
    edit_lines(run, |line| {
        if let Some(call) = line.get_mut("call").filter(|call| call["session"]["backend"] == backend) {
            call["attribution"] = json!({ "requested": device, "actual": device, "evidence": evidence });
        }
    });
}

/// Adds readings of a board's memory to a run, as [`kernel_readings`] does of the processor's.
fn board_readings(run: &Path, uuid: &str, rate: f64) {
    add_references(run, |off| {
        let board = json!({
            "uuid": uuid, "name": "NVIDIA H200", "l2_bytes": null, "buffer_bytes": 1,
            "per_second": [rate * (1.0 + off)], "not_measured": null,
        });
        json!({ "speeds": [], "boards": [board] })
    });
}

/// `x` ran on a board, `y` on the processor; each is excused by its own device alone.
#[test]
fn a_device_speaks_for_the_cells_that_ran_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let slower = [("x", SLOWER_DECODE), ("y", SLOWER_DECODE)];
    for (name, seed, engines) in [("a", 1, PLAIN), ("memory", 3, slower), ("board", 4, slower), ("other", 5, slower)] {
        let run = run(folder, name, &scenario(seed, 1, engines));
        ran_on(&run, "x", "cuda:0", &json!({ "device.uuid": "GPU-0123456789ab" }));
        ran_on(&run, "y", "cpu", &json!({ "device": "cpu" }));
        kernel_readings(&run, if name == "memory" { 86.0 } else { 100.0 });
        board_readings(&run, "GPU-0123456789ab", if name == "board" { 86.0 } else { 100.0 });
        board_readings(&run, "GPU-ba9876543210", if name == "other" { 86.0 } else { 100.0 });
    }
    let of = |found: &Value, backend: &str| -> Vec<(String, String)> {
        let own = cells(found).iter().filter(|cell| cell["mode"] == "kv_decode" && cell["backend"] == backend);
        let text = |cell: &Value, key: &str| cell[key].as_str().unwrap_or_default().to_owned();
        own.map(|cell| (text(cell, "verdict"), text(cell, "reason"))).collect()
    };
    for (name, x, y) in [
        ("memory", None, Some(("the machine is 16 % slower [1", "(memory, 2 threads)"))),
        ("board", Some(("the board is 16 % slower [1", "(device_copy, NVIDIA H200 GPU-01234567)")), None),
        ("other", None, None),
    ] {
        let (_, found) = compare(folder, &["a", name, "--drift", "0.1"]);
        for (backend, excused) in [("x", x), ("y", y)] {
            let cells = of(&found, backend);
            assert_eq!(cells.len(), 2, "{found:#}");
            for (verdict, reason) in cells {
                match excused {
                    Some((begin, end)) => assert!(
                        verdict == "not_comparable" && reason.starts_with(begin) && reason.ends_with(end),
                        "{name}, {backend}: {verdict}, {reason}"
                    ),
                    None => assert_eq!(verdict, "slower", "{name}, {backend}: {reason}"),
                }
            }
        }
    }
}

/// Every call beside other programs is no regression either: they stand in the record, beside the call.
#[test]
fn what_other_programs_slowed_is_no_regression() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let beside = ", disturbances: { rate: 1.0, slowdown: 0.5 }";
    let few = ", disturbances: { rate: 0.1, slowdown: 0.0 }";
    for (name, seed, script) in [("a", 1, ""), ("beside", 3, beside), ("few", 4, few)] {
        run(folder, name, &scenario(seed, 2, [("x", script), ("y", script)]));
    }
    let reasons = |found: &Value| -> Vec<String> {
        cells(found).iter().map(|cell| cell["reason"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let (code, found) = compare(folder, &["a", "beside", "--drift", "0.1"]);
    assert_eq!((code, verdicts(&found, "kv_decode")), (Some(8), vec!["not_comparable".to_owned(); 8]));
    let words = "100 % of the candidate's calls were disturbed from outside, 0 % of the other side's";
    assert_eq!(reasons(&found), vec![words; 16]);
    let note = found["comparisons"][0]["notes"].to_string();
    assert!(
        note.contains("0 % of the calls of a and 100 % of the calls of beside were disturbed from outside"),
        "{note}"
    );
    // Nor is it an improvement that they are gone.
    let (code, found) = compare(folder, &["beside", "a", "--drift", "0.1"]);
    assert_eq!((code, verdicts(&found, "kv_decode")), (Some(8), vec!["not_comparable".to_owned(); 8]));
    assert!(reasons(&found)[0].starts_with("100 % of the baseline's calls"), "{:?}", reasons(&found));
    // Where both sides are beside them, both may be compared, and a few calls excuse nothing.
    run(folder, "slower", &scenario(5, 2, [("x", SLOWER_DECODE), ("y", &format!("{SLOWER_DECODE}{few}"))]));
    let (code, found) = compare(folder, &["few", "slower", "--drift", "0.1"]);
    assert_eq!((code, verdicts(&found, "kv_decode")), (Some(5), vec!["slower".to_owned(); 8]));
    assert!(!found["comparisons"][0]["notes"].to_string().contains("disturbed"));
}

/// On a virtual or shared machine nothing is called slower that the machine may have done: its own readings vouch for it, or
/// what is known of its drift. Time that is really waited for, by an engine that waits twice as long.
#[test]
fn on_a_shared_machine_a_slowdown_takes_a_witness() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let engine = |step: &str| {
        let script = format!(", pace: real, decode_per_step: {{ base: {step}, exponent: 0.7 }}");
        scenario(1, 1, [("x", &script), ("y", &script)]) + "reference: { every: 0s }\n"
    };
    for (name, step) in [("a", "300us"), ("b", "600us")] {
        let run = run(folder, name, &engine(step));
        edit_manifest(&run, |manifest| manifest["stack"]["machine"]["virtualised"] = json!(true));
    }
    let decode = |found: &Value| -> Vec<(String, String)> {
        let of_mode = cells(found).iter().filter(|cell| cell["mode"] == "kv_decode");
        let text = |cell: &Value, key: &str| cell[key].as_str().unwrap_or_default().to_owned();
        of_mode.map(|cell| (text(cell, "verdict"), text(cell, "reason"))).collect()
    };
    let (code, found) = compare(folder, &["a", "b"]);
    let open = ("slower_extent_open".to_owned(), "nothing vouches for the machine".to_owned());
    assert_eq!((code, decode(&found)), (Some(8), vec![open; 4]));
    assert!(found["comparisons"][0]["notes"].to_string().contains("both in one plan, compared with --between"));
    let (code, found) = compare(folder, &["a", "b", "--drift", "5"]);
    assert_eq!((code, verdicts(&found, "kv_decode")), (Some(5), vec!["slower".to_owned(); 4]));
    // Readings that say that the machine was the same, and such that say little.
    let record = |name: &str| folder.join(name).join("measurements.jsonl");
    let plain = ["a", "b"].map(|name| fs::read_to_string(record(name)).unwrap());
    for (scatter, verdict, code) in [(1.0, "slower", 5), (150.0, "slower_extent_open", 8)] {
        for (name, plain) in ["a", "b"].into_iter().zip(&plain) {
            fs::write(record(name), plain).unwrap();
            kernel_readings_scattered(&folder.join(name), 100.0, scatter);
        }
        let (found_code, found) = compare(folder, &["a", "b"]);
        assert_eq!((found_code, verdicts(&found, "kv_decode")), (Some(code), vec![verdict.to_owned(); 4]));
        let vouched = !decode(&found)[0].1.starts_with("the machine's own speed is known only to [−");
        assert_eq!(vouched, verdict == "slower", "{:?}", decode(&found));
        // Readings that say little are no sign that the machine moved, and what is slower leads.
        let known_only = sentence(&found).contains("; the machine's own speed is known only to [−");
        assert_eq!(known_only, verdict != "slower", "{}", sentence(&found));
        assert!(!sentence(&found).contains("the machine itself is"), "{}", sentence(&found));
        let leads =
            "Decode on x is slower, by how much is open, in 2 of 2 cells; Decode on y is slower, by how much is open";
        assert_eq!(sentence(&found).starts_with(leads), verdict != "slower", "{}", sentence(&found));
        // How many sessions would decide was not reckoned, for it is the machine that is in doubt.
        let terminal = text(&phasebench(folder, &["compare", "a", "b"]).stdout);
        let reckoned = |line: &str| line.contains("slower, extent open") && line.contains("would decide");
        assert!(!terminal.lines().any(reckoned), "{terminal}");
    }
    // The processor's readings vouch for no board, and the board's own do.
    for (name, plain) in ["a", "b"].into_iter().zip(&plain) {
        fs::write(record(name), plain).unwrap();
        kernel_readings(&folder.join(name), 100.0);
        for backend in ["x", "y"] {
            ran_on(&folder.join(name), backend, "cuda:0", &json!({ "device.uuid": "GPU-0123456789ab" }));
        }
    }
    let (_, found) = compare(folder, &["a", "b"]);
    let open = ("slower_extent_open".to_owned(), "nothing vouches for the board".to_owned());
    assert_eq!(decode(&found), vec![open; 4]);
    for name in ["a", "b"] {
        board_readings(&folder.join(name), "GPU-0123456789ab", 100.0);
    }
    let (code, found) = compare(folder, &["a", "b"]);
    assert_eq!((code, verdicts(&found, "kv_decode")), (Some(5), vec!["slower".to_owned(); 4]));
}
