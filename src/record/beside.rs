//! What ran beside a call or a loop.

use serde::{Deserialize, Serialize};

use crate::terms::OnBoard;
use crate::units::Nanos;

/// What ran beside a call; every field `None` where it cannot be measured.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BesideRecord {
    /// Share of all processors' time that programs other than ours used, 0 to 1.
    pub foreign_cpu: Option<f64>,
    /// Share of all processors' time that this program and its engines used, over the same window, 0 to 1. `None` also in
    /// records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ours_cpu: Option<f64>,
    /// Share of all processors' time that the hypervisor took away, 0 to 1.
    pub steal: Option<f64>,
    /// Load average over one minute.
    pub load_1min: Option<f64>,
    /// Mean clock of the processors at the end, in MHz.
    pub cpu_mhz: Option<f64>,
    /// Processes of others on any GPU. `None` also where the engine's own cannot be told from them.
    pub foreign_gpu_processes: Option<u32>,
    /// Programs on each GPU. Empty: not measurable, or not told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boards: Vec<OnBoard>,
    /// Time for which a control group did not let its processes run, since its share of the processor was used up; over all
    /// processors. The group is one that this program or the engine is in. `None` also in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back_ns: Option<Nanos>,
    /// Time for which this program or the engine was stopped, paused, suspended or moved to another host. `None` also in
    /// records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen_ns: Option<Nanos>,
    /// Whether a script says so: the engine is simulated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
    /// Sessions of ours that were resident beside the one measured.
    pub co_resident: u32,
}

impl BesideRecord {
    /// Processes of others on a board, by its UUID. `None`: not known.
    #[must_use]
    pub fn foreign_on(&self, uuid: Option<&str>) -> Option<u32> {
        let board = uuid.and_then(|uuid| self.boards.iter().find(|board| board.uuid == uuid));
        board.map_or(self.foreign_gpu_processes, |board| board.foreign)
    }
}
