//! Memory of this process, as Linux tells it.

use std::fs;

use crate::units::Bytes;

const STATUS: &str = "/proc/self/status";

/// Resident set now. `None`: the system does not tell.
#[must_use]
pub fn resident() -> Option<Bytes> {
    field(&fs::read_to_string(STATUS).ok()?, "VmRSS:")
}

/// A stretch over which the peak of memory is told.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// Whether the system's peak counts from the beginning; otherwise it is that of all before.
    begun: bool,
}

impl Stretch {
    /// Begins it.
    #[must_use]
    pub fn begin() -> Self {
        // 5: the peak of the resident set becomes what is resident now.
        Self { begun: fs::write("/proc/self/clear_refs", "5").is_ok() }
    }

    /// Resident set now and at its largest since the beginning. `None`: the system does not tell.
    #[must_use]
    pub fn resident(self) -> (Option<Bytes>, Option<Bytes>) {
        let Ok(status) = fs::read_to_string(STATUS) else { return (None, None) };
        (field(&status, "VmRSS:"), field(&status, "VmHWM:").filter(|_| self.begun))
    }
}

fn field(status: &str, name: &str) -> Option<Bytes> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Bytes(kib * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_system_s_format() {
        let status = "VmPeak:\t  30 kB\nVmHWM:\t  2048 kB\nVmRSS:\t     12 kB\n";
        assert_eq!(field(status, "VmHWM:"), Some(Bytes(2 << 20)));
        assert_eq!(field(status, "VmRSS:"), Some(Bytes(12 << 10)));
        assert_eq!(field(status, "VmSwap:"), None);
        assert_eq!(field("VmRSS: 12", "VmRSS:"), None);
    }
}
