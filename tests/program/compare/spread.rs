//! How much runs of one build differ: by earlier runs, and by halves of one.

use std::fs;

use serde_json::{Value, json};

use super::fixture::{PLAIN, SLOWER_DECODE, compare, edit_lines, phasebench, run, scenario};
use crate::program::text;

#[test]
fn earlier_runs_say_how_much_runs_differ() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for seed in 1..=4 {
        run(folder, &format!("runs/{seed}"), &scenario(seed, 1, PLAIN));
    }
    run(folder, "after", &scenario(6, 1, [("x", SLOWER_DECODE), ("y", SLOWER_DECODE)]));
    let few = phasebench(folder, &["compare", "runs/1", "after", "--history", "runs"]);
    let words = "phasebench: --history: 4 runs of the stack of 1 have its cells, 5 are needed: the default of";
    assert!(text(&few.stderr).starts_with(words), "{}", text(&few.stderr));
    assert!(text(&few.stdout).contains("the default of a"), "{}", text(&few.stdout));

    // Runs of another plan on the same stack tell nothing of these cells, nor does what is to be judged.
    let other = |seed: u32| scenario(seed, 1, PLAIN).replace("{ name: m1", "{ name: other");
    run(folder, "runs/other-1", &other(7));
    run(folder, "runs/other-2", &other(8));
    // Nor do prompts of other lengths under the same scenario names.
    for seed in [10, 11] {
        let longer = scenario(seed, 1, PLAIN).replace("tokens: 16 }", "tokens: 48 }");
        run(folder, &format!("runs/longer-{seed}"), &longer.replace("tokens: 128 }", "tokens: 256 }"));
    }
    run(folder, "runs/candidate", &scenario(9, 1, PLAIN));
    let few = phasebench(folder, &["compare", "runs/1", "runs/candidate", "--history", "runs"]);
    assert!(text(&few.stderr).starts_with(words), "{}", text(&few.stderr));
    fs::rename(folder.join("runs/candidate"), folder.join("candidate")).unwrap();

    run(folder, "runs/5", &scenario(5, 1, PLAIN));
    let (code, found) = compare(folder, &["runs/1", "after", "--history", "runs"]);
    let allowance = &found["comparisons"][0]["allowance"];
    assert_eq!(allowance["source"]["history"]["runs"], 5, "{found:#}");
    // Runs of 25 calls with 1 % noise, known from five of them.
    let ln = allowance["ln"].as_f64().unwrap();
    assert!((0.0005..0.01).contains(&ln), "{ln}");
    assert_eq!(code, Some(5), "{found:#}");
    let told = text(&phasebench(folder, &["compare", "runs/1", "after", "--history", "runs"]).stdout);
    assert!(told.contains("measured over 5 runs of one stack, begun within "), "{told}");
    // In the folder that it is judged by it has no part in that.
    fs::rename(folder.join("after"), folder.join("runs/after")).unwrap();
    let (code, again) = compare(folder, &["runs/1", "runs/after", "--history", "runs"]);
    assert_eq!((code, &again["comparisons"][0]["allowance"]), (Some(5), allowance), "{again:#}");
}

#[test]
fn halves_of_one_run_are_seldom_called_different() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run(folder, "a", &scenario(1, 3, PLAIN));
    let output = phasebench(folder, &["compare", "a", "--null", "200", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let null = &found["null"];
    assert_eq!((output.status.code(), null["sessions"].as_u64(), null["cells"].as_u64()), (Some(0), Some(5), Some(24)));
    assert!(null["different"].as_u64().unwrap() <= 20, "{found:#}");
}

/// Cells that stopped after three sessions and after ten: a split that leaves the former without any on one side leaves it out.
#[test]
fn halves_of_cells_with_different_numbers_of_sessions_are_compared_where_they_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let a = run(folder, "a", &scenario(1, 1, PLAIN));
    edit_lines(&a, |line| {
        if let Some(call) = line.get_mut("call").filter(|call| call["role"] == "timed") {
            let sessions = if call["scenario"] == "short" { 3 } else { 10 };
            call["session_index"] = json!(call["index"].as_u64().unwrap() % sessions);
        }
    });
    let output = phasebench(folder, &["compare", "a", "--null", "200", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let null = &found["null"];
    assert_eq!((null["sessions"].as_u64(), null["cells"].as_u64()), (Some(10), Some(8)), "{found:#}");
    // Three of ten fall on one side in one split of six; the other half of the cells is compared in all.
    let compared = null["compared"].as_u64().unwrap();
    assert!((4 * 200 + 4 * 120..4 * 200 + 4 * 200).contains(&compared), "{found:#}");
    let told = text(&phasebench(folder, &["compare", "a", "--null", "200"]).stdout);
    assert!(told.starts_with("200 random splits of 10 sessions, up to 8 cells each: "), "{told}");
}
