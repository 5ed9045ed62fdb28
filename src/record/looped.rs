//! What was repeated for a power sensor.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::beside::BesideRecord;
use super::plan::{CellId, SessionKey};
use crate::terms::{Attribution, Dtype, Flag, Phase, Procedure, Status};
use crate::units::Nanos;

/// One procedure of a cell repeated without pause, so that a power sensor that is slow sees enough of it. It is no call:
/// it enters no latency, and its energy stands beside that of the cell's calls, never in its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoopRecord {
    /// Unique in the file: cell and procedure.
    pub loop_id: String,
    /// The cell.
    pub cell_id: CellId,
    /// What each repetition did: the cell's procedure, or its prefill alone.
    pub procedure: Procedure,
    /// See [`LoadRecord::residency_id`](super::LoadRecord::residency_id).
    pub residency_id: u32,
    /// See [`LoadRecord::load_index`](super::LoadRecord::load_index).
    pub load_index: u32,
    /// Which of its cell's sessions it was made in, from 0: a session is one load in a fresh engine process. 0 also in files
    /// older than sessions.
    #[serde(default)]
    pub session_index: u32,
    /// Process, see [`Opened::epoch`](super::Opened::epoch).
    pub epoch: u32,
    /// Backend and model.
    pub session: SessionKey,
    /// Hash of the weights.
    pub weights_id: String,
    /// Element type.
    pub dtype: Dtype,
    /// Scenario name.
    pub scenario: String,
    /// Rows.
    pub batch: u32,
    /// Whether every repetition did what was asked.
    pub status: Status,
    /// Why not, in the engine's or our words.
    pub detail: Option<String>,
    /// What went on beside it.
    pub flags: Vec<Flag>,
    /// Where the last repetition ran.
    pub attribution: Attribution,
    /// Prompt tokens that one repetition evaluated, over all rows. `None`: neither sent as ids nor told.
    pub prompt_evaluated: Option<u32>,
    /// Decode steps asked of each repetition.
    pub decode_steps: u32,
    /// When the first repetition began. Those before the first window let clocks and sensors settle.
    pub begin_ns: Nanos,
    /// When the last one ended.
    pub end_ns: Nanos,
    /// Stretches that energy is taken from, in order.
    pub windows: Vec<WindowRecord>,
    /// What ran beside it.
    pub beside: BesideRecord,
    /// True where the session did not survive it.
    pub session_lost: bool,
}

impl LoopRecord {
    /// Decode steps of the mean repetition in the windows: fewer than were asked for where some ended early.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of steps")]
    pub fn mean_steps(&self) -> f64 {
        let asked = |window: &WindowRecord| u64::from(window.repeats) * u64::from(self.decode_steps);
        let steps = |window: &WindowRecord| window.steps_timed.unwrap_or_else(|| asked(window)) as f64;
        let repeats: f64 = self.windows.iter().map(|window| f64::from(window.repeats)).sum();
        if repeats == 0.0 {
            f64::from(self.decode_steps)
        } else {
            self.windows.iter().map(steps).sum::<f64>() / repeats
        }
    }
}

/// A stretch of whole repetitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowRecord {
    /// When its first repetition began.
    pub begin_ns: Nanos,
    /// When its last one ended.
    pub end_ns: Nanos,
    /// Repetitions.
    pub repeats: u32,
    /// Groups they are divided into, with a pause between two; 1: no pause.
    pub groups: u32,
    /// Time of the pauses, all together.
    pub pauses_ns: Nanos,
    /// Time spent in each phase, all repetitions together. What is missing to the window's length, pauses left out, was
    /// spent between phases.
    pub phases_ns: BTreeMap<Phase, Nanos>,
    /// Repetitions that ended at a stop token before all decode steps were made.
    #[serde(default)]
    pub early_stops: u32,
    /// Decode steps of all repetitions together. `None`: not told, every repetition made those asked for.
    #[serde(default)]
    pub steps_timed: Option<u64>,
}
