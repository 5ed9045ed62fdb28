//! The machine's own speed over a longer time, kept in the cache: how much one run differs from the next since the machine does.
//!
//! `machine/watch-KEY.json` below the cache folder holds one [`Watched`]; `KEY` is [`key`] of the machine, so that a cache which
//! several machines share keeps them apart.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files;
use crate::hash::sha256_hex;
use crate::stats::summary::Summary;
use crate::terms::Kernel;

/// Version of the file. A reader takes others for absent.
pub const FORMAT: u32 = 1;
/// Looks within so many seconds are one run.
const RUN_S: u64 = 60;
/// Fewest runs that tell how much runs differ.
pub const FEWEST_RUNS: usize = 5;

/// What was seen of one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watched {
    /// [`FORMAT`].
    pub format: u32,
    /// Threads that the kernels had.
    pub threads: u32,
    /// In order.
    pub looks: Vec<Look>,
    /// What a small model took meanwhile, in order. Empty: there is no engine for it, or an earlier version looked.
    #[serde(default)]
    pub model: Vec<ModelLook>,
}

/// A small model at one moment, in a session of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelLook {
    /// Calendar time, in seconds since 1970.
    pub unix_s: u64,
    /// Hash of the engine, the program and the system that it ran on. Empty: an earlier version looked.
    #[serde(default)]
    pub stack: String,
    /// Geometric mean of what its calls took. Unit: milliseconds.
    pub ms: f64,
}

/// How much runs of a minute differ from each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunToRun {
    /// Standard deviation of their mean logarithms.
    pub ln: f64,
    /// How many there were.
    pub minutes: usize,
}

/// The machine at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// Calendar time, in seconds since 1970.
    pub unix_s: u64,
    /// Hash of the program and the system that it ran on. Empty: an earlier version looked.
    #[serde(default)]
    pub stack: String,
    /// What was measured.
    pub kernel: Kernel,
    /// How fast it was. Unit: see [`Kernel`].
    pub per_second: f64,
}

/// Tells machines apart: a hash of what is given, the processor and whatever else does not change.
#[must_use]
pub fn key(parts: &[&str]) -> String {
    sha256_hex(parts.join("\n").as_bytes())[..12].to_owned()
}

fn file(cache: &Path, key: &str) -> PathBuf {
    cache.join("machine").join(format!("watch-{key}.json"))
}

/// What is kept of a machine. `None`: nothing, or nothing that this version reads.
#[must_use]
pub fn read(cache: &Path, key: &str) -> Option<Watched> {
    let watched: Watched = serde_json::from_slice(&fs::read(file(cache, key)).ok()?).ok()?;
    (watched.format == FORMAT).then_some(watched)
}

/// Keeps what was seen, in the place of what was kept before.
///
/// # Errors
/// The file system refuses.
pub fn keep(cache: &Path, key: &str, watched: &Watched) -> io::Result<()> {
    let file = file(cache, key);
    file.parent().map_or(Ok(()), fs::create_dir_all)?;
    files::replace(&file, &serde_json::to_vec(watched)?)
}

impl Watched {
    /// How much runs of a minute differ from each other: the standard deviation of their mean logarithms, of the kernel that
    /// differs more. Unit: fraction. `None`: fewer than [`FEWEST_RUNS`] such minutes of one stack.
    #[must_use]
    pub fn run_to_run_sd(&self) -> Option<f64> {
        let of_kernel = |kernel: Kernel| {
            let looks = self.looks.iter().filter(move |look| look.kernel == kernel);
            run_to_run(looks.map(|look| (look.stack.as_str(), look.unix_s, look.per_second)), FEWEST_RUNS)
        };
        Kernel::ALL.iter().filter_map(|kernel| of_kernel(*kernel)).map(|found| found.ln).reduce(f64::max)
    }

    /// The same of the small model: engines move more than kernels do. `None`: fewer minutes of one stack than `fewest`, or there
    /// was no model.
    #[must_use]
    pub fn model_run_to_run(&self, fewest: usize) -> Option<RunToRun> {
        run_to_run(self.model.iter().map(|look| (look.stack.as_str(), look.unix_s, look.ms)), fewest)
    }
}

/// Of values with the stack and the seconds at which they were seen: of the stack that was seen last of those with enough minutes.
/// Two stacks differ by more than a machine does. `None`: none has as many, [`FEWEST_RUNS`] at least.
fn run_to_run<'a>(looks: impl Iterator<Item = (&'a str, u64, f64)>, fewest: usize) -> Option<RunToRun> {
    let mut stacks: BTreeMap<&str, BTreeMap<u64, Vec<f64>>> = BTreeMap::new();
    for (stack, unix_s, value) in looks.filter(|(.., value)| *value > 0.0) {
        stacks.entry(stack).or_default().entry(unix_s / RUN_S).or_default().push(value.ln());
    }
    let enough = stacks.into_values().filter(|runs| runs.len() >= fewest.max(FEWEST_RUNS));
    let latest = enough.max_by_key(|runs| runs.keys().next_back().copied())?;
    let means: Vec<f64> = latest.values().filter_map(|logs| Some(Summary::of(logs).ok()?.mean)).collect();
    let found = Summary::of(&means).ok()?;
    Some(RunToRun { ln: found.sd?, minutes: found.n })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Minutes of three looks each, on one stack.
    fn watched(minutes: &[f64]) -> Watched {
        watched_on("a", 0, minutes)
    }

    fn watched_on(stack: &str, begin: u64, minutes: &[f64]) -> Watched {
        let stack = || stack.to_owned();
        let seconds = || minutes.iter().zip(begin..).map(|(value, minute)| (*value, 60 * minute));
        let looks = seconds().flat_map(|(speed, begin)| {
            let look =
                |second| Look { unix_s: begin + second, stack: stack(), kernel: Kernel::Memory, per_second: speed };
            [look(0), look(20), look(40)]
        });
        let model = seconds().map(|(ms, begin)| ModelLook { unix_s: begin, stack: stack(), ms: ms.sqrt() });
        Watched { format: FORMAT, threads: 2, looks: looks.collect(), model: model.collect() }
    }

    #[test]
    fn minutes_are_runs() {
        let ratio = 0.05_f64.exp();
        let seen = watched(&[1e9, 1e9 * ratio, 1e9, 1e9 * ratio, 1e9, 1e9 * ratio]);
        let found = seen.run_to_run_sd().unwrap();
        // Half of the logarithms are 0.05: their sample standard deviation is 0.025 · √(6/5).
        assert!((found - 0.025 * 1.2_f64.sqrt()).abs() < 1e-9, "{found}");
        assert_eq!(watched(&[1e9; 4]).run_to_run_sd(), None);
        let model = seen.model_run_to_run(FEWEST_RUNS).unwrap();
        assert!((model.ln - found / 2.0).abs() < 1e-9 && model.minutes == 6, "{model:?}");
        assert_eq!(seen.model_run_to_run(7), None);
        assert_eq!(watched(&[1e9; 4]).model_run_to_run(FEWEST_RUNS), None);
    }

    /// An engine that becomes twice as fast is no drift of the machine.
    #[test]
    fn stacks_are_not_mixed() {
        let minutes = |level: f64| [1.0, 1.01, 0.99, 1.0, 1.01, 0.99].map(|by| level * by);
        let (before, after) = (watched_on("a", 0, &minutes(4e9)), watched_on("b", 6, &minutes(1e9)));
        let mut both = before.clone();
        both.looks.extend(after.looks.iter().cloned());
        both.model.extend(after.model.iter().cloned());
        assert_eq!(both.run_to_run_sd(), after.run_to_run_sd());
        assert_eq!(both.model_run_to_run(FEWEST_RUNS), after.model_run_to_run(FEWEST_RUNS));
        // Of a stack that was only just begun with nothing is known: what the one before showed of the machine is taken.
        both.model.truncate(before.model.len() + 2);
        assert_eq!(both.model_run_to_run(FEWEST_RUNS), before.model_run_to_run(FEWEST_RUNS));
    }

    #[test]
    fn what_is_kept_is_read_and_other_versions_are_not() {
        let cache = tempfile::tempdir().unwrap();
        let (own, other) = (key(&["a processor", "2"]), key(&["a processor", "4"]));
        let seen = watched(&[1e9; 5]);
        assert_eq!(read(cache.path(), &own), None);
        keep(cache.path(), &own, &seen).unwrap();
        assert_eq!((read(cache.path(), &own), read(cache.path(), &other)), (Some(seen.clone()), None));
        keep(cache.path(), &own, &Watched { format: 99, ..seen }).unwrap();
        assert_eq!(read(cache.path(), &own), None);
    }
}
