//! `compile_audit.csv`: one cell and phase, what proves that it ran compiled, and what that changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::analysis::columns::columns;
use crate::analysis::engines::{allowed_for, process_allowance};
use crate::analysis::groups::{Group, latencies};
use crate::analysis::key::CellKey;
use crate::analysis::metrics::Metrics;
use crate::analysis::metrics::Standing;
use crate::analysis::session_locations::sessions;
use crate::analysis::table::{Sources, Table};
use crate::stats::LEVEL;
use crate::stats::log_estimate::LogEstimate;
use crate::stats::moderated::{Sessions, locations};
use crate::stats::summary::{P95_NEEDS, P99_NEEDS, median, quantile};
use crate::store::Recording;
use crate::terms::{Degraded, Mode, Role, Status};
use crate::units::Nanos;

use super::audited::{Audited, AuditedCall, audited, reference};
use super::cache::CacheState;
use super::spent::{Spent, steps};
use super::tally::Tally;

columns! {
    /// One cell in one mode that asked for a compiler.
    pub struct CompileAuditRow {
        ..key: Arc<CellKey> { cell_id, backend, model, dtype, scenario, batch, gen_tokens },
        /// What is timed.
        mode: Mode,
        /// The compiler asked for.
        backend_requested: String,
        /// What ran in every timed call that is not degraded. `None`: it is not proven for one, or there is none.
        backend_actual: Option<String>,
        /// Why no call tells what ran. `None`: calls do.
        without_evidence: Option<String>,
        /// Timed calls with evidence, degraded ones too.
        n_timed: usize,
        /// Of these, degraded as `fallback`.
        n_fallback: usize,
        /// Of these, degraded as `compile_failed`.
        n_compile_failed: usize,
        /// Calls made to the model in timed calls.
        model_calls: u64,
        /// Executions of compiled code in them; as many as `model_calls` where nothing ran uncompiled.
        executions: u64,
        /// Graphs compiled inside calls of any role.
        unique_graphs_in_calls: u64,
        /// Places where a graph was broken, in compile steps and calls.
        graph_breaks: u64,
        /// Compilations inside timed calls beyond a phase's first.
        recompiles_in_timed_calls: u64,
        /// Guards that did not hold in calls.
        guard_failures: u64,
        /// How the compiler found its cache on disk in the load that the two times below are of: the coldest one, and of these
        /// the one that compiled longest. Reloads find what an earlier load left, see `compile_steps.csv`.
        cache: CacheState,
        /// Time of the compile steps for this cell's shape. `None`: none compiled anything, so that it was compiled inside
        /// calls, or see `compile_ms_reason`.
        compile_step_ms: Option<f64>,
        /// Time the compiler took inside calls of any role. `None`: it compiled nothing there.
        compile_in_calls_ms: Option<f64>,
        /// Why both times are empty: another shape's graph serves this one, or nothing was compiled. `None`: one is not.
        compile_ms_reason: Option<String>,
        /// Whether the graphs of this cell's shape serve no other.
        graph: GraphUse,
        /// Compile time that break-even is reckoned with: this shape's own, or where graphs are shared that of all shapes of the
        /// session in this mode. `None`: the compiler found its cache filled, in part at least, so that its time is no cold
        /// one; or it compiled nothing.
        charged_compile_ms: Option<f64>,
        /// Median of warm timed calls. `None`: none counts.
        median_ms: Option<f64>,
        /// Timed calls as they came, those that compiled included: median. `None`: none.
        served_p50_ms: Option<f64>,
        /// Their 95th percentile. `None`: fewer than 20.
        served_p95_ms: Option<f64>,
        /// Their 99th percentile. `None`: fewer than 100.
        served_p99_ms: Option<f64>,
        /// Backend of the same cell where nothing was compiled. `None`: the run has none; so are all below.
        reference: Option<String>,
        /// Its median. `None`: none counts.
        reference_median_ms: Option<f64>,
        /// Its timed calls as they came: 95th percentile. `None`: fewer than 20.
        reference_served_p95_ms: Option<f64>,
        /// 99th percentile. `None`: fewer than 100.
        reference_served_p99_ms: Option<f64>,
        /// Compiled ÷ not compiled, of warm timed calls. `None`: too few calls on a side.
        /// Source: ratio of geometric means; Welch's t interval of the difference of mean logarithms, from several sessions of those of their means (Smyth 2004).
        /// Unit: ratio.
        ratio: Option<f64>,
        /// Lower end of its 95 % interval.
        /// Unit: ratio.
        ratio_low: Option<f64>,
        /// Upper end.
        /// Unit: ratio.
        ratio_high: Option<f64>,
        /// What the logarithm of either side may be off by because one process of each was measured: a standard deviation, in
        /// the interval. `None`: sessions are compared, which tell it themselves.
        /// Unit: natural logarithm.
        process_allowance_ln: Option<f64>,
        /// What a call of this cell saves. `None`: the ratio's interval is not below 1, so nothing is known to be saved.
        saved_ms: Option<f64>,
        /// Calls of this cell after which the charged compile time is earned back: that time ÷ what a call saves, rounded up.
        /// `None`: one of the two is not known.
        break_even_calls: Option<u64>,
    }
}

/// Whom the graphs of a shape serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GraphUse {
    /// This shape alone: every shape of the session has compiled its own in this mode.
    Own,
    /// Several shapes: one of the session has compiled none in this mode, and ran another's.
    Shared,
}

impl GraphUse {
    /// The name used in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Shared => "shared",
        }
    }
}

/// `analysis/compile_audit.csv`.
pub struct CompileAudit;

impl Table for CompileAudit {
    type Row = CompileAuditRow;
    const FILE: &'static str = "analysis/compile_audit.csv";
    const ABOUT: &'static str = "Every cell and mode that asked for a compiler, in the plan's order: what proves that it ran compiled, and what that changed.";

    fn derive(from: &Sources<'_>) -> Vec<CompileAuditRow> {
        let metrics = from.rows::<Metrics>();
        let audited = audited(from, &metrics);
        let compiled = audited.iter().filter(|cell| cell.compiles());
        let allowance = process_allowance(from.plan);
        let of = |cell| row(cell, reference(cell, &audited), from.recording, allowance);
        let mut rows: Vec<_> = compiled.map(of).collect();
        charge(&mut rows);
        rows
    }
}

/// How long calls of a cell took.
#[derive(Default)]
struct Latencies {
    /// Of warm timed calls that count.
    counted: Vec<f64>,
    /// The same by session.
    sessions: Sessions,
    /// Of timed calls that went well, those of a new shape too: what a caller waits.
    served: Vec<f64>,
}

impl Latencies {
    fn of(group: &Group<'_>) -> Self {
        let served = group.rows.iter().filter(|row| row.role == Role::Timed && row.status == Standing::Ok);
        let counted = group.counted();
        Self {
            counted: latencies(&counted),
            sessions: sessions(&counted),
            served: served.filter_map(|row| row.latency_ms).collect(),
        }
    }

    /// How many times as long as `reference`. `None`: too few calls, or sessions, on a side.
    fn over(&self, reference: &Self, process_allowance_ln: Option<f64>) -> Option<LogEstimate> {
        if process_allowance_ln.is_some() {
            let ratio = LogEstimate::unpaired(&self.counted, &reference.counted).ok()?;
            return Some(allowed_for(ratio, process_allowance_ln));
        }
        let located = |of: &Self| locations(std::slice::from_ref(&of.sessions)).pop()?.ok();
        Some(located(self)?.location.over(located(reference)?.location))
    }

    /// A high quantile of what callers waited. `None`: fewer calls than it needs.
    fn tail(&self, p: f64, needs: usize) -> Option<f64> {
        quantile(&self.served, p).filter(|_| self.served.len() >= needs)
    }

    fn p95(&self) -> Option<f64> {
        self.tail(0.95, P95_NEEDS)
    }

    fn p99(&self) -> Option<f64> {
        self.tail(0.99, P99_NEEDS)
    }
}

fn row(
    cell: &Audited<'_>,
    reference: Option<&Audited<'_>>,
    recording: &Recording,
    process_allowance_ln: Option<f64>,
) -> CompileAuditRow {
    let steps = steps(cell, recording);
    let in_steps: Tally = steps.iter().map(|&(_, evidence)| Tally::from(evidence)).sum();
    let in_calls: Tally = cell.calls.iter().map(AuditedCall::tally).sum();
    let timed: Vec<AuditedCall<'_>> = cell.calls.iter().copied().filter(AuditedCall::is_timed).collect();
    let in_timed: Tally = timed.iter().map(AuditedCall::tally).sum();
    let spent = Spent::of(cell, &steps);
    // Compiled code ran, and was compiled for another shape.
    let shares_graph = spent.graphs == 0 && in_timed.executions > 0;
    let own = Latencies::of(&cell.group);
    let theirs = reference.map(|other| Latencies::of(&other.group)).unwrap_or_default();
    let (median_ms, reference_median_ms) = (median(&own.counted), median(&theirs.counted));
    let ratio = own.over(&theirs, process_allowance_ln);
    let interval = ratio.and_then(|ratio| ratio.interval(LEVEL));
    let is_faster = interval.is_some_and(|interval| interval.high < 1.0);
    let saved_ms = reference_median_ms.zip(median_ms).map(|(theirs, own)| theirs - own);
    CompileAuditRow {
        key: cell.group.key(),
        mode: cell.group.mode,
        backend_requested: cell.requested().to_owned(),
        backend_actual: actual_in_all(&timed),
        without_evidence: without_evidence(cell, recording),
        n_timed: timed.len(),
        n_fallback: degraded(&timed, Degraded::Fallback),
        n_compile_failed: degraded(&timed, Degraded::CompileFailed),
        model_calls: in_timed.calls,
        executions: in_timed.executions,
        unique_graphs_in_calls: in_calls.unique_graphs,
        graph_breaks: in_calls.graph_breaks + in_steps.graph_breaks,
        recompiles_in_timed_calls: in_timed.recompiles,
        guard_failures: in_calls.guard_failures,
        cache: spent.cache,
        compile_step_ms: some_time(spent.in_steps),
        compile_in_calls_ms: some_time(spent.in_calls),
        compile_ms_reason: spent.why_no_time(shares_graph).map(str::to_owned),
        graph: if shares_graph { GraphUse::Shared } else { GraphUse::Own },
        charged_compile_ms: None,
        median_ms,
        served_p50_ms: median(&own.served),
        served_p95_ms: own.p95(),
        served_p99_ms: own.p99(),
        reference: reference.map(|other| other.group.cell.session.backend.clone()),
        reference_median_ms,
        reference_served_p95_ms: theirs.p95(),
        reference_served_p99_ms: theirs.p99(),
        ratio: ratio.map(|ratio| ratio.value()),
        ratio_low: interval.map(|interval| interval.low),
        ratio_high: interval.map(|interval| interval.high),
        process_allowance_ln: process_allowance_ln.filter(|_| ratio.is_some()),
        saved_ms: saved_ms.filter(|saved| is_faster && *saved > 0.0),
        break_even_calls: None,
    }
}

/// What ran in every call that went well. `None`: not the same in all, not proven for one, or there is none.
fn actual_in_all(calls: &[AuditedCall<'_>]) -> Option<String> {
    let well = calls.iter().filter(|call| call.row.status == Standing::Ok);
    let mut ran = well.map(|call| call.evidence.backend_actual.as_ref());
    let first = ran.next()??;
    ran.all(|other| other == Some(first)).then(|| first.clone())
}

fn degraded(calls: &[AuditedCall<'_>], kind: Degraded) -> usize {
    calls.iter().filter(|call| call.row.degraded_kind == Some(kind)).count()
}

/// `None`: no time at all, so nothing was done in it.
fn some_time(time: Nanos) -> Option<f64> {
    (time > Nanos(0)).then(|| time.as_ms())
}

/// Says what each cell has to earn back, once all cells of a session are known.
fn charge(audit: &mut [CompileAuditRow]) {
    let mut sessions: BTreeMap<_, Vec<&mut CompileAuditRow>> = BTreeMap::new();
    for row in audit {
        let session = (row.key.backend.clone(), row.key.model.clone(), row.mode);
        sessions.entry(session).or_default().push(row);
    }
    for rows in sessions.into_values() {
        let shared = rows.iter().any(|row| row.graph == GraphUse::Shared);
        // A shared graph is earned back by all that it serves, so each is charged with what all shapes took.
        let of_all = if shared { cold_compile_ms(rows.iter().map(|row| &**row)) } else { None };
        for row in rows {
            row.graph = if shared { GraphUse::Shared } else { GraphUse::Own };
            row.charged_compile_ms = if shared { of_all } else { cold_compile_ms([&*row]) };
            let earned_back = row.charged_compile_ms.zip(row.saved_ms).map(|(compile, saved)| compile / saved);
            row.break_even_calls = earned_back.map(|calls| calls.ceil() as u64);
        }
    }
}

/// Time that compiling these cells' shapes took. `None`: nothing was compiled, or a filled cache made it short.
fn cold_compile_ms<'a>(rows: impl IntoIterator<Item = &'a CompileAuditRow>) -> Option<f64> {
    let compiled: Vec<&CompileAuditRow> = rows.into_iter().filter(|row| row.compile_ms() > 0.0).collect();
    let all_work = !compiled.is_empty() && compiled.iter().all(|row| row.cache.is_all_work());
    all_work.then(|| compiled.iter().map(|row| row.compile_ms()).sum())
}

impl CompileAuditRow {
    /// Time the compiler took for this cell's shape, in steps and in calls; 0 where it compiled nothing for it.
    #[must_use]
    pub fn compile_ms(&self) -> f64 {
        self.compile_step_ms.unwrap_or(0.0) + self.compile_in_calls_ms.unwrap_or(0.0)
    }
}

/// Why nothing tells what ran: the session's last failure.
fn without_evidence(cell: &Audited<'_>, recording: &Recording) -> Option<String> {
    if !cell.calls.is_empty() {
        return None;
    }
    let failed = |status: Status, detail: &Option<String>| match status {
        Status::Ok => None,
        Status::Degraded(kind) => Some(format!("{kind}: {}", detail.as_deref().unwrap_or("no reason given"))),
    };
    let planned = cell.group.cell;
    let calls = recording.calls().filter(|call| call.cell_id == planned.id);
    let called = calls.filter_map(|call| failed(call.status, &call.detail)).last();
    let loads = recording.loads().filter(|load| load.session == planned.session);
    let loaded = || loads.filter_map(|load| failed(load.status, &load.detail)).last();
    Some(called.or_else(loaded).unwrap_or_else(|| "no call of it was made".to_owned()))
}
