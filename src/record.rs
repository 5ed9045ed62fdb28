//! What is written to `measurements.jsonl`: one JSON object per line, data only.
//!
//! The first line is a [`Header`]; then one line per task in the order they were done. Times are nanoseconds
//! on the clock of the process that wrote them, which an [`Opened`] line starts; `unix_ns` there ties it to the calendar.

use serde::{Deserialize, Serialize};

mod beside;
pub mod calibration;
mod call;
mod counted;
pub mod given_up;
mod imported;
mod in_vain;
mod known;
mod load;
mod looped;
pub mod manifest;
pub mod plan;
mod reference;
mod shared;
mod steps;
mod token_ids;

pub use beside::BesideRecord;
pub use call::{CallRecord, MemoryRecord, PlantedDelay, SpanRecord, TokenCounts, WaitRecord};
pub use imported::{ImportedCall, ImportedTime, StatedFigure, Statistic};
pub use in_vain::InVain;
pub use known::forget_known;
pub use load::{CompileRecord, LoadRecord};
pub use looped::{LoopRecord, WindowRecord};
pub use reference::{ReferenceRecord, ReferenceWhen, SpeedRecord};
pub use shared::Shared;
pub use steps::StepTimes;
pub use token_ids::TokenIds;

use crate::record::plan::CellId;
use crate::units::Nanos;

/// Version of this format. A reader refuses later ones, and [others](OLDEST).
///
/// 1: as 2, without seals. 2: every so many lines a seal over those before it. 3: the machine itself may be measured in between.
pub const FORMAT: u32 = 3;

/// The oldest version that is read.
pub const OLDEST: u32 = 1;

/// The first version whose lines are sealed.
pub const SEALED: u32 = 2;

/// One line. Records have millions of them, so that all but the shortest content is held apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// The first line of the file.
    Header(Box<Header>),
    /// A process began or resumed the run; whatever was loaded before is gone.
    Opened(Box<Opened>),
    /// A session was loaded, or failed to.
    Load(Box<LoadRecord>),
    /// Everything was left alone.
    Idle(Box<IdleRecord>),
    /// A call was made.
    Call(Shared<CallRecord>),
    /// One procedure was repeated without pause, for a power sensor.
    Loop(Box<LoopRecord>),
    /// Another tool made a call.
    Imported(Box<ImportedCall>),
    /// Another tool states a figure without the calls it comes from.
    Stated(Box<StatedFigure>),
    /// The machine itself was measured.
    Reference(Box<ReferenceRecord>),
    /// A cell takes no further calls.
    Decision(Box<Decision>),
    /// Nothing is left to do.
    Finished(Finished),
}

/// What the file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Always `phasebench-measurements`.
    pub file: String,
    /// [`FORMAT`].
    pub format: u32,
    /// SHA-256 of `plan.json`; a resumed run must have the same.
    pub plan_sha256: String,
    /// Version of the tool that wrote the file.
    pub tool_version: String,
}

/// A process at work on the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    /// 0 for the first process, one more with every resume.
    pub epoch: u32,
    /// Calendar time at the clock's start.
    pub unix_ns: u64,
    /// SHA-256 of the manifest's stack section; differs where the stack changed between resumes.
    pub stack_sha256: String,
    /// Phases shorter than this are looped.
    #[serde(default)]
    pub loop_below: LoopBelow,
}

/// Phases shorter than this are too short for the power sensor that they are charged to, so that cells with such phases
/// are looped. `None`: nothing is, or nothing is charged to a counter there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoopBelow {
    /// Of work on the processor.
    pub processor_ns: Option<Nanos>,
    /// Of work on a board.
    pub board_ns: Option<Nanos>,
    /// Of work that nothing proves to have run on either: only where the scenario file names the sensors, so that all
    /// work is charged to the same.
    #[serde(default)]
    pub anywhere_ns: Option<Nanos>,
}

impl LoopBelow {
    /// For work on a board or not; `None`: that is not known.
    #[must_use]
    pub fn of(self, on_board: Option<bool>) -> Option<Nanos> {
        match on_board {
            Some(true) => self.board_ns,
            Some(false) => self.processor_ns,
            None => self.anywhere_ns,
        }
    }
}

/// A stretch in which everything was left alone, so that idle power can be told from the trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdleRecord {
    /// When in the run.
    pub when: IdleWhen,
    /// Process, see [`Opened::epoch`].
    pub epoch: u32,
    /// The load it follows, see [`LoadRecord::load_index`]. `None`: no model of ours is loaded.
    pub load_index: Option<u32>,
    /// When it began.
    pub begin_ns: Nanos,
    /// When it ended.
    pub end_ns: Nanos,
    /// GPUs, by UUID, on which this process holds a context at its end: a context draws power of its own. `None`: not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contexts: Option<Vec<String>>,
    /// Time of it for which this program was stopped, suspended or moved to another host. `None`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen_ns: Option<Nanos>,
}

impl IdleRecord {
    /// Whether the idle power can be taken from it. What a sensor saw of a stretch in which nobody read it is not known.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.frozen_ns.is_none()
    }
}

/// When in a run something was left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdleWhen {
    /// Before the first load of the process.
    Before,
    /// After a load, the model resident and quiet.
    Loaded,
    /// After the last call, everything freed.
    After,
}

/// A rule's verdict on a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The cell.
    pub cell_id: CellId,
    /// What was decided.
    pub rule: Rule,
    /// Timed calls that counted when it was decided.
    pub calls_ok: u32,
    /// Widest half-width of a timed mode's 95 % interval relative to its estimate. `None`: too few calls.
    pub relative_ci: Option<f64>,
    /// In words, e.g. `CI 1.8 % ≤ 2.0 %`.
    pub why: String,
}

/// Why a cell takes no further calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The interval is narrow enough.
    NarrowEnough,
    /// The most calls allowed were made.
    MaxCalls,
    /// Its session cannot be loaded.
    LoadFailed,
    /// Its calls keep ending the session.
    SessionLost,
}

/// The end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finished {
    /// Calls in the file.
    pub calls: u32,
    /// Of these, degraded ones, but for those below: what the scenario file's limit is held against.
    pub degraded: u32,
    /// Of these, made again: they ended early, or something outside disturbed them.
    #[serde(default)]
    pub made_again: u32,
}

impl Finished {
    /// Share of the calls that are degraded, `missing` ones that were never made among them. 0 of nothing.
    #[must_use]
    pub fn degraded_rate(self, missing: u32) -> f64 {
        let calls = self.calls.saturating_add(missing);
        if calls == 0 { 0.0 } else { f64::from(self.degraded.saturating_add(missing)) / f64::from(calls) }
    }
}
