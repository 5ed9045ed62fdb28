//! What the schedule asks of what is recorded.

use super::{CellState, Recorded};
use crate::record::LoopBelow;
use crate::record::plan::Plan;
use crate::schedule::order::Ordering;
use crate::schedule::references::References;
use crate::schedule::task::LONGEST_GAP;
use crate::terms::{Regime, Repetitions, Role};
use crate::units::Nanos;

impl Recorded {
    /// What was measured of the machine so far.
    pub(in crate::schedule) fn references(&self) -> &References {
        &self.references
    }

    /// How far a cell has come.
    #[must_use]
    pub fn cell(&self, cell: usize) -> &CellState {
        &self.cells[cell]
    }

    /// Sessions that are loaded now.
    pub fn resident(&self) -> impl Iterator<Item = usize> + '_ {
        self.resident.keys().copied()
    }

    /// Whether what is loaded now serves the session of this number.
    #[must_use]
    pub fn is_session(&self, session: usize, session_index: u32) -> bool {
        self.resident.get(&session).is_some_and(|r| r.session_index == session_index)
    }

    /// Loads so far, failed ones too.
    #[must_use]
    pub fn loads(&self) -> u32 {
        self.loads
    }

    /// Calls so far, of any role and status.
    #[must_use]
    pub fn calls(&self) -> u32 {
        self.calls
    }

    /// Calls so far that are degraded and not made again.
    #[must_use]
    pub fn degraded(&self) -> u32 {
        self.degraded
    }

    /// Calls so far that are made again and do not count as a cell's timed call.
    #[must_use]
    pub fn made_again(&self) -> u32 {
        self.made_again
    }

    /// See [`crate::record::CallRecord::in_vain`], of a timed call of this cell that comes next.
    #[must_use]
    pub fn in_vain(&self, cell: usize) -> Option<u32> {
        self.in_vain.before(&cell)
    }

    /// Processes that worked on the run so far.
    #[must_use]
    pub fn epochs(&self) -> u32 {
        self.epochs
    }

    /// Phases shorter than this are looped.
    #[must_use]
    pub fn loop_below(&self) -> LoopBelow {
        self.loop_below
    }

    /// Whether the record is complete: nothing is left to do, and no cell was given up since its session did not load.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.finished && !self.cells.iter().any(|cell| cell.unloaded)
    }

    /// Calls on a session since it was loaded.
    #[must_use]
    pub fn session_calls(&self, session: usize) -> u32 {
        self.resident.get(&session).map_or(0, |r| r.calls)
    }

    /// The load a resident session comes from.
    #[must_use]
    pub fn load_of(&self, session: usize) -> u32 {
        self.resident.get(&session).map_or(0, |r| r.load_index)
    }

    /// Which of its sessions a resident session is.
    #[must_use]
    pub fn session_index_of(&self, session: usize) -> u32 {
        self.resident.get(&session).map_or(0, |r| r.session_index)
    }

    /// Warmups of a cell since its session was loaded; a cold call counts.
    #[must_use]
    pub fn warmups(&self, cell: usize) -> u32 {
        let session = self.cell_sessions[cell];
        self.resident.get(&session).and_then(|r| r.warmups.get(&cell)).copied().unwrap_or(0)
    }

    /// Times in a row that a session failed to load.
    #[must_use]
    pub fn load_failures(&self, session: usize) -> u32 {
        self.load_failures.get(&session).copied().unwrap_or(0)
    }

    /// The present set of resident sessions.
    #[must_use]
    pub fn residency(&self) -> u32 {
        self.residency
    }

    /// The set after another load, which `changes` it or adds to it.
    #[must_use]
    pub fn next_residency(&self, changes: bool) -> u32 {
        self.residency.saturating_add(u32::from(changes && self.any_load))
    }

    /// Place of a cell among the cells in order of their first call.
    #[must_use]
    pub fn task_idx(&self, cell: usize) -> u32 {
        self.cells[cell].first_visit.unwrap_or(self.visits)
    }

    /// How fresh the engine is for a cell.
    #[must_use]
    pub fn regime(&self, cell: usize, backend: &str, session: usize) -> Regime {
        match self.resident.get(&session) {
            _ if !self.started.contains(backend) => Regime::ColdProcess,
            Some(resident) if resident.calls == 0 && self.of_own_process.contains(backend) => Regime::ColdProcess,
            None => Regime::ColdModel,
            Some(resident) if resident.calls == 0 => Regime::ColdModel,
            Some(resident) if !resident.shapes.contains(&cell) => Regime::ColdShape,
            Some(_) => Regime::Warm,
        }
    }

    /// Whether a timed call of this cell has to be preceded by a rewarm: another session ran in between, or the
    /// engine idled for too long. One rewarm is enough.
    #[must_use]
    pub fn needs_rewarm(&self, cell: usize, ordering: &Ordering, idle: Nanos) -> bool {
        self.last.is_some_and(|(last, role)| {
            let moved = ordering.session_of(last) != ordering.session_of(cell);
            moved || (role != Role::Rewarm && idle > LONGEST_GAP)
        })
    }

    /// Whether the calls of one cell may decide that others have enough.
    pub(in crate::schedule) fn is_judged_together(&self) -> bool {
        self.division.sessions.is_several() && matches!(self.division.repetitions, Repetitions::Adaptive { .. })
    }

    /// Whether a cell takes further calls.
    pub(in crate::schedule) fn is_open(&self, plan: &Plan, cell: usize) -> bool {
        let state = self.cell(cell);
        match plan.repetitions {
            Repetitions::Fixed(n) => !state.stopped && state.timed < n,
            Repetitions::Adaptive { .. } => !state.stopped,
        }
    }
}
