//! `compare` through the program itself, on scripted engines whose truth is known.
//!
//! Calls are divided over sessions in the record: a scripted engine is the same in every process.

mod asked;
mod fixture;
mod machine;
mod sides;
mod spread;
mod told;

use serde_json::Value;

use self::fixture::{PLAIN, SLOWER_DECODE, cells, compare, phasebench, run, scenario, sentence, verdicts};
use crate::program::text;

#[test]
fn what_became_slower_is_found_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run(folder, "a", &scenario(1, 2, PLAIN));
    run(folder, "same", &scenario(2, 2, PLAIN));
    run(folder, "slower", &scenario(3, 2, [("x", ""), ("y", SLOWER_DECODE)]));

    let (code, found) = compare(folder, &["a", "same", "--drift", "0.1"]);
    assert_eq!(code, Some(0), "{found:#}");
    assert!(cells(&found).iter().all(|cell| cell["verdict"] == "same"), "{found:#}");
    assert!(
        sentence(&found).starts_with("Nothing is known to be slower or faster; of 16 cells: 16 the same within 3 %")
    );
    assert!(sentence(&found).ends_with("; not interleaved; nothing in the stack changed."), "{}", sentence(&found));

    let (code, found) = compare(folder, &["a", "slower", "--drift", "0.1"]);
    assert_eq!(code, Some(5), "{found:#}");
    let slower: Vec<&Value> = cells(&found).iter().filter(|cell| cell["verdict"] == "slower").collect();
    assert!(slower.len() == 4 && slower.iter().all(|cell| cell["backend"] == "y" && cell["mode"] == "kv_decode"));
    assert!(sentence(&found).starts_with("Decode on y is 15 % slower [1"), "{}", sentence(&found));
    // What is slower is not asked about, or is within the margin asked for.
    assert_eq!(compare(folder, &["a", "slower", "--drift", "0.1", "--gate", "backend=x"]).0, Some(0));
    assert_eq!(compare(folder, &["a", "slower", "--drift", "0.1", "--margin", "25"]).0, Some(0));
    // At different times on a machine that drifts as such machines do, 15 % are not beyond doubt.
    let (code, found) = compare(folder, &["a", "slower"]);
    assert_eq!(code, Some(8), "{found:#}");
    assert!(found["comparisons"][0]["notes"][0].as_str().unwrap().starts_with("Not interleaved"), "{found:#}");
    // In one plan they took turns.
    let (code, found) = compare(folder, &["slower", "--between", "backend=x,y"]);
    assert_eq!((code, found["comparisons"][0]["allowance"].is_null()), (Some(5), true), "{found:#}");
    assert!(!sentence(&found).contains("interleaved"), "{}", sentence(&found));
    assert_eq!(verdicts(&found, "kv_decode"), ["slower"; 4]);
    assert_eq!(verdicts(&found, "prefill"), ["same"; 4]);
    assert!(cells(&found).iter().all(|cell| cell["basis"] == "blocks"));
    assert_eq!(compare(folder, &["slower", "--between", "backend=y,x"]).0, Some(0));
    // A history that is not needed is not read, and said to be none.
    let output = phasebench(folder, &["compare", "slower", "--between", "backend=x,y", "--history", "nowhere"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(text(&output.stderr).contains("--drift and --history are not needed"), "{}", text(&output.stderr));
    // Two candidates: the worse one decides.
    let (code, found) = compare(folder, &["a", "same", "slower", "--drift", "0.1"]);
    assert_eq!((code, found["comparisons"].as_array().unwrap().len()), (Some(5), 2));
}

#[test]
fn calls_that_fail_as_they_did_not_are_worse() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run(folder, "a", &scenario(1, 1, PLAIN));
    run(folder, "b", &scenario(2, 1, [("x", ""), ("y", ", faults: [{ kind: error, every: 2 }]")]));
    let (code, found) = compare(folder, &["a", "b", "--drift", "0.1"]);
    assert_eq!(code, Some(5), "{found:#}");
    let failing: Vec<&Value> = cells(&found).iter().filter(|cell| cell["verdict"] == "newly_failing").collect();
    assert!(failing.len() == 4 && failing.iter().all(|cell| cell["backend"] == "y"), "{found:#}");
    assert!(sentence(&found).starts_with("Prefill on y is newly failing in 2 of 2 cells"), "{}", sentence(&found));
}

/// A model that does not load any more, and an engine that its calls end, leave few calls that failed or none: what they kept from
/// being made failed too.
#[test]
fn what_does_not_load_any_more_is_newly_failing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run(folder, "a", &scenario(1, 1, PLAIN));
    for (name, kind, why) in [
        ("load", "load", ": its session failed to load 2 times in a row (scripted load failure) (25 never made)"),
        ("crash", "crashed", ": its calls ended the session 2 times ("),
    ] {
        let fault = format!(", faults: [{{ kind: {kind}, every: 1 }}]");
        run(folder, name, &scenario(2, 1, [("x", ""), ("y", &fault)]));
        let (code, found) = compare(folder, &["a", name, "--drift", "0.1"]);
        assert_eq!(code, Some(5), "{found:#}");
        let failing: Vec<&Value> = cells(&found).iter().filter(|cell| cell["verdict"] == "newly_failing").collect();
        assert!(failing.len() == 4 && failing.iter().all(|cell| cell["backend"] == "y"), "{found:#}");
        let reason = failing[0]["reason"].as_str().unwrap();
        assert!(reason.starts_with("25 of 25 calls do not count, 0 of 25 before; "), "{reason}");
        assert!(reason.contains(&format!("{name}: no call on y counts{why}")), "{reason}");
        // Nor is it news where it was so before.
        let (code, found) = compare(folder, &[name, "a", "--drift", "0.1"]);
        assert_eq!(code, Some(8), "{found:#}");
        assert!(verdicts(&found, "prefill").contains(&"missing".to_owned()), "{found:#}");
    }
}
