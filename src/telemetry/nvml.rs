//! NVIDIA's management library: opened where there is one, and why not where there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

/// Why NVML cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    /// The library is not installed.
    #[error("no NVIDIA driver library (libnvidia-ml.so.1) on this machine")]
    NoLibrary,
    /// It is installed, and does not work.
    #[error("the NVIDIA driver does not answer: {0}")]
    NoDriver(String),
}

/// Opens NVML. Takes tens of milliseconds with a GPU; do it once.
///
/// # Errors
/// [`Absent`], which is a finding rather than a fault.
pub fn open() -> Result<Nvml, Absent> {
    // The unversioned name belongs to development packages; a driver alone installs the versioned one.
    let opened = Nvml::init().or_else(|_| Nvml::builder().lib_path(OsStr::new("libnvidia-ml.so.1")).init());
    opened.map_err(|error| match error {
        NvmlError::LibloadingError(_) => Absent::NoLibrary,
        other => Absent::NoDriver(other.to_string()),
    })
}

/// What a board's driver tells of it right after a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Told {
    /// Processes that compute on it; programs that only draw are not counted.
    pub(super) processes: BTreeSet<u32>,
    /// Bits that say why its clocks are lowered. `None`: not told.
    pub(super) clock_reasons: Option<u64>,
}

/// Each board by its UUID.
///
/// `None`: the driver does not tell. Inside a container it may list no process of the host's.
pub(super) fn boards(nvml: &Nvml) -> Option<BTreeMap<String, Told>> {
    let mut boards = BTreeMap::new();
    for index in 0..nvml.device_count().ok()? {
        let device = nvml.device_by_index(index).ok()?;
        let processes = device.running_compute_processes().ok()?.iter().map(|process| process.pid).collect();
        let clock_reasons = device.current_throttle_reasons().ok().map(|reasons| reasons.bits());
        boards.insert(device.uuid().ok()?, Told { processes, clock_reasons });
    }
    Some(boards)
}
