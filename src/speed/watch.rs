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
const FEWEST_RUNS: usize = 5;

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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelLook {
    /// Calendar time, in seconds since 1970.
    pub unix_s: u64,
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// Calendar time, in seconds since 1970.
    pub unix_s: u64,
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
    /// differs more. Unit: fraction. `None`: fewer than five such minutes.
    #[must_use]
    pub fn run_to_run_sd(&self) -> Option<f64> {
        let of_kernel = |kernel: Kernel| {
            let looks = self.looks.iter().filter(move |look| look.kernel == kernel);
            run_to_run(looks.map(|look| (look.unix_s, look.per_second)))
        };
        Kernel::ALL.iter().filter_map(|kernel| of_kernel(*kernel)).map(|found| found.ln).reduce(f64::max)
    }

    /// The same of the small model: engines move more than kernels do. `None`: fewer than five minutes, or there was none.
    #[must_use]
    pub fn model_run_to_run(&self) -> Option<RunToRun> {
        run_to_run(self.model.iter().map(|look| (look.unix_s, look.ms)))
    }
}

/// Of values with the seconds at which they were seen. `None`: fewer than five minutes.
fn run_to_run(looks: impl Iterator<Item = (u64, f64)>) -> Option<RunToRun> {
    let mut runs: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (unix_s, value) in looks.filter(|(_, value)| *value > 0.0) {
        runs.entry(unix_s / RUN_S).or_default().push(value.ln());
    }
    let means: Vec<f64> = runs.values().filter_map(|logs| Some(Summary::of(logs).ok()?.mean)).collect();
    let found = Summary::of(&means).ok().filter(|found| found.n >= FEWEST_RUNS)?;
    Some(RunToRun { ln: found.sd?, minutes: found.n })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Six minutes of three looks each.
    fn watched(minutes: &[f64]) -> Watched {
        let looks = minutes.iter().zip(0_u64..).flat_map(|(speed, minute)| {
            let look = move |second| Look { unix_s: 60 * minute + second, kernel: Kernel::Memory, per_second: *speed };
            [0, 20, 40].map(look)
        });
        let model = minutes.iter().zip(0_u64..).map(|(ms, minute)| ModelLook { unix_s: 60 * minute, ms: ms.sqrt() });
        Watched { format: FORMAT, threads: 2, looks: looks.collect(), model: model.collect() }
    }

    #[test]
    fn minutes_are_runs() {
        let ratio = 0.05_f64.exp();
        let found = watched(&[1e9, 1e9 * ratio, 1e9, 1e9 * ratio, 1e9, 1e9 * ratio]).run_to_run_sd().unwrap();
        // Half of the logarithms are 0.05: their sample standard deviation is 0.025 · √(6/5).
        assert!((found - 0.025 * 1.2_f64.sqrt()).abs() < 1e-9, "{found}");
        assert_eq!(watched(&[1e9; 4]).run_to_run_sd(), None);
        let model = watched(&[1e9, 1e9 * ratio, 1e9, 1e9 * ratio, 1e9, 1e9 * ratio]).model_run_to_run().unwrap();
        assert!((model.ln - found / 2.0).abs() < 1e-9 && model.minutes == 6, "{model:?}");
        assert_eq!(watched(&[1e9; 4]).model_run_to_run(), None);
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
