//! Shares of processor time between two readings, over a window long enough for the system's coarse counters.

use std::collections::{BTreeMap, VecDeque};

use super::cpu::Times;
use crate::units::Nanos;

/// Shortest window that is judged: with counters of 10 ms, one tick of one processor is then 5 % of that processor.
pub(super) const SHORTEST: Nanos = Nanos(200_000_000);

/// How far a window may reach back before its call began; older readings say nothing about it.
const REACH: Nanos = Nanos(2_000_000_000);

/// Everything read at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    /// On the watcher's own clock.
    pub(super) at: Nanos,
    /// All processors together.
    pub(super) times: Times,
    /// Processor time of our own process and of children it has waited for.
    pub(super) own: Nanos,
    /// Processor time of engine processes by pid. `None`: it has ended.
    pub(super) engines: BTreeMap<u32, Option<Nanos>>,
}

/// Shares of all processors' time in a window, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shares {
    /// Programs other than ours. `None`: an engine's time at the window's start is not known.
    pub(super) foreign: Option<f64>,
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
        (mark.since(begin.at) <= REACH).then(|| between(begin, end)).flatten()
    }
}

/// `None`: the counters did not move.
#[expect(clippy::cast_precision_loss, reason = "2^53 ns is 104 days of one processor")]
fn between(begin: &Reading, end: &Reading) -> Option<Shares> {
    let total = end.times.total.since(begin.times.total).0 as f64;
    if total <= 0.0 {
        return None;
    }
    let share = |part: f64| (part / total).clamp(0.0, 1.0);
    let busy = end.times.busy.since(begin.times.busy).0 as f64;
    let ours = ours(begin, end);
    Some(Shares {
        foreign: ours.map(|ours| share(busy - ours)),
        steal: share(end.times.steal.since(begin.times.steal).0 as f64),
    })
}

/// Processor time that was ours. `None`: an engine that runs at the end was not watched at the beginning.
#[expect(clippy::cast_precision_loss, reason = "see between")]
fn ours(begin: &Reading, end: &Reading) -> Option<f64> {
    let mut ours = end.own.0 as f64 - begin.own.0 as f64;
    for (pid, time) in &end.engines {
        let before = begin.engines.get(pid).copied().flatten();
        match (before, time) {
            (Some(before), Some(after)) => ours += after.since(before).0 as f64,
            (None, Some(_)) => return None,
            // Ended: once waited for, all of its time is among that of our children.
            (_, None) => {}
        }
    }
    let gone = begin.engines.iter().filter(|(pid, _)| end.engines.get(pid).copied().flatten().is_none());
    let counted_before: f64 = gone.filter_map(|(_, time)| *time).map(|time| time.0 as f64).sum();
    Some((ours - counted_before).max(0.0))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn reading(at: u64, busy: u64, steal: u64, own: u64) -> Reading {
        Reading {
            at: Nanos(at * MS),
            // Two processors.
            times: Times { busy: Nanos(busy * MS), steal: Nanos(steal * MS), total: Nanos(2 * at * MS) },
            own: Nanos(own * MS),
            engines: BTreeMap::new(),
        }
    }

    fn history(readings: Vec<Reading>) -> History {
        let mut history = History::default();
        readings.into_iter().for_each(|reading| history.push(reading));
        history
    }

    #[test]
    fn what_is_ours_is_taken_off() {
        let history = history(vec![reading(0, 0, 0, 0), reading(1000, 900, 100, 500)]);
        assert_eq!(history.shares(Nanos(0)), Some(Shares { foreign: Some(0.2), steal: 0.05 }));
    }

    #[test]
    fn noise_below_zero_is_zero() {
        let history = history(vec![reading(0, 0, 0, 0), reading(1000, 490, 0, 500)]);
        assert_eq!(history.shares(Nanos(0)).unwrap().foreign, Some(0.0));
    }

    #[test]
    fn a_short_call_is_judged_over_the_time_before_it() {
        let mut readings = vec![reading(0, 0, 0, 0)];
        let alone = history(vec![reading(0, 0, 0, 0), reading(5, 10, 0, 10)]);
        assert_eq!(alone.shares(Nanos(0)), None, "5 ms are too short to judge");
        // Calls of 5 ms, each between two readings; another program takes one of the two processors.
        for call in 0..1000 {
            readings.push(reading(call * 10 + 1, call * 20 + 2, 0, call * 10 + 1));
            readings.push(reading(call * 10 + 6, call * 20 + 12, 0, call * 10 + 6));
        }
        let history = history(readings);
        let shares = history.shares(Nanos(9991 * MS)).unwrap();
        assert!((shares.foreign.unwrap() - 0.5).abs() < 0.02, "{shares:?}");
        assert!(history.readings.len() <= 2 * 221);
    }

    #[test]
    fn a_reading_from_long_ago_says_nothing() {
        let history = history(vec![reading(0, 0, 0, 0), reading(60_000, 0, 0, 0), reading(60_010, 0, 0, 0)]);
        assert_eq!(history.shares(Nanos(60_000 * MS)), None);
    }

    #[test]
    fn a_long_call_is_judged_from_its_own_beginning() {
        let history = history(vec![reading(0, 0, 0, 0), reading(1000, 2000, 0, 0), reading(600_000, 2000, 0, 0)]);
        assert_eq!(history.shares(Nanos(1000 * MS)).unwrap().foreign, Some(0.0));
    }

    #[test]
    fn engines_are_ours_while_they_live_and_after() {
        let with = |mut reading: Reading, engines: &[(u32, Option<u64>)]| {
            reading.engines = engines.iter().map(|&(pid, ms)| (pid, ms.map(|ms| Nanos(ms * MS)))).collect();
            reading
        };
        let share = |begin, end| history(vec![begin, end]).shares(Nanos(0)).unwrap().foreign;
        let begin = with(reading(0, 0, 0, 0), &[(7, Some(300))]);
        assert_eq!(share(begin.clone(), with(reading(1000, 1000, 0, 0), &[(7, Some(900))])), Some(0.2));
        // It ended and was waited for: its 900 ms are now among our own.
        assert_eq!(share(begin, with(reading(1000, 1000, 0, 900), &[(7, None)])), Some(0.2));
        // One that was not watched before makes the sum unknown, not foreign.
        assert_eq!(share(reading(0, 0, 0, 0), with(reading(1000, 1000, 0, 0), &[(8, Some(1))])), None);
    }
}
