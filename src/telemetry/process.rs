//! What a process used: processor time and memory.
//!
//! All processes are read around every call, and engines' own at every beat: so few fields are parsed here, and not every file
//! of a process by `procfs`.

use super::cpu::tick;
use crate::units::{Bytes, Nanos};

/// What tells a process from any other of this boot: numbers are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    /// Its number.
    pub(super) pid: u32,
    /// When it started, in ticks since the boot.
    pub(super) started: u64,
}

/// Processor time that a process accounts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Used {
    /// Of its threads, those that have ended included.
    pub(super) own: Nanos,
    /// Of children that it has waited for and of theirs, from their first moment to their last.
    pub(super) children: Nanos,
}

/// A process at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) identity: Identity,
    /// Who started it, or took it over.
    pub(super) parent: u32,
    pub(super) used: Used,
    /// Whether somebody stopped it, so that it does not run until it is told to go on.
    pub(super) stopped: bool,
}

/// Memory of a process. `None`: the system does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcessMemory {
    /// Resident set now.
    pub rss: Option<Bytes>,
    /// Largest resident set so far.
    pub peak: Option<Bytes>,
}

/// Processor time of this process, all threads; not in ticks. `None`: the system does not tell.
#[must_use]
pub fn cpu_self() -> Option<Nanos> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing.
    if unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) } != 0 {
        return None;
    }
    let whole = u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000);
    Some(Nanos(whole + u64::try_from(time.tv_nsec).unwrap_or(0)))
}

/// Processor time of this process, and of the children it has waited for; not in ticks. `None`: the system does not tell.
#[must_use]
pub(super) fn used_by_self() -> Option<Used> {
    // SAFETY: an all-zero `rusage` is valid, and it is valid for writing.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        if libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) != 0 {
            return None;
        }
        usage
    };
    Some(Used { own: cpu_self()?, children: of(usage.ru_utime) + of(usage.ru_stime) })
}

fn of(time: libc::timeval) -> Nanos {
    let whole = u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000);
    Nanos(whole + u64::try_from(time.tv_usec).unwrap_or(0) * 1_000)
}

/// Every process that is shown to this user.
pub(super) fn all() -> impl Iterator<Item = Stat> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(stat_of)
}

/// A process as it is now. `None`: it is gone, or the system does not tell.
#[must_use]
pub(super) fn stat_of(pid: u32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?, tick())
}

/// `pid (name) state ppid …`; the name may hold spaces and parentheses. Field 3 is `T` where it is stopped, `t`
/// where a debugger holds it. Fields 14 to 17 are the time of its threads in
/// user and kernel mode and that of its children, field 22 is when it started; see `proc(5)`.
fn parse_stat(stat: &str, tick: Nanos) -> Option<Stat> {
    let (before, after) = stat.rsplit_once(')')?;
    let pid = before.split_once(" (")?.0.trim().parse().ok()?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let ticks = |first: usize| Some(Nanos((number(first)? + number(first + 1)?).saturating_mul(tick.0)));
    Some(Stat {
        identity: Identity { pid, started: number(22)? },
        parent: u32::try_from(number(4)?).ok()?,
        used: Used { own: ticks(14)?, children: ticks(16)? },
        stopped: matches!(fields.first(), Some(&("T" | "t"))),
    })
}

/// Memory of a process.
#[must_use]
pub fn memory_of(pid: u32) -> ProcessMemory {
    parse_status(&std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default())
}

/// `VmRSS:   1234 kB`, where the unit means KiB.
fn parse_status(status: &str) -> ProcessMemory {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(Bytes(kib * 1024))
    };
    ProcessMemory { rss: field("VmRSS:"), peak: field("VmHWM:") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 30 12 5 2 20 0 4 0 777 99 20 0";
        let found = Stat {
            identity: Identity { pid: 42, started: 777 },
            parent: 1,
            used: Used { own: Nanos(420), children: Nanos(70) },
            stopped: false,
        };
        assert_eq!(parse_stat(stat, Nanos(10)), Some(found));
        let held = |state: &str| parse_stat(&stat.replace(") S", &format!(") {state}")), Nanos(10));
        assert_eq!(held("T"), Some(Stat { stopped: true, ..found }));
        assert_eq!(held("t"), Some(Stat { stopped: true, ..found }));
        assert_eq!(parse_stat("42 (a) S 1 2", Nanos(10)), None);
    }

    #[test]
    fn memory_is_in_kib() {
        let status = "Name:\tx\nVmPeak:\t  999 kB\nVmHWM:\t   20 kB\nVmRSS:\t   10 kB\n";
        let memory = parse_status(status);
        assert_eq!(memory, ProcessMemory { rss: Some(Bytes(10_240)), peak: Some(Bytes(20_480)) });
        assert_eq!(parse_status(""), ProcessMemory::default());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_there() {
        let memory = memory_of(std::process::id());
        assert!(memory.rss.is_some() && memory.rss <= memory.peak);
        assert_eq!(memory_of(u32::MAX), ProcessMemory::default());
        assert!(cpu_self() > Some(Nanos(0)));
        assert_eq!(stat_of(std::process::id()).map(|stat| stat.identity.pid), Some(std::process::id()));
        assert_eq!(stat_of(u32::MAX), None);
    }
}
