//! Which processes are ours: this one, engines that it did not start, and whatever any of them started.

use std::collections::{BTreeMap, BTreeSet};

use super::process::{self, Identity, Stat, Used};
use crate::units::Nanos;

/// After this long it is looked for new processes even where the system counted none.
const LOOK_AGAIN: Nanos = Nanos(1_000_000_000);

/// Our processes as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Ours {
    /// Engines that are no children of ours: a server, a container's processes.
    engines: BTreeSet<Identity>,
    /// Everything found at the last look.
    known: Vec<Identity>,
    /// When that was, and how many processes had been started on this machine by then.
    looked: Option<(Nanos, Option<u64>)>,
}

impl Ours {
    /// Notes processes that work for us although this process did not start them. Those it did start may be among them.
    pub(super) fn add_engines(&mut self, pids: &[u32]) {
        for stat in pids.iter().filter_map(|&pid| process::stat_of(pid)) {
            let unseen = !self.known.contains(&stat.identity);
            if unseen && self.engines.insert(stat.identity) {
                self.looked = None;
            }
        }
    }

    /// Processor time of each. Looks for new ones first where some process was started since the last look: walking
    /// through all processes takes milliseconds on a large machine, so it is not done right before every call.
    ///
    /// `started` is how many processes were started on this machine so far. `None`: the system does not tell.
    pub(super) fn read(&mut self, at: Nanos, started: Option<u64>) -> BTreeMap<Identity, Used> {
        let same =
            self.looked.is_some_and(|(when, then)| then.is_some() && then == started && at.since(when) < LOOK_AGAIN);
        let found = if same { self.read_known() } else { self.look() };
        if !same {
            self.looked = Some((at, started));
        }
        found
    }

    fn read_known(&self) -> BTreeMap<Identity, Used> {
        let stats = self.known.iter().filter_map(|identity| process::stat_of(identity.pid));
        stats.filter(|stat| self.known.contains(&stat.identity)).map(|stat| (stat.identity, precise(&stat))).collect()
    }

    fn look(&mut self) -> BTreeMap<Identity, Used> {
        let all: Vec<Stat> = process::all().collect();
        self.engines.retain(|engine| all.iter().any(|stat| stat.identity == *engine));
        let found = family(&all, std::process::id(), &self.engines);
        self.known = found.iter().map(|stat| stat.identity).collect();
        found.into_iter().map(|stat| (stat.identity, precise(stat))).collect()
    }
}

/// This process's own time is known better than in ticks.
fn precise(stat: &Stat) -> Used {
    if stat.identity.pid == std::process::id() { process::used_by_self().unwrap_or(stat.used) } else { stat.used }
}

/// A process, engines beside it, and all below them.
fn family<'a>(all: &'a [Stat], own: u32, engines: &BTreeSet<Identity>) -> Vec<&'a Stat> {
    let mut found: Vec<&Stat> =
        all.iter().filter(|stat| stat.identity.pid == own || engines.contains(&stat.identity)).collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|stat| stat.identity.pid) {
        let below: Vec<&Stat> = all
            .iter()
            .filter(|stat| stat.parent == parent && found.iter().all(|known| known.identity != stat.identity))
            .collect();
        found.extend(below);
        next += 1;
    }
    found
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn stat(pid: u32, parent: u32) -> Stat {
        Stat { identity: Identity { pid, started: u64::from(pid) }, parent, used: Used::default(), stopped: false }
    }

    #[test]
    fn children_of_children_are_ours_and_others_are_not() {
        let all = [stat(1, 0), stat(10, 1), stat(11, 10), stat(12, 11), stat(20, 1), stat(21, 20), stat(30, 1)];
        let of = |engines: &[u32]| {
            let engines = engines.iter().map(|&pid| stat(pid, 0).identity).collect();
            let mut pids: Vec<u32> = family(&all, 10, &engines).iter().map(|stat| stat.identity.pid).collect();
            pids.sort_unstable();
            pids
        };
        assert_eq!(of(&[]), [10, 11, 12]);
        assert_eq!(of(&[20, 11]), [10, 11, 12, 20, 21]);
        let again = BTreeSet::from([Identity { pid: 20, started: 7 }]);
        assert_eq!(family(&all, 10, &again).len(), 3, "the number is somebody else's now");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_child_used_stays_counted_when_it_has_ended() {
        let mut ours = Ours::default();
        let total = |found: &BTreeMap<Identity, Used>| {
            found.values().map(|used| used.own.0 + used.children.0).sum::<u64>() / 1_000_000
        };
        let begin = ours.read(Nanos(0), None);
        let work = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let mut child = std::process::Command::new("sh").args(["-c", &format!("({work}) & wait")]).spawn().unwrap();
        let busy = loop {
            let found = ours.read(Nanos(0), None);
            if total(&found) >= total(&begin) + 30 || child.try_wait().unwrap().is_some() {
                break found;
            }
        };
        assert!(total(&busy) >= total(&begin) + 30, "{begin:?} {busy:?}");
        assert!(child.wait().unwrap().success());
        let end = ours.read(Nanos(0), None);
        // Two counters of 10 ms of each of the two processes are cut off at different moments.
        assert!(total(&end) + 40 >= total(&busy), "{busy:?} {end:?}");
    }
}
