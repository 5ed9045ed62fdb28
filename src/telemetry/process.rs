//! What a process used: processor time and memory.

use super::cpu::tick;
use crate::units::{Bytes, Nanos};

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

/// Processor time of this process and of the children it has waited for. `None`: the system does not tell.
#[must_use]
pub(super) fn cpu_own() -> Option<Nanos> {
    // SAFETY: an all-zero `rusage` is valid, and it is valid for writing.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        if libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) != 0 {
            return None;
        }
        usage
    };
    cpu_self().map(|own| own + of(usage.ru_utime) + of(usage.ru_stime))
}

fn of(time: libc::timeval) -> Nanos {
    let whole = u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000);
    Nanos(whole + u64::try_from(time.tv_usec).unwrap_or(0) * 1_000)
}

/// Processor time of another process, all threads, in ticks. `None`: it has ended, or the system does not tell.
#[must_use]
pub(super) fn cpu_of(pid: u32) -> Option<Nanos> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?, tick())
}

/// `pid (name) state … utime stime …`: fields 14 and 15; the name may hold spaces and parentheses.
fn parse_stat(stat: &str, tick: Nanos) -> Option<Nanos> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Nanos((user + system).saturating_mul(tick.0)))
}

/// Memory of this process.
#[must_use]
pub fn memory_self() -> ProcessMemory {
    parse_status(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
}

/// Memory of another process.
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
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 30 12 99 99 20 0";
        assert_eq!(parse_stat(stat, Nanos(10)), Some(Nanos(420)));
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
        let memory = memory_self();
        assert!(memory.rss.is_some() && memory.rss <= memory.peak);
        assert_eq!(memory_of(std::process::id()).peak.is_some(), memory.peak.is_some());
        assert!(cpu_self() > Some(Nanos(0)));
        assert!(cpu_of(std::process::id()).is_some());
        assert_eq!(cpu_of(u32::MAX), None);
    }
}
