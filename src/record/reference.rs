//! The machine's own speed, measured inside a run.

use serde::{Deserialize, Serialize};

use crate::terms::{BoardSpeed, Kernel};
use crate::units::{Bytes, Nanos};

/// The reference kernels, run while engines were quiet. It is no call: no latency and no energy is made of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceRecord {
    /// Number in the run, from 0.
    pub reference_index: u32,
    /// When in the run.
    pub when: ReferenceWhen,
    /// Process, see [`Opened::epoch`](super::Opened::epoch).
    pub epoch: u32,
    /// When it began.
    pub begin_ns: Nanos,
    /// When it ended.
    pub end_ns: Nanos,
    /// Size of the buffer that was read.
    pub buffer_bytes: Bytes,
    /// The processor's caches of the last level together. `None`: not told.
    pub last_level_cache_bytes: Option<Bytes>,
    /// What was measured. Empty: the system had no memory for the buffer.
    pub speeds: Vec<SpeedRecord>,
    /// NVIDIA's boards, or why none was reached. Empty: no backend asks for one, or a record of an earlier version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boards: Vec<BoardSpeed>,
    /// Share of all processors' time that programs other than this one used while `speeds` were measured, 0 to 1. `None`: not told.
    pub foreign_cpu: Option<f64>,
}

/// One kernel with one number of threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpeedRecord {
    /// What was measured.
    pub kernel: Kernel,
    /// How many threads worked.
    pub threads: u32,
    /// Every repetition in order. Unit: see [`Kernel`].
    pub per_second: Vec<f64>,
}

/// When in a run the machine itself was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceWhen {
    /// Before the first load of the process.
    Begin,
    /// Before a load that follows others.
    Border,
    /// Between two calls.
    Between,
    /// After the last call.
    End,
}
