//! `compare` through the program itself, on scripted engines whose truth is known.
//!
//! Calls are divided over sessions in the record: a scripted engine is the same in every process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use quick_xml::events::Event;
use serde_json::{Value, json};

/// What a scripted engine is told beside its noise.
type Script<'a> = [(&'a str, &'a str); 2];

fn phasebench(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
    command.current_dir(folder).args(arguments).env("GITHUB_STEP_SUMMARY", folder.join("summary.md")).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Engines with 1 % noise: the name, and what else the script says.
fn scenario(seed: u32, models: usize, engines: Script<'_>) -> String {
    let engines: String = engines
        .iter()
        .map(|(name, script)| format!("  - {{ name: {name}, simulated: {{ noise: 0.01{script} }} }}\n"))
        .collect();
    let models: String = (1..=models)
        .map(|layers| {
            format!(
                "  - {{ name: m{layers}, synthetic: {{ family: gpt2, n_layer: {layers}, n_embd: 64, n_head: 2 }} }}\n"
            )
        })
        .collect();
    format!(
        "version: 1
name: changes
seed: {seed}
repetitions: {{ fixed: 25 }}
gen_tokens: [32]
scenarios:
  - {{ name: short, prompt: {{ tokens: 16 }} }}
  - {{ name: long, prompt: {{ tokens: 128 }} }}
models:
{models}backends:
{engines}"
    )
}

const PLAIN: Script<'static> = [("x", ""), ("y", "")];
/// Decode takes 15 % longer than the 300 µs that are the default.
const SLOWER_DECODE: &str = ", decode_per_step: { base: 345us, exponent: 0.7 }";

/// Runs a scenario and divides its calls over five sessions.
fn run(folder: &Path, name: &str, scenario: &str) -> PathBuf {
    fs::write(folder.join("s.yaml"), scenario).unwrap();
    let output = phasebench(folder, &["run", "s.yaml", "--out", name]);
    assert!([Some(0), Some(3)].contains(&output.status.code()), "{}", text(&output.stderr));
    edit_lines(&folder.join(name), |line| {
        if let Some(call) = line.get_mut("call").filter(|call| call["role"] == "timed") {
            call["session_index"] = json!(call["index"].as_u64().unwrap() % 5);
        }
    });
    folder.join(name)
}

fn edit_lines(run: &Path, mut edit: impl FnMut(&mut Value)) {
    let path = run.join("measurements.jsonl");
    let record = fs::read_to_string(&path).unwrap();
    let edited = record.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        edit(&mut line);
        format!("{line}\n")
    });
    fs::write(&path, edited.collect::<String>()).unwrap();
}

fn edit_manifest(run: &Path, edit: impl FnOnce(&mut Value)) {
    let path = run.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut manifest);
    fs::write(&path, manifest.to_string()).unwrap();
}

/// Compares; gives the exit code and the JSON.
fn compare(folder: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = phasebench(folder, &[&["compare"], arguments, &["--json"]].concat());
    let found = serde_json::from_slice(&output.stdout);
    (output.status.code(), found.unwrap_or_else(|_| panic!("{}", text(&output.stderr))))
}

fn cells(found: &Value) -> &Vec<Value> {
    found["comparisons"][0]["cells"].as_array().unwrap()
}

fn sentence(found: &Value) -> &str {
    found["comparisons"][0]["sentence"].as_str().unwrap()
}

/// Verdicts of the cells in a mode.
fn verdicts(found: &Value, mode: &str) -> Vec<String> {
    let of_mode = cells(found).iter().filter(|cell| cell["mode"] == mode);
    of_mode.map(|cell| cell["verdict"].as_str().unwrap().to_owned()).collect()
}

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
