//! A machine of two processors whose truth is known, and what its system says of it: what runs is found out at a tick of
//! 4 ms and told in steps of 10 ms, a process's own time is exact and told in steps of 10 ms.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{History, MS, Reading, SELF, Shares};
use crate::telemetry::cpu::Times;
use crate::telemetry::process::{Identity, Used};
use crate::telemetry::{Beside, flags};
use crate::units::Nanos;

const SAMPLED_EVERY: u64 = 4;
const TOLD_IN: u64 = 10;
const SECONDS: u64 = 240;

/// In-process, a worker below a keeper, one that compiles in children of its own, a server that we did not start.
const BACKENDS: [(&str, u32, u64); 4] = [("onnx", 1, 2), ("isolated", 21, 2), ("torch", 11, 1), ("server", 30, 2)];

/// A call as it was judged.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) shares: Shares,
    /// Foreign share of the window that was judged.
    pub(super) truth: f64,
    /// A tick of each processor and of each process, as a share of the window.
    pub(super) resolution: f64,
}

impl Judged {
    pub(super) fn is_flagged(&self) -> bool {
        let beside = Beside { foreign_cpu: self.shares.foreign, steal: Some(self.shares.steal), ..Beside::default() };
        !flags(&beside).is_empty()
    }
}

#[derive(Default)]
struct Machine {
    /// Milliseconds since the boot.
    now: u64,
    /// What the system found out, in milliseconds.
    busy: u64,
    /// What other programs really used, and by when.
    foreign: Vec<u64>,
    /// Exact milliseconds by process: started, own, children's.
    processes: BTreeMap<u32, (u64, u64, u64)>,
}

impl Machine {
    /// One millisecond, in which these run, each on a processor of its own.
    fn pass(&mut self, running: &[u32], foreign: u64) {
        for pid in running {
            self.processes.entry(*pid).or_default().1 += 1;
        }
        self.now += 1;
        let before = self.foreign.last().copied().unwrap_or_default();
        self.foreign.push(before + foreign);
        if self.now.is_multiple_of(SAMPLED_EVERY) {
            self.busy += SAMPLED_EVERY * (running.len() as u64 + foreign).min(2);
        }
    }

    fn end(&mut self, pid: u32, parent: u32) {
        if let Some((_, own, children)) = self.processes.remove(&pid) {
            self.processes.entry(parent).or_default().2 += own + children;
        }
    }

    fn read(&self) -> Reading {
        let told = |ms: u64| Nanos(ms / TOLD_IN * TOLD_IN * MS);
        let process = |(&pid, &(started, own, children)): (&u32, &(u64, u64, u64))| {
            let exact = pid == SELF.pid;
            let own = if exact { Nanos(own * MS) } else { told(own) };
            (Identity { pid, started: started / TOLD_IN }, Used { own, children: told(children) })
        };
        Reading {
            at: Nanos(self.now * MS),
            ticks: Some(self.now / TOLD_IN),
            times: Times { busy: told(self.busy), steal: Nanos(0), total: Nanos(2 * self.now * MS), started: None },
            ours: self.processes.iter().map(process).collect(),
            blind: false,
        }
    }
}

/// Calls of all engines in random order, of 5 to 800 ms. `planted`: another program takes half of one processor in three
/// of every ten seconds.
pub(super) fn run(seed: u64, planted: bool) -> BTreeMap<&'static str, Vec<Judged>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut machine = Machine::default();
    for pid in [SELF.pid, 10, 11, 20, 21, 30] {
        machine.processes.insert(pid, (0, 0, 0));
    }
    let mut history = History::default();
    let mut found: BTreeMap<&str, Vec<Judged>> = BTreeMap::new();
    let mut next_child = 100;
    while machine.now < SECONDS * 1000 {
        let (backend, pid, threads) = BACKENDS[random.random_range(0..BACKENDS.len())];
        for _ in 0..random.random_range(1..20) {
            let own: &[u32] = if random.random_bool(0.3) { &[SELF.pid] } else { &[] };
            let foreign = foreign(&mut random, machine.now, planted);
            machine.pass(own, foreign);
        }
        let begin = machine.read();
        history.push(begin);
        let mark = Nanos(machine.now * MS);
        let length = (5.0 * 160.0_f64.powf(random.random_range(0.0..1.0))) as u64;
        let child = (pid == 11 && random.random_bool(0.1)).then(|| {
            next_child += 1;
            machine.processes.insert(next_child, (machine.now, 0, 0));
            next_child
        });
        for _ in 0..length {
            let foreign = foreign(&mut random, machine.now, planted);
            let mut running = vec![pid; threads as usize];
            running.extend(child);
            running.truncate(2 - foreign as usize);
            machine.pass(&running, foreign);
        }
        if let Some(child) = child {
            machine.end(child, 11);
        }
        history.push(machine.read());
        let Some(shares) = history.shares(mark) else { continue };
        let end = history.readings.back().unwrap().at;
        let judged_from = history.readings.iter().rev().find(|r| r.at <= mark && end.since(r.at) >= super::SHORTEST);
        let from = judged_from.unwrap().at.0 / MS;
        let window = machine.now - from;
        let at = |ms: u64| ms.checked_sub(1).map_or(0, |i| machine.foreign[i as usize]);
        let truth = (at(machine.now) - at(from)) as f64 / (2 * window) as f64;
        let ticks = 2 + machine.processes.len() as u64;
        let resolution = (ticks * TOLD_IN) as f64 / (2 * window) as f64;
        found.entry(backend).or_default().push(Judged { shares, truth, resolution });
    }
    found
}

/// Processors that other programs take in a millisecond: a little always.
fn foreign(random: &mut ChaCha8Rng, now: u64, planted: bool) -> u64 {
    let share = if planted && now % 10_000 < 3000 { 0.5 } else { 0.01 };
    u64::from(random.random_bool(share))
}
