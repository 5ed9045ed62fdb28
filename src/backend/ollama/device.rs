//! Device memory of a server's processes, from the driver: what proves that a model said to be on a GPU is there.

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
