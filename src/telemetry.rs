//! What went on beside a call: other programs' load, time the hypervisor took, clocks; and what our own process used.
//!
//! Readings are taken before and after a call, never inside it; one takes tens of microseconds on a
//! small machine without a GPU.
//! On a virtual clock nothing of this means anything and the watcher is not used.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nvml_wrapper::Nvml;

use crate::terms::disturbed::STEAL_LIMIT;
use crate::terms::{Flag, OnBoard};
use crate::units::Nanos;

pub mod board;
pub mod continuity;
pub mod control_group;
pub mod cpu;
mod heartbeat;
pub mod meanwhile;
pub mod nvml;
mod ours;
pub mod process;
pub mod sampler;
pub mod sensor;
mod system_clock;
mod window;

use control_group::HeldBack;
use cpu::Clocks;
use heartbeat::Heartbeat;
use nvml::Told;
use ours::Ours;
use window::{History, Reading};

/// Share of all processors' time above which other programs' work is flagged.
///
/// A background service or two stays below; a compiler or another benchmark does not.
pub const FOREIGN_CPU_LIMIT: f64 = 0.10;

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
    /// Time for which a control group did not let its processes run, since its share of the processor was used up; over all
    /// processors. The group is one that this process or the engine's is in.
    pub held_back: Option<Nanos>,
    /// Time for which this program or the engine was stopped, paused, suspended or moved to another host.
    pub frozen: Option<Nanos>,
}

/// What of it must be flagged on the row.
#[must_use]
pub fn flags(beside: &Beside) -> Vec<Flag> {
    let above = |share: Option<f64>, limit| share.is_some_and(|share| share > limit);
    let happened = |time: Option<Nanos>| time.is_some_and(|time| time > Nanos(0));
    let foreign = above(beside.foreign_cpu, FOREIGN_CPU_LIMIT)
        || above(beside.steal, STEAL_LIMIT)
        || beside.foreign_gpu_processes.is_some_and(|n| n > 0);
    let flags = [
        (foreign, Flag::ForeignLoad),
        (happened(beside.held_back), Flag::CpuQuota),
        (happened(beside.frozen), Flag::Frozen),
    ];
    flags.into_iter().filter_map(|(is_so, flag)| is_so.then_some(flag)).collect()
}

/// Whether a board that this program or its engine computes on says that heat or a brake lowered its clocks.
#[must_use]
pub fn is_slowed(beside: &Beside) -> bool {
    let slowed = |board: &&OnBoard| board.clock_reasons.is_some_and(|bits| bits & board::THROTTLED != 0);
    beside.boards.iter().filter(|board| board.ours > 0).any(|board| slowed(&board))
}

/// Watches what goes on around calls.
///
/// The system counts processor time in hundredths of a second, so a short call cannot be judged from its own two
/// readings: shares then cover the last half second or more up to the call's end.
pub struct Watcher {
    /// Where the kernel's files are: `/`, but in tests.
    root: PathBuf,
    started: Instant,
    history: History,
    ours: Ours,
    clocks: Clocks,
    nvml: Option<Nvml>,
    heartbeat: Heartbeat,
    /// Engines' processes seen so far.
    engines: BTreeSet<u32>,
}

/// A call's beginning.
#[derive(Debug, Clone)]
#[must_use = "pass it to `finish` when the call is over"]
pub struct Mark {
    at: Nanos,
    /// On the heartbeat's clock.
    beat: Nanos,
    held_back: HeldBack,
    own_cpu: Option<Nanos>,
}

impl Watcher {
    /// Begins to watch. Opens NVML where there is one; takes some milliseconds.
    ///
    /// `prolong` is told whenever time has passed in which this program or an engine could not run: no deadline should
    /// count it.
    #[must_use]
    pub fn new(prolong: impl Fn(Nanos) + Send + Sync + 'static) -> Self {
        Self::below(Path::new("/"), prolong)
    }

    /// As [`new`](Self::new), with control groups as they are told below `root`.
    fn below(root: &Path, prolong: impl Fn(Nanos) + Send + Sync + 'static) -> Self {
        let mut watcher = Self {
            root: root.to_owned(),
            started: Instant::now(),
            history: History::default(),
            ours: Ours::default(),
            clocks: Clocks::of_this_machine(),
            nvml: nvml::open().ok(),
            heartbeat: Heartbeat::start(root, prolong),
            engines: BTreeSet::new(),
        };
        watcher.read(false);
        watcher
    }

    /// Reads before a call.
    pub fn start(&mut self) -> Mark {
        let held_back = self.held_back();
        let at = self.read(false);
        let beat = self.heartbeat.begin();
        // Last, so that little of the reading itself counts as the call's.
        Mark { at, beat, held_back, own_cpu: process::cpu_self() }
    }

    /// Reads after a call, and says what happened since its beginning.
    ///
    /// `engine_pids` tells the processes besides our own whose work is ours; looking for them is not the call's work.
    /// `None`: there are some, and which is not known.
    pub fn finish(&mut self, mark: Mark, engine_pids: impl FnOnce() -> Option<Vec<u32>>) -> Beside {
        let own_cpu = process::cpu_self().zip(mark.own_cpu).map(|(now, then)| now.since(then));
        let frozen = self.heartbeat.held_since(mark.beat);
        let held_back = self.held_back().since(&mark.held_back);
        let told = engine_pids();
        let known = told.is_some();
        let engine_pids = told.unwrap_or_default();
        self.ours.add_engines(&engine_pids);
        self.watch(&engine_pids);
        self.read(!known);
        let shares = self.history.shares(mark.at);
        let told = self.nvml.as_ref().and_then(nvml::boards);
        let (foreign_gpu_processes, boards) = sorted(told.as_ref(), &engine_pids, known);
        Beside {
            own_cpu,
            held_back,
            frozen: Some(frozen),
            foreign_cpu: shares.and_then(|shares| shares.foreign),
            ours_cpu: shares.and_then(|shares| shares.ours),
            steal: shares.map(|shares| shares.steal),
            load_1min: cpu::load_average(),
            cpu_mhz: self.clocks.mean_mhz(),
            foreign_gpu_processes,
            boards,
        }
    }

    /// Whether other programs and the hypervisor left the processors alone over the last half second: neither took more than
    /// its limit. `None`: not known, or not measurable.
    pub fn is_quiet(&mut self, foreign_limit: f64) -> Option<bool> {
        let now = self.read(false);
        let shares = self.history.shares(now)?;
        Some(shares.foreign? <= foreign_limit && shares.steal <= STEAL_LIMIT)
    }

    /// Notes that everything is left alone from now on. When that was, on the heartbeat's clock.
    #[must_use]
    pub fn begin_idle(&self) -> Nanos {
        self.heartbeat.begin()
    }

    /// How long this program or an engine was held since then.
    #[must_use]
    pub fn held_since(&self, begin: Nanos) -> Nanos {
        self.heartbeat.held_since(begin)
    }

    /// Watches an engine's processes for being held, and their control groups.
    fn watch(&mut self, engines: &[u32]) {
        let before = self.engines.len();
        self.engines.extend(engines);
        if self.engines.len() > before {
            self.engines.retain(|&pid| process::stat_of(pid).is_some());
            self.heartbeat.watch(engines);
        }
    }

    /// What control groups held back so far, ours and those of engines.
    fn held_back(&self) -> HeldBack {
        let engines: Vec<u32> = self.engines.iter().copied().collect();
        HeldBack::read(&self.root, &engines)
    }

    /// Boards on which this process computes, by UUID. `None`: the driver does not tell, or there is none.
    #[must_use]
    pub fn own_boards(&self) -> Option<Vec<String>> {
        let (_, boards) = sorted(Some(&nvml::boards(self.nvml.as_ref()?)?), &[], true);
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
fn sorted(told: Option<&BTreeMap<String, Told>>, engine_pids: &[u32], known: bool) -> (Option<u32>, Vec<OnBoard>) {
    let Some(told) = told else { return (None, Vec::new()) };
    let own = std::process::id();
    let ours = |pid: &u32| *pid == own || engine_pids.contains(pid);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let boards = told.iter().map(|(uuid, Told { processes, clock_reasons })| {
        let mine = processes.iter().filter(|pid| ours(pid)).count();
        let foreign = known.then(|| count(processes.len() - mine));
        OnBoard { uuid: uuid.clone(), ours: count(mine), foreign, clock_reasons: *clock_reasons }
    });
    let others: BTreeSet<&u32> = told.values().flat_map(|told| &told.processes).filter(|pid| !ours(pid)).collect();
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
        let held = |held_back, frozen| Beside { held_back, frozen, ..Beside::default() };
        assert!(flags(&held(Some(Nanos(0)), Some(Nanos(0)))).is_empty());
        assert_eq!(flags(&held(Some(Nanos(1)), Some(Nanos(1)))), [Flag::CpuQuota, Flag::Frozen]);
    }

    #[test]
    fn a_board_is_slowed_by_heat_and_not_by_its_power_limit() {
        let on = |ours, clock_reasons| {
            let board = OnBoard { uuid: "a".to_owned(), ours, foreign: None, clock_reasons };
            is_slowed(&Beside { boards: vec![board], ..Beside::default() })
        };
        assert!(on(1, Some(0x20)) && on(2, Some(0x8 | 0x4)));
        assert!(!on(1, Some(0x4)) && !on(0, Some(0x20)) && !on(1, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_held_a_call_back_is_what_its_groups_say() {
        use control_group::tests::{root, write};
        const OUTER: &str = "sys/fs/cgroup/outer/cpu.stat";
        let root = root(&[("proc/self/cgroup", "0::/outer\n"), (OUTER, "throttled_usec 10\n")]);
        let mut watcher = Watcher::below(root.path(), |_| ());
        let mut call = |throttled: &str| {
            let mark = watcher.start();
            write(root.path(), OUTER, throttled);
            watcher.finish(mark, || Some(Vec::new()))
        };
        assert_eq!(call("throttled_usec 10\n").held_back, Some(Nanos(0)));
        let held = call("throttled_usec 2510\n");
        assert_eq!(held.held_back, Some(Nanos(2_500_000)));
        assert!(flags(&held).contains(&Flag::CpuQuota));
        assert_eq!(call("").held_back, None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_engine_that_somebody_stopped_is_seen() {
        use std::process::{Command, Stdio};
        use std::sync::Arc;
        use std::sync::atomic::{AtomicU64, Ordering};
        let prolonged = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&prolonged);
        let mut watcher = Watcher::new(move |time| {
            told.fetch_add(time.0, Ordering::Relaxed);
        });
        let mut engine = Command::new("sh").args(["-c", "read wait"]).stdin(Stdio::piped()).spawn().unwrap();
        let pid = libc::pid_t::try_from(engine.id()).unwrap();
        let mark = watcher.start();
        drop(watcher.finish(mark, || Some(vec![engine.id()])));
        let mark = watcher.start();
        // SAFETY: takes two numbers.
        unsafe { libc::kill(pid, libc::SIGSTOP) };
        let begun = Instant::now();
        while prolonged.load(Ordering::Relaxed) < 200_000_000 && begun.elapsed().as_secs() < 60 {
            std::thread::yield_now();
        }
        // SAFETY: takes two numbers.
        unsafe { libc::kill(pid, libc::SIGCONT) };
        let beside = watcher.finish(mark, || Some(vec![engine.id()]));
        engine.kill().unwrap();
        engine.wait().unwrap();
        assert!(beside.frozen >= Some(Nanos(200_000_000)), "{beside:?}");
        assert!(flags(&beside).contains(&Flag::Frozen));
    }

    #[test]
    fn an_engine_whose_processes_are_not_known_is_not_called_foreign() {
        let own = std::process::id();
        let told = |name: &str, processes: &[u32], clock_reasons| {
            (name.to_owned(), Told { processes: processes.iter().copied().collect(), clock_reasons })
        };
        let boards = BTreeMap::from([told("a", &[own, 7], None), told("b", &[8, 9], Some(4)), told("c", &[], Some(0))]);
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
        let mut watcher = Watcher::new(|_| ());
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
        let mut watcher = Watcher::new(|_| ());
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
