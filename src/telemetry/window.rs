//! Shares of processor time between two readings, over a window long enough for the system's coarse counters.

use std::collections::{BTreeMap, VecDeque};

use super::cpu::Times;
use super::process::{Identity, Used};
use crate::units::Nanos;

/// Shortest window that is judged. The system finds out what runs at ticks of 1 to 10 ms, so what it says of a share
/// scatters: with 4 ms and two processors by 3 % of half a second, and a third of the limit for foreign load.
pub(super) const SHORTEST: Nanos = Nanos(500_000_000);

/// How far a window may reach back before its call began; older readings say nothing about it.
const REACH: Nanos = Nanos(2_000_000_000);

/// Everything read at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    /// On the watcher's own clock.
    pub(super) at: Nanos,
    /// The same in ticks since the boot. `None`: not told.
    pub(super) ticks: Option<u64>,
    /// All processors together.
    pub(super) times: Times,
    /// Processor time of each process of ours, this one among them.
    pub(super) ours: BTreeMap<Identity, Used>,
    /// Whether an engine ran since the reading before whose processes nobody knows.
    pub(super) blind: bool,
}

/// Shares of all processors' time in a window, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shares {
    /// Programs other than ours. `None`: what ours took is not known.
    pub(super) foreign: Option<f64>,
    /// Ours. `None`: not known.
    pub(super) ours: Option<f64>,
    /// The hypervisor.
    pub(super) steal: f64,
}

/// Recent readings, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    readings: VecDeque<Reading>,
}

impl History {
    /// Adds a reading, and forgets those that no window can reach any more.
    pub(super) fn push(&mut self, reading: Reading) {
        let now = reading.at;
        self.readings.push_back(reading);
        // The second newest may be the mark of a call that lasts for minutes, so two are always kept.
        while self.readings.len() > 2 && self.readings.front().is_some_and(|old| now.since(old.at) > REACH + SHORTEST) {
            self.readings.pop_front();
        }
    }

    /// The oldest reading.
    #[cfg(test)]
    pub(super) fn oldest(&self) -> Option<&Reading> {
        self.readings.front()
    }

    /// The newest reading.
    #[cfg(test)]
    pub(super) fn newest(&self) -> Option<&Reading> {
        self.readings.back()
    }

    /// Shares from the call's beginning to the newest reading; from earlier where that is too short.
    ///
    /// `None`: no reading is far enough back and still near enough to the call.
    pub(super) fn shares(&self, mark: Nanos) -> Option<Shares> {
        let end = self.readings.back()?;
        let begin =
            self.readings.iter().rev().find(|reading| reading.at <= mark && end.at.since(reading.at) >= SHORTEST)?;
        if mark.since(begin.at) > REACH {
            return None;
        }
        let blind = self.readings.iter().any(|reading| reading.blind && reading.at > begin.at);
        between(begin, end, blind)
    }
}

/// `None`: the counters did not move.
#[expect(clippy::cast_precision_loss, reason = "2^53 ns is 104 days of one processor")]
fn between(begin: &Reading, end: &Reading, blind: bool) -> Option<Shares> {
    let total = end.times.total.since(begin.times.total).0 as f64;
    if total <= 0.0 {
        return None;
    }
    let share = |part: f64| (part / total).clamp(0.0, 1.0);
    let busy = end.times.busy.since(begin.times.busy).0 as f64;
    let ours = ours(begin, end).filter(|_| !blind).map(|ours| ours.0 as f64);
    Some(Shares {
        foreign: ours.map(|ours| share(busy - ours)),
        ours: ours.map(share),
        steal: share(end.times.steal.since(begin.times.steal).0 as f64),
    })
}

/// What times in ticks may be off by: one tick each for user and kernel mode.
const CUT_OFF: u64 = 2;

/// Processor time that was ours between two readings, and nothing from before the first. `None`: a process of ours was
/// there before and was not read, or one has ended and nobody of ours tells what it used.
///
/// While a process lives its own time tells. When it ends and is waited for, its whole time is added to that of the
/// parent's children, at once: what it had used before the window is taken off that, and off nothing else.
fn ours(begin: &Reading, end: &Reading) -> Option<Nanos> {
    let tick = super::cpu::tick();
    let (mut own, mut taken_over) = (Nanos(0), Nanos(0));
    for (identity, now) in &end.ours {
        let then = match begin.ours.get(identity) {
            Some(then) => *then,
            None if begin.ticks.is_some_and(|ticks| identity.started >= ticks) => Used::default(),
            None if (now.own + now.children).0 <= CUT_OFF * tick.0 => Used::default(),
            None => return None,
        };
        own = own + now.own.since(then.own);
        taken_over = taken_over + now.children.since(then.children);
    }
    let ended: Vec<&Used> =
        begin.ours.iter().filter(|(identity, _)| !end.ours.contains_key(identity)).map(|(_, used)| used).collect();
    let before = Nanos(ended.iter().map(|used| used.own.0 + used.children.0).sum());
    let cut_off = Nanos(2 * CUT_OFF * tick.0 * ended.len() as u64);
    if taken_over + cut_off < before {
        return None;
    }
    Some(own + taken_over.since(before))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
