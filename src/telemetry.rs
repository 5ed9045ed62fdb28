//! What went on beside a call: other programs' load, time the hypervisor took, clocks; and what our own process used.
//!
//! Readings are taken before and after a call, never inside it; one takes tens of microseconds on a
//! small machine without a GPU.
//! On a virtual clock nothing of this means anything and the watcher is not used.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use nvml_wrapper::Nvml;

use crate::terms::{Flag, OnBoard};
use crate::units::Nanos;

pub mod board;
pub mod continuity;
pub mod cpu;
pub mod nvml;
mod ours;
pub mod process;
pub mod sampler;
pub mod sensor;
mod window;

use cpu::Clocks;
use ours::Ours;
use window::{History, Reading};

/// Share of all processors' time above which other programs' work is flagged.
///
/// A background service or two stays below; a compiler or another benchmark does not.
pub const FOREIGN_CPU_LIMIT: f64 = 0.10;

/// Share of all processors' time above which the hypervisor's takings are flagged.
///
/// Stolen time falls inside timed windows directly, so the limit is tighter than that for foreign work.
pub const STEAL_LIMIT: f64 = 0.02;

/// What ran beside a call, and what the call took of us. Every field is `None` where it cannot be measured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Beside {
    /// Share of all processors' time that programs other than ours used, 0 to 1.
    pub foreign_cpu: Option<f64>,
    /// Share of all processors' time that this program and its engines used, 0 to 1.
    pub ours_cpu: Option<f64>,
    /// Share of all processors' time that the hypervisor took away, 0 to 1.
    pub steal: Option<f64>,
    /// Load average over one minute, in runnable threads; ours included.
    pub load_1min: Option<f64>,
    /// Mean clock of the processors we may run on, at the end. Unit: MHz.
    pub cpu_mhz: Option<f64>,
    /// Processes of others that compute on a GPU. `None` also where the engine's own cannot be told from them.
    pub foreign_gpu_processes: Option<u32>,
    /// The same for each board, and ours. Empty: not measurable.
    pub boards: Vec<OnBoard>,
    /// Processor time of our own process between the two readings, all threads.
    pub own_cpu: Option<Nanos>,
}

/// What of it must be flagged on the row.
#[must_use]
pub fn flags(beside: &Beside) -> Vec<Flag> {
    let above = |share: Option<f64>, limit| share.is_some_and(|share| share > limit);
    let foreign = above(beside.foreign_cpu, FOREIGN_CPU_LIMIT)
        || above(beside.steal, STEAL_LIMIT)
        || beside.foreign_gpu_processes.is_some_and(|n| n > 0);
    foreign.then_some(Flag::ForeignLoad).into_iter().collect()
}

/// Watches what goes on around calls.
///
/// The system counts processor time in hundredths of a second, so a short call cannot be judged from its own two
/// readings: shares then cover the last half second or more up to the call's end.
pub struct Watcher {
    started: Instant,
    history: History,
    ours: Ours,
    clocks: Clocks,
    nvml: Option<Nvml>,
}

/// A call's beginning.
#[derive(Debug, Clone, Copy)]
#[must_use = "pass it to `finish` when the call is over"]
pub struct Mark {
    at: Nanos,
    own_cpu: Option<Nanos>,
}

impl Default for Watcher {
    fn default() -> Self {
        Self::new()
    }
}

impl Watcher {
    /// Begins to watch. Opens NVML where there is one; takes some milliseconds.
    #[must_use]
    pub fn new() -> Self {
        let mut watcher = Self {
            started: Instant::now(),
            history: History::default(),
            ours: Ours::default(),
            clocks: Clocks::of_this_machine(),
            nvml: nvml::open().ok(),
        };
        watcher.read(false);
        watcher
    }

    /// Reads before a call.
    pub fn start(&mut self) -> Mark {
        let at = self.read(false);
        // Last, so that little of the reading itself counts as the call's.
        Mark { at, own_cpu: process::cpu_self() }
    }

    /// Reads after a call, and says what happened since its beginning.
    ///
    /// `engine_pids` tells the processes besides our own whose work is ours; looking for them is not the call's work.
    /// `None`: there are some, and which is not known.
    pub fn finish(&mut self, mark: Mark, engine_pids: impl FnOnce() -> Option<Vec<u32>>) -> Beside {
        let own_cpu = process::cpu_self().zip(mark.own_cpu).map(|(now, then)| now.since(then));
        let told = engine_pids();
        let known = told.is_some();
        let engine_pids = told.unwrap_or_default();
        self.ours.add_engines(&engine_pids);
        self.read(!known);
        let shares = self.history.shares(mark.at);
        let processes = self.nvml.as_ref().and_then(nvml::processes);
        let (foreign_gpu_processes, boards) = sorted(processes.as_ref(), &engine_pids, known);
        Beside {
            own_cpu,
            foreign_cpu: shares.and_then(|shares| shares.foreign),
            ours_cpu: shares.and_then(|shares| shares.ours),
            steal: shares.map(|shares| shares.steal),
            load_1min: cpu::load_average(),
            cpu_mhz: self.clocks.mean_mhz(),
            foreign_gpu_processes,
            boards,
        }
    }

    /// Boards on which this process computes, by UUID. `None`: the driver does not tell, or there is none.
    #[must_use]
    pub fn own_boards(&self) -> Option<Vec<String>> {
        let (_, boards) = sorted(Some(&nvml::processes(self.nvml.as_ref()?)?), &[], true);
        Some(boards.into_iter().filter(|board| board.ours > 0).map(|board| board.uuid).collect())
    }

    /// `blind`: an engine ran since the last reading whose processes nobody knows.
    fn read(&mut self, blind: bool) -> Nanos {
        let at = Nanos::from(self.started.elapsed());
        if let Some(times) = cpu::times() {
            let ours = self.ours.read(at, times.started);
            self.history.push(Reading { at, ticks: cpu::ticks_since_boot(), times, ours, blind });
        }
        at
    }
}

/// Processes on boards told apart into ours and those of others: how many others there are on all boards, and each board.
fn sorted(
    processes: Option<&BTreeMap<String, BTreeSet<u32>>>,
    engine_pids: &[u32],
    known: bool,
) -> (Option<u32>, Vec<OnBoard>) {
    let Some(processes) = processes else { return (None, Vec::new()) };
    let own = std::process::id();
    let ours = |pid: &u32| *pid == own || engine_pids.contains(pid);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let boards = processes.iter().map(|(uuid, pids)| {
        let mine = pids.iter().filter(|pid| ours(pid)).count();
        OnBoard { uuid: uuid.clone(), ours: count(mine), foreign: known.then(|| count(pids.len() - mine)) }
    });
    let others: BTreeSet<&u32> = processes.values().flatten().filter(|pid| !ours(pid)).collect();
    // Where nobody computes it makes no difference which processes are the engine's.
    ((known || others.is_empty()).then(|| count(others.len())), boards.collect())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn flags_follow_their_limits() {
        let beside = |foreign_cpu, steal, foreign_gpu_processes| Beside {
            foreign_cpu,
            steal,
            foreign_gpu_processes,
            ..Beside::default()
        };
        assert!(flags(&beside(None, None, None)).is_empty());
        assert!(flags(&beside(Some(0.10), Some(0.02), Some(0))).is_empty());
        for loaded in [
            beside(Some(0.11), None, None),
            beside(None, Some(0.021), None),
            beside(None, None, Some(1)),
            beside(Some(0.5), Some(0.5), Some(2)),
        ] {
            assert_eq!(flags(&loaded), [Flag::ForeignLoad], "{loaded:?}");
        }
    }

    #[test]
    fn an_engine_whose_processes_are_not_known_is_not_called_foreign() {
        let own = std::process::id();
        let boards = BTreeMap::from([
            ("a".to_owned(), BTreeSet::from([own, 7])),
            ("b".to_owned(), BTreeSet::from([8, 9])),
            ("c".to_owned(), BTreeSet::new()),
        ]);
        let of = |engine: &[u32], known| {
            let (all, boards) = sorted(Some(&boards), engine, known);
            (all, boards.into_iter().map(|board| (board.ours, board.foreign)).collect::<Vec<_>>())
        };
        assert_eq!(of(&[7], true), (Some(2), vec![(2, Some(0)), (0, Some(2)), (0, Some(0))]));
        assert_eq!(of(&[], false), (None, vec![(1, None), (0, None), (0, None)]));
        assert_eq!(sorted(None, &[], true), (None, Vec::new()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn our_own_work_is_seen() {
        const WORK: Nanos = Nanos(30_000_000);
        let used = || process::cpu_self().unwrap_or_default();
        let mut watcher = Watcher::new();
        let mark = watcher.start();
        let before = used();
        while used().since(before) < WORK {
            std::hint::black_box(0);
        }
        let beside = watcher.finish(mark, || Some(Vec::new()));
        assert!(beside.own_cpu.is_some_and(|own| own >= WORK), "{beside:?}");
        assert!(beside.load_1min.is_some());
        // What the window takes off as ours includes it too.
        let own = watcher.history.newest().unwrap().ours.iter().find(|(id, _)| id.pid == std::process::id());
        assert!(own.is_some_and(|(_, used)| used.own.since(before) >= WORK));
    }

    /// A program that computes for a while, and its number. It is somebody else's: whoever started it is gone.
    #[cfg(target_os = "linux")]
    fn stranger() -> (std::process::Child, u32) {
        use std::io::{BufRead, BufReader};
        let script = format!("sh -c '{COMPUTES}' & echo $!");
        let mut child = std::process::Command::new("sh")
            .args(["-c", &script])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (child, line.trim().parse().unwrap())
    }

    #[cfg(target_os = "linux")]
    const COMPUTES: &str = "i=0; while [ $i -lt 3000000 ]; do i=$((i+1)); done";

    #[cfg(target_os = "linux")]
    #[test]
    fn others_work_is_told_from_that_of_our_children() {
        use window::SHORTEST;
        let mut watcher = Watcher::new();
        let mark = watcher.start();
        let mut own = std::process::Command::new("sh").args(["-c", COMPUTES]).spawn().unwrap();
        let (mut starter, stranger) = stranger();
        starter.wait().unwrap();
        let used = |pid| process::stat_of(pid).map(|stat| stat.used.own).unwrap_or_default();
        // Both run for some seconds of processor time, unless the machine is very fast or they ended early.
        let begun = Instant::now();
        while Nanos::from(begun.elapsed()) < SHORTEST + SHORTEST {
            std::thread::yield_now();
        }
        let (ours, theirs) = (used(own.id()), used(stranger));
        watcher.read(false);
        let shares = watcher.history.shares(mark.at).unwrap();
        let total = {
            let (first, last) = (watcher.history.oldest().unwrap(), watcher.history.newest().unwrap());
            last.times.total.since(first.times.total).as_secs()
        };
        own.kill().unwrap();
        own.wait().unwrap();
        // SAFETY: takes two numbers.
        unsafe { libc::kill(libc::pid_t::try_from(stranger).unwrap(), libc::SIGKILL) };
        let (told_ours, told_foreign) = (shares.ours.unwrap(), shares.foreign.unwrap());
        assert!(ours.as_secs() > 0.0 && theirs.as_secs() > 0.0, "{ours:?} {theirs:?}");
        // What else this machine does may be more, never less.
        assert!(told_ours >= ours.as_secs() / total - 0.05, "{shares:?}, {ours:?} of {total} s");
        assert!(told_foreign >= theirs.as_secs() / total - 0.05, "{shares:?}, {theirs:?} of {total} s");
        assert!(told_ours + told_foreign + shares.steal <= 1.05, "{shares:?}");
    }
}
