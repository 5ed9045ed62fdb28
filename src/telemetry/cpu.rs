//! Processor time, load and clocks of the whole machine. Linux only; elsewhere everything is `None`.

use std::path::PathBuf;

use super::system_clock::since_boot;
use crate::units::Nanos;

/// Processor time since boot, all processors together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Time in which programs, the kernel or interrupts ran.
    pub busy: Nanos,
    /// Time in which the hypervisor let others run.
    pub steal: Nanos,
    /// All of it, idle time included.
    pub total: Nanos,
    /// Processes and threads started so far. `None`: not told.
    pub started: Option<u64>,
}

/// Processor time now. `None`: the system does not tell.
#[must_use]
pub fn times() -> Option<Times> {
    parse_times(&std::fs::read_to_string("/proc/stat").ok()?, tick())
}

/// Ticks since the boot. `None`: the system does not tell.
#[must_use]
pub(super) fn ticks_since_boot() -> Option<u64> {
    Some(since_boot()?.0 / tick().0)
}

/// Length of the system's unit of processor time.
#[must_use]
pub(super) fn tick() -> Nanos {
    // SAFETY: takes no pointer; an unknown name gives -1.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Nanos(1_000_000_000 / u64::try_from(per_second).ok().filter(|&n| n > 0).unwrap_or(100))
}

/// `cpu user nice system idle iowait irq softirq steal guest guest_nice`; guest time is inside user time.
fn parse_times(stat: &str, tick: Nanos) -> Option<Times> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = fields[..] else {
        return None;
    };
    let busy = user + nice + system + irq + softirq;
    let scaled = |ticks: u64| Nanos(ticks.saturating_mul(tick.0));
    let started = stat.lines().find_map(|line| line.strip_prefix("processes ")?.trim().parse().ok());
    Some(Times { busy: scaled(busy), steal: scaled(steal), total: scaled(busy + steal + idle + iowait), started })
}

/// Load average over one minute. `None`: the system does not tell.
#[must_use]
pub fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// Processors this process may run on. `None`: the system does not tell.
#[must_use]
pub fn affinity() -> Option<Vec<u32>> {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: an all-zero `cpu_set_t` is a valid empty set, and the size given is that of the set.
        let set = unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) != 0 {
                return None;
            }
            set
        };
        let size = u32::try_from(libc::CPU_SETSIZE).ok()?;
        // SAFETY: every index is below `CPU_SETSIZE`.
        Some((0..size).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu as usize, &set) }).collect())
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Mean clock of the processors this process may run on. Unit: MHz. `None`: no clock can be read.
#[must_use]
pub fn mean_mhz() -> Option<f64> {
    Clocks::of_this_machine().mean_mhz()
}

/// Where clocks of processors can be read.
#[derive(Debug, Clone, Default)]
pub(super) struct Clocks {
    files: Vec<PathBuf>,
}

impl Clocks {
    /// Most processors whose clock is read: each may have to be woken for it.
    const MOST: usize = 16;

    /// Those of the processors this process may run on.
    ///
    /// `/proc/cpuinfo` is not used: in virtual machines it shows the nominal clock as if it were the present one.
    pub(super) fn of_this_machine() -> Self {
        let cpus = affinity().unwrap_or_default();
        let file = |cpu| PathBuf::from(format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq"));
        let files = cpus.into_iter().map(file).filter(|path| path.exists()).take(Self::MOST);
        Self { files: files.collect() }
    }

    /// Their mean. Unit: MHz. `None`: no clock can be read.
    #[expect(clippy::cast_precision_loss, reason = "at most 16")]
    pub(super) fn mean_mhz(&self) -> Option<f64> {
        let read = |path: &PathBuf| std::fs::read_to_string(path).ok()?.trim().parse::<f64>().ok();
        let khz: Vec<f64> = self.files.iter().filter_map(read).collect();
        (!khz.is_empty()).then(|| khz.iter().sum::<f64>() / khz.len() as f64 / 1e3)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_all_processors() {
        let stat = "cpu  100 10 50 700 40 3 7 90 20 0\ncpu0 1 1 1 1 1 1 1 1 1 1\nprocesses 17\n";
        let times = parse_times(stat, Nanos(10)).unwrap();
        assert_eq!(times, Times { busy: Nanos(1700), steal: Nanos(900), total: Nanos(10_000), started: Some(17) });
        for bad in ["", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8", "cpu  a b c d e f g h"] {
            assert_eq!(parse_times(bad, Nanos(10)), None, "{bad:?}");
        }
    }

    #[test]
    fn clocks_are_a_mean_in_mhz() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, khz: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, khz).unwrap();
            path
        };
        let clocks = Clocks { files: vec![file("a", "2000000\n"), file("b", "3000000\n")] };
        assert_eq!(clocks.mean_mhz(), Some(2500.0));
        assert_eq!(Clocks::default().mean_mhz(), None);
    }
}
