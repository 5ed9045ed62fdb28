//! What there is to do, one thing at a time.

use crate::record::plan::Plan;
use crate::record::{Decision, ReferenceWhen};
use crate::terms::{Procedure, Regime, Role};
use crate::units::Nanos;

/// An idle gap alone makes a short prefill slower; after a longer one than this a timed call is preceded by a rewarm.
pub const LONGEST_GAP: Nanos = Nanos(50_000_000);

/// A session that fails to load this often in a row is given up.
pub(super) const MOST_LOAD_FAILURES: u32 = 2;

/// One thing to do. Each leaves exactly one line in the record.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// Load a session.
    Load(LoadTask),
    /// Make a call.
    Call(CallTask),
    /// Repeat a procedure for the power sensor.
    Loop(LoopTask),
    /// Measure the machine itself.
    Reference(ReferenceTask),
    /// Note that a cell takes no further calls.
    Stop(Decision),
}

/// The machine itself to be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReferenceTask {
    /// Number in the run, from 0.
    pub reference_index: u32,
    /// When in the run.
    pub when: ReferenceWhen,
}

/// A session to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadTask {
    /// Index into [`Plan::sessions`].
    pub session: usize,
    /// Which session of this backend and model it begins, from 0.
    pub session_index: u32,
    /// Sessions to close first.
    pub evict: Vec<usize>,
    /// See [`crate::record::LoadRecord`].
    pub load_index: u32,
    /// See [`crate::record::LoadRecord`].
    pub residency_id: u32,
    /// See [`crate::record::LoadRecord`].
    pub round: u32,
}

/// A procedure to repeat without pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopTask {
    /// Index into [`Plan::cells`].
    pub cell: usize,
    /// What each repetition does.
    pub procedure: Procedure,
    /// Set of sessions resident together.
    pub residency_id: u32,
    /// The load its session comes from.
    pub load_index: u32,
    /// Which of its cell's sessions that is, from 0.
    pub session_index: u32,
}

impl LoopTask {
    /// The loop's id: it exists once ever.
    #[must_use]
    pub fn loop_id(&self, plan: &Plan) -> String {
        format!("{}-loop-{}", plan.cells[self.cell].id, self.procedure)
    }
}

/// A call to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallTask {
    /// Index into [`Plan::cells`].
    pub cell: usize,
    /// Why.
    pub role: Role,
    /// Number among the cell's calls of this role; for warmups, of this load.
    pub index: u32,
    /// Try of the same timed call, from 0.
    pub attempt: u32,
    /// See [`crate::record::CallRecord::in_vain`].
    pub in_vain: Option<u32>,
    /// How fresh the engine is.
    pub regime: Regime,
    /// Position of the cell among the cells in order of their first call.
    pub task_idx: u32,
    /// Position of the call in the run.
    pub call_idx: u32,
    /// Repetition the call belongs to.
    pub round: u32,
    /// Set of sessions resident together.
    pub residency_id: u32,
    /// The load its session comes from.
    pub load_index: u32,
    /// Which of its cell's sessions that is, from 0.
    pub session_index: u32,
}

impl CallTask {
    /// The call's id: a timed one exists once ever, and once for each further try; others carry the load they belong to.
    #[must_use]
    pub fn call_id(&self, plan: &Plan) -> String {
        let cell = &plan.cells[self.cell].id;
        match self.role {
            Role::Timed if self.attempt > 0 => format!("{cell}-timed-{:04}-try{}", self.index, self.attempt),
            Role::Timed => format!("{cell}-timed-{:04}", self.index),
            Role::Rewarm => format!("{cell}-load{}-rewarm-{}", self.load_index, self.call_idx),
            Role::Cold | Role::Warmup => format!("{cell}-load{}-{}-{}", self.load_index, self.role, self.index),
        }
    }
}
