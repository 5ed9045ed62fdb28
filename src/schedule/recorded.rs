//! What the record says so far, folded line by line into what the schedule asks of it.

use std::collections::{BTreeMap, BTreeSet};

use super::enough::{self, Stop};
use super::event::{Event, Places};
use super::references::References;
use super::task::MOST_LOAD_FAILURES;
use crate::record::plan::Plan;
use crate::record::{InVain, Line, LoopBelow};
use crate::stats::LEVEL;
use crate::stats::moderated::{self, Sessions};
use crate::terms::{Division, Mode, Procedure, Role};

mod asked;

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
    /// It was stopped since its session did not load: a process that takes the run up tries it again.
    pub unloaded: bool,
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
    /// Why it was called often enough, where it is measured in one session. `None`: it was not.
    pub(super) enough: Option<Stop>,
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
    started: BTreeSet<String>,
    /// Backends that loaded something in this process.
    loaded: BTreeSet<String>,
    /// Backends of which every load is a process of its own: later loads began a fresh one too.
    of_own_process: BTreeSet<String>,
    /// Last call of this process: cell and role.
    last: Option<(usize, Role)>,
    loads: u32,
    calls: u32,
    degraded: u32,
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
            started: BTreeSet::new(),
            loaded: BTreeSet::new(),
            of_own_process: BTreeSet::new(),
            last: None,
            loads: 0,
            calls: 0,
            degraded: 0,
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
                for cell in self.cells.iter_mut().filter(|cell| cell.unloaded) {
                    (cell.stopped, cell.unloaded, cell.losses) = (false, false, 0);
                }
                self.started.clear();
                self.loaded.clear();
                self.last = None;
                self.references.open();
                self.epochs += 1;
                self.finished = false;
            }
            Event::Load { session, session_index, evicted, residency_id, ok, fresh } => {
                let backend = &self.backends[*session];
                if !self.loaded.insert(backend.clone()) && *fresh {
                    self.of_own_process.insert(backend.clone());
                }
                for gone in evicted {
                    self.resident.remove(gone);
                }
                self.residency = *residency_id;
                self.any_load = true;
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
                self.degraded += u32::from(!*ok && !*again);
                self.push_timed(*cell, *role, *ok, *again, latencies);
                self.push_call(*cell, *role, *lost);
            }
            Event::Looped { cell, procedure, lost } => {
                self.cells[*cell].looped.insert(*procedure);
                self.push_use(*cell, Role::Warmup, *lost);
            }
            Event::Stopped(cell) => {
                let unloaded = self.load_failures(self.cell_sessions[*cell]) >= MOST_LOAD_FAILURES;
                let state = &mut self.cells[*cell];
                (state.stopped, state.unloaded) = (true, unloaded);
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
        if !self.division.sessions.is_several() {
            state.enough = enough::by_calls(self.division.repetitions, state.timed, &state.series);
        } else if self.division.ends_session(state.timed) {
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
}
