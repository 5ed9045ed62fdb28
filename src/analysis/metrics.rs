//! `metrics.csv`: what was recorded, one row per call and mode. Every other table is made from these rows.

use std::sync::Arc;

use crate::record::plan::Plan;
use crate::record::{CallRecord, SpanRecord};
use crate::terms::{Flag, Mode, Phase};
use crate::units::Nanos;

use super::board::{BoardColumns, BoardStates};
use super::energy::{EnergyColumns, by_call};
use super::flags::Flags;
use super::imported;
use super::judged_again::suspects;
use super::key::{CellKey, CellKeys};
use super::metric_row::tokens_per_s;
use super::models::ArchitectureColumns;
use super::table::{Sources, Table};
use crate::analysis::energy::EnergyEvents;

pub use super::metric_row::{MetricRow, Standing};

/// `metrics.csv`.
pub struct Metrics;

impl Table for Metrics {
    type Row = MetricRow;
    const FILE: &'static str = "metrics.csv";
    const ABOUT: &'static str = "Every call in every mode it timed, in the record's order.";

    fn derive(from: &Sources<'_>) -> Vec<MetricRow> {
        let events = from.rows::<EnergyEvents>();
        let mut keys = CellKeys::new(from.plan);
        let boards = BoardStates::new(from.manifest, from.trace);
        let events = by_call(&events);
        let suspects = suspects(from.recording);
        let mut rows = imported::rows(from, &mut keys);
        for call in from.recording.calls() {
            let of_call = OfCall {
                architecture: ArchitectureColumns::measured(from.manifest, &call.session.model, &call.weights_id),
                board: boards.beside(call),
                suspect: suspects.contains(call.call_id.as_str()),
                ..OfCall::alone(call, from.plan, keys.of_call(call))
            };
            for &mode in call.procedure.modes() {
                rows.push(row(call, of_call.clone(), EnergyColumns::of(call, mode, &events), mode));
            }
        }
        rows
    }
}

/// What is the same in all modes of a call.
#[derive(Clone)]
pub(super) struct OfCall {
    pub(super) key: Arc<CellKey>,
    pub(super) architecture: ArchitectureColumns,
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
    pub(super) fn alone(call: &CallRecord, plan: &Plan, key: Arc<CellKey>) -> Self {
        Self {
            key,
            architecture: ArchitectureColumns::default(),
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

pub(super) fn row(call: &CallRecord, of_call: OfCall, energy: EnergyColumns, mode: Mode) -> MetricRow {
    let timed = Timed::of(call, mode);
    let decode = DecodeTimes::of(call, mode);
    let outside = OutsideEngine::of(call, mode).filter(|_| timed.latency_ms.is_some());
    MetricRow {
        flags: of_call.flags(call, mode),
        call_id: call.call_id.clone(),
        key: of_call.key,
        mode,
        role: call.role,
        index: call.index,
        attempt: call.attempt,
        regime: call.regime,
        status: if call.status.is_ok() { Standing::Ok } else { Standing::Degraded },
        degraded_kind: call.status.degraded(),
        disturbed: of_call.disturbed,
        made_again: of_call.made_again,
        finish: call.finish,
        attributed: call.attribution.is_proven(),
        requested: call.attribution.requested.clone(),
        actual: call.attribution.actual.clone().filter(|_| call.attribution.is_proven()),
        architecture: of_call.architecture,
        prompt_tokens: call.tokens.prompt_sent.map(|sent| f64::from(sent) / f64::from(call.batch.max(1))),
        prompt_padded: Some(call.tokens.prompt_padded),
        decode_steps_timed: call.tokens.decode_steps_timed,
        new_tokens: new_tokens(call),
        scaled: call.decode_scale().is_some(),
        tokens: timed.tokens,
        latency_ms: timed.latency_ms,
        decode_measured_ms: decode.as_ref().map(|decode| decode.measured_ms),
        kv_decode_ms_equiv_step: decode.as_ref().and_then(|decode| decode.by_steps_ms),
        kv_decode_ms_equiv_proportional: decode.as_ref().and_then(|decode| decode.by_tokens_ms),
        ms_per_token: timed.ms_per_token(),
        tokens_per_s: timed.tokens_per_s(),
        total_wall_ms: Some(call.total_wall_ns.as_ms()),
        since_last_call_ms: call.since_last_call_ns.map(Nanos::as_ms),
        session_age_ms: Some(call.session_age_ns.as_ms()),
        client_cpu_ms: call.client_cpu_ns.map(Nanos::as_ms),
        outside_engine_ms: outside.as_ref().map(|outside| outside.ms),
        outside_engine_us_per_step: outside.and_then(|outside| outside.us_per_step),
        kv_bytes: call.memory.kv_bytes.map(|bytes| bytes.0),
        host_rss_bytes: call.memory.host_rss_bytes.map(|bytes| bytes.0),
        host_peak_bytes: call.memory.host_peak_bytes.map(|bytes| bytes.0),
        device_used_bytes: call.memory.device_used_bytes.map(|bytes| bytes.0),
        power_mean_w: timed.power_mean_w,
        energy,
        foreign_cpu: call.beside.foreign_cpu,
        steal: call.beside.steal,
        load_1min: call.beside.load_1min,
        cpu_mhz: call.beside.cpu_mhz,
        board: of_call.board,
        task_idx: call.task_idx,
        call_idx: call.call_idx,
        round: call.round,
        load_index: call.load_index,
        session_index: call.session_index,
        epoch: call.epoch,
        imported: None,
    }
}

/// New tokens per row.
fn new_tokens(call: &CallRecord) -> Option<f64> {
    call.tokens.new_tokens.map(|all| f64::from(all) / f64::from(call.batch.max(1)))
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
    fn of(call: &CallRecord, mode: Mode) -> Option<Self> {
        let span = call.spans.iter().find(|span| span.phase == Phase::KvDecode).filter(|_| mode == Mode::KvDecode)?;
        let measured_ms = span.duration().as_ms();
        let asked = f64::from(call.tokens.steps_requested);
        let steps = f64::from(call.tokens.decode_steps_timed);
        let tokens = new_tokens(call).filter(|&count| count > 0.0);
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
        let spans: Option<Vec<&SpanRecord>> =
            mode.phases().iter().map(|&phase| call.spans.iter().find(|span| span.phase == phase)).collect();
        let Some(spans) = spans else {
            return Self { latency_ms: None, tokens: None, positions: None, power_mean_w: None };
        };
        let scale = call.decode_scale();
        let length = |span: &&SpanRecord| match (span.phase, scale) {
            (Phase::KvDecode, Some(scale)) => span.duration().as_ms() * scale,
            _ => span.duration().as_ms(),
        };
        let latency_ms: f64 = spans.iter().map(length).sum();
        let energy: Option<f64> = spans.iter().map(|s| Some(s.power_mean_w? * length(s))).sum();
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
