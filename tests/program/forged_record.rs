//! A run folder that was changed after it was finished: by a bit that flipped, or by somebody who knew what to write.
//!
//! Flips are looked for in every file of a run. Forgeries change the record of the example in a way that reads well, and
//! come with tables made from the changed record: only what its lines say of each other can tell.

use std::fs;
use std::path::{Path, PathBuf};

use phasebench::analysis::validate;
use phasebench::hash::seeded;
use phasebench::run_folder::RunFolder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::run::fixture::{Fixture, Scenario};

const SEED: u64 = 20_261_129;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let to = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy(&entry, &to);
        } else {
            fs::copy(&entry, &to).unwrap();
        }
    }
}

/// The example, its record without seals: what is looked for is what its lines say of each other.
fn example() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("results/example"), folder.path());
    let mut lines = lines(folder.path());
    lines.retain(|line| line.get("seal").is_none());
    lines[0]["header"]["format"] = json!(1);
    write(folder.path(), &lines);
    folder
}

/// The record's lines.
fn lines(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("measurements.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn write(run: &Path, lines: &[Value]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(run.join("measurements.jsonl"), text).unwrap();
}

/// What the record says against itself.
fn contradictions(run: &Path) -> Vec<String> {
    let run = RunFolder::open(run).unwrap();
    validate::contradictions(&run.recording, &run.plan, &run.manifest)
}

/// Changes lines; the number chooses among those that it could change.
type Forge = fn(&mut Vec<Value>, usize);

/// The `n`-th of the lines that are calls of this role, or of any; counted round.
fn call<'a>(lines: &'a mut [Value], role: Option<&str>, n: usize) -> &'a mut Value {
    let fits = |line: &Value| line.get("call").is_some_and(|call| role.is_none_or(|role| call["role"] == role));
    let places: Vec<usize> = (0..lines.len()).filter(|&i| fits(&lines[i])).collect();
    &mut lines[places[n % places.len()]]["call"]
}

fn load(lines: &mut [Value], n: usize) -> &mut Value {
    let places: Vec<usize> = (0..lines.len()).filter(|&i| lines[i].get("load").is_some()).collect();
    &mut lines[places[n % places.len()]]["load"]
}

fn scaled(value: &Value, factor: f64) -> Value {
    json!((value.as_f64().unwrap() * factor).round() as u64)
}

const FORGERIES: [(&str, Forge); 28] = [
    ("no load is recorded", |lines, _| lines.retain(|line| line.get("load").is_none())),
    ("one load is gone", |lines, n| {
        let places: Vec<usize> = (0..lines.len()).filter(|&i| lines[i].get("load").is_some()).collect();
        lines.remove(places[n % places.len()]);
    }),
    ("no process is recorded", |lines, _| lines.retain(|line| line.get("opened").is_none())),
    ("a call of another process", |lines, n| call(lines, None, n)["epoch"] = json!(7)),
    ("a call of a load that never was", |lines, n| call(lines, None, n)["load_index"] = json!(99)),
    ("a call of another model's load", |lines, n| {
        let call = call(lines, None, n);
        call["load_index"] = json!((call["load_index"].as_u64().unwrap() + 1) % 5);
    }),
    ("a load with another number", |lines, n| load(lines, n)["load_index"] = json!(n + 5)),
    ("a load of another model", |lines, n| load(lines, n)["session"]["model"] = json!("gpt2-4m")),
    ("a decode span halved, its steps as they were", |lines, n| {
        let span = &mut call(lines, Some("timed"), n)["spans"][1];
        let (begin, end) = (span["begin_ns"].as_u64().unwrap(), span["end_ns"].as_u64().unwrap());
        span["end_ns"] = json!(begin + (end - begin) / 2);
    }),
    ("steps halved, the span as it was", |lines, n| {
        let steps = call(lines, Some("timed"), n)["step_ns"].as_array_mut().unwrap();
        steps.iter_mut().for_each(|step| *step = scaled(step, 0.5));
    }),
    ("one step of 32 left out", |lines, n| {
        drop(call(lines, Some("timed"), n)["step_ns"].as_array_mut().unwrap().pop())
    }),
    ("processor time of thirty years", |lines, n| call(lines, None, n)["client_cpu_ns"] = json!(1e18 as u64)),
    ("a call of three years", |lines, n| call(lines, None, n)["total_wall_ns"] = json!(94_608_000_000_000_000_u64)),
    ("three token ids for 33", |lines, n| call(lines, None, n)["token_ids"] = json!([1, 2, 3])),
    ("a token that no model has", |lines, n| call(lines, None, n)["token_ids"][7] = json!(4_000_000_000_u64)),
    ("new tokens counted twice", |lines, n| call(lines, None, n)["tokens"]["new_tokens"] = json!(65)),
    ("a GPU claimed with the processor's evidence", |lines, n| {
        call(lines, None, n)["attribution"]["actual"] = json!("CUDAExecutionProvider");
    }),
    ("a GPU asked for and claimed with the processor's evidence", |lines, n| {
        let claim = &mut load(lines, n)["attribution"];
        (claim["requested"], claim["actual"]) = (json!("CUDAExecutionProvider"), json!("CUDAExecutionProvider"));
    }),
    ("nodes elsewhere and the claim as it was", |lines, n| {
        call(lines, None, n)["attribution"]["evidence"]["off_provider_ops"] = json!("MatMul\u{d7}3");
    }),
    ("a call before the one before it", |lines, n| {
        let call = call(lines, Some("timed"), n);
        call["begin_ns"] = scaled(&call["begin_ns"], 0.5);
    }),
    ("another rest before a call", |lines, n| call(lines, Some("timed"), n)["since_last_call_ns"] = json!(5_000_000)),
    ("a session older than its load", |lines, n| {
        call(lines, None, n)["session_age_ns"] = json!(9_000_000_000_000_000_u64);
    }),
    ("two calls change places", |lines, n| {
        let places: Vec<usize> = (0..lines.len() - 1)
            .filter(|&i| lines[i].get("call").is_some() && lines[i + 1].get("call").is_some())
            .collect();
        let place = places[n % places.len()];
        lines.swap(place, place + 1);
    }),
    ("a call is gone", |lines, n| {
        let places: Vec<usize> = (0..lines.len()).filter(|&i| lines[i].get("call").is_some()).collect();
        lines.remove(places[n % places.len()]);
    }),
    ("the end counts one call less", |lines, _| {
        let calls = &mut lines.last_mut().unwrap()["finished"]["calls"];
        *calls = json!(calls.as_u64().unwrap() - 1);
    }),
    ("our own work told as other programs' too", |lines, n| {
        let beside = &mut call(lines, None, n)["beside"];
        (beside["ours_cpu"], beside["foreign_cpu"]) = (json!(0.75), json!(0.5));
    }),
    ("other programs in time that the hypervisor took", |lines, n| {
        let beside = &mut call(lines, None, n)["beside"];
        (beside["steal"], beside["foreign_cpu"]) = (json!(0.7), json!(0.5));
    }),
    ("a degraded call called good", |lines, n| {
        call(lines, Some("timed"), n)["tokens"]["decode_steps_timed"] = json!(31);
    }),
];

#[test]
fn a_forged_record_contradicts_itself() {
    let untouched = example();
    assert_eq!(contradictions(untouched.path()), Vec::<String>::new());
    let mut tried = 0;
    for (what, forge) in FORGERIES {
        for draw in 0..4_u64 {
            let n = usize::try_from(seeded(SEED, &[what, &draw.to_string()]) % 100_000).unwrap();
            let run = example();
            let mut lines = lines(run.path());
            let before = lines.clone();
            forge(&mut lines, n);
            assert_ne!(lines, before, "{what}");
            write(run.path(), &lines);
            assert!(!contradictions(run.path()).is_empty(), "{what}, place {n}: nobody would notice");
            tried += 1;
        }
    }
    println!("{tried} forgeries of {} kinds, seed {SEED}: all noticed", FORGERIES.len());
}

/// Every file of a run but those that say nothing of it.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        if entry.is_dir() {
            files(&entry, found);
        } else if !["lock", "local.json"].contains(&name.as_str()) {
            found.push(entry);
        }
    }
    found.sort();
}

#[test]
fn a_bit_that_flips_anywhere_in_a_finished_run_is_noticed() {
    let fixture = Fixture::new(&Scenario { repetitions: "{ fixed: 3 }", ..Scenario::default() });
    assert!(fixture.run().status.success());
    for command in ["analyze", "report"] {
        assert!(fixture.command(&[command, "run"]).output().unwrap().status.success());
    }
    let run = fixture.run.clone();
    // The program itself: only what made a report can tell whether it is the same.
    let passes = || fixture.command(&["validate", "run"]).output().unwrap().status.success();
    assert!(passes(), "{:?}", validate::validate(&run));
    let mut all = Vec::new();
    files(&run, &mut all);
    let mut in_record = 0;
    for draw in 0..500_u64 {
        // Half of the flips in the record: it is what everything else is made from.
        let record = draw % 2 == 0;
        let chosen = usize::try_from(seeded(SEED, &["file", &draw.to_string()])).unwrap_or(0) % all.len();
        let file = if record { run.join("measurements.jsonl") } else { all[chosen].clone() };
        let good = fs::read(&file).unwrap();
        if good.is_empty() {
            continue;
        }
        let place = usize::try_from(seeded(SEED, &["place", &draw.to_string()]) % (8 * good.len() as u64)).unwrap();
        let mut bad = good.clone();
        bad[place / 8] ^= 1 << (place % 8);
        fs::write(&file, &bad).unwrap();
        assert!(!passes(), "bit {place} of {}, seed {SEED}", file.display());
        fs::write(&file, good).unwrap();
        in_record += u32::from(record);
    }
    assert!(passes());
    println!("500 flips, {in_record} of them in the record, seed {SEED}: all noticed");
}

/// The bit that turns format 3 into format 1, which has no seals, does not hide what else was changed.
#[test]
fn a_record_that_calls_itself_older_than_its_seals_fails() {
    let fixture = Fixture::new(&Scenario { repetitions: "{ fixed: 3 }", ..Scenario::default() });
    assert!(fixture.run().status.success());
    let measurements = fixture.run.join("measurements.jsonl");
    let good = fs::read_to_string(&measurements).unwrap();
    assert!(good.contains("{\"seal\":"), "{good}");
    let older = good.replacen("\"format\":3", "\"format\":1", 1);
    assert_ne!(older, good);
    fs::write(&measurements, &older).unwrap();
    let output = fixture.command(&["validate", "run"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let check = said.lines().find(|line| line.contains("the record is as it was written")).unwrap();
    assert!(
        check.to_lowercase().starts_with("fail") && check.contains("its format is 1, which has no seals"),
        "{said}"
    );
    assert!(contradictions(&fixture.run).iter().any(|found| found.contains("its format is 1")));
}
