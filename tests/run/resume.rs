//! A run that was cut, killed or interrupted, resumed: every timed call exactly once, in the undisturbed order.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use phasebench::record::Line;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::fixture::{Fixture, Scenario, assert_exit, stderr};

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

/// A run at real pace, killed at a random moment of its life.
#[test]
fn a_run_killed_at_random_moments_is_completed() {
    let seed = 99;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for attempt in 0..10 {
        let repetitions = if attempt % 2 == 0 { "{ fixed: 5 }" } else { ADAPTIVE };
        let script = "{ pace: real, noise: 0.03, autocorrelation: 0, load: { base: 4ms, exponent: 0 }, \
                      prefill_per_token: { base: 30us, exponent: 0 }, decode_per_step: { base: 100us, exponent: 0 } }";
        let scenario = Scenario { repetitions, script, ..Scenario::default() };
        let fixture = Fixture::new(&scenario);
        let virtual_twin = Fixture::new(&Scenario { script: &script.replace("real", "virtual"), ..scenario });
        assert_exit(&virtual_twin.run(), 0);
        let undisturbed = virtual_twin.timed();

        let mut child = fixture.start().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let path = fixture.run.join("measurements.jsonl");
        let bytes = random.random_range(0..40_000_u64);
        let give_up = Instant::now() + Duration::from_secs(60);
        while child.try_wait().unwrap().is_none() && Instant::now() < give_up {
            if fs::metadata(&path).is_ok_and(|m| m.len() > bytes) {
                break;
            }
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let before = phasebench::store::read(&fixture.run).map(|r| r.calls().count()).unwrap_or(0);
        assert_exit(&fixture.resume(), 0);
        let timed = fixture.timed();
        let distinct: BTreeSet<&String> = timed.iter().collect();
        let what = format!("seed {seed}, attempt {attempt}, killed past {bytes} bytes and {before} calls");
        assert_eq!(distinct.len(), timed.len(), "{what}: a timed call is recorded twice");
        if attempt % 2 == 0 {
            assert_eq!(timed, undisturbed, "{what}");
        } else {
            // Real time adds noise of its own, so the rule may stop at another call; what was made is in order.
            let common: Vec<&String> = timed.iter().filter(|id| undisturbed.contains(id)).collect();
            let expected: Vec<&String> = undisturbed.iter().filter(|id| timed.contains(id)).collect();
            assert_eq!(common.len(), expected.len(), "{what}");
        }
        assert!(matches!(fixture.lines().last(), Some(Line::Finished(_))), "{what}");
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
    assert_eq!(errors.trim(), "phasebench: interrupted; go on with: phasebench run --resume run");
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

#[test]
fn resuming_what_is_no_run_is_an_error() {
    let fixture = Fixture::new(&Scenario::default());
    let output = fixture.command(&["run", "--resume", "nowhere"]).output().unwrap();
    assert_exit(&output, 4);
    assert_eq!(stderr(&output).trim(), "error: nowhere: not a run folder: no plan.json in it");
}
