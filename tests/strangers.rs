//! Whatever strangers can send is read or refused: never a panic, a hang or a gigabyte of memory.
//!
//! The corpora of the fuzzers are replayed here, and changed at random: `PHASEBENCH_STRANGE_SEED` says by which seed.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../fuzz/src/strangers.rs"]
mod strangers;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use strangers::{TARGETS, Target, mutation, within_limits};

/// Most processor time for one input. Beside other programs time passes without any; unoptimised code takes several times
/// the second that a fuzzer allows.
const LONGEST: Duration = Duration::from_secs(5);

/// Largest file of a corpus. Unit: bytes.
const LARGEST: usize = 4096;

/// Most files of a corpus.
const MOST_FILES: usize = 60;

/// Memory and processor time are those of the whole process: one input at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn corpus(target: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec to a place that is valid for it.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

/// What is wrong with how an input was taken. `None`: nothing.
fn trouble(target: Target, input: &[u8]) -> Option<String> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = processor_time();
    let taken = catch_unwind(AssertUnwindSafe(|| within_limits(target, input)));
    let time = processor_time() - before;
    match taken {
        Err(panic) => {
            let words = panic.downcast_ref::<String>().cloned();
            let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
            Some(words.unwrap_or_else(|| "panicked".to_owned()))
        }
        Ok(_) => (time > LONGEST).then(|| format!("took {time:?} of processor time")),
    }
}

#[test]
fn every_input_of_the_corpora_is_taken() {
    let mut wrong = Vec::new();
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        assert!((10..=MOST_FILES).contains(&corpus.len()), "{name}: {} files", corpus.len());
        for (path, input) in corpus {
            assert!(input.len() <= LARGEST, "{}: {} bytes", path.display(), input.len());
            wrong.extend(trouble(target, &input).map(|why| format!("{}: {why}", path.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// So many changed inputs of each target; the slow ones get fewer.
fn mutations(target: &str) -> u64 {
    let asked = std::env::var("PHASEBENCH_STRANGE_MUTATIONS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(match target {
        "run_record" | "imported_file" => 300,
        "model_folder" => 1000,
        _ => 3000,
    })
}

/// Inputs of a corpus, changed at random. Each kind of trouble is told once, with where its first input is kept.
fn changed(name: &str) {
    let seed: u64 = std::env::var("PHASEBENCH_STRANGE_SEED").ok().map_or(1, |text| text.parse().unwrap());
    let target = TARGETS.iter().find(|(found, _)| *found == name).unwrap().1;
    let corpus: Vec<Vec<u8>> = corpus(name).into_values().collect();
    let mut troubles = BTreeMap::new();
    for number in 0..mutations(name) {
        let own = phasebench::hash::seeded(seed, &[name, &number.to_string()]);
        let base = &corpus[usize::try_from(own).unwrap() % corpus.len()];
        let input = mutation::of(base, &corpus, own);
        if let Some(why) = trouble(target, &input) {
            troubles.entry(why).or_insert((own, input));
        }
    }
    let told = troubles.into_iter().map(|(why, (own, input))| {
        let path = std::env::temp_dir().join(format!("phasebench-strange-{name}-{own:016x}"));
        fs::write(&path, &input).unwrap();
        format!("{}: {why}", path.display())
    });
    let told: Vec<String> = told.collect();
    assert!(told.is_empty(), "{name}, seed {seed}:\n{}", told.join("\n"));
}

/// Scenario files as large as they may be, each of one thing. What is done with a thing must not grow with the square of how
/// many there are.
fn large_scenario_files() -> Vec<(&'static str, String)> {
    let many = |count: usize, each: fn(usize) -> String| (0..count).map(each).collect::<String>();
    let long = "x".repeat(400_000);
    vec![
        ("keys", many(45_000, |n| format!("k{n}: 1\n"))),
        ("numbers", format!("gen_tokens: [{}]\n", many(90_000, |n| format!("{},", n + 1)))),
        ("names", format!("models:\n{}", many(20_000, |n| format!(" - {{name: m{n}, ollama: x}}\n")))),
        ("rules", format!("skip:\n{}", many(20_000, |n| format!(" - {{model: m{n}, reason: r}}\n")))),
        (
            "names and rules that name none of them",
            format!(
                "models:\n{}skip:\n{}",
                many(10_000, |n| format!(" - {{name: m{n}, ollama: x}}\n")),
                many(10_000, |n| format!(" - {{model: x{n}, reason: r}}\n"))
            ),
        ),
        ("a long name beside a long name", format!("models: [{{name: {long}a}}]\nskip: [{{model: {long}b}}]\n")),
        ("a long text many times", format!("name: &a {long}\nmodels: [{}]\n", "*a,".repeat(30_000))),
        ("levels", format!("a: {}", "[".repeat(500_000))),
        ("levels without a bracket", format!("a: {}", "- ".repeat(300_000))),
    ]
}

#[test]
fn large_scenario_files_are_taken() {
    let files = large_scenario_files();
    let wrong = files.iter().filter_map(|(what, text)| {
        let why = trouble(strangers::scenario_file::read, text.as_bytes())?;
        Some(format!("{what}, {} bytes: {why}", text.len()))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn changed_scenario_files_are_taken() {
    changed("scenario_file");
}

#[test]
fn changed_records_are_taken() {
    changed("run_record");
}

#[test]
fn changed_model_folders_are_taken() {
    changed("model_folder");
}

#[test]
fn changed_streams_are_taken() {
    changed("streams");
}

#[test]
fn changed_worker_messages_are_taken() {
    changed("worker_messages");
}

#[test]
fn changed_result_files_are_taken() {
    changed("imported_file");
}
