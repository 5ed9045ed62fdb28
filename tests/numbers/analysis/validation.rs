//! Every check passes on a good run, and fails on what it is for.

use std::fs;
use std::path::Path;

use phasebench::analysis::validate::{Check, Outcome, passed, validate};
use phasebench::analysis::{derive, descriptions, write};
use phasebench::cli::RunFolderArgs;
use phasebench::commands;
use phasebench::exit::Exit;
use phasebench::record::plan::Plan;
use phasebench::record::{CallRecord, Decision, Line, Rule};
use phasebench::terms::{CompileEvidence, Degraded, EarlyStop, Finish, Phase, Repetitions, Role, Status};
use phasebench::units::Nanos;

use crate::analysis::run::{FOUR, Run, degrade, shape};

const TIMED: &str = "a-s-1-50-timed-0001";

fn good() -> Run {
    let shapes = [shape("s", 8, 1, 50), shape("t", 8, 4, 50)];
    Run::measured(&FOUR[..2], &shapes, 3, |model, _, i| (model.millions + f64::from(i), 10.0))
}

fn checks(run: &Run) -> Vec<Check> {
    let folder = tempfile::tempdir().unwrap();
    run.write(folder.path());
    write(&derive(&run.recording(), &run.plan, &run.manifest, &[]), folder.path()).unwrap();
    validate(folder.path())
}

fn failed(checks: &[Check]) -> Vec<&str> {
    checks.iter().filter(|c| c.outcome == Outcome::Fail).map(|c| c.name.as_str()).collect()
}

#[test]
fn a_good_run_passes() {
    let checks = checks(&good());
    assert!(passed(&checks), "{checks:#?}");
    let skipped: Vec<_> = checks.iter().filter(|c| c.outcome == Outcome::Skip).map(|c| c.name.as_str()).collect();
    assert_eq!(skipped, ["the record is as it was written", "figures of the report exist"]);
}

/// What is changed about a good run, the check that must notice, and words of its detail.
type Case = (fn(&mut Run), &'static str, &'static str);

const CASES: [Case; 23] = [
    (|run| run.find(TIMED).call_id = "a-s-1-50-timed-0000".to_owned(), "call ids are unique", "recorded twice"),
    (|run| run.find(TIMED).scenario = "other".to_owned().into(), "calls belong to the plan", "is not its cell's"),
    (|run| run.find(TIMED).index = 2, "timed calls are numbered without gaps", "index 2, expected 1"),
    (|run| run.find(TIMED).attempt = 1, "timed calls are numbered without gaps", "index 1, expected 0"),
    (|run| run.find(TIMED).attempt = 1, "tries are in order and within the limit", "try 1, expected 0"),
    (
        |run| degrade(run.find(TIMED), Degraded::EarlyStop, "stopped"),
        "tries are in order and within the limit",
        "try 0, expected 1, with 3 retries planned",
    ),
    (
        |run| degrade(run.find("a-s-1-50-timed-0002"), Degraded::TooShort, "stopped"),
        "repetitions follow the rule",
        "2 timed calls of 3",
    ),
    (|run| stop_early(run.find(TIMED), 7, 3), "tokens are as asked", "7 decode steps timed of 50"),
    (|run| stop_early(run.find(TIMED), 40, 2), "tokens are as asked", "40 decode steps timed of 50"),
    (
        |run| run.lines.retain(|line| !is(line, "a-s-1-50-timed-0002")),
        "repetitions follow the rule",
        "2 timed calls of 3",
    ),
    (
        |run| run.plan.repetitions = Repetitions::Adaptive { min: 3, max: 3, until_relative_ci: 0.1 },
        "repetitions follow the rule",
        "no decision that stopped it",
    ),
    (|run| decide(run, Rule::MaxCalls, 2), "repetitions follow the rule", "decided on 2 good calls, 3 are recorded"),
    (|run| decide(run, Rule::NarrowEnough, 3), "repetitions follow the rule", "always 3 calls are planned"),
    (
        |run| run.lines.retain(|line| !is(line, "a-t-4-50-load0-warmup-0")),
        "warmups come before timed calls",
        "after 0 warmups of 1",
    ),
    (
        |run| run.find("a-t-4-50-load0-warmup-0").role = Role::Cold,
        "warmups come before timed calls",
        "the later call of a load has role cold",
    ),
    (
        |run| run.find(TIMED).spans[1].begin_ns = Nanos(0),
        "phases lie inside the call, in order",
        "kv_decode begins before",
    ),
    (
        |run| run.find(TIMED).total_wall_ns = Nanos(5),
        "phases lie inside the call, in order",
        "the last phase ends after the call",
    ),
    (|run| run.find(TIMED).tokens.decode_steps_timed = 49, "tokens are as asked", "49 decode steps timed of 50"),
    (|run| run.find(TIMED).tokens.prompt_evaluated = Some(7), "tokens are as asked", "8 prompt tokens sent"),
    (|run| run.find(TIMED).beside.steal = Some(-0.1), "figures are in range", "steal is -0.1"),
    (
        |run| {
            run.find(TIMED).compile.push(CompileEvidence {
                phase: Phase::KvDecode,
                backend_requested: "inductor".to_owned(),
                backend_actual: Some("inductor".to_owned()),
                calls: 50,
                executions: 49,
                unique_graphs: 0,
                graph_breaks: 0,
                recompiles: 0,
                guard_failures: 0,
                cache_hits: 0,
                cache_misses: 0,
                compile_ns: Nanos(0),
                duration_ns: None,
                reasons: Vec::new(),
                bucket: None,
            });
        },
        "what counts as compiled ran compiled",
        "kv_decode: 49 executions of compiled code in 50 calls",
    ),
    (|run| run.find(TIMED).weights_id = "stray".to_owned().into(), "weights are the manifest's", "stray"),
    (
        |run| {
            for line in &mut run.lines {
                if let Line::Opened(opened) = line {
                    opened.stack_sha256 = "changed".to_owned();
                }
            }
        },
        "one stack throughout",
        "found stack changed",
    ),
];

/// Makes a call that counts one that ended at a stop token.
fn stop_early(call: &mut CallRecord, steps: u32, attempt: u32) {
    call.tokens.decode_steps_timed = steps;
    call.attempt = attempt;
    call.finish = Some(Finish::Stop);
}

fn is(line: &Line, call_id: &str) -> bool {
    matches!(line, Line::Call(call) if call.call_id == call_id)
}

fn decide(run: &mut Run, rule: Rule, calls_ok: u32) {
    let cell_id = run.plan.cells[0].id.clone();
    let decision = Decision { cell_id, rule, calls_ok, relative_ci: None, why: String::new() };
    run.lines.insert(run.lines.len() - 1, Line::Decision(decision.into()));
}

#[test]
fn every_check_notices_what_it_is_for() {
    for (change, name, detail) in CASES {
        let mut run = good();
        change(&mut run);
        let checks = checks(&run);
        let found = checks.iter().find(|check| check.name == name).unwrap();
        assert_eq!(found.outcome, Outcome::Fail, "{name}: {}", found.detail);
        assert!(found.detail.contains(detail), "{name}: {}", found.detail);
    }
}

#[test]
fn degraded_calls_need_not_be_complete() {
    let mut run = good();
    let call = run.find(TIMED);
    call.status = Status::Degraded(Degraded::Incomplete);
    call.spans.clear();
    call.tokens.decode_steps_timed = 1;
    run.settle();
    assert_eq!(failed(&checks(&run)), Vec::<&str>::new());
}

/// A plan and calls from before early stops could be scaled mean what they meant then.
#[test]
fn earlier_files_read() {
    let mut run = good();
    let mut plan = serde_json::to_value(&run.plan).unwrap();
    plan.as_object_mut().unwrap().remove("early_stop");
    let plan: Plan = serde_json::from_value(plan).unwrap();
    assert_eq!(plan.early_stop, EarlyStop { retries: 0, min_steps: 8, scale: false });
    let mut call = serde_json::to_value(run.find(TIMED)).unwrap();
    call.as_object_mut().unwrap().remove("attempt");
    call["tokens"].as_object_mut().unwrap().remove("new_tokens");
    let call: CallRecord = serde_json::from_value(call).unwrap();
    assert_eq!((call.attempt, call.tokens.new_tokens), (0, None));
}

/// Three tries end early, the fourth counts with its decode time scaled.
#[test]
fn tries_in_order_pass() {
    let mut run = good();
    let place = run.lines.iter().position(|line| is(line, TIMED)).unwrap();
    for attempt in (0..3).rev() {
        let mut tried = run.find(TIMED).clone();
        tried.attempt = attempt;
        tried.call_id = format!("{TIMED}-before-{attempt}");
        tried.finish = Some(Finish::Stop);
        (tried.tokens.decode_steps_timed, tried.tokens.new_tokens) = (5, Some(6));
        degrade(&mut tried, Degraded::TooShort, "5 of 50 decode steps were made");
        run.lines.insert(place, Line::Call(tried.into()));
    }
    stop_early(run.find(TIMED), 40, 3);
    run.find(TIMED).tokens.new_tokens = Some(41);
    run.settle();
    let checks = checks(&run);
    assert!(passed(&checks), "{checks:#?}");
    let tries = checks.iter().find(|check| check.name == "tries are in order and within the limit").unwrap();
    assert_eq!(tries.detail, "3 calls made again");
}

#[test]
fn an_unfinished_run_is_not_held_to_its_repetitions() {
    let mut run = good();
    run.lines.pop();
    run.lines.pop();
    let checks = checks(&run);
    assert!(passed(&checks), "{checks:#?}");
    let skipped = checks.iter().find(|check| check.name == "repetitions follow the rule").unwrap();
    assert_eq!(skipped.outcome, Outcome::Skip);
}

fn in_folder(change: impl Fn(&Path)) -> Vec<Check> {
    let run = good();
    let folder = tempfile::tempdir().unwrap();
    run.write(folder.path());
    write(&run.tables(), folder.path()).unwrap();
    change(folder.path());
    validate(folder.path())
}

#[test]
fn files_are_checked() {
    let append = |path: &Path, text: &str| {
        let before = fs::read_to_string(path).unwrap();
        fs::write(path, before + text).unwrap();
    };
    let found = in_folder(|folder| append(&folder.join("spec.yaml"), "# changed\n"));
    assert_eq!(failed(&found), ["hashes match"]);
    let found = in_folder(|folder| append(&folder.join("plan.json"), "\n"));
    assert_eq!(failed(&found), ["hashes match"]);
    let found = in_folder(|folder| append(&folder.join("analysis/warmup_effect.csv"), "x\n"));
    assert_eq!(failed(&found), ["tables are what the record gives"]);
    let found = in_folder(|folder| fs::remove_file(folder.join("metrics.csv")).unwrap());
    assert_eq!(failed(&found), ["tables are what the record gives"]);
    let found = in_folder(|folder| append(&folder.join("measurements.jsonl"), "{\"call"));
    assert_eq!(failed(&found), Vec::<&str>::new());
    let found = in_folder(|folder| append(&folder.join("measurements.jsonl"), "{}\n"));
    assert_eq!(failed(&found), ["every record reads"]);
    let detail = &found.iter().find(|check| check.name == "every record reads").unwrap().detail;
    assert!(detail.starts_with("line "), "{detail}");
    let found = in_folder(|folder| fs::remove_file(folder.join("manifest.json")).unwrap());
    assert_eq!(failed(&found), ["files present"]);
    assert!(found.iter().any(|c| c.name == "hashes match" && c.outcome == Outcome::Skip));
    let found = in_folder(|folder| fs::write(folder.join("report.md"), "![x](plots/gone.svg)").unwrap());
    assert_eq!(failed(&found), ["figures of the report exist"]);
}

/// What git does to a text file where it is told to.
fn with_crlf(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, text.replace('\n', "\r\n")).unwrap();
}

#[test]
fn tables_of_other_line_endings_are_no_other_tables() {
    let of_tables = |names: &[&str]| {
        let found = in_folder(|folder| names.iter().for_each(|name| with_crlf(&folder.join(name))));
        assert_eq!(failed(&found), ["tables are what the record gives"]);
        found.into_iter().find(|check| check.name == "tables are what the record gives").unwrap().detail
    };
    let nothing_else = "were changed, nothing else; phasebench analyze makes them again";
    assert_eq!(of_tables(&["metrics.csv"]), format!("the line endings of metrics.csv {nothing_else}"));
    let several = of_tables(&["metrics.csv", "analysis/claims.csv", "analysis/warmup_effect.csv"]);
    assert_eq!(several, format!("the line endings of 3 tables {nothing_else}"));
}

#[test]
fn other_versions_are_refused_by_their_version() {
    let found = in_folder(|folder| {
        let path = folder.join("plan.json");
        let text = fs::read_to_string(&path).unwrap().replacen("\"format\": 1", "\"format\": 9", 1);
        fs::write(path, text).unwrap();
    });
    let plan = found.iter().find(|check| check.name == "plan reads").unwrap();
    assert_eq!((plan.outcome, plan.detail.as_str()), (Outcome::Fail, "format 9, this version reads 1"));
}

#[test]
fn the_commands_print_and_end_as_they_should() {
    let folder = tempfile::tempdir().unwrap();
    good().write(folder.path());
    let args = |json| RunFolderArgs { run: folder.path().to_owned(), json };
    let mut out = Vec::new();
    assert_eq!(commands::analyze::execute(&args(false), &mut out).unwrap(), Exit::Good);
    let text = String::from_utf8(out).unwrap();
    // All but the one that only a run with power has.
    let tables = descriptions().len() - 1;
    assert!(text.starts_with(&format!("{tables} tables from 16 calls")), "{text}");
    assert!(text.contains("\nDecode on eng (holds)\n  a: 0.200 [0.200, 0.200] ms/token, 5000 "), "{text}");
    assert!(text.contains("not identifiable: 2 models, at least 3 are needed"), "{text}");
    let mut out = Vec::new();
    commands::analyze::execute(&args(true), &mut out).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!((json["calls"].as_u64(), json["headline_fits"].as_array().map(Vec::len)), (Some(16), Some(3)));
    assert_eq!(json["findings"][0]["question"], "Prefill on eng");

    let mut out = Vec::new();
    assert_eq!(commands::validate::execute(&args(false), &mut out).unwrap(), Exit::Good);
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("PASS  call ids are unique: 16 calls\n"), "{text}");
    assert!(text.ends_with("25 passed, 0 failed, 3 skipped\n"), "{text}");
    fs::write(folder.path().join("metrics.csv"), "").unwrap();
    let mut out = Vec::new();
    assert_eq!(commands::validate::execute(&args(true), &mut out).unwrap().code(), 1);
    let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(json["passed"], false);
    let nowhere = RunFolderArgs { run: folder.path().join("nowhere"), json: false };
    let error = commands::validate::execute(&nowhere, &mut Vec::new()).unwrap_err();
    assert_eq!(Exit::from(&error), Exit::Store);
}
