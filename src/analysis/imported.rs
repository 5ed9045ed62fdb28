//! Rows of another tool's calls, and `stated_figures.csv`: what its files state without samples.
//!
//! They are labelled, never taken for calls of ours: nothing proves to us where they ran, so that no fit, aggregate or ranking
//! has them. Among themselves they can be compared: see [`Proof::Imported`](super::Proof).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::record::manifest::Imported;
use crate::record::plan::Cell;
use crate::record::{CallRecord, ImportedCall, Shared, StatedFigure, Statistic, StepTimes, TokenCounts, TokenIds};
use crate::stats::{LEVEL, student};
use crate::terms::{Attribution, Mode, Regime, Role};
use crate::units::Nanos;

use super::columns::columns;
use super::key::{CellKey, CellKeys};
use super::metric_row::{Extras, MetricRow, Standing, Told, is_timed_warm};
use super::models::ArchitectureColumns;
use super::table::{Sources, Table};

/// Digits of a file's hash that a row shows.
const SHOWN: usize = 12;

/// Where a line of the record comes from, as a row says it.
fn source(imported: &Imported, file: u32, place: &str) -> String {
    let named = imported.files.get(file as usize);
    let (name, sha256) = named.map_or(("?", ""), |file| (file.name.as_str(), file.sha256.as_str()));
    format!("{}:{name}@{}:{place}", imported.format, sha256.get(..SHOWN).unwrap_or(sha256))
}

/// The rows of every imported call, in the record's order.
pub(super) fn rows<'a>(from: &Sources<'a>, keys: &mut CellKeys<'a>) -> Vec<MetricRow> {
    let Some(imported) = &from.manifest.imported else { return Vec::new() };
    let cells: BTreeMap<&str, &Cell> = from.plan.cells.iter().map(|cell| (cell.id.0.as_str(), cell)).collect();
    let timed = modes_of_cells(from);
    let mut rows = Vec::new();
    for (call, call_idx) in from.recording.imported().zip(0..) {
        let Some(&cell) = cells.get(call.cell_id.0.as_str()) else { continue };
        let weights_id = weights(from, cell);
        let of_call = OfCall {
            cell,
            key: keys.of_planned(cell, weights_id),
            architecture: ArchitectureColumns::measured(from.manifest, &cell.session.model, weights_id).into(),
            record: record(call, cell, weights_id, device(from, cell), call_idx).into(),
            source: source(imported, call.file, &call.place),
        };
        // A call that failed has no time; it is missing in every mode that its cell has.
        for &mode in timed.get(call.cell_id.0.as_str()).into_iter().flatten() {
            rows.push(row(call, &of_call, mode));
        }
    }
    rows
}

/// The modes that a cell's calls have times of. Of one whose calls all failed: the whole call.
fn modes_of_cells<'a>(from: &Sources<'a>) -> BTreeMap<&'a str, BTreeSet<Mode>> {
    let mut modes: BTreeMap<&str, BTreeSet<Mode>> = BTreeMap::new();
    for call in from.recording.imported() {
        modes.entry(call.cell_id.0.as_str()).or_default().extend(call.modes());
    }
    for of_cell in modes.values_mut().filter(|of_cell| of_cell.is_empty()) {
        of_cell.insert(Mode::Whole);
    }
    modes
}

fn weights<'a>(from: &Sources<'a>, cell: &Cell) -> &'a str {
    let entry = from.manifest.models.get(&cell.session.model);
    entry.map_or("", |entry| entry.weights_of(&cell.session.backend))
}

fn device(from: &Sources<'_>, cell: &Cell) -> String {
    let entry = from.manifest.stack.backends.get(&cell.session.backend);
    entry.and_then(|entry| entry.facts.get(DEVICE)).cloned().unwrap_or_default()
}

/// The fact of an imported engine that says where it is said to have run.
pub const DEVICE: &str = "device";

/// What is the same in all modes of a call.
struct OfCall<'a> {
    cell: &'a Cell,
    key: Arc<CellKey>,
    architecture: Arc<ArchitectureColumns>,
    record: Shared<CallRecord>,
    source: String,
}

fn row(call: &ImportedCall, of_call: &OfCall<'_>, mode: Mode) -> MetricRow {
    let latency_ms = call.time(mode).filter(|_| call.status.is_ok()).map(Nanos::as_ms);
    let (tokens, positions) = counts(call, of_call.cell, mode);
    let told = Told {
        source: of_call.source.clone(),
        total_wall: whole(call),
        tokens: tokens.filter(|_| latency_ms.is_some()),
        positions,
    };
    MetricRow {
        call: of_call.record.clone(),
        key: Arc::clone(&of_call.key),
        architecture: Arc::clone(&of_call.architecture),
        extras: Extras { told: Some(told), ..Extras::default() }.into(),
        flags: Arc::default(),
        latency_ms,
        mode,
        status: if call.status.is_ok() { Standing::Ok } else { Standing::Degraded },
        degraded_kind: call.status.degraded(),
        disturbed: false,
        made_again: false,
        attributed: false,
        scaled: false,
        timed_warm: is_timed_warm(&of_call.record),
    }
}

/// What is known of another tool's call, as if it were one of ours. What it does not tell is 0 where there is no `None`, and no
/// row shows it.
fn record(call: &ImportedCall, cell: &Cell, weights_id: &str, requested: String, call_idx: u32) -> CallRecord {
    let tokens = TokenCounts {
        prompt_sent: call.prompt_tokens,
        decode_steps_timed: call.decode_steps.unwrap_or_default(),
        new_tokens: call.new_tokens,
        ..TokenCounts::default()
    };
    CallRecord {
        call_id: call.call_id.clone(),
        cell_id: cell.id.clone().into(),
        role: Role::Timed,
        index: call.index,
        attempt: 0,
        regime: Regime::Warm,
        task_idx: call.session_index,
        call_idx,
        round: call.session_index,
        residency_id: 0,
        load_index: call.session_index,
        session_index: call.session_index,
        epoch: 0,
        session: cell.session.clone().into(),
        weights_id: weights_id.to_owned().into(),
        dtype: cell.dtype,
        scenario: cell.scenario.clone().into(),
        batch: cell.batch,
        procedure: cell.procedure,
        status: call.status,
        detail: call.detail.clone(),
        flags: Shared::default(),
        attribution: Attribution { requested, ..Attribution::default() }.into(),
        tokens: tokens.into(),
        spans: Vec::new(),
        begin_ns: Nanos(0),
        total_wall_ns: Nanos(0),
        waited: None,
        in_vain: None,
        planted: None,
        since_last_call_ns: None,
        session_age_ns: Nanos(0),
        client_cpu_ns: None,
        outside_engine_ns: None,
        step_ns: StepTimes::default(),
        engine_ns: Shared::default(),
        memory: Shared::default(),
        beside: Shared::default(),
        compile: Shared::default(),
        token_ids: TokenIds::default(),
        finish: None,
        session_lost: false,
    }
}

/// The longest time that a call has: of a request its whole.
fn whole(call: &ImportedCall) -> Option<Nanos> {
    call.modes().filter_map(|mode| call.time(mode)).max()
}

/// Tokens of a mode over all rows, and positions of one row. `None`: not told; or both kinds would mix, or, in the time to a
/// first token, something that is neither.
fn counts(call: &ImportedCall, cell: &Cell, mode: Mode) -> (Option<u64>, Option<f64>) {
    let (prompt, new) = (call.prompt_tokens.map(u64::from), call.new_tokens.map(u64::from));
    let batch = u64::from(cell.batch.max(1));
    match mode {
        Mode::Prefill => (prompt, prompt.map(|tokens| tokens as f64 / batch as f64)),
        Mode::KvDecode | Mode::GenerateUncached | Mode::AfterFirst => {
            let steps = call.decode_steps.map(u64::from).filter(|&steps| steps > 0);
            (steps.map(|steps| steps * batch), steps.map(|steps| steps as f64))
        }
        Mode::E2eKv | Mode::Request | Mode::Whole => (prompt.zip(new).map(|(prompt, new)| prompt + new), None),
        Mode::Ttft => (None, None),
    }
}

columns! {
    /// A figure that a file states without its samples. It can be compared only through the interval that follows from what is
    /// stated beside it.
    pub struct StatedRow {
        ..key: Arc<CellKey>,
        /// What was timed.
        mode: Mode,
        /// Which of the cell's sessions it is of, from 0.
        session_index: u32,
        /// What the value is of its samples.
        statistic: Statistic,
        /// The value.
        value_ms: f64,
        /// Standard deviation of single calls. `None`: not stated.
        sd_ms: Option<f64>,
        /// Calls it is of. `None`: not stated.
        n: Option<u32>,
        /// Lower end of the 95 % interval of the mean. `None`: standard deviation or number of calls are not stated, there is only
        /// one call, or the value is no mean.
        /// Source: Student's t on the stated mean, standard deviation and number of calls.
        ci_low_ms: Option<f64>,
        /// Upper end of the same.
        /// Source: Student's t on the stated mean, standard deviation and number of calls.
        ci_high_ms: Option<f64>,
        /// Where it stands, as in `metrics.csv`.
        imported: String,
    }
}

/// `analysis/stated_figures.csv`.
pub struct StatedFigures;

impl Table for StatedFigures {
    type Row = StatedRow;
    const FILE: &'static str = "analysis/stated_figures.csv";
    const ABOUT: &'static str = "Figures that imported files state without their samples, in the files' order.";

    fn derive(from: &Sources<'_>) -> Vec<StatedRow> {
        let Some(imported) = &from.manifest.imported else { return Vec::new() };
        let cells: BTreeMap<&str, &Cell> = from.plan.cells.iter().map(|cell| (cell.id.0.as_str(), cell)).collect();
        let mut keys = CellKeys::new(from.plan);
        let figures = from.recording.stated().filter_map(|figure| {
            let &cell = cells.get(figure.cell_id.0.as_str())?;
            Some(stated_row(figure, keys.of_planned(cell, weights(from, cell)), imported))
        });
        figures.collect()
    }
}

fn stated_row(figure: &StatedFigure, key: Arc<CellKey>, imported: &Imported) -> StatedRow {
    let half_width = half_width_ms(figure);
    StatedRow {
        key,
        mode: figure.mode,
        session_index: figure.session_index,
        statistic: figure.statistic,
        value_ms: figure.value_ms,
        sd_ms: figure.sd_ms,
        n: figure.n,
        ci_low_ms: half_width.map(|half| figure.value_ms - half),
        ci_high_ms: half_width.map(|half| figure.value_ms + half),
        imported: source(imported, figure.file, &figure.place),
    }
}

/// Half of the width of a stated mean's interval: t × s ÷ √n. `None`: see [`StatedRow::ci_low_ms`].
fn half_width_ms(figure: &StatedFigure) -> Option<f64> {
    let (sd, n) = figure.sd_ms.zip(figure.n.filter(|&n| n > 1))?;
    let mean = matches!(figure.statistic, Statistic::Mean | Statistic::HarmonicMean);
    let critical = student::critical(LEVEL, f64::from(n - 1)).filter(|_| mean)?;
    Some(critical * sd / f64::from(n).sqrt())
}
