//! The calls of a run, as far as a comparison needs them: a few numbers of each, so that runs of any length fit into memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::analysis::engines::{Counts, FEWEST_CALLS, MODES, why_not_compared};
use crate::analysis::place;
use crate::analysis::{CallRows, CompileAuditRow, MetricRow, Standing, StatedRow};
use crate::record::given_up::GivenUp;
use crate::record::manifest::Manifest;
use crate::record::plan::{Cell, CellId, Plan};
use crate::record::{CallRecord, Shared};
use crate::terms::{Degraded, Dtype, Mode, Role};

use super::failing::Failures;
use super::sessions::{Sessions, StatedSession};
use super::side::SideCell;

/// What was measured of a plan's cells, filled call by call.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Calls of one cell in one mode with the same weights and element type, by the cell's place in the plan; in the order in
    /// which they first occur.
    groups: Vec<Vec<Group>>,
    /// By the cell's place in the plan.
    failures: BTreeMap<(usize, Mode), Asked>,
    /// By the cell's place in the plan: how many timed calls were never made, and why.
    given_up: BTreeMap<usize, (u64, String)>,
    /// What calls took that a self-test slowed, and how much of that was added. Unit: nanoseconds. Empty: it slowed none.
    pub planted: BTreeMap<(CellId, Mode), (u64, u64)>,
    /// One more than the largest session index so far, and than the largest number of a call.
    next: (u32, u32),
}

/// See [`Measured::groups`].
#[derive(Debug, Clone)]
struct Group {
    mode: Mode,
    weights_id: String,
    dtype: Dtype,
    /// Of the first call that may be compared.
    prompt_tokens: Option<f64>,
    /// Where all calls that may be compared ran. `None`: there is none, not told, or not all alike.
    actual: Option<String>,
    /// The board that all of them ran on, by its UUID. `None`: as above.
    board: Option<String>,
    /// How many may be compared.
    compared: usize,
    /// Those that count.
    calls: Vec<Counted>,
    /// What another tool's files state without samples.
    stated: Vec<StatedSession>,
}

/// A call that counts.
#[derive(Debug, Clone, Copy)]
struct Counted {
    session_index: u32,
    latency_ms: f64,
    /// Whether it proves where it ran.
    proven: bool,
    /// Whether its time stands for more steps than it made.
    scaled: bool,
    /// Whether something disturbed it from outside.
    disturbed: bool,
}

impl Counted {
    fn may_be_compared(self) -> bool {
        self.proven && !self.scaled
    }
}

/// Timed calls by their number: why the last try of each does not count. `None`: it does.
type Asked = BTreeMap<u32, Option<Degraded>>;

/// Takes calls of one run.
#[derive(Debug)]
pub struct Taking<'a> {
    rows: CallRows<'a>,
    manifest: &'a Manifest,
    places: HashMap<&'a str, usize>,
    /// Whether calls that a self-test slowed are taken as if they had been measured.
    planted_too: bool,
    measured: Measured,
}

impl<'a> Taking<'a> {
    /// Of a run of this plan on this stack.
    #[must_use]
    pub fn new(plan: &'a Plan, manifest: &'a Manifest, planted_too: bool) -> Self {
        let places = plan.cells.iter().enumerate().map(|(place, cell)| (cell.id.0.as_str(), place)).collect();
        let groups = plan.cells.iter().map(|_| Vec::new()).collect();
        let measured = Measured { groups, ..Measured::default() };
        Self { rows: CallRows::new(plan), manifest, places, planted_too, measured }
    }

    /// Takes a call of ours in every mode that it times.
    pub fn call(&mut self, call: &Shared<CallRecord>) {
        let board = place::board(call, self.manifest);
        for row in self.rows.of(call) {
            self.row_on(&row, board);
        }
        let Some(planted) = &call.planted else { return };
        for (span, pause) in call.spans.iter().zip(&planted.pause_ns) {
            let key = (CellId::clone(&call.cell_id), span.phase.mode());
            let (all, added) = self.measured.planted.entry(key).or_default();
            *all += span.duration().0;
            *added += pause.0;
        }
    }

    /// Takes a row of another tool's call.
    pub fn row(&mut self, row: &MetricRow) {
        self.row_on(row, None);
    }

    /// Takes a row; `board`: what the call ran on, if it was a board.
    fn row_on(&mut self, row: &MetricRow, board: Option<&str>) {
        let Some(&place) = self.places.get(row.key.cell_id.as_str()) else { return };
        let planted = self.planted_too && row.degraded_kind == Some(Degraded::Planted);
        let degraded = row.degraded_kind.filter(|_| row.status == Standing::Degraded && !planted);
        if row.role == Role::Timed {
            self.measured.failures.entry((place, row.mode)).or_default().insert(row.index, degraded);
        }
        let (session, call) = self.measured.next;
        self.measured.next = (session.max(row.session_index.saturating_add(1)), call.max(row.index.saturating_add(1)));
        let group = Group::of(&mut self.measured.groups[place], row.mode, &row.key.weights_id, row.key.dtype);
        if (row.status == Standing::Ok || planted)
            && row.would_count()
            && let Some(latency_ms) = row.latency_ms
        {
            let (session_index, proven, scaled) = (row.session_index, row.attributed, row.scaled);
            group.take(Counted { session_index, latency_ms, proven, scaled, disturbed: row.disturbed }, row, board);
        }
    }

    /// Takes a figure that another tool's file states without its samples.
    pub fn stated(&mut self, row: &StatedRow) {
        let Some(&place) = self.places.get(row.key.cell_id.as_str()) else { return };
        let group = Group::of(&mut self.measured.groups[place], row.mode, &row.key.weights_id, row.key.dtype);
        group.stated.push(StatedSession {
            index: row.session_index,
            statistic: row.statistic,
            value_ms: row.value_ms,
            sd_ms: row.sd_ms,
            calls: row.n,
        });
        self.measured.next.0 = self.measured.next.0.max(row.session_index.saturating_add(1));
    }

    /// Takes that a cell was given up.
    pub fn given_up(&mut self, given_up: &GivenUp<'_>) {
        let Some(&place) = self.places.get(given_up.cell.id.0.as_str()) else { return };
        let words = given_up.words.map_or_else(String::new, |words| format!(" ({words})"));
        let why = format!("{}{words}", given_up.decision.why);
        self.measured.given_up.insert(place, (given_up.missing.into(), why));
    }

    /// All that was taken.
    #[must_use]
    pub fn done(self) -> Measured {
        self.measured
    }
}

impl Group {
    /// The one of a mode with these weights and element type, new if there is none yet.
    fn of<'g>(groups: &'g mut Vec<Self>, mode: Mode, weights_id: &str, dtype: Dtype) -> &'g mut Self {
        let same = |group: &Self| group.is_of(mode, weights_id, dtype);
        let place = groups.iter().position(same).unwrap_or_else(|| {
            groups.push(Self {
                mode,
                weights_id: weights_id.to_owned(),
                dtype,
                prompt_tokens: None,
                actual: None,
                board: None,
                compared: 0,
                calls: Vec::new(),
                stated: Vec::new(),
            });
            groups.len() - 1
        });
        &mut groups[place]
    }

    fn is_of(&self, mode: Mode, weights_id: &str, dtype: Dtype) -> bool {
        self.mode == mode && self.dtype == dtype && self.weights_id == weights_id
    }

    fn take(&mut self, call: Counted, row: &MetricRow, board: Option<&str>) {
        // Imported rows prove nothing, and are compared with their like.
        if call.may_be_compared() || row.is_imported() {
            self.ran(row.prompt_tokens(), (row.actual(), board), 1);
        }
        self.calls.push(call);
    }

    /// Notes what so many more calls that may be compared were sent, and where they ran.
    fn ran(&mut self, prompt_tokens: Option<f64>, (actual, board): (Option<&str>, Option<&str>), calls: usize) {
        if self.compared == 0 {
            self.prompt_tokens = prompt_tokens;
            (self.actual, self.board) = (actual.map(str::to_owned), board.map(str::to_owned));
        } else if calls > 0 {
            self.actual.take_if(|own| Some(own.as_str()) != actual);
            self.board.take_if(|own| Some(own.as_str()) != board);
        }
        self.compared += calls;
    }
}

impl Measured {
    /// Adds what another run of the same plan measured, as further sessions and calls.
    pub fn extend(&mut self, more: &Self) {
        let (sessions, calls) = self.next;
        for (own, theirs) in self.groups.iter_mut().zip(&more.groups) {
            for group in theirs {
                let moved = group.moved(sessions);
                match own.iter_mut().find(|own| own.is_of(group.mode, &group.weights_id, group.dtype)) {
                    Some(own) => own.extend(moved),
                    None => own.push(moved),
                }
            }
        }
        for (key, asked) in &more.failures {
            let moved = asked.iter().map(|(call, degraded)| (call.saturating_add(calls), *degraded));
            self.failures.entry(*key).or_default().extend(moved);
        }
        for (place, (missing, why)) in &more.given_up {
            self.given_up.entry(*place).or_insert_with(|| (0, why.clone())).0 += missing;
        }
        for (key, (all, added)) in &more.planted {
            let own = self.planted.entry(key.clone()).or_default();
            (own.0, own.1) = (own.0.saturating_add(*all), own.1.saturating_add(*added));
        }
        self.next = (sessions.saturating_add(more.next.0), calls.saturating_add(more.next.1));
    }

    /// Sessions so far: one more than the largest index.
    #[must_use]
    pub fn sessions(&self) -> u32 {
        self.next.0
    }

    /// Every cell of the plan in every mode that is compared, in the plan's order, or why it is not.
    #[must_use]
    pub fn cells(&self, plan: &Plan, audit: &[CompileAuditRow], imported: bool) -> Vec<SideCell> {
        let unproven = |row: &&CompileAuditRow| row.backend_actual.is_none();
        let not_compiled: BTreeSet<(&str, Mode)> =
            audit.iter().filter(unproven).map(|row| (row.key.cell_id.as_str(), row.mode)).collect();
        let mut cells = Vec::new();
        for (place, (cell, groups)) in plan.cells.iter().zip(&self.groups).enumerate() {
            if imported {
                let own = groups.iter().filter(|group| group.mode != Mode::Request);
                cells.extend(own.map(|group| imported_cell(cell, group, self.failures(place, group.mode))));
                continue;
            }
            for &mode in cell.procedure.modes().iter().filter(|mode| MODES.contains(mode)) {
                let own: Vec<&Group> =
                    groups.iter().filter(|group| group.mode == mode && !group.calls.is_empty()).collect();
                let compiled = !not_compiled.contains(&(cell.id.0.as_str(), mode));
                let why = self.given_up.get(&place).map(|(_, why)| why.as_str());
                cells.push(own_cell(cell, mode, &own, compiled, self.failures(place, mode), why));
            }
        }
        cells
    }

    fn failures(&self, place: usize, mode: Mode) -> Failures {
        let never_made = self.given_up.get(&place).map_or(0, |(missing, _)| *missing);
        let mut failures = Failures { calls: never_made, never_made, ..Failures::default() };
        for degraded in self.failures.get(&(place, mode)).into_iter().flat_map(BTreeMap::values) {
            failures.calls += 1;
            if let Some(kind) = degraded {
                *failures.degraded.entry(*kind).or_default() += 1;
            }
        }
        failures
    }
}

impl Group {
    /// The same with sessions so many numbers on.
    fn moved(&self, sessions: u32) -> Self {
        let mut moved = self.clone();
        for call in &mut moved.calls {
            call.session_index = call.session_index.saturating_add(sessions);
        }
        for stated in &mut moved.stated {
            stated.index = stated.index.saturating_add(sessions);
        }
        moved
    }

    fn extend(&mut self, more: Self) {
        self.ran(more.prompt_tokens, (more.actual.as_deref(), more.board.as_deref()), more.compared);
        self.calls.extend(more.calls);
        self.stated.extend(more.stated);
    }

    /// Calls that may be compared and were disturbed, by session.
    fn disturbed(&self) -> BTreeMap<u32, u64> {
        let mut found = BTreeMap::new();
        for call in self.calls.iter().filter(|call| call.disturbed && call.may_be_compared()) {
            *found.entry(call.session_index).or_default() += 1;
        }
        found
    }

    fn sessions(&self, may: impl Fn(&&Counted) -> bool) -> Sessions {
        Sessions::of(self.calls.iter().filter(may).map(|call| (call.session_index, call.latency_ms)))
    }
}

/// A cell that was measured here. `given_up`: why it was.
fn own_cell(
    cell: &Cell,
    mode: Mode,
    groups: &[&Group],
    compiled: bool,
    failures: Failures,
    given_up: Option<&str>,
) -> SideCell {
    let backend = &cell.session.backend;
    let without = |reason: String| SideCell { reason: Some(reason), ..SideCell::without_calls(cell, mode) };
    let group = match groups {
        [] => {
            let why = given_up.map_or_else(String::new, |why| format!(": {why}"));
            return SideCell { failures, ..without(format!("no call on {backend} counts{why}")) };
        }
        [group] => group,
        _ => {
            let reason = format!("weights or element type changed during the run on {backend}");
            return SideCell { failures, ..without(reason) };
        }
    };
    let counted = Counts {
        made: group.calls.len(),
        proven: group.calls.iter().filter(|call| call.proven).count(),
        compared: group.compared,
    };
    SideCell {
        measured_as: Some((group.weights_id.clone(), group.dtype)),
        prompt_tokens: group.prompt_tokens,
        actual: group.actual.clone(),
        board: group.board.clone(),
        reason: why_not_compared(backend, counted, compiled),
        sessions: group.sessions(|call| call.may_be_compared()),
        disturbed: group.disturbed(),
        failures,
        ..SideCell::without_calls(cell, mode)
    }
}

/// A cell that another tool measured. Nothing proves where it ran, so it may stand against imported cells only.
fn imported_cell(cell: &Cell, group: &Group, failures: Failures) -> SideCell {
    if group.calls.is_empty() && !group.stated.is_empty() {
        return stated_cell(cell, group, failures);
    }
    let calls = group.calls.len();
    let few = calls < FEWEST_CALLS;
    SideCell {
        measured_as: (calls > 0).then(|| (group.weights_id.clone(), group.dtype)),
        prompt_tokens: group.prompt_tokens,
        reason: few.then(|| format!("{calls} calls count, at least {FEWEST_CALLS} are needed")),
        sessions: group.sessions(|_| true),
        failures,
        ..SideCell::without_calls(cell, group.mode)
    }
}

/// A cell of which another tool states figures without samples: one per session. Of one session alone nothing is known but what is
/// stated beside it.
fn stated_cell(cell: &Cell, group: &Group, failures: Failures) -> SideCell {
    let sessions = Sessions::of_stated(&group.stated);
    let unknown = sessions.count() < 2 && sessions.stated_alone().is_none();
    let reason = "stated without samples, and without a standard deviation and a number of calls: several files would be sessions";
    SideCell {
        measured_as: Some((group.weights_id.clone(), group.dtype)),
        reason: unknown.then(|| reason.to_owned()),
        sessions,
        failures,
        ..SideCell::without_calls(cell, group.mode)
    }
}
