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
    /// Instruction set, e.g. `x86_64`; `unknown` where another tool does not tell.
    pub arch: String,
    /// Cores. `None`: not told.
    pub physical_cores: Option<u32>,
    /// Processors as the scheduler counts them, whether this process may use them or not. `None`: not told.
    pub logical_cores: Option<u32>,
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

impl Machine {
    /// Processors whose time this process may use: those it may run on, or what a control group grants where that is
    /// less; half a processor is 0.5.
    #[must_use]
    pub fn usable_processors(&self) -> f64 {
        let allowed = f64::from(self.allowed_processors());
        self.cpu_quota_cores.map_or(allowed, |granted| granted.min(allowed))
    }

    /// The same for people, e.g. `2 processors`, `1 of 2 processors (affinity 0)`.
    #[must_use]
    pub fn usable(&self) -> String {
        let (all, usable) = (self.logical_cores.unwrap_or(1), self.usable_processors());
        let processors = if all == 1 { "processor" } else { "processors" };
        let affinity = self.cpu_affinity.as_deref().filter(|_| self.allowed_processors() < all);
        let why = match (self.cpu_quota_cores, affinity) {
            (Some(granted), _) if granted <= usable && usable < f64::from(all) => {
                "granted by a control group".to_owned()
            }
            (_, Some(list)) => format!("affinity {list}"),
            _ => return format!("{all} {processors}"),
        };
        format!("{usable} of {all} {processors} ({why})")
    }

    /// Whether this process may use less than the whole processor side.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.logical_cores.is_some_and(|all| self.usable_processors() < f64::from(all))
    }

    /// 1 where it is not told.
    fn allowed_processors(&self) -> u32 {
        let listed = self.cpu_affinity.as_deref().map(|list| listed(list).len());
        let listed = listed.and_then(|count| u32::try_from(count).ok()).filter(|&count| count > 0);
        let all = self.logical_cores.unwrap_or(1);
        listed.map_or(all, |count| count.min(all))
    }
}

/// `0-3,8` → 0, 1, 2, 3, 8.
#[must_use]
pub fn listed(processors: &str) -> Vec<u32> {
    let ranges = processors.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?)
    });
    ranges.flatten().collect()
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Of four processors.
    fn held(affinity: Option<&str>, granted: Option<f64>) -> Machine {
        let mut machine: Machine =
            serde_json::from_str(r#"{ "arch": "x86_64", "logical_cores": 4, "governors": {} }"#).unwrap();
        (machine.cpu_affinity, machine.cpu_quota_cores) = (affinity.map(str::to_owned), granted);
        machine
    }

    #[test]
    fn what_a_process_may_use_is_what_holds_it_most() {
        for (affinity, granted, usable, text) in [
            (None, None, 4.0, "4 processors"),
            (Some("0-3"), None, 4.0, "4 processors"),
            (Some("0,2"), None, 2.0, "2 of 4 processors (affinity 0,2)"),
            (Some("0-3"), Some(0.5), 0.5, "0.5 of 4 processors (granted by a control group)"),
            (Some("1"), Some(2.0), 1.0, "1 of 4 processors (affinity 1)"),
            (Some("0-2"), Some(1.5), 1.5, "1.5 of 4 processors (granted by a control group)"),
            (Some("0-3"), Some(8.0), 4.0, "4 processors"),
        ] {
            let machine = held(affinity, granted);
            assert!((machine.usable_processors() - usable).abs() < 1e-9, "{affinity:?} {granted:?}");
            assert_eq!(machine.usable(), text);
            assert_eq!(machine.is_held(), usable < 4.0);
        }
    }
}
