//! Device memory, from the driver: what proves that a model said to be on a GPU is there, and shows when it is gone.

use std::time::{Duration, Instant};

use nvml_wrapper::Nvml;
use nvml_wrapper::enums::device::UsedGpuMemory;

/// Device memory that these processes hold on all GPUs together. `None`: no driver, or it does not tell.
#[must_use]
pub fn memory_of(pids: &[u32]) -> Option<u64> {
    let nvml = Nvml::init().ok()?;
    let mut held = None;
    for index in 0..nvml.device_count().ok()? {
        let processes = nvml.device_by_index(index).and_then(|device| device.running_compute_processes()).ok()?;
        for process in processes.iter().filter(|process| pids.contains(&process.pid)) {
            if let UsedGpuMemory::Used(bytes) = process.used_gpu_memory {
                held = Some(held.unwrap_or(0) + bytes);
            }
        }
    }
    held
}

/// A server gives device memory back up to seconds after a model has left its list, and a load before that may put
/// fewer layers on the device. Longest wait for it.
const LONGEST_SETTLING: Duration = Duration::from_secs(5);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// Waits until the memory in use on all GPUs stands still. Returns at once where there is no driver.
pub fn settle() {
    let Ok(nvml) = Nvml::init() else { return };
    let used = || -> Option<u64> {
        let devices = 0..nvml.device_count().ok()?;
        devices.map(|index| Some(nvml.device_by_index(index).ok()?.memory_info().ok()?.used)).sum()
    };
    let started = Instant::now();
    let mut before = used();
    while started.elapsed() < LONGEST_SETTLING {
        std::thread::sleep(LOOK);
        let now = used();
        if now.is_none() || now == before {
            return;
        }
        before = now;
    }
}
