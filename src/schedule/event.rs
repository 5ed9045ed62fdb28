//! The part of a line that matters for what comes next.

use std::collections::BTreeMap;

use super::task::Task;
use crate::record::plan::{CellId, Plan, SessionKey};
use crate::record::{CallRecord, Line, LoopBelow};
use crate::terms::{Mode, Phase, Procedure, Regime, Retries, Role};

/// The part of a line that matters for what comes next.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A process took up the run; nothing is loaded.
    Opened {
        /// Phases shorter than this are looped.
        loop_below: LoopBelow,
    },
    /// A session was loaded, or not.
    Load {
        /// Index of the session.
        session: usize,
        /// See [`crate::record::LoadRecord`].
        session_index: u32,
        /// Sessions closed before.
        evicted: Vec<usize>,
        /// See [`crate::record::LoadRecord`].
        residency_id: u32,
        /// Whether it worked.
        ok: bool,
        /// Whether it began a fresh process of the engine.
        fresh: bool,
    },
    /// A call was made.
    Call {
        /// Index of the cell.
        cell: usize,
        /// Why.
        role: Role,
        /// Whether it counts.
        ok: bool,
        /// Whether it is made again: it ended early, or was disturbed.
        again: bool,
        /// Whether something disturbed it. `None`: it tells nothing of that, see [`CallRecord::was_disturbed`].
        disturbed: Option<bool>,
        /// Whether the session is gone.
        lost: bool,
        /// Latency per timed mode, in milliseconds; empty unless it counts and the engine was warm.
        latencies: Vec<(Mode, f64)>,
        /// Whether it is proven to have run on a board, or on the processor. `None`: it is not.
        on_board: Option<bool>,
    },
    /// A procedure was repeated for the power sensor, whatever came of it.
    Looped {
        /// Index of the cell.
        cell: usize,
        /// What was repeated.
        procedure: Procedure,
        /// Whether the session is gone.
        lost: bool,
    },
    /// The machine itself was measured.
    Referenced,
    /// A cell takes no further calls.
    Stopped(usize),
    /// Nothing is left to do.
    Finished,
}

impl Event {
    /// What a task is expected to leave in the record, for dry runs.
    #[must_use]
    pub fn expected(task: &Task) -> Self {
        match task {
            Task::Load(load) => Self::Load {
                session: load.session,
                session_index: load.session_index,
                evicted: load.evict.clone(),
                residency_id: load.residency_id,
                ok: true,
                fresh: false,
            },
            Task::Call(call) => {
                let (cell, role) = (call.cell, call.role);
                Self::Call {
                    cell,
                    role,
                    ok: true,
                    again: false,
                    disturbed: None,
                    lost: false,
                    latencies: Vec::new(),
                    on_board: None,
                }
            }
            Task::Loop(task) => Self::Looped { cell: task.cell, procedure: task.procedure, lost: false },
            Task::Reference(_) => Self::Referenced,
            Task::Stop(_) => Self::Finished,
        }
    }
}

/// Where cells and sessions stand in the plan: a line names them, an event numbers them.
#[derive(Debug, Clone)]
pub(super) struct Places {
    cells: BTreeMap<CellId, usize>,
    sessions: BTreeMap<SessionKey, usize>,
    retries: Retries,
}

impl Places {
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            cells: plan.cells.iter().enumerate().map(|(place, cell)| (cell.id.clone(), place)).collect(),
            sessions: plan.sessions.iter().enumerate().map(|(place, session)| (session.key.clone(), place)).collect(),
            retries: plan.retries(),
        }
    }

    fn cell(&self, id: &CellId) -> Option<usize> {
        self.cells.get(id).copied()
    }

    pub(super) fn session(&self, key: &SessionKey) -> Option<usize> {
        self.sessions.get(key).copied()
    }

    /// What a line of the file means. `None`: nothing, or it is about something the plan does not have.
    pub(super) fn event(&self, line: &Line) -> Option<Event> {
        match line {
            Line::Header(_) | Line::Idle(_) | Line::Imported(_) | Line::Stated(_) => None,
            Line::Reference(_) => Some(Event::Referenced),
            Line::Opened(opened) => Some(Event::Opened { loop_below: opened.loop_below }),
            Line::Load(load) => Some(Event::Load {
                session: self.session(&load.session)?,
                session_index: load.session_index,
                evicted: load.evicted.iter().filter_map(|gone| self.session(gone)).collect(),
                residency_id: load.residency_id,
                ok: load.status.is_ok(),
                fresh: load.regime == Regime::ColdProcess,
            }),
            Line::Call(call) => Some(Event::Call {
                cell: self.cell(&call.cell_id)?,
                role: call.role,
                ok: call.status.went_well(),
                again: call.is_made_again(self.retries),
                disturbed: call.was_disturbed(self.retries.disturbed),
                lost: call.session_lost,
                latencies: latencies(call),
                on_board: call.attribution.device().map(|device| device.is_some()),
            }),
            Line::Loop(looped) => Some(Event::Looped {
                cell: self.cell(&looped.cell_id)?,
                procedure: looped.procedure,
                lost: looped.session_lost,
            }),
            Line::Decision(decision) => Some(Event::Stopped(self.cell(&decision.cell_id)?)),
            Line::Finished(_) => Some(Event::Finished),
        }
    }
}

/// Latency per timed mode of a call that counts and found the engine warm.
fn latencies(call: &CallRecord) -> Vec<(Mode, f64)> {
    if call.role != Role::Timed || !call.status.went_well() || call.regime != Regime::Warm {
        return Vec::new();
    }
    let scale = |phase| if phase == Phase::KvDecode { call.decode_scale().unwrap_or(1.0) } else { 1.0 };
    call.spans.iter().map(|span| (span.phase.mode(), span.duration().as_ms() * scale(span.phase))).collect()
}
