//! A run that was cut, killed or interrupted, resumed: every timed call exactly once, in the undisturbed order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use phasebench::record::Line;
use phasebench::store;
use phasebench::terms::Role;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::run::fixture::{Fixture, Scenario, assert_exit, stderr};

const ADAPTIVE: &str = "{ min: 3, max: 15, until_relative_ci: 0.03 }";

#[track_caller]
fn complete_and_in_order(fixture: &Fixture, undisturbed: &[String], what: &str) {
    let timed = fixture.timed();
    let distinct: BTreeSet<&String> = timed.iter().collect();
    assert_eq!(distinct.len(), timed.len(), "{what}: a timed call is recorded twice");
    assert_eq!(timed, undisturbed, "{what}");
    assert!(matches!(fixture.lines().last(), Some(Line::Finished(_))), "{what}");
}

#[test]
fn a_record_cut_at_any_byte_is_completed() {
    let seed = 20_261_122;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for (order, repetitions) in
        [("blocked", "{ fixed: 6 }"), ("interleaved", "{ fixed: 4 }"), ("shuffled", "{ fixed: 4 }")]
    {
        let fixture = Fixture::new(&Scenario { order, repetitions, script: "{ noise: 0.02 }", ..Scenario::default() });
        assert_exit(&fixture.run(), 0);
        let undisturbed = fixture.timed();
        let path = fixture.run.join("measurements.jsonl");
        let whole = fs::read(&path).unwrap();
        for _ in 0..17 {
            let cut = random.random_range(0..whole.len());
            fs::write(&path, &whole[..cut]).unwrap();
            assert_exit(&fixture.resume(), 0);
            complete_and_in_order(&fixture, &undisturbed, &format!("{order}, seed {seed}, cut at {cut}"));
        }
    }
}

/// Noise is drawn per call and not carried over a restart here, so that an adaptive run decides alike.
#[test]
fn an_adaptive_record_cut_at_any_byte_is_completed() {
    let seed = 7;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let script = "{ noise: 0.03, autocorrelation: 0 }";
    let fixture = Fixture::new(&Scenario { repetitions: ADAPTIVE, script, ..Scenario::default() });
    assert_exit(&fixture.run(), 0);
    let undisturbed = fixture.timed();
    let path = fixture.run.join("measurements.jsonl");
    let whole = fs::read(&path).unwrap();
    for _ in 0..10 {
        let cut = random.random_range(0..whole.len());
        fs::write(&path, &whole[..cut]).unwrap();
        assert_exit(&fixture.resume(), 0);
        complete_and_in_order(&fixture, &undisturbed, &format!("seed {seed}, cut at {cut}"));
    }
}

/// Runs at real pace, killed at random moments of their lives: in a call, a load, while a line or the folder is written.
#[test]
fn a_run_killed_at_random_moments_is_completed() {
    let seed = 99;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut cut_short = 0;
    let again = ", disturbances: { rate: 0.3, slowdown: 0.5 }";
    for (repetitions, kills, tries) in [("{ fixed: 5 }", 6, ""), (ADAPTIVE, 6, ""), ("{ fixed: 5 }", 20, again)] {
        let script = "{ pace: real, noise: 0.03, autocorrelation: 0, load: { base: 10ms, exponent: 0 }, \
                      prefill_per_token: { base: 30us, exponent: 0 }, decode_per_step: { base: 200us, exponent: 0 }TRIES }";
        let script = &script.replace("TRIES", tries);
        let more = "disturbed: { retry: 2, wait_quiet: 0s }\n";
        let scenario = Scenario { repetitions, script, more, ..Scenario::default() };
        let virtual_twin = Fixture::new(&Scenario { script: &script.replace("real", "virtual"), ..scenario });
        assert_exit(&virtual_twin.run(), 0);
        let undisturbed = virtual_twin.timed();
        let real_twin = Fixture::new(&scenario);
        let begun = Instant::now();
        assert_exit(&real_twin.run(), 0);
        let life = begun.elapsed();

        for kill in 0..kills {
            let fixture = Fixture::new(&scenario);
            let moment = life.mul_f64(random.random_range(0.0..1.0));
            kill_after(&mut fixture.start(), moment);
            let what = format!("seed {seed}, {repetitions}, kill {kill} after {moment:?} of {life:?}");
            let before = store::read(&fixture.run).map_or(Vec::new(), |recording| recording.lines);
            cut_short += u32::from(!matches!(before.last(), Some(Line::Finished(_))));
            go_on(&fixture, &what);
            assert_eq!(fixture.lines()[..before.len()], before, "{what}: what was recorded stays");
            if repetitions == ADAPTIVE {
                in_order_as_far_as_both_go(&fixture, &undisturbed, &what);
            } else {
                complete_and_in_order(&fixture, &undisturbed, &what);
            }
        }
    }
    println!("seed {seed}: {cut_short} of 32 runs were killed before their end");
    assert!(cut_short > 0, "seed {seed}: every run was over before it was killed");
}

/// Starts a program and kills it after a while, whatever it does then.
fn kill_after(command: &mut Command, moment: Duration) {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while begun.elapsed() < moment {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What a user does after a kill: resume, or where nothing was recorded yet, the same command again, as the message says.
#[track_caller]
pub fn go_on(fixture: &Fixture, what: &str) {
    let resumed = fixture.resume();
    if resumed.status.code() == Some(4) {
        let message = stderr(&resumed);
        assert!(!fixture.run.join("measurements.jsonl").exists(), "{what}: {message}");
        let known = !fixture.run.exists() || message.contains("ended before anything was measured");
        assert!(known || message.contains("not a run folder"), "{what}: {message}");
        assert_exit(&fixture.run(), 0);
    } else {
        assert_exit(&resumed, 0);
    }
}

/// Real time adds noise of its own, so the rule may stop a cell at another call. The calls that both made come in the
/// same order; none is lost, none is made twice, and each cell was stopped once.
#[track_caller]
fn in_order_as_far_as_both_go(fixture: &Fixture, undisturbed: &[String], what: &str) {
    let timed = fixture.timed();
    let common: Vec<&String> = timed.iter().filter(|id| undisturbed.contains(id)).collect();
    let expected: Vec<&String> = undisturbed.iter().filter(|id| timed.contains(id)).collect();
    assert_eq!(common, expected, "{what}");
    let mut made: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for call in fixture.calls().into_iter().filter(|call| call.role == Role::Timed) {
        made.entry(call.cell_id.0.clone()).or_default().push(call.index);
    }
    assert_eq!(made.len(), 4, "{what}: every cell is measured");
    let lines = fixture.lines();
    for (cell, indices) in made {
        let all: Vec<u32> = (0..).take(indices.len()).collect();
        assert_eq!(indices, all, "{what}: cell {cell}");
        let of_cell = |line: &&Line| matches!(line, Line::Decision(decision) if decision.cell_id.0 == cell);
        assert_eq!(lines.iter().filter(of_cell).count(), 1, "{what}: decisions about cell {cell}");
    }
    assert!(matches!(lines.last(), Some(Line::Finished(_))), "{what}");
}

/// Killed between making the folder and the record's first line: every state it may be left in has a way out.
#[test]
fn a_run_killed_before_its_first_line_has_a_way_out() {
    let whole = Fixture::new(&Scenario::default());
    assert_exit(&whole.run(), 0);
    let files = ["lock", "local.json", "spec.yaml", "plan.json", "manifest.json"];
    for written in 1..=files.len() {
        for torn in [false, true] {
            let fixture = Fixture::new(&Scenario::default());
            fs::create_dir(&fixture.run).unwrap();
            for file in &files[..written] {
                fs::copy(whole.run.join(file), fixture.run.join(file)).unwrap();
            }
            if torn {
                fs::write(fixture.run.join(".unfinished-AbCdEf"), "{").unwrap();
            }
            let what = format!("killed after {}, torn {torn}", files[written - 1]);
            if written < files.len() {
                let output = fixture.resume();
                assert_exit(&output, 4);
                let message = stderr(&output);
                assert!(
                    message.starts_with("error: run: ended before anything was measured: no "),
                    "{what}: {message}"
                );
                assert!(message.ends_with("try: the command that began it, with --out run\n"), "{what}: {message}");
            }
            assert_exit(&fixture.run(), 0);
            assert_eq!(fixture.timed(), whole.timed(), "{what}");
            assert!(!fixture.run.join(".unfinished-AbCdEf").exists(), "{what}");
        }
    }
}

#[test]
fn an_interrupted_run_says_how_to_go_on_and_loses_nothing() {
    let script = "{ pace: real, load: { base: 1ms, exponent: 0 }, decode_per_step: { base: 2s, exponent: 0 } }";
    let fixture = Fixture::new(&Scenario { models: 1, prompts: &[8], script, ..Scenario::default() });
    let mut child = fixture.start().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let path = fixture.run.join("measurements.jsonl");
    // The first call takes half a minute: interrupted while it is in flight.
    while !fs::read_to_string(&path).is_ok_and(|text| text.contains("\"load\"")) {
        assert!(child.try_wait().unwrap().is_none(), "ended by itself");
        std::thread::yield_now();
    }
    let begun = Instant::now();
    // SAFETY: a signal to a process we started and have not waited for.
    assert_eq!(unsafe { libc::kill(i32::try_from(child.id()).unwrap(), libc::SIGINT) }, 0);
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{errors}");
    assert!(begun.elapsed() < Duration::from_secs(10), "the call in flight was cancelled");
    let last = errors.lines().last();
    assert_eq!(last, Some("phasebench: interrupted; go on with: phasebench run --resume run"), "{errors}");
    assert_eq!(fixture.calls().len(), 0, "the cancelled call will be made again");
}

#[test]
fn a_finished_run_resumed_changes_nothing() {
    let fixture = Fixture::new(&Scenario::default());
    assert_exit(&fixture.run(), 0);
    let before = fs::read(fixture.run.join("measurements.jsonl")).unwrap();
    assert_exit(&fixture.resume(), 0);
    assert_eq!(fs::read(fixture.run.join("measurements.jsonl")).unwrap(), before);
}

/// What a seal says was changed is not gone on with, and nothing of it is written over.
#[test]
fn a_record_that_was_changed_is_refused() {
    let fixture = Fixture::new(&Scenario { repetitions: "{ fixed: 20 }", ..Scenario::default() });
    assert_exit(&fixture.run(), 0);
    let path = fixture.run.join("measurements.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    let changed = whole.replacen("\"total_wall_ns\":", "\"total_wall_ns\":1", 1);
    assert_ne!(changed, whole);
    for record in [changed.as_str(), &changed[..changed.len() - 300]] {
        fs::write(&path, record).unwrap();
        let output = fixture.resume();
        assert_exit(&output, 4);
        let said = stderr(&output);
        let refused = "error: run/measurements.jsonl: lines 1 to 64 are not as they were written, so nothing is added to the \
                       run\n  try: put back the file as it was";
        assert!(said.contains(refused), "{said}");
        assert_eq!(fs::read_to_string(&path).unwrap(), record, "nothing is written over");
    }
    fs::write(&path, &whole[..whole.len() - 300]).unwrap();
    assert_exit(&fixture.resume(), 0);
    assert!(matches!(fixture.lines().last(), Some(Line::Finished(_))));
}

#[test]
fn a_finished_run_whose_manifest_was_changed_gets_no_new_seal() {
    let fixture = Fixture::new(&Scenario::default());
    assert_exit(&fixture.run(), 0);
    let (path, manifest) = (fixture.run.join("measurements.jsonl"), fixture.run.join("manifest.json"));
    let before = fs::read(&path).unwrap();
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, format!("{text}\n")).unwrap();
    let output = fixture.resume();
    assert_exit(&output, 4);
    let refused =
        "error: run/manifest.json: is not as it was when the run was finished, so nothing is added to the run\n";
    assert!(stderr(&output).contains(refused), "{}", stderr(&output));
    assert_eq!(fs::read(&path).unwrap(), before);
    fs::write(&manifest, text).unwrap();
    assert_exit(&fixture.resume(), 0);
}

#[test]
fn resuming_what_is_no_run_is_an_error() {
    let fixture = Fixture::new(&Scenario::default());
    let output = fixture.command(&["run", "--resume", "nowhere"]).output().unwrap();
    assert_exit(&output, 4);
    assert_eq!(stderr(&output).trim(), "error: nowhere: no such folder, a run folder is expected");
}

#[test]
fn a_scenario_file_beside_resume_must_be_the_run_s_own() {
    let fixture = Fixture::new(&Scenario::default());
    assert_exit(&fixture.run(), 0);
    let path = fixture.run.join("measurements.jsonl");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let resume = || fixture.command(&["run", "scenario.yaml", "--resume", "run"]).output().unwrap();
    let text = fs::read_to_string(&fixture.scenario).unwrap();
    fs::write(&fixture.scenario, text.replace("seed: 1", "seed: 2")).unwrap();
    let output = resume();
    assert_exit(&output, 2);
    let said = stderr(&output);
    let words = ["scenario.yaml is not the scenario file that run began with", "try: phasebench run --resume run"];
    assert!(words.iter().all(|words| said.contains(words)), "{said}");
    assert_eq!(fs::read(&path).unwrap().len(), whole.len() / 2, "nothing was measured");
    fs::write(&fixture.scenario, text).unwrap();
    assert_exit(&resume(), 0);
    assert!(matches!(fixture.lines().last(), Some(Line::Finished(_))));
}
