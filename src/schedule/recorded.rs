//! What the record says so far, folded line by line into what the schedule asks of it.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Event, Places};
use super::order::Ordering;
use super::references::References;
use super::task::LONGEST_GAP;
use crate::record::plan::Plan;
use crate::record::{InVain, Line, LoopBelow};
use crate::stats::LEVEL;
use crate::stats::moderated::{self, Sessions};
use crate::terms::{Division, Mode, Procedure, Regime, Repetitions, Role};
use crate::units::Nanos;

/// How far a cell has come.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CellState {
    /// Timed calls made, whatever came of them; the tries of one are one call.
    pub timed: u32,
    /// Tries of the next timed call that ended early.
    pub tries: u32,
    /// Of these, those that count.
    pub good: u32,
    /// A rule has stopped it.
    pub stopped: bool,
    /// It was stopped since its engine was away: a process that takes the run up tries it again.
    pub away: bool,
    /// Calls that ended the session.
    pub losses: u32,
    /// Latencies of the good calls in order, per timed mode, in milliseconds.
    pub series: BTreeMap<Mode, Vec<f64>>,
    /// The same by session.
    pub sessions: BTreeMap<Mode, Sessions>,
    /// Widest half-width of a timed mode's 95 % interval from sessions, relative to its estimate, after the last session that
    /// is complete. `None`: too few sessions, or cells are measured in one.
    pub sessions_ci: Option<f64>,
    /// Where its good timed calls are proven to have run. `None`: not yet, or nowhere.
    pub on_board: Option<bool>,
    /// What was repeated for the power sensor.
    pub looped: BTreeSet<Procedure>,
    first_visit: Option<u32>,
}

#[derive(Debug, Clone, Default)]
struct Resident {
    load_index: u32,
    session_index: u32,
    calls: u32,
    /// Warmups made since the load, per cell.
    warmups: BTreeMap<usize, u32>,
    /// Cells that were called since the load.
    shapes: BTreeSet<usize>,
}

/// The record so far.
#[derive(Debug, Clone)]
pub struct Recorded {
    places: Places,
    division: Division,
    cell_sessions: Vec<usize>,
    backends: Vec<String>,
    cells: Vec<CellState>,
    resident: BTreeMap<usize, Resident>,
    load_failures: BTreeMap<usize, u32>,
    /// Sessions whose last load failed since the engine was away.
    away: BTreeSet<usize>,
    started: BTreeSet<String>,
    /// Backends that loaded something in this process.
    loaded: BTreeSet<String>,
    /// Backends of which every load is a process of its own: later loads began a fresh one too.
    of_own_process: BTreeSet<String>,
    /// Last call of this process: cell and role.
    last: Option<(usize, Role)>,
    loads: u32,
    calls: u32,
    made_again: u32,
    in_vain: InVain<usize>,
    visits: u32,
    residency: u32,
    any_load: bool,
    epochs: u32,
    loop_below: LoopBelow,
    references: References,
    finished: bool,
}

impl Recorded {
    /// Nothing recorded yet.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let places = Places::of(plan);
        let sessions = plan.cells.iter().map(|cell| places.session(&cell.session).unwrap_or_default());
        Self {
            cell_sessions: sessions.collect(),
            places,
            division: plan.division(),
            backends: plan.sessions.iter().map(|s| s.key.backend.clone()).collect(),
            cells: vec![CellState::default(); plan.cells.len()],
            resident: BTreeMap::new(),
            load_failures: BTreeMap::new(),
            away: BTreeSet::new(),
            started: BTreeSet::new(),
            loaded: BTreeSet::new(),
            of_own_process: BTreeSet::new(),
            last: None,
            loads: 0,
            calls: 0,
            made_again: 0,
            in_vain: InVain::new(plan.disturbed),
            visits: 0,
            residency: 0,
            any_load: false,
            epochs: 0,
            loop_below: LoopBelow::default(),
            references: References::default(),
            finished: false,
        }
    }

    /// What these lines say.
    #[must_use]
    pub fn of(plan: &Plan, lines: &[Line]) -> Self {
        let mut recorded = Self::new(plan);
        for line in lines {
            recorded.take(line);
        }
        recorded
    }

    /// Takes one more line.
    pub fn take(&mut self, line: &Line) {
        if let Some(event) = self.event(line) {
            self.push(&event);
        }
        self.note(line);
    }

    /// Takes the time of a line into account, and nothing else of it.
    pub(super) fn note(&mut self, line: &Line) {
        self.references.note(line);
    }

    /// What a line of the file means here. `None`: nothing, or it is about something the plan does not have.
    #[must_use]
    pub fn event(&self, line: &Line) -> Option<Event> {
        self.places.event(line)
    }

    /// Takes one more event.
    pub fn push(&mut self, event: &Event) {
        match event {
            Event::Opened { loop_below } => {
                self.loop_below = *loop_below;
                self.resident.clear();
                self.load_failures.clear();
                self.away.clear();
                for cell in self.cells.iter_mut().filter(|cell| cell.away) {
                    (cell.stopped, cell.away, cell.losses) = (false, false, 0);
                }
                self.started.clear();
                self.loaded.clear();
                self.last = None;
                self.references.open();
                self.epochs += 1;
                self.finished = false;
            }
            Event::Load { session, session_index, evicted, residency_id, ok, away, fresh } => {
                let backend = &self.backends[*session];
                if !self.loaded.insert(backend.clone()) && *fresh {
                    self.of_own_process.insert(backend.clone());
                }
                for gone in evicted {
                    self.resident.remove(gone);
                }
                self.residency = *residency_id;
                self.any_load = true;
                if *away {
                    self.away.insert(*session);
                } else {
                    self.away.remove(session);
                }
                if *ok {
                    self.load_failures.remove(session);
                    let (load_index, session_index) = (self.loads, *session_index);
                    self.resident.insert(*session, Resident { load_index, session_index, ..Resident::default() });
                } else {
                    *self.load_failures.entry(*session).or_default() += 1;
                }
                self.loads += 1;
            }
            Event::Call { cell, role, ok, again, disturbed, lost, latencies, on_board } => {
                if let Some(disturbed) = disturbed.filter(|_| !*again) {
                    self.in_vain.take(*cell, disturbed);
                }
                if *ok && *role == Role::Timed {
                    self.cells[*cell].on_board = *on_board;
                }
                self.push_timed(*cell, *role, *ok, *again, latencies);
                self.push_call(*cell, *role, *lost);
            }
            Event::Looped { cell, procedure, lost } => {
                self.cells[*cell].looped.insert(*procedure);
                self.push_use(*cell, Role::Warmup, *lost);
            }
            Event::Stopped(cell) => {
                let away = self.away.contains(&self.cell_sessions[*cell]);
                let state = &mut self.cells[*cell];
                (state.stopped, state.away) = (true, away);
            }
            Event::Referenced => self.references.measure(),
            Event::Finished => self.finished = true,
        }
    }

    /// Counts a timed call, or one more try of it.
    fn push_timed(&mut self, cell: usize, role: Role, ok: bool, again: bool, latencies: &[(Mode, f64)]) {
        let state = &mut self.cells[cell];
        if role != Role::Timed {
            return;
        }
        if again {
            state.tries += 1;
            self.made_again += 1;
            return;
        }
        state.timed += 1;
        state.tries = 0;
        state.good += u32::from(ok);
        let session = self.division.session_of(state.timed - 1);
        for (mode, ms) in latencies {
            state.series.entry(*mode).or_default().push(*ms);
            if self.division.sessions.is_several() {
                state.sessions.entry(*mode).or_default().entry(session).or_default().push(*ms);
            }
        }
        if self.division.sessions.is_several() && self.division.ends_session(state.timed) {
            self.locate_again(self.cell_sessions[cell]);
        }
    }

    /// How narrow the intervals of all cells of a session's backend are: cells know of each other how much sessions differ.
    fn locate_again(&mut self, session: usize) {
        let backend = &self.backends[session];
        let own: Vec<usize> =
            (0..self.cells.len()).filter(|&c| self.backends[self.cell_sessions[c]] == *backend).collect();
        let mut widest: BTreeMap<usize, Option<f64>> = BTreeMap::new();
        for mode in Mode::ALL {
            let with_mode: Vec<usize> =
                own.iter().copied().filter(|&c| self.cells[c].sessions.contains_key(mode)).collect();
            let sessions: Vec<Sessions> = with_mode.iter().map(|&c| self.cells[c].sessions[mode].clone()).collect();
            for (cell, found) in with_mode.into_iter().zip(moderated::locations(&sessions)) {
                let width = found.ok().and_then(|found| found.adaptive().relative_half_width(LEVEL));
                let known = widest.entry(cell).or_insert(Some(0.0));
                *known = known.zip(width).map(|(known, width)| known.max(width));
            }
        }
        for (cell, width) in widest {
            self.cells[cell].sessions_ci = width;
        }
    }

    fn push_call(&mut self, cell: usize, role: Role, lost: bool) {
        let state = &mut self.cells[cell];
        if state.first_visit.is_none() {
            state.first_visit = Some(self.visits);
            self.visits += 1;
        }
        state.losses += u32::from(lost);
        self.push_use(cell, role, lost);
        self.calls += 1;
    }

    /// Counts a use of a cell's session.
    fn push_use(&mut self, cell: usize, role: Role, lost: bool) {
        self.references.work();
        let session = self.cell_sessions[cell];
        if let Some(resident) = self.resident.get_mut(&session) {
            resident.calls += 1;
            resident.shapes.insert(cell);
            if matches!(role, Role::Cold | Role::Warmup) {
                *resident.warmups.entry(cell).or_default() += 1;
            }
        }
        if lost {
            self.resident.remove(&session);
        }
        self.started.insert(self.backends[session].clone());
        self.last = Some((cell, role));
    }

    /// What was measured of the machine so far.
    pub(super) fn references(&self) -> &References {
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

    /// Whether the record is complete: nothing is left to do, and no cell was given up since its engine was away.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.finished && !self.cells.iter().any(|cell| cell.away)
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
        self.residency + u32::from(changes && self.any_load)
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
}

impl Recorded {
    /// Whether a cell takes further calls.
    pub(super) fn is_open(&self, plan: &Plan, cell: usize) -> bool {
        let state = self.cell(cell);
        match plan.repetitions {
            Repetitions::Fixed(n) => !state.stopped && state.timed < n,
            Repetitions::Adaptive { .. } => !state.stopped,
        }
    }
}
