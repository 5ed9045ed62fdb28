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

/// Processes that compute on each board, by its UUID; programs that only draw are not counted.
///
/// `None`: the driver does not tell. Inside a container it may list none of the host's.
pub(super) fn processes(nvml: &Nvml) -> Option<BTreeMap<String, BTreeSet<u32>>> {
    let mut boards = BTreeMap::new();
    for index in 0..nvml.device_count().ok()? {
        let device = nvml.device_by_index(index).ok()?;
        let processes = device.running_compute_processes().ok()?;
        boards.insert(device.uuid().ok()?, processes.iter().map(|process| process.pid).collect());
    }
    Some(boards)
}
