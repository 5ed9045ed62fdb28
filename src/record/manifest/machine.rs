//! A machine as the manifest describes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// A machine, as far as it is the same from one run to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Processor model. `None`: the system does not tell.
    pub cpu_model: Option<String>,
    /// Microcode revision. `None`: not told.
    pub microcode: Option<String>,
    /// Instruction set, e.g. `x86_64`.
    pub arch: String,
    /// Cores. `None`: not told.
    pub physical_cores: Option<u32>,
    /// Processors as the scheduler counts them, whether this process may use them or not.
    pub logical_cores: u32,
    /// Whether cores run several threads at once. `None`: not told.
    pub smt: Option<bool>,
    /// NUMA nodes. `None`: not told.
    pub numa_nodes: Option<u32>,
    /// Processors this process may run on, e.g. `0-3,8`. `None`: not told.
    pub cpu_affinity: Option<String>,
    /// Processor time a control group grants, in processors. `None`: no limit, or not told.
    pub cpu_quota_cores: Option<f64>,
    /// Memory, rounded to whole GiB because the last kilobytes change with every boot. Unit: GiB. `None`: not told.
    pub memory_gib: Option<u64>,
    /// Frequency driver. `None`: the system does not control frequencies.
    pub frequency_driver: Option<String>,
    /// Frequency governor by policy. Empty: the system does not control frequencies.
    pub governors: BTreeMap<String, String>,
    /// Whether clocks above the nominal one are allowed. `None`: not told.
    pub boost: Option<bool>,
    /// Chosen mode of transparent huge pages. `None`: not told.
    pub huge_pages: Option<String>,
    /// Operating system by name and version. `None`: not told.
    pub os: Option<String>,
    /// Kernel release. `None`: not told.
    pub kernel: Option<String>,
    /// Whether it runs under a hypervisor. `None`: cannot be told.
    pub virtualised: Option<bool>,
    /// The hypervisor or the machine's maker and model as firmware tells. `None`: it does not.
    pub firmware: Option<String>,
    /// Kind of container this process runs in. `None`: in none that shows.
    pub container: Option<String>,
}

/// The machine's GPUs, or why there are none to see.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpus {
    /// Driver version. `None`: no driver.
    pub driver: Option<String>,
    /// Newest CUDA version the driver serves, e.g. `13.0`. `None`: no driver.
    pub cuda: Option<String>,
    /// The GPUs in the driver's order.
    pub devices: Vec<Gpu>,
    /// Why no GPU is listed. `None`: some are.
    pub absent: Option<String>,
}

/// One GPU. A fact that the driver does not tell is `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Product name.
    pub name: Option<String>,
    /// The card's own id.
    pub uuid: Option<String>,
    /// Memory.
    pub memory_bytes: Option<Bytes>,
    /// Compute capability, e.g. `9.0`.
    pub compute_capability: Option<String>,
    /// Power limit in force. Unit: watts.
    pub power_limit_w: Option<f64>,
    /// Whether memory errors are corrected.
    pub ecc: Option<bool>,
    /// Whether it is divided into instances.
    pub mig: Option<bool>,
}
