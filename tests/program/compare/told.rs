//! Files, annotations, means and gates say what the terminal says.

use std::fs;

use quick_xml::events::Event;
use serde_json::{Value, json};

use super::fixture::{PLAIN, SLOWER_DECODE, Script, cells, compare, edit_lines, phasebench, run, scenario};
use crate::program::text;

#[test]
fn files_and_annotations_say_what_the_terminal_says() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run(folder, "a", &scenario(1, 2, PLAIN));
    run(folder, "b", &scenario(3, 2, [("x", ""), ("y", SLOWER_DECODE)]));
    let arguments = ["compare", "a", "b", "--drift", "0.1", "--out", "page", "--junit", "junit.xml", "--github"];
    let output = phasebench(folder, &arguments);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.starts_with("::error title=b against a::Decode on y is 15 %25 slower"), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("::error title=Decode of m")).count(), 4, "{said}");

    let summary = fs::read_to_string(folder.join("summary.md")).unwrap();
    assert!(summary.contains("Did anything change?") && summary.contains("| slower"), "{summary}");
    let page = fs::read_to_string(folder.join("page/report.html")).unwrap();
    assert!(page.contains("Decode on y is 15 % slower") && page.matches("<svg").count() == 4);
    for title in ["more a step or prefill (ms)", "p (Holm)", "q"] {
        assert!(page.contains(&format!(">{title}</th>")), "{title}");
    }
    let mut csv = csv::Reader::from_path(folder.join("page/comparison.csv")).unwrap();
    let columns = csv.headers().unwrap().clone();
    let verdict = columns.iter().position(|name| name == "verdict").unwrap();
    let slower = csv.records().filter(|row| &row.as_ref().unwrap()[verdict] == "slower").count();
    assert_eq!(slower, 4);
    let json: Value = serde_json::from_slice(&fs::read(folder.join("page/comparison.json")).unwrap()).unwrap();
    assert_eq!(json["outcome"], "worse");

    let xml = fs::read_to_string(folder.join("junit.xml")).unwrap();
    let mut reader = quick_xml::Reader::from_str(&xml);
    let (mut cases, mut failures) = (0, 0);
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) | Event::Empty(tag) => {
                cases += u32::from(tag.name().as_ref() == b"testcase");
                failures += u32::from(tag.name().as_ref() == b"failure");
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!((cases, failures), (16, 4), "{xml}");

    // Of several candidates each is as serious as it is itself.
    run(folder, "same", &scenario(2, 2, PLAIN));
    let output = phasebench(folder, &["compare", "a", "same", "b", "--drift", "0.1", "--github"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.starts_with("::notice title=same against a::Nothing is known to be slower"), "{said}");
    assert!(said.contains("\n::error title=b against a::Decode on y is 15 %25 slower"), "{said}");
    let both = phasebench(folder, &["compare", "a", "b", "--github", "--json"]);
    assert_eq!(both.status.code(), Some(2));
    assert!(text(&both.stderr).contains("cannot be used with"), "{}", text(&both.stderr));

    let terminal = text(&phasebench(folder, &["compare", "a", "b", "--drift", "0.1"]).stdout);
    assert!(terminal.starts_with("b against a\n  Decode on y is 15 % slower"), "{terminal}");
    assert!(terminal.ends_with("outcome: worse\n"), "{terminal}");
}

/// A mean over cells is that of the cells below it, whatever sessions they have, and of one cell it is that cell.
#[test]
fn a_mean_over_cells_is_of_those_that_stand_below_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let slower = [("x", SLOWER_DECODE), ("y", SLOWER_DECODE)];
    run(folder, "a", &scenario(1, 2, PLAIN));
    let b = run(folder, "b", &scenario(3, 2, slower));
    edit_lines(&b, |line| {
        if let Some(call) = line.get_mut("call").filter(|call| call["role"] == "timed" && call["scenario"] == "long") {
            call["session_index"] = json!(call["session_index"].as_u64().unwrap() % 3);
        }
    });
    let groups = |found: &Value| found["comparisons"][0]["groups"].as_array().unwrap().clone();
    let of_group = |found: &Value, group: &Value| -> Vec<Value> {
        let own = |cell: &&Value| cell["backend"] == group["backend"] && cell["mode"] == group["mode"];
        cells(found).iter().filter(own).cloned().collect()
    };
    let (_, found) = compare(folder, &["a", "b", "--drift", "0.1"]);
    assert_eq!(groups(&found).len(), 4);
    for group in groups(&found) {
        let own = of_group(&found, &group);
        let logs = own.iter().map(|cell| cell["ratio"].as_f64().unwrap().ln()).sum::<f64>();
        let mean = (logs / own.len() as f64).exp();
        assert!(own.len() == 4 && (group["ratio"].as_f64().unwrap() / mean - 1.0).abs() < 1e-9, "{mean}: {group:#}");
    }
    let long = "  - { name: long, prompt: { tokens: 128 } }\n";
    let one = |seed: u32, engines: Script<'_>| scenario(seed, 1, engines).replace(long, "");
    run(folder, "one", &one(1, PLAIN));
    run(folder, "other", &one(3, slower));
    let (_, found) = compare(folder, &["one", "other", "--drift", "0.1"]);
    for group in groups(&found) {
        let own = of_group(&found, &group);
        assert_eq!((own.len(), &own[0]["verdict"]), (1, &group["verdict"]), "{group:#}");
        for end in ["ratio", "ratio_low", "ratio_high"] {
            assert!((own[0][end].as_f64().unwrap() - group[end].as_f64().unwrap()).abs() < 1e-12, "{end}: {group:#}");
        }
    }
}

/// That nothing is worse is said of the cells that count alone, wherever it is said, with what does not.
#[test]
fn what_a_gate_leaves_out_is_said_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run(folder, "a", &scenario(1, 2, PLAIN));
    run(folder, "b", &scenario(3, 2, [("x", ""), ("y", SLOWER_DECODE)]));
    let asked = ["compare", "a", "b", "--drift", "0.1", "--gate", "backend=x,mode=kv_decode"];
    let words = "nothing is worse of the cells that count (--gate backend=x,mode=kv_decode: 4 of 16); 4 slower cells do not \
                 count";
    let output = phasebench(folder, &[&asked[..], &["--out", "page", "--junit", "junit.xml"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).ends_with(&format!("outcome: {words}\n")), "{}", text(&output.stdout));
    let page = fs::read_to_string(folder.join("page/report.md")).unwrap();
    assert!(page.contains(words) && page.contains("cells that count"), "{page}");
    let json: Value = serde_json::from_slice(&fs::read(folder.join("page/comparison.json")).unwrap()).unwrap();
    let gate = json!({ "backends": ["x"], "models": [], "scenarios": [], "modes": ["kv_decode"] });
    assert_eq!((&json["gate"], &json["allowed"], &json["counting_cells"]), (&gate, &json!([]), &json!(4)), "{json:#}");
    assert_eq!((&json["outcome"], &json["cells"]), (&json!("good"), &json!(16)));
    let xml = fs::read_to_string(folder.join("junit.xml")).unwrap();
    let skipped = "<skipped message=\"does not count (--gate backend=x,mode=kv_decode): slower: 1";
    assert_eq!(xml.matches(skipped).count(), 4, "{xml}");
    assert!(xml.contains(&format!("outcome: {words}")), "{xml}");
    let said = text(&phasebench(folder, &[&asked[..], &["--github"]].concat()).stdout);
    assert!(said.starts_with("::notice title=b against a::Decode on y is 15 %25 slower"), "{said}");
    assert!(said.contains(&format!(" Outcome: {words}.")), "{said}");

    // What is allowed is said, too.
    let asked = ["compare", "a", "b", "--gate", "mode=kv_decode,backend=y", "--margin", "10"];
    let (code, found) = compare(folder, &[&asked[1..], &["--allow", "undecided,extent-open"]].concat());
    assert_eq!((code, &found["allowed"]), (Some(0), &json!(["extent_open", "undecided"])), "{found:#}");
    let output = phasebench(folder, &[&asked[..], &["--allow", "undecided,extent-open"]].concat());
    let said = text(&output.stdout);
    let words =
        "outcome: nothing is worse of the cells that count (--gate backend=y,mode=kv_decode: 4 of 16); allowed: 4 ";
    assert!(said.contains(words) && said.ends_with(" (--allow extent-open,undecided)\n"), "{said}");
}
