//! Control groups: where a process's are, and what they held back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::units::Nanos;

/// A control group's folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// Where the kernel shows it.
    pub folder: PathBuf,
    /// Whether it is of version 1, one tree per controller; of version 2 otherwise.
    pub version_1: bool,
}

/// A process's control group and those above it, for a controller. `None` for `process`: this one.
///
/// `root` is `/`; tests give a folder of their own. Empty: the system does not tell.
#[must_use]
pub fn of_process(root: &Path, process: Option<u32>, controller: &str) -> Vec<Group> {
    let process = process.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let told = std::fs::read_to_string(root.join("proc").join(process).join("cgroup")).unwrap_or_default();
    let groups = told.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let version_1 = controllers.split(',').any(|found| found == controller);
        let base = root.join("sys/fs/cgroup").join(if version_1 { controller } else { "" });
        let used = version_1 || controllers.is_empty();
        let at = |at: &Path| Group { folder: base.join(at.strip_prefix("/").unwrap_or(at)), version_1 };
        Path::new(group).ancestors().filter(|_| used).map(at).collect::<Vec<_>>()
    });
    groups.collect()
}

/// What groups held back so far, since each of them was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct HeldBack(BTreeMap<PathBuf, Nanos>);

impl HeldBack {
    /// Reads it of the groups that these processes are in, this one among them.
    pub(super) fn read(root: &Path, processes: &[u32]) -> Self {
        let all = std::iter::once(None).chain(processes.iter().copied().map(Some));
        let groups = all.flat_map(|process| of_process(root, process, "cpu"));
        Self(groups.filter_map(|group| Some((group.folder.clone(), held_back(&group)?))).collect())
    }

    /// The most that any group was held back since an earlier reading; of a group that the earlier one does not have
    /// nothing is known. `None`: no group was read both times.
    pub(super) fn since(&self, earlier: &Self) -> Option<Nanos> {
        let growth = self.0.iter().filter_map(|(folder, now)| Some(now.since(*earlier.0.get(folder)?)));
        growth.max()
    }
}

/// Time for which a group's processes were not let run because its share of the processor was used up, since it was made;
/// over all processors. `None`: the group has no such account.
fn held_back(group: &Group) -> Option<Nanos> {
    let stat = std::fs::read_to_string(group.folder.join("cpu.stat")).ok()?;
    let field = |name: &str| {
        let value = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        value.trim().parse::<u64>().ok()
    };
    // Nanoseconds in version 1, microseconds in version 2.
    match group.version_1 {
        true => field("throttled_time").map(Nanos),
        false => field("throttled_usec").map(|us| Nanos(us.saturating_mul(1000))),
    }
}

/// Whether one of these groups is frozen, as containers are that somebody pauses.
pub(super) fn is_frozen(groups: &[Group]) -> bool {
    groups.iter().any(|group| {
        let text = |file: &str| std::fs::read_to_string(group.folder.join(file)).unwrap_or_default();
        match group.version_1 {
            true => text("freezer.state").trim() == "FROZEN",
            false => text("cgroup.events").lines().any(|line| line == "frozen 1"),
        }
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests {
    use super::*;

    /// A root of its own with these files.
    pub(crate) fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        files.iter().for_each(|(path, text)| write(root.path(), path, text));
        root
    }

    pub(crate) fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn what_a_group_above_holds_back_counts_in_either_version() {
        let v1 = ("4:memory:/m\n3:cpu,cpuacct:/outer/job\n", "sys/fs/cgroup/cpu/outer", "throttled_time", 1_000_000);
        let v2 = ("0::/outer/job\n", "sys/fs/cgroup/outer", "throttled_usec", 1000);
        for (groups, outer, field, per_ms) in [v1, v2] {
            let stat = |ms: u64| format!("nr_periods 5\nnr_throttled 2\n{field} {}\nnr_bursts 0\n", ms * per_ms);
            let (outer, job) = (format!("{outer}/cpu.stat"), format!("{outer}/job/cpu.stat"));
            let root = root(&[("proc/self/cgroup", groups), (&outer, &stat(70)), (&job, &stat(3))]);
            let before = HeldBack::read(root.path(), &[]);
            assert_eq!(HeldBack::read(root.path(), &[]).since(&before), Some(Nanos(0)));
            write(root.path(), &outer, &stat(95));
            write(root.path(), &job, &stat(4));
            assert_eq!(HeldBack::read(root.path(), &[]).since(&before), Some(Nanos(25_000_000)), "{field}");
        }
    }

    #[test]
    fn an_engines_group_counts_as_much_as_our_own() {
        let root = root(&[
            ("proc/self/cgroup", "0::/us\n"),
            ("proc/7/cgroup", "0::/engine\n"),
            ("sys/fs/cgroup/us/cpu.stat", "throttled_usec 0\n"),
            ("sys/fs/cgroup/engine/cpu.stat", "throttled_usec 10\n"),
        ]);
        let read = |processes: &[u32]| HeldBack::read(root.path(), processes);
        let (alone, both) = (read(&[]), read(&[7]));
        write(root.path(), "sys/fs/cgroup/engine/cpu.stat", "throttled_usec 50\n");
        assert_eq!(read(&[7]).since(&both), Some(Nanos(40_000)));
        assert_eq!(read(&[7]).since(&alone), Some(Nanos(0)), "how far it was when the call began is not known");
        assert_eq!(read(&[8]).since(&both), Some(Nanos(0)), "a process that is gone");
    }

    #[test]
    fn no_account_is_not_zero() {
        for files in [
            &[][..],
            &[("proc/self/cgroup", "0::/\n")],
            &[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.stat", "usage_usec 12\nthrottled_usecs 1\n")],
        ] {
            let root = root(files);
            let read = HeldBack::read(root.path(), &[]);
            assert_eq!(read.since(&read), None, "{files:?}");
        }
    }

    #[test]
    fn a_paused_group_is_seen() {
        let v1 = [("proc/7/cgroup", "6:freezer:/box\n"), ("sys/fs/cgroup/freezer/box/freezer.state", "FROZEN\n")];
        let v2 = [("proc/7/cgroup", "0::/box\n"), ("sys/fs/cgroup/box/cgroup.events", "populated 1\nfrozen 1\n")];
        for files in [v1, v2] {
            let root = root(&files);
            let groups = || of_process(root.path(), Some(7), "freezer");
            assert!(is_frozen(&groups()), "{files:?}");
            write(root.path(), files[1].0, if files[0].1.contains("freezer") { "THAWED\n" } else { "frozen 0\n" });
            assert!(!is_frozen(&groups()));
        }
    }
}
