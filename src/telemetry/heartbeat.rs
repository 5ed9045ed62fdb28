//! Whether time passed in which this program or an engine could not run at all: stopped, suspended, paused, moved to
//! another host.
//!
//! A thread wakes at a fixed pace and does nothing else. Where it comes late, the whole program was held; where it does not
//! and an engine's process is marked as stopped, the engine was. Nothing of a call enters into it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::control_group::{self, Group};
use super::process::{self, Identity};
use super::system_clock::{monotonic, since_boot};
use crate::units::Nanos;

/// Time between two beats: twenty a second cost nothing that can be measured.
const PERIOD: Nanos = Nanos(50_000_000);

/// A beat that is later than this does not wait for a processor: something held the program.
const LATE: Nanos = Nanos(100_000_000);

/// An engine that is held for longer than this prolongs no deadline any more.
const LONGEST_WAIT: Nanos = Nanos(60_000_000_000);

/// Watches for held time on a thread of its own. Dropping it ends the thread.
pub(super) struct Heartbeat {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    root: PathBuf,
    pulse: Mutex<Pulse>,
    engines: Mutex<Arc<[Watched]>>,
    /// Takes what deadlines are to be prolonged by.
    prolong: Box<dyn Fn(Nanos) + Send + Sync>,
    ended: AtomicBool,
}

/// An engine's process.
#[derive(Debug, Clone)]
struct Watched {
    identity: Identity,
    freezers: Vec<Group>,
}

impl Watched {
    /// Whether it can not run now.
    fn is_held(&self) -> bool {
        let stat = process::stat_of(self.identity.pid).filter(|stat| stat.identity == self.identity);
        stat.is_some_and(|stat| stat.stopped || control_group::is_frozen(&self.freezers))
    }
}

impl Heartbeat {
    /// Begins to watch. `prolong` is told how much of the time that has passed nobody could use.
    pub(super) fn start(root: &Path, prolong: impl Fn(Nanos) + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            pulse: Mutex::new(Pulse::new(Moment::now())),
            engines: Mutex::default(),
            prolong: Box::new(prolong),
            ended: AtomicBool::new(false),
        });
        let beating = Arc::clone(&shared);
        let beat = move || {
            while !beating.ended.load(Ordering::Relaxed) {
                thread::park_timeout(PERIOD.duration());
                beating.beat();
            }
        };
        // Without a thread the beats before and after a call are left, which see most of it.
        let thread = thread::Builder::new().name("heartbeat".to_owned()).spawn(beat).ok();
        Self { shared, thread }
    }

    /// Notes that a call begins, and forgets all before. When that was.
    pub(super) fn begin(&self) -> Nanos {
        self.shared.beat();
        self.shared.pulse().begin()
    }

    /// How long this program or an engine was held since a call's beginning.
    pub(super) fn held_since(&self, begin: Nanos) -> Nanos {
        self.shared.beat();
        self.shared.pulse().held_since(begin)
    }

    /// Watches an engine's processes too, from now on.
    pub(super) fn watch(&self, processes: &[u32]) {
        let mut engines = self.shared.engines.lock().unwrap_or_else(PoisonError::into_inner);
        let unseen = processes.iter().filter(|pid| engines.iter().all(|engine| engine.identity.pid != **pid));
        let identities: Vec<Identity> = unseen.filter_map(|&pid| Some(process::stat_of(pid)?.identity)).collect();
        if identities.is_empty() {
            return;
        }
        let is_there = |engine: &&Watched| process::stat_of(engine.identity.pid).is_some();
        let known = engines.iter().filter(is_there).cloned().collect::<Vec<_>>();
        let new = identities.into_iter().map(|identity| Watched {
            identity,
            freezers: control_group::of_process(&self.shared.root, Some(identity.pid), "freezer"),
        });
        *engines = known.into_iter().chain(new).collect();
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            drop(thread.join());
        }
    }
}

impl Shared {
    fn pulse(&self) -> std::sync::MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beat(&self) {
        let engines = Arc::clone(&self.engines.lock().unwrap_or_else(PoisonError::into_inner));
        let engine_held = engines.iter().any(Watched::is_held);
        let unusable = self.pulse().beat(Moment::now(), engine_held);
        if unusable > Nanos(0) {
            (self.prolong)(unusable);
        }
    }
}

/// One moment on two clocks.
#[derive(Debug, Clone, Copy)]
struct Moment {
    monotonic: Nanos,
    /// `None`: not told.
    boot: Option<Nanos>,
}

impl Moment {
    fn now() -> Self {
        Self { monotonic: monotonic(), boot: since_boot() }
    }

    /// How long the machine was suspended between two moments. `None`: not told.
    fn suspended_since(self, earlier: Self) -> Option<Nanos> {
        let boot = self.boot?.since(earlier.boot?);
        Some(boot.since(self.monotonic.since(earlier.monotonic)))
    }
}

/// A stretch in which something was held for so long.
#[derive(Debug, Clone, Copy)]
struct Held {
    end: Nanos,
    length: Nanos,
}

/// What the beats show.
#[derive(Debug)]
struct Pulse {
    last: Moment,
    held: VecDeque<Held>,
    /// How long an engine has been held without a break.
    engine_held: Nanos,
}

impl Pulse {
    fn new(now: Moment) -> Self {
        Self { last: now, held: VecDeque::new(), engine_held: Nanos(0) }
    }

    /// Notes a beat. How much of the time since the last one nobody could use, suspension aside: the clocks of deadlines
    /// stand still in it.
    fn beat(&mut self, now: Moment, engine_held: bool) -> Nanos {
        let since = now.monotonic.since(self.last.monotonic);
        let late = since.since(PERIOD);
        let suspended = now.suspended_since(self.last).filter(|&time| time > LATE).unwrap_or_default();
        self.last = now;
        let unusable = if late > LATE {
            late
        } else if engine_held {
            since
        } else {
            Nanos(0)
        };
        if unusable + suspended > Nanos(0) {
            self.held.push_back(Held { end: now.monotonic, length: unusable + suspended });
        }
        if !engine_held {
            self.engine_held = Nanos(0);
            return unusable;
        }
        self.engine_held = self.engine_held + unusable;
        if self.engine_held > LONGEST_WAIT { Nanos(0) } else { unusable }
    }

    fn begin(&mut self) -> Nanos {
        self.held.clear();
        self.last.monotonic
    }

    fn held_since(&self, begin: Nanos) -> Nanos {
        Nanos(self.held.iter().filter(|held| held.end > begin).map(|held| held.length.0).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn at(monotonic: u64, suspended: u64) -> Moment {
        Moment { monotonic: Nanos(monotonic * MS), boot: Some(Nanos((monotonic + suspended) * MS)) }
    }

    /// A call from 100 ms on, and beats after it: when, how long the machine was suspended by then, whether an engine is
    /// held. What was held in the call, and what deadlines are prolonged by, in milliseconds.
    fn call(beats: &[(u64, u64, bool)]) -> (u64, u64) {
        let mut pulse = Pulse::new(at(0, 0));
        pulse.beat(at(50, 0), false);
        pulse.beat(at(100, 0), false);
        let begin = pulse.begin();
        let prolonged: u64 = beats.iter().map(|&(when, gone, held)| pulse.beat(at(when, gone), held).0).sum();
        (pulse.held_since(begin).0 / MS, prolonged / MS)
    }

    #[test]
    fn only_what_no_scheduler_does_is_held() {
        assert_eq!(call(&[(150, 0, false), (200, 0, false)]), (0, 0));
        assert_eq!(call(&[(150, 0, false), (300, 0, false)]), (0, 0), "100 ms late");
        assert_eq!(call(&[(150, 0, false), (3200, 0, false), (3250, 0, false)]), (3000, 3000), "stopped for 3 s");
        assert_eq!(call(&[(150, 0, false), (200, 5000, false)]), (5000, 0), "suspended: no deadline went on");
        assert_eq!(call(&[(150, 0, true), (200, 0, true), (250, 0, false)]), (100, 100), "an engine was stopped");
        assert_eq!(call(&[(150, 0, false), (3200, 0, true), (3250, 0, true)]), (3050, 3050), "all were");
    }

    #[test]
    fn what_was_held_before_a_call_is_not_the_calls() {
        let mut pulse = Pulse::new(at(0, 0));
        pulse.beat(at(4000, 0), false);
        let begin = pulse.begin();
        pulse.beat(at(4050, 0), false);
        assert_eq!(pulse.held_since(begin), Nanos(0));
    }

    #[test]
    fn an_engine_that_stays_stopped_does_not_keep_a_deadline_from_passing() {
        let beats: Vec<_> = (1..4000).map(|n| (100 + n * 50, 0, true)).collect();
        let (held, prolonged) = call(&beats);
        assert!(held > 190_000 && prolonged <= LONGEST_WAIT.0 / MS, "{held} {prolonged}");
    }

    #[test]
    fn a_clock_that_is_not_told_shows_nothing() {
        let moment = |ms: u64| Moment { monotonic: Nanos(ms * MS), boot: None };
        let mut pulse = Pulse::new(moment(0));
        assert_eq!(pulse.beat(moment(50), false), Nanos(0));
        assert_eq!(pulse.held_since(Nanos(0)), Nanos(0));
    }
}
