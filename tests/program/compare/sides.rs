//! Sides that are not the same thing, or not whole: what is said of them, and that no regression is.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::fixture::{
    PLAIN, SLOWER_DECODE, cells, compare, edit_lines, edit_manifest, phasebench, run, scenario, sentence, verdicts,
};
use crate::program::text;

#[test]
fn what_is_not_the_same_thing_is_said_and_never_well() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let a = run(folder, "a", &scenario(1, 10, PLAIN));
    let b = run(folder, "b", &scenario(2, 10, PLAIN));
    let manifest = fs::read(b.join("manifest.json")).unwrap();
    let record = fs::read(b.join("measurements.jsonl")).unwrap();
    let restore = || {
        fs::write(b.join("manifest.json"), &manifest).unwrap();
        fs::write(b.join("measurements.jsonl"), &record).unwrap();
    };
    type Edit = fn(&mut Value);
    let edits: [(Edit, &str); 4] = [
        (|m| m["stack"]["machine"]["cpu_model"] = json!("Other"), "another machine: "),
        (
            |m| m["stack"]["backends"]["x"]["facts"]["clock"] = json!("0.33"),
            "the engine's own clock differs: not told and 0.33",
        ),
        (
            |m| m["stack"]["backends"]["x"]["boundary"]["prefill"] = json!("all"),
            "what the timed region of prefill includes differs",
        ),
        (|m| m["stack"]["backends"]["x"]["virtual_clock"] = json!(false), "the time of one of them is scripted"),
    ];
    for (edit, words) in edits {
        edit_manifest(&b, edit);
        let (code, found) = compare(folder, &["a", "b", "--drift", "0.1"]);
        assert_eq!(code, Some(8), "{words}");
        let said = cells(&found).iter().find(|cell| cell["verdict"] == "not_comparable").unwrap();
        assert!(said["reason"].as_str().unwrap().starts_with(words), "{said:#}");
        restore();
    }
    edit_lines(&b, |line| {
        if let Some(call) = line.get_mut("call").filter(|call| call["session"]["model"] == "m1") {
            call["weights_id"] = json!("0123456789abcdef");
        }
    });
    let (code, found) = compare(folder, &["a", "b", "--drift", "0.1"]);
    let said = cells(&found).iter().find(|cell| cell["model"] == "m1").unwrap();
    assert!(code == Some(8) && said["reason"].as_str().unwrap().starts_with("weights differ: simulated-"), "{said:#}");
    restore();

    // 30 of 40 cells in two phases each have no call.
    let kept = ["m1", "m2"];
    edit_lines(&b, |line| {
        if let Some(call) =
            line.get_mut("call").filter(|call| !kept.contains(&call["session"]["model"].as_str().unwrap()))
        {
            call["role"] = json!("rewarm");
        }
    });
    let (code, found) = compare(folder, &["a", "b", "--drift", "0.1"]);
    assert_eq!(
        (code, verdicts(&found, "prefill").iter().filter(|v| *v == "missing").count()),
        (Some(8), 32),
        "{found:#}"
    );
    assert!(sentence(&found).contains("of 80 cells: 16 the same within 3 %, 64 missing"), "{}", sentence(&found));
    assert_eq!(compare(folder, &["a", "b", "--drift", "0.1", "--allow", "missing"]).0, Some(0));
    restore();

    // Another plan: nothing in common, which nothing makes good.
    run(folder, "other", &scenario(3, 1, PLAIN).replace("{ name: m1", "{ name: other"));
    let (code, found) = compare(folder, &["a", "other", "--allow", "missing,undecided,not-comparable,extent-open"]);
    assert_eq!(code, Some(8));
    assert!(found["comparisons"][0]["notes"].to_string().contains("Nothing was compared."), "{found:#}");
    run(folder, "longer", &scenario(4, 1, PLAIN).replace("[32]", "[64]"));
    let (code, found) = compare(folder, &["a", "longer"]);
    assert_eq!((code, cells(&found)[0]["reason"].as_str()), (Some(8), Some("decode steps differ: 32 and 64")));

    for arguments in [["compare", "a", "a"], ["compare", "a", "copy"]] {
        let copy = folder.join("copy");
        if !copy.exists() {
            fs::create_dir(&copy).unwrap();
            for entry in fs::read_dir(&a).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
                fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
            }
        }
        let output = phasebench(folder, &arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("are the same run\n  try: "), "{}", text(&output.stderr));
    }
}

#[test]
fn one_session_a_side_decides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let slower = run(folder, "b", &scenario(2, 1, [("x", SLOWER_DECODE), ("y", SLOWER_DECODE)]));
    let a = run(folder, "a", &scenario(1, 1, PLAIN));
    for run in [a, slower] {
        edit_lines(&run, |line| {
            if let Some(call) = line.get_mut("call") {
                call["session_index"] = json!(0);
            }
        });
    }
    let (code, found) = compare(folder, &["a", "b", "--drift", "0.1"]);
    assert_eq!(code, Some(8));
    assert!(cells(&found).iter().all(|cell| cell["verdict"] == "undecided"), "{found:#}");
    let notes = found["comparisons"][0]["notes"].to_string();
    assert!(notes.contains("One session each side: what differs between processes is unknown"), "{notes}");
    let null = phasebench(folder, &["compare", "a", "--null"]);
    assert_eq!(null.status.code(), Some(8), "{}", text(&null.stdout));
}

/// A run that was ended early is compared as far as it got, and that is said.
#[test]
fn a_run_without_its_end_is_said_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run(folder, "a", &scenario(1, 1, PLAIN));
    let ended = run(folder, "b", &scenario(2, 1, PLAIN));
    let notes = |found: &Value| found["comparisons"][0]["notes"].to_string();
    assert!(!notes(&compare(folder, &["a", "b", "--drift", "0.1"]).1).contains("did not come to its end"));
    let record = ended.join("measurements.jsonl");
    let whole = fs::read_to_string(&record).unwrap();
    let begun = whole.lines().filter(|line| !line.starts_with("{\"finished\"")).map(|line| format!("{line}\n"));
    fs::write(&record, begun.collect::<String>()).unwrap();
    let (_, found) = compare(folder, &["a", "b", "--drift", "0.1"]);
    assert!(notes(&found).contains("b did not come to its end: it has fewer calls"), "{found:#}");
    let (_, found) = compare(folder, &["b", "--between", "backend=x,y"]);
    assert_eq!(notes(&found).matches("b did not come to its end").count(), 1, "{found:#}");
}

#[test]
fn several_changes_at_once_are_named_with_the_run_that_tells_them_apart() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (a, b) = (run(folder, "a", &scenario(1, 1, PLAIN)), run(folder, "b", &scenario(2, 1, PLAIN)));
    let stack = |run: &Path, version: &str, kernel: &str, library: &str| {
        edit_manifest(run, |manifest| {
            let backend = &mut manifest["stack"]["backends"]["x"];
            (backend["version"], backend["facts"]["library_sha256"]) = (json!(version), json!(library));
            manifest["stack"]["machine"]["kernel"] = json!(kernel);
        });
    };
    stack(&a, "1.0", "6.1", "aa");
    stack(&b, "1.1", "6.1", "bb");
    let (_, found) = compare(folder, &["a", "b"]);
    assert!(sentence(&found).ends_with("changed since: simulated 1.0 → 1.1, nothing else."), "{}", sentence(&found));
    stack(&b, "1.1", "6.2", "bb");
    let (_, found) = compare(folder, &["a", "b"]);
    let expected = "changed since: simulated 1.0 → 1.1, kernel 6.1 → 6.2; a run with simulated 1.0 again and all else as it is \
                    now would tell them apart.";
    assert!(sentence(&found).ends_with(expected), "{}", sentence(&found));
    let weights: Vec<&Value> =
        found["comparisons"][0]["changes"].as_array().unwrap().iter().map(|change| &change["weight"]).collect();
    assert_eq!(weights, ["speed", "speed", "follows"]);
}
