//! Memory of this process, as Linux tells it.

use std::fs;

use crate::units::Bytes;

/// Resident set now and at its largest. `None`: the system does not tell.
#[must_use]
pub fn resident() -> (Option<Bytes>, Option<Bytes>) {
    match fs::read_to_string("/proc/self/status") {
        Ok(status) => (field(&status, "VmRSS:"), field(&status, "VmHWM:")),
        Err(_) => (None, None),
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
