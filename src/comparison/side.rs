//! The two sides of a comparison: what was measured of each cell.

use std::collections::BTreeMap;

use crate::record::manifest::Manifest;
use crate::record::plan::{Cell, Plan};
use crate::terms::{Dtype, Mode, Order};

use super::failing::Failures;
use super::kernels::KernelReading;
use super::sessions::Sessions;

/// A run, as far as a comparison reads it.
#[derive(Debug, Clone, Copy)]
pub struct RunSide<'a> {
    /// What it is called.
    pub name: &'a str,
    /// What was planned.
    pub plan: &'a Plan,
    /// On what it ran.
    pub manifest: &'a Manifest,
    /// Whether it came to its end.
    pub finished: bool,
    /// Its cells in the plan's order.
    pub cells: &'a [SideCell],
    /// The machine's own speed during the run. Empty: not measured.
    pub kernels: &'a [KernelReading],
}

/// Both sides.
#[derive(Debug, Clone)]
pub struct Sides<'a> {
    /// What the candidate is compared with.
    pub baseline: OneSide<'a>,
    /// What is asked about.
    pub candidate: OneSide<'a>,
    /// What they are of each other.
    pub kind: SidesKind,
    /// Whether both took turns in one plan.
    pub interleaved: bool,
}

/// What two sides are of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SidesKind {
    /// Two runs.
    Runs,
    /// Two backends of one run, whose sessions pair by block.
    Backends,
    /// Some sessions of a run against its others, which do not.
    Halves,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct OneSide<'a> {
    /// What it is called: a run, or a backend of one.
    pub name: String,
    /// The run.
    pub run: RunSide<'a>,
    /// Its cells in the plan's order.
    pub cells: Vec<SideCell>,
}

/// A cell in one mode: its calls that may be compared, or why there are none.
#[derive(Debug, Clone)]
pub struct SideCell {
    /// The cell.
    pub cell: Cell,
    /// What is timed.
    pub mode: Mode,
    /// Hash of the weights, and the element type. `None`: no call counts, or either changed during the run.
    pub measured_as: Option<(String, Dtype)>,
    /// Prompt tokens of a row. `None`: no call, or not told.
    pub prompt_tokens: Option<f64>,
    /// The device or provider that all calls ran on. `None`: not the same for all, or not proven.
    pub actual: Option<String>,
    /// UUID of the board that all calls ran on, where they ran on one. `None`: not told, or not the same for all.
    pub board: Option<String>,
    /// Why the calls may not be compared. `None`: they may.
    pub reason: Option<String>,
    /// The calls by session.
    pub sessions: Sessions,
    /// How many of them something disturbed from outside, by session; none where none was.
    pub disturbed: BTreeMap<u32, u64>,
    /// What went wrong.
    pub failures: Failures,
}

impl SideCell {
    /// A cell of which nothing is known.
    #[must_use]
    pub fn without_calls(cell: &Cell, mode: Mode) -> Self {
        Self {
            cell: cell.clone(),
            mode,
            measured_as: None,
            prompt_tokens: None,
            actual: None,
            board: None,
            reason: None,
            sessions: Sessions::default(),
            disturbed: BTreeMap::new(),
            failures: Failures::default(),
        }
    }

    /// How many of its calls something disturbed from outside.
    pub(super) fn disturbed(&self) -> u64 {
        self.disturbed.values().sum()
    }
}

impl<'a> Sides<'a> {
    /// Two runs, measured at different times.
    #[must_use]
    pub fn of_runs(baseline: RunSide<'a>, candidate: RunSide<'a>) -> Self {
        let side = |run: RunSide<'a>| OneSide { name: run.name.to_owned(), run, cells: run.cells.to_vec() };
        Self { baseline: side(baseline), candidate: side(candidate), kind: SidesKind::Runs, interleaved: false }
    }

    /// Two backends of one run. They took turns where its order says so, or where every cell has several sessions, which
    /// are measured in blocks.
    #[must_use]
    pub fn of_backends(run: RunSide<'a>, baseline: &str, candidate: &str) -> Self {
        let of =
            |backend: &str| run.cells.iter().filter(|cell| cell.cell.session.backend == backend).cloned().collect();
        let side = |backend: &str| OneSide { name: backend.to_owned(), run, cells: of(backend) };
        let (baseline, candidate) = (side(baseline), side(candidate));
        let several = |side: &OneSide<'_>| side.cells.iter().all(|cell| cell.sessions.count() != 1);
        let interleaved = run.plan.order == Order::Interleaved || several(&baseline) && several(&candidate);
        Self { baseline, candidate, kind: SidesKind::Backends, interleaved }
    }

    /// Some sessions of a run against its others; which, `is_candidate` says by their index. A cell of which that leaves one side
    /// without any, or both with one alone, is not compared: cells may have stopped after different numbers of sessions.
    #[must_use]
    pub fn of_halves(run: RunSide<'a>, names: (&str, &str), is_candidate: &dyn Fn(u32) -> bool) -> Self {
        let side = |name: &str, wanted: bool| {
            let mut cells = run.cells.to_vec();
            for cell in &mut cells {
                cell.sessions.by_session.retain(|index, _| is_candidate(*index) == wanted);
                cell.disturbed.retain(|index, _| is_candidate(*index) == wanted);
                // What failed is not told by session, and is the same on both sides.
                cell.failures = Failures::default();
            }
            OneSide { name: name.to_owned(), run, cells }
        };
        let (mut baseline, candidate) = (side(names.0, false), side(names.1, true));
        for (own, other) in baseline.cells.iter_mut().zip(&candidate.cells) {
            let (own_sessions, others) = (own.sessions.count(), other.sessions.count());
            if own.reason.is_none() && (own_sessions.min(others) == 0 || own_sessions + others == 2) {
                own.reason = Some(format!("{own_sessions} of its sessions, {others} on the other side"));
            }
        }
        Self { baseline, candidate, kind: SidesKind::Halves, interleaved: true }
    }

    /// Whether both sides are of one run.
    #[must_use]
    pub fn is_one_run(&self) -> bool {
        self.kind != SidesKind::Runs
    }
}

/// What a cell is, whatever backend is compared.
#[must_use]
pub(super) fn asks_the_same(a: &Cell, b: &Cell, with_backend: bool) -> bool {
    asks_alike(a, b, with_backend) && (a.batch, a.gen_tokens) == (b.batch, b.gen_tokens)
}

/// The same but for batch and decode steps.
#[must_use]
pub(super) fn asks_alike(a: &Cell, b: &Cell, with_backend: bool) -> bool {
    (a.session.model == b.session.model && a.scenario == b.scenario && a.procedure == b.procedure)
        && (!with_backend || a.session.backend == b.session.backend)
}
