//! What cannot be compared, and what is not written over.

use std::fs;

use super::fixture::{PLAIN, phasebench, run, scenario};
use crate::program::text;

/// A run's own report has the names of what is written.
#[test]
fn no_run_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (a, b) = (run(folder, "a", &scenario(1, 1, PLAIN)), run(folder, "b", &scenario(2, 1, PLAIN)));
    for run in [&a, &b] {
        let report = run.join("report.html");
        let before = fs::read(&report).ok();
        let out = run.display().to_string();
        let output = phasebench(folder, &["compare", "a", "b", "--out", &out]);
        assert_eq!((output.status.code(), fs::read(&report).ok()), (Some(4), before));
        let said = text(&output.stderr);
        assert!(said.contains("is a run, whose own report has these names\n  try: another --out"), "{said}");
    }
}

#[test]
fn what_cannot_be_asked_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run(folder, "a", &scenario(1, 1, PLAIN));
    run(folder, "b", &scenario(2, 1, PLAIN));
    for (arguments, words) in [
        (&["a"][..], "error: one run alone: give another one, or --between backend=X,Y"),
        (&["a", "b", "--between", "backend=x,y"], "error: --between and --null look into one run"),
        (&["a", "--between", "backend=x,z"], "error: a has no backend `z`, known: x, y"),
        (&["a", "b", "--gate", "mode=fast"], "error: --gate: there is no mode `fast`, known: kv_decode, prefill"),
        (
            &["a", "b", "--gate", "speed"],
            "error: --gate: `speed` is not key=value, known keys: backend, model, scenario, mode",
        ),
        (&["a", "b", "--margin", "0"], "allowed: more than 0, at most 100 percent"),
    ] {
        let output = phasebench(folder, &[&["compare"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    }
    assert_eq!(phasebench(folder, &["compare", "a", "nothing"]).status.code(), Some(4));
}
