//! The two sides of a comparison: what was measured of each cell.

use std::collections::BTreeMap;

use crate::analysis::engines::{self, Side};
use crate::analysis::{CompileAuditRow, MetricRow, Standing};
use crate::record::manifest::Manifest;
use crate::record::plan::{Cell, Plan};
use crate::terms::{Mode, Order, Role};

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
    /// Every call in every mode.
    pub metrics: &'a [MetricRow],
    /// What a compiler is proved to have done.
    pub audit: &'a [CompileAuditRow],
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
    pub cells: Vec<SideCell<'a>>,
}

/// A cell in one mode.
#[derive(Debug, Clone)]
pub struct SideCell<'a> {
    /// Calls that may be compared, or why there are none.
    pub side: Side<'a>,
    /// Those calls by session.
    pub sessions: Sessions,
    /// What went wrong.
    pub failures: Failures,
}

impl SideCell<'_> {
    /// How many of its calls something disturbed from outside.
    pub(super) fn disturbed(&self) -> u64 {
        self.side.calls.iter().filter(|call| call.disturbed).count() as u64
    }
}

impl<'a> Sides<'a> {
    /// Two runs, measured at different times.
    #[must_use]
    pub fn of_runs(baseline: RunSide<'a>, candidate: RunSide<'a>) -> Self {
        let side = |run: RunSide<'a>| OneSide { name: run.name.to_owned(), run, cells: cells(run, None) };
        Self { baseline: side(baseline), candidate: side(candidate), kind: SidesKind::Runs, interleaved: false }
    }

    /// Two backends of one run. They took turns where its order says so, or where every cell has several sessions, which
    /// are measured in blocks.
    #[must_use]
    pub fn of_backends(run: RunSide<'a>, baseline: &str, candidate: &str) -> Self {
        let side = |backend: &str| OneSide { name: backend.to_owned(), run, cells: cells(run, Some(backend)) };
        let (baseline, candidate) = (side(baseline), side(candidate));
        let several = |side: &OneSide<'_>| side.cells.iter().all(|cell| cell.sessions.count() != 1);
        let interleaved = run.plan.order == Order::Interleaved || several(&baseline) && several(&candidate);
        Self { baseline, candidate, kind: SidesKind::Backends, interleaved }
    }

    /// Some sessions of a run against its others; which, `is_candidate` says by their index.
    #[must_use]
    pub fn of_halves(run: RunSide<'a>, is_candidate: &dyn Fn(u32) -> bool) -> Self {
        let side = |name: &str, wanted: bool| {
            let mut cells = cells(run, None);
            for cell in &mut cells {
                let calls = cell.side.calls.iter().filter(|call| is_candidate(call.session_index) == wanted);
                cell.sessions = Sessions::of(calls.filter_map(|call| Some((call.session_index, call.latency_ms?))));
                // What failed is not told by session, and is the same on both sides.
                cell.failures = Failures::default();
            }
            OneSide { name: name.to_owned(), run, cells }
        };
        let (baseline, candidate) = (side("one half", false), side("the other", true));
        Self { baseline, candidate, kind: SidesKind::Halves, interleaved: true }
    }

    /// Whether both sides are of one run.
    #[must_use]
    pub fn is_one_run(&self) -> bool {
        self.kind != SidesKind::Runs
    }
}

/// The cells of a run, or of one of its backends.
fn cells<'a>(run: RunSide<'a>, backend: Option<&str>) -> Vec<SideCell<'a>> {
    let mut failures = failures(run.metrics);
    let sides = match run.manifest.imported {
        Some(_) => engines::imported_sides(run.plan, run.metrics),
        None => engines::sides(run.plan, run.metrics, run.audit),
    };
    let own = sides.into_iter().filter(|side| backend.is_none_or(|backend| side.cell.session.backend == backend));
    own.map(|side| {
        let calls = side.calls.iter().filter_map(|call| Some((call.session_index, call.latency_ms?)));
        let sessions = Sessions::of(calls);
        let failures = failures.remove(&(side.cell.id.0.as_str(), side.mode)).unwrap_or_default();
        SideCell { side, sessions, failures }
    })
    .collect()
}

/// What went wrong of timed calls, by cell and mode; of several tries of one call the last counts.
fn failures(metrics: &[MetricRow]) -> BTreeMap<(&str, Mode), Failures> {
    let mut last: BTreeMap<(&str, Mode, u32), &MetricRow> = BTreeMap::new();
    for row in metrics.iter().filter(|row| row.role == Role::Timed) {
        last.insert((&row.key.cell_id, row.mode, row.index), row);
    }
    let mut found: BTreeMap<(&str, Mode), Failures> = BTreeMap::new();
    for ((cell, mode, _), row) in last {
        let failures = found.entry((cell, mode)).or_default();
        failures.calls += 1;
        if let Some(kind) = row.degraded_kind.filter(|_| row.status == Standing::Degraded) {
            *failures.degraded.entry(kind).or_default() += 1;
        }
    }
    found
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
