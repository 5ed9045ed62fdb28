//! A run with sessions, reference kernels and calls that are made again, killed twenty times and taken up each time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Stdio};

use phasebench::record::{CallRecord, Line, ReferenceWhen};
use phasebench::store;
use phasebench::terms::Role;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::run::fixture::{Fixture, Scenario, assert_exit, stdout};
use crate::run::resume::go_on;

const KILLS: u32 = 20;

/// How a timed call is told in the record: its id, and the session that makes it.
fn timed(calls: &[CallRecord]) -> Vec<(String, u32)> {
    let timed = calls.iter().filter(|call| call.role == Role::Timed);
    timed.map(|call| (call.call_id.clone(), call.session_index)).collect()
}

fn lines(fixture: &Fixture) -> Vec<Line> {
    store::read(&fixture.run).map_or(Vec::new(), |recording| recording.lines)
}

/// Starts a program and kills it once the record has so many more lines, and for some of them a little later: between two
/// lines, or while one is written.
fn kill_after(command: &mut Command, fixture: &Fixture, more: usize, looks: u32) {
    let path = fixture.run.join("measurements.jsonl");
    let count = || fs::read(&path).map_or(0, |text| text.iter().filter(|&&byte| byte == b'\n').count());
    let before = count();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while count() < before + more && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    for _ in 0..looks {
        count();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[track_caller]
fn is_complete(fixture: &Fixture, undisturbed: &[(String, u32)], what: &str) {
    let found = timed(&fixture.calls());
    let distinct: BTreeSet<_> = found.iter().collect();
    assert_eq!(distinct.len(), found.len(), "{what}: a timed call is recorded twice");
    assert_eq!(found, undisturbed, "{what}");
    let lines = fixture.lines();
    assert!(matches!(lines.last(), Some(Line::Finished(_))), "{what}");
    // Every process that came so far measured the machine before its first load, and numbers go on over all of them.
    let mut first: BTreeMap<u32, bool> = BTreeMap::new();
    let mut references = 0;
    let mut epoch = 0;
    for line in &lines {
        match line {
            Line::Opened(opened) => epoch = opened.epoch,
            Line::Reference(reference) => {
                assert_eq!((reference.reference_index, reference.epoch), (references, epoch), "{what}");
                let begins = *first.entry(epoch).or_insert(true);
                assert_eq!(reference.when == ReferenceWhen::Begin, begins, "{what}");
                first.insert(epoch, false);
                references += 1;
            }
            Line::Load(_) => assert!(first.contains_key(&epoch), "{what}: nothing was measured before a load"),
            _ => {}
        }
    }
    assert!(references > 0, "{what}");
    let validated = fixture.command(&["validate", "run"]).output().unwrap();
    assert_eq!(validated.status.code(), Some(0), "{what}: {}", stdout(&validated));
}

/// Each timed call exactly once, in the order of a run that nobody killed. Runs go on until twenty of them were cut short.
#[test]
fn a_run_with_sessions_references_and_retries_killed_twenty_times_is_completed() {
    let seed = 20_261_201;
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // Long enough for the machine to be measured before anything is loaded.
    let script = "{ pace: real, noise: 0.03, autocorrelation: 0, disturbances: { rate: 0.8, slowdown: 0.5 }, \
                  load: { base: 10ms, exponent: 0 }, prefill_per_token: { base: 30us, exponent: 0 }, \
                  decode_per_step: { base: 4ms, exponent: 0 } }";
    let more = "sessions: 2\ndisturbed: { retry: 2, wait_quiet: 0s }\nreference: { every: 50ms, share: 0.2 }\n\
                limits: { memory: 160MiB }\n";
    let scenario = Scenario { repetitions: "{ fixed: 12 }", script, more, ..Scenario::default() };
    // On a virtual clock everything is the same but for the machine's own speed, which scripted time does not have.
    let undisturbed = Fixture::new(&Scenario { script: &script.replace("real", "virtual"), ..scenario });
    assert_exit(&undisturbed.run(), 0);
    let undisturbed_calls = undisturbed.calls();
    let undisturbed = timed(&undisturbed_calls);
    assert!(undisturbed.iter().any(|(id, _)| id.ends_with("-try2")), "{undisturbed:?}");
    assert!(undisturbed_calls.iter().any(|call| call.in_vain.is_some()), "so many that some are made once");
    assert!(undisturbed.iter().any(|(_, session)| *session == 1), "{undisturbed:?}");

    let mut kills = 0;
    while kills < KILLS {
        let fixture = Fixture::new(&scenario);
        let mut what = format!("seed {seed}, {kills} kills before this run");
        while kills < KILLS {
            let before = lines(&fixture);
            let mut command = match before.is_empty() {
                true => fixture.start(),
                false => fixture.command(&["run", "--resume", "run"]),
            };
            let (more, looks) = (random.random_range(1..14), random.random_range(0..200));
            kill_after(&mut command, &fixture, more, looks);
            let after = lines(&fixture);
            what = format!("{what}, killed after line {}", after.len());
            assert_eq!(after[..before.len()], before, "{what}: what was recorded stays");
            if matches!(after.last(), Some(Line::Finished(_))) {
                break;
            }
            kills += 1;
        }
        go_on(&fixture, &what);
        is_complete(&fixture, &undisturbed, &what);
        println!("{what}: complete");
    }
}
