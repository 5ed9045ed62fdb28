//! How fast NVIDIA's boards are in their own memory.

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// One board that was measured, or why there is no figure of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardSpeed {
    /// What tells it from others, as the driver writes it: `GPU-…`, or `MIG-…` of a part of a board. `None`: not told, or no
    /// board was reached.
    pub uuid: Option<String>,
    /// Product name. `None`: as above.
    pub name: Option<String>,
    /// Its cache of the second level, which is its last. `None`: not told.
    pub l2_bytes: Option<Bytes>,
    /// Size of the buffer that is copied, and of the one that it is copied to. `None`: not measured.
    pub buffer_bytes: Option<Bytes>,
    /// Every repetition in order: bytes read and bytes written ÷ time. Unit: bytes per second. Empty: not measured.
    pub per_second: Vec<f64>,
    /// Why it was not measured. `None`: it was.
    pub not_measured: Option<String>,
}

impl BoardSpeed {
    /// In place of boards that could not be asked.
    #[must_use]
    pub fn unreached(why: String) -> Self {
        Self { not_measured: Some(why), ..Self::default() }
    }
}
