//! `metrics.csv`: what was recorded, one row per call and mode. Every other table is made from these rows.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::record::manifest::Manifest;
use crate::record::plan::Plan;
use crate::record::{CallRecord, Shared, SpanRecord};
use crate::terms::{Flag, Mode, Phase};
use crate::units::{Bytes, Nanos};

use super::board::{BoardColumns, BoardStates};
use super::columns::{Column, Columns};
use super::energy::{ByCall, EnergyColumns, by_call};
use super::flags::Flags;
use super::imported;
use super::judged_again::suspects;
use super::key::{CellKey, CellKeys};
use super::metric_row::{is_timed_warm, tokens_per_s};
use super::models::ArchitectureColumns;
use super::table::{Sources, Table};
use crate::analysis::energy::EnergyEvents;

pub use super::metric_row::{Extras, MetricColumns, MetricRow, Standing, Told};

/// `metrics.csv`.
pub struct Metrics;

impl Table for Metrics {
    type Row = MetricRow;
    const FILE: &'static str = "metrics.csv";
    const ABOUT: &'static str = "Every call in every mode it timed, in the record's order.";

    fn derive(from: &Sources<'_>) -> Vec<MetricRow> {
        let events = from.rows::<EnergyEvents>();
        let of_run = OfRun {
            plan: from.plan,
            manifest: from.manifest,
            boards: BoardStates::new(from.manifest, from.trace),
            events: by_call(&events),
            suspects: suspects(from.recording),
        };
        let calls: Vec<&Shared<CallRecord>> = from.recording.shared_calls().collect();
        let part = calls.len().div_ceil(PARTS * rayon::current_num_threads()).max(FEWEST);
        let parts: Vec<Vec<MetricRow>> = calls.par_chunks(part).map(|calls| of_run.rows(calls)).collect();
        let mut rows = imported::rows(from, &mut CellKeys::new(from.plan));
        rows.reserve_exact(parts.iter().map(Vec::len).sum());
        // What a part held is free before the next is taken over.
        parts.into_iter().for_each(|mut part| rows.append(&mut part));
        rows
    }
}

/// Parts of the calls that each thread makes rows of.
const PARTS: usize = 4;

/// Fewest calls of a part: keys are given out in each anew.
const FEWEST: usize = 1 << 12;

/// What rows of all calls are made from.
struct OfRun<'a> {
    plan: &'a Plan,
    manifest: &'a Manifest,
    boards: BoardStates<'a>,
    events: ByCall<'a>,
    suspects: BTreeSet<&'a str>,
}

impl OfRun<'_> {
    /// Those of some calls, in their order.
    fn rows(&self, calls: &[&Shared<CallRecord>]) -> Vec<MetricRow> {
        let mut keys = CellKeys::new(self.plan);
        // A key is its cell's as long as `keys` has it, so that where it lies names it.
        let mut models: HashMap<*const CellKey, Arc<ArchitectureColumns>> = HashMap::new();
        let mut parts = CommonParts::default();
        let mut rows = Vec::with_capacity(calls.iter().map(|call| call.procedure.modes().len()).sum());
        for call in calls {
            let key = keys.of_call(call);
            let model = models.entry(Arc::as_ptr(&key)).or_insert_with(|| {
                ArchitectureColumns::measured(self.manifest, &call.session.model, &call.weights_id).into()
            });
            let of_call = OfCall {
                board: self.boards.beside(call),
                suspect: self.suspects.contains(call.call_id.as_str()),
                ..OfCall::alone(call, self.plan, key, Arc::clone(model))
            };
            for &mode in call.procedure.modes() {
                rows.push(row(call, &of_call, EnergyColumns::of(call, mode, &self.events), mode, &mut parts));
            }
        }
        rows
    }
}

/// What is the same in all modes of a call.
pub(super) struct OfCall {
    pub(super) key: Arc<CellKey>,
    pub(super) architecture: Arc<ArchitectureColumns>,
    pub(super) board: BoardColumns,
    /// Whether its prefill does not show that it was made.
    pub(super) suspect: bool,
    /// Whether something outside disturbed it.
    pub(super) disturbed: bool,
    /// Whether another try of it followed.
    pub(super) made_again: bool,
}

impl OfCall {
    /// What a call says without the rest of the record.
    pub(super) fn alone(
        call: &CallRecord,
        plan: &Plan,
        key: Arc<CellKey>,
        architecture: Arc<ArchitectureColumns>,
    ) -> Self {
        Self {
            key,
            architecture,
            board: BoardColumns::default(),
            suspect: false,
            disturbed: !call.disturbances(plan.disturbed).is_empty(),
            made_again: call.is_made_again(plan.retries()),
        }
    }

    fn flags(&self, call: &CallRecord, mode: Mode) -> Flags {
        let mut flags = Flags::from(call.flags.as_slice());
        if self.suspect && mode.phases().contains(&Phase::Prefill) {
            flags.add(&[Flag::Suspect]);
        }
        flags
    }
}

/// What many rows have in common, held once.
#[derive(Debug, Default)]
pub(super) struct CommonParts {
    /// Of a call with nothing beside it.
    nothing: Arc<Extras>,
    /// Sets of flags: there are few.
    flags: Vec<Arc<Flags>>,
}

impl CommonParts {
    fn extras(&self, extras: Extras) -> Arc<Extras> {
        if extras == *self.nothing { Arc::clone(&self.nothing) } else { Arc::new(extras) }
    }

    fn flags(&mut self, flags: Flags) -> Arc<Flags> {
        if let Some(known) = self.flags.iter().find(|known| ***known == flags) {
            return Arc::clone(known);
        }
        let flags = Arc::new(flags);
        self.flags.push(Arc::clone(&flags));
        flags
    }
}

/// A call in one mode.
pub(super) fn row(
    call: &Shared<CallRecord>,
    of_call: &OfCall,
    energy: EnergyColumns,
    mode: Mode,
    parts: &mut CommonParts,
) -> MetricRow {
    MetricRow {
        call: call.clone(),
        key: Arc::clone(&of_call.key),
        architecture: Arc::clone(&of_call.architecture),
        extras: parts.extras(Extras { energy, board: of_call.board, told: None }),
        flags: parts.flags(of_call.flags(call, mode)),
        latency_ms: Timed::of(call, mode).latency_ms,
        mode,
        status: if call.status.is_ok() { Standing::Ok } else { Standing::Degraded },
        degraded_kind: call.status.degraded(),
        disturbed: of_call.disturbed,
        made_again: of_call.made_again,
        attributed: call.attribution.is_proven(),
        scaled: call.decode_scale().is_some(),
        timed_warm: is_timed_warm(call),
    }
}

impl MetricColumns {
    /// Every column of a row.
    #[must_use]
    pub fn of(row: &MetricRow) -> Self {
        let (call, told) = (&*row.call, row.extras.told.as_ref());
        let (timed, decode) = (row.timed(), DecodeTimes::of(row));
        let outside = OutsideEngine::of(call, row.mode).filter(|_| row.latency_ms.is_some());
        let total_wall = told.map_or(Some(call.total_wall_ns), |told| told.total_wall);
        let bytes = |size: Option<Bytes>| size.map(|size| size.0);
        Self {
            call_id: call.call_id.clone(),
            key: Arc::clone(&row.key),
            mode: row.mode,
            role: call.role,
            index: call.index,
            attempt: call.attempt,
            regime: call.regime,
            status: row.status,
            degraded_kind: row.degraded_kind,
            flags: Flags::clone(&row.flags),
            disturbed: row.disturbed,
            made_again: row.made_again,
            finish: call.finish,
            attributed: row.attributed,
            requested: call.attribution.requested.clone(),
            actual: row.actual().map(str::to_owned),
            architecture: *row.architecture,
            prompt_tokens: row.prompt_tokens(),
            prompt_padded: row.prompt_padded(),
            decode_steps_timed: row.decode_steps_timed(),
            new_tokens: row.new_tokens(),
            scaled: row.scaled,
            tokens: timed.tokens,
            latency_ms: row.latency_ms,
            decode_measured_ms: decode.as_ref().map(|decode| decode.measured_ms),
            kv_decode_ms_equiv_step: decode.as_ref().and_then(|decode| decode.by_steps_ms),
            kv_decode_ms_equiv_proportional: decode.as_ref().and_then(|decode| decode.by_tokens_ms),
            ms_per_token: timed.ms_per_token(),
            tokens_per_s: timed.tokens_per_s(),
            total_wall_ms: total_wall.map(Nanos::as_ms),
            since_last_call_ms: call.since_last_call_ns.map(Nanos::as_ms),
            session_age_ms: told.is_none().then(|| call.session_age_ns.as_ms()),
            client_cpu_ms: call.client_cpu_ns.map(Nanos::as_ms),
            outside_engine_ms: outside.as_ref().map(|outside| outside.ms),
            outside_engine_us_per_step: outside.and_then(|outside| outside.us_per_step),
            kv_bytes: row.kv_bytes(),
            host_rss_bytes: bytes(call.memory.host_rss_bytes),
            host_peak_bytes: bytes(call.memory.host_peak_bytes),
            device_used_bytes: bytes(call.memory.device_used_bytes),
            power_mean_w: timed.power_mean_w,
            energy: row.extras.energy.clone(),
            foreign_cpu: call.beside.foreign_cpu,
            steal: call.beside.steal,
            load_1min: call.beside.load_1min,
            cpu_mhz: call.beside.cpu_mhz,
            board: row.extras.board,
            task_idx: call.task_idx,
            call_idx: call.call_idx,
            round: call.round,
            load_index: call.load_index,
            session_index: call.session_index,
            epoch: call.epoch,
            imported: told.map(|told| told.source.clone()),
        }
    }
}

impl Columns for MetricRow {
    const COUNT: usize = MetricColumns::COUNT;

    fn columns() -> Vec<Column> {
        MetricColumns::columns()
    }

    fn cells<R: SerializeStruct>(&self, row: &mut R) -> Result<(), R::Error> {
        MetricColumns::of(self).cells(row)
    }
}

impl Serialize for MetricRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        MetricColumns::of(self).serialize(serializer)
    }
}

impl MetricRow {
    /// See [`MetricColumns::tokens`].
    #[must_use]
    pub fn tokens(&self) -> Option<u64> {
        self.timed().tokens
    }

    /// See [`MetricColumns::ms_per_token`].
    #[must_use]
    pub fn ms_per_token(&self) -> Option<f64> {
        self.timed().ms_per_token()
    }

    /// See [`MetricColumns::power_mean_w`].
    #[must_use]
    pub fn power_mean_w(&self) -> Option<f64> {
        self.timed().power_mean_w
    }

    fn timed(&self) -> Timed {
        match &self.extras.told {
            None => Timed::of(&self.call, self.mode),
            Some(told) => Timed {
                latency_ms: self.latency_ms,
                tokens: told.tokens,
                positions: told.positions,
                power_mean_w: None,
            },
        }
    }
}

/// What decoding on the KV cache took, and what all steps asked for would have taken by either form.
struct DecodeTimes {
    measured_ms: f64,
    /// `None`: no step was timed.
    by_steps_ms: Option<f64>,
    /// `None`: the engine counted no new token, or does not tell.
    by_tokens_ms: Option<f64>,
}

impl DecodeTimes {
    /// `None`: the mode is another one, or nothing was decoded.
    fn of(row: &MetricRow) -> Option<Self> {
        let measured_ms = row.decode_measured_ms()?;
        if row.is_imported() {
            // Other tools time whole decodes.
            return Some(Self { measured_ms, by_steps_ms: Some(measured_ms), by_tokens_ms: None });
        }
        let asked = f64::from(row.call.tokens.steps_requested);
        let steps = f64::from(row.decode_steps_timed());
        let tokens = row.new_tokens().filter(|&count| count > 0.0);
        Some(Self {
            measured_ms,
            by_steps_ms: (steps > 0.0).then(|| measured_ms * (asked / steps)),
            by_tokens_ms: tokens.map(|tokens| measured_ms * (asked / tokens)),
        })
    }
}

/// Time of the decode phase that was not spent inside the engine.
struct OutsideEngine {
    ms: f64,
    /// `None`: no step was timed.
    us_per_step: Option<f64>,
}

impl OutsideEngine {
    /// `None`: the mode is none that decodes by itself, or it cannot be told apart.
    fn of(call: &CallRecord, mode: Mode) -> Option<Self> {
        let decodes = matches!(mode, Mode::KvDecode | Mode::GenerateUncached);
        let ms = call.outside_engine_ns.filter(|_| decodes)?.as_ms();
        let steps = f64::from(call.tokens.decode_steps_timed);
        Some(Self { ms, us_per_step: (steps > 0.0).then(|| ms * 1e3 / steps) })
    }
}

/// What a call says about one mode.
struct Timed {
    latency_ms: Option<f64>,
    tokens: Option<u64>,
    /// Prompt tokens of one row, or decode steps. `None`: the mode has both, or the count is not known.
    positions: Option<f64>,
    power_mean_w: Option<f64>,
}

impl Timed {
    fn of(call: &CallRecord, mode: Mode) -> Self {
        let of_phase = |phase: &Phase| call.spans.iter().find(|span| span.phase == *phase);
        if mode.phases().iter().any(|phase| of_phase(phase).is_none()) {
            return Self { latency_ms: None, tokens: None, positions: None, power_mean_w: None };
        }
        let spans = || mode.phases().iter().filter_map(of_phase);
        let scale = call.decode_scale();
        let latency_ms: f64 = spans().map(|span| scaled_ms(span, scale)).sum();
        let energy: Option<f64> = spans().map(|span| Some(span.power_mean_w? * scaled_ms(span, scale))).sum();
        let counts = *call.tokens;
        let prompt = counts.prompt_evaluated.or(counts.prompt_sent).map(u64::from);
        let steps = if scale.is_some() { counts.steps_requested } else { counts.decode_steps_timed };
        let made = u64::from(steps) * u64::from(call.batch);
        let (tokens, positions) = match mode {
            Mode::Prefill => (prompt, prompt.map(|tokens| tokens as f64 / f64::from(call.batch.max(1)))),
            Mode::KvDecode | Mode::GenerateUncached => (Some(made), Some(f64::from(steps))),
            Mode::E2eKv => (prompt.map(|prompt| prompt.saturating_add(made)), None),
            // No call of ours times these.
            Mode::Ttft | Mode::AfterFirst | Mode::Request | Mode::Whole => (None, None),
        };
        Self {
            latency_ms: Some(latency_ms),
            tokens,
            positions,
            power_mean_w: energy.filter(|_| latency_ms > 0.0).map(|energy| energy / latency_ms),
        }
    }

    fn ms_per_token(&self) -> Option<f64> {
        let positions = self.positions.filter(|&positions| positions > 0.0)?;
        Some(self.latency_ms? / positions)
    }

    fn tokens_per_s(&self) -> Option<f64> {
        tokens_per_s(self.tokens? as f64, self.latency_ms?)
    }
}

/// How long a span took, or would have for all steps asked for.
fn scaled_ms(span: &SpanRecord, scale: Option<f64>) -> f64 {
    match (span.phase, scale) {
        (Phase::KvDecode, Some(scale)) => span.duration().as_ms() * scale,
        _ => span.duration().as_ms(),
    }
}
