//! The system's own clocks.

use crate::units::Nanos;

/// The clock that absolute sleeps are on. It stands still while the machine is suspended.
pub(super) fn monotonic() -> Nanos {
    read(libc::CLOCK_MONOTONIC).unwrap_or_default()
}

/// Time since the boot, that in which the machine was suspended included. `None`: the system does not tell.
pub(super) fn since_boot() -> Option<Nanos> {
    #[cfg(target_os = "linux")]
    {
        read(libc::CLOCK_BOOTTIME)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Processor time of this thread.
pub(super) fn thread_time() -> Nanos {
    read(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or_default()
}

fn read(clock: libc::clockid_t) -> Option<Nanos> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return None;
    }
    let whole = u64::try_from(time.tv_sec).ok()?.checked_mul(1_000_000_000)?;
    Some(Nanos(whole + u64::try_from(time.tv_nsec).ok()?))
}
