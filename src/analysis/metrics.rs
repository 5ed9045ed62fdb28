//! `metrics.csv`: what was recorded, one row per call and mode. Every other table is made from these rows.

use serde::{Deserialize, Serialize};

use crate::record::manifest::Manifest;
use crate::record::plan::{Cell, Plan};
use crate::record::{CallRecord, SpanRecord};
use crate::store::Recording;
use crate::terms::energy::{Grade, IdleKind, Method, Reason};
use crate::terms::{Degraded, Dtype, Finish, Mode, Phase, Regime, Role, Status};
use crate::units::Nanos;

use super::models::Facts;

/// One call in one mode, of any role and status. Times are of the mode unless the name says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricRow {
    /// The call's id in `measurements.jsonl`.
    pub call_id: String,
    /// The plan's cell.
    pub cell_id: String,
    /// Backend name.
    pub backend: String,
    /// Model name.
    pub model: String,
    /// Hash of the weights the row was measured with.
    pub weights_id: String,
    /// Element type of the session.
    pub dtype: Dtype,
    /// Scenario name.
    pub scenario: String,
    /// Rows decoded together.
    pub batch: u32,
    /// The cell's timed decode steps; a rewarm call makes fewer.
    pub gen_tokens: u32,
    /// What is timed.
    pub mode: Mode,
    /// Why the call was made.
    pub role: Role,
    /// Number among the cell's calls of this role.
    pub index: u32,
    /// Try of the same timed call, from 0.
    pub attempt: u32,
    /// How fresh the engine was.
    pub regime: Regime,
    /// Whether the row counts.
    pub status: Standing,
    /// Why it does not. `None`: it does.
    pub degraded_kind: Option<Degraded>,
    /// What went on beside the call, joined by `;`.
    pub flags: String,
    /// How generation ended. `None`: the engine did not tell.
    pub finish: Option<Finish>,
    /// Whether something proves where the work ran.
    pub attributed: bool,
    /// Device or provider asked for.
    pub requested: String,
    /// Device or provider that ran. `None`: nothing proves it.
    pub actual: Option<String>,
    /// Parameters in millions: counted from the weights, else from the configuration. `None`: neither is known, or
    /// the row was measured with other weights than the manifest names.
    pub params_millions: Option<f64>,
    /// Transformer blocks. `None`: as `params_millions`.
    pub n_layer: Option<u64>,
    /// Width of the residual stream. `None`: as `params_millions`.
    pub n_embd: Option<u64>,
    /// Query heads. `None`: as `params_millions`.
    pub n_head: Option<u64>,
    /// Key-value heads. `None`: as `params_millions`.
    pub n_kv_head: Option<u64>,
    /// Prompt tokens sent per row, the mean where rows differ; BOS included. `None`: not told.
    pub prompt_tokens: Option<f64>,
    /// Length that rows were padded to.
    pub prompt_padded: u32,
    /// Decode steps that the decode span covers.
    pub decode_steps_timed: u32,
    /// New tokens per row as the engine counts them, the first one from the prefill included; the mean where rows differ.
    /// `None`: it does not tell.
    pub new_tokens: Option<f64>,
    /// Whether the call ended early and its decode time is scaled by step to the steps asked for.
    pub scaled: bool,
    /// Tokens of the mode over all rows: prompt tokens evaluated, decode steps × batch, or both; with a scaled time those
    /// of the steps asked for. `None`: no time to go with them, or not told.
    pub tokens: Option<u64>,
    /// Latency; where `scaled`, with the decode time of `kv_decode_ms_equiv_step`. `None`: the call did not get so far.
    pub latency_ms: Option<f64>,
    /// Decode time as measured, scaled or not; on rows of `kv_decode`, as are the two below. `None`: no such time.
    pub decode_measured_ms: Option<f64>,
    /// The same ÷ `decode_steps_timed` × steps asked for. `None`: no such time, or no step.
    pub kv_decode_ms_equiv_step: Option<f64>,
    /// The same ÷ `new_tokens` × steps asked for: as TR121 did it, wrong where the first token is not timed. `None`: no
    /// such time, or no count.
    pub kv_decode_ms_equiv_proportional: Option<f64>,
    /// Latency per position of a row: per decode step, or per prompt token of one row. `None`: no latency, no
    /// position, or `e2e_kv`, where the two kinds would mix.
    pub ms_per_token: Option<f64>,
    /// `tokens` ÷ latency. `None`: no latency, or none but 0.
    pub tokens_per_s: Option<f64>,
    /// Whole call, read independently of the phases.
    pub total_wall_ms: f64,
    /// Rest before the call. `None`: first call of the process.
    pub since_last_call_ms: Option<f64>,
    /// Time since the session was loaded.
    pub session_age_ms: f64,
    /// Processor time of our own process during the whole call. `None`: not measurable.
    pub client_cpu_ms: Option<f64>,
    /// Decode time not spent inside the engine; on rows of decode modes. `None`: cannot be told apart.
    pub outside_engine_ms: Option<f64>,
    /// The same per decode step. `None`: as above.
    pub outside_engine_us_per_step: Option<f64>,
    /// KV cache really allocated at the call's end. `None`: not told.
    pub kv_bytes: Option<u64>,
    /// Resident set of the engine's process at the call's end. `None`: not measurable.
    pub host_rss_bytes: Option<u64>,
    /// Largest resident set of that process during the call. `None`: not measurable.
    pub host_peak_bytes: Option<u64>,
    /// Device memory in use at the call's end. `None`: not told, or no device.
    pub device_used_bytes: Option<u64>,
    /// Mean power over the mode as the engine reports it. `None`: it does not, for some part of the mode.
    pub power_mean_w: Option<f64>,
    /// Energy of the mode, idle power included, in joules; scaled like the time where `scaled`. `None`, here and in the
    /// next ten: see `energy_reason`, or no power was recorded.
    pub energy_j: Option<f64>,
    /// The same without idle power. `None`: also where no valid idle power was measured.
    pub energy_net_j: Option<f64>,
    /// Which idle power. `None`: also where the two phases of `e2e_kv` have different ones.
    pub energy_idle_kind: Option<IdleKind>,
    /// Mean power over the mode by the sensor.
    pub energy_power_w: Option<f64>,
    /// Energy ÷ tokens of the mode. `None`: also of `e2e_kv`.
    pub j_per_token: Option<f64>,
    /// Standard uncertainty of the energy, relative, without the sensor's gain.
    pub energy_u_stat: Option<f64>,
    /// Standard uncertainty of the net energy, relative to its size, without the sensor's gain.
    pub energy_u_net: Option<f64>,
    /// What the figure may be used for; of two phases the worse.
    pub energy_grade: Option<Grade>,
    /// How it was obtained. `None`: also of `e2e_kv`.
    pub energy_method: Option<Method>,
    /// Sensor updates it rests on.
    pub energy_updates: Option<u32>,
    /// Why there is no figure. `None`: there is, or no power was recorded.
    pub energy_reason: Option<Reason>,
    /// Sensor charged. `None`: none on this machine.
    pub energy_sensor: Option<String>,
    /// Whether that sensor is scripted: then nothing here is a measurement. `None`: no sensor.
    pub energy_simulated: Option<bool>,
    /// Share of processor time that other programs used, 0 to 1. `None`: not measurable.
    pub foreign_cpu: Option<f64>,
    /// Share of processor time that the hypervisor took, 0 to 1. `None`: not measurable.
    pub steal: Option<f64>,
    /// Load average over one minute. `None`: not measurable.
    pub load_1min: Option<f64>,
    /// Mean processor clock at the end. `None`: not measurable.
    pub cpu_mhz: Option<f64>,
    /// Mean temperature of the board that the call ran on, in degrees Celsius. `None`, here and in the next four: no board is
    /// proven, or it did not tell.
    pub gpu_temperature_c: Option<f64>,
    /// Mean temperature of its memory.
    pub gpu_memory_temperature_c: Option<f64>,
    /// Mean clock of its multiprocessors, in MHz.
    pub gpu_sm_mhz: Option<f64>,
    /// Mean clock of its memory, in MHz.
    pub gpu_memory_mhz: Option<f64>,
    /// Its slowest performance state meanwhile, 0 the fastest.
    pub gpu_performance_state: Option<f64>,
    /// Visit of the cell, in the run's order.
    pub task_idx: u32,
    /// Position of the call in the run.
    pub call_idx: u32,
    /// Repetition the call belongs to.
    pub round: u32,
    /// The load its session comes from.
    pub load_index: u32,
    /// Process of the run.
    pub epoch: u32,
}

/// Whether a row counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It may enter aggregates.
    Ok,
    /// It stays here and in the degraded rate.
    Degraded,
}

impl MetricRow {
    /// Whether the row enters aggregates of its cell: timed, on a warm engine, not degraded, with a latency.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.role == Role::Timed
            && self.regime == Regime::Warm
            && self.status == Standing::Ok
            && self.latency_ms.is_some()
    }

    /// Whether the row is a cold or planned warmup call that went well.
    #[must_use]
    pub fn warms_up(&self) -> bool {
        matches!(self.role, Role::Cold | Role::Warmup) && self.status == Standing::Ok && self.latency_ms.is_some()
    }
}

/// The rows of every call, in the record's order.
pub(super) fn derive(recording: &Recording, plan: &Plan, manifest: &Manifest) -> Vec<MetricRow> {
    let cells: std::collections::BTreeMap<_, _> = plan.cells.iter().map(|cell| (&cell.id, cell)).collect();
    let rows = recording.calls().flat_map(|call| {
        let facts = Facts::of_row(manifest, &call.session.model, &call.weights_id);
        let cell = cells.get(&call.cell_id).copied();
        call.procedure.modes().iter().map(move |&mode| row(call, cell, facts, mode))
    });
    rows.collect()
}

fn row(call: &CallRecord, cell: Option<&Cell>, facts: Facts, mode: Mode) -> MetricRow {
    let timed = Timed::of(call, mode);
    let decodes = matches!(mode, Mode::KvDecode | Mode::GenerateUncached);
    let outside = call.outside_engine_ns.filter(|_| decodes && timed.latency_ms.is_some());
    let steps = call.tokens.decode_steps_timed;
    let asked = f64::from(call.tokens.steps_requested);
    let decode = call.spans.iter().find(|span| span.phase == Phase::KvDecode);
    let measured = decode.filter(|_| mode == Mode::KvDecode).map(|span| span.duration().as_ms());
    let ms = |ns: Option<Nanos>| ns.map(Nanos::as_ms);
    MetricRow {
        call_id: call.call_id.clone(),
        cell_id: call.cell_id.0.clone(),
        backend: call.session.backend.clone(),
        model: call.session.model.clone(),
        weights_id: call.weights_id.clone(),
        dtype: call.dtype,
        scenario: call.scenario.clone(),
        batch: call.batch,
        gen_tokens: cell.map_or(call.tokens.steps_requested, |cell| cell.gen_tokens),
        mode,
        role: call.role,
        index: call.index,
        attempt: call.attempt,
        regime: call.regime,
        status: if call.status.is_ok() { Standing::Ok } else { Standing::Degraded },
        degraded_kind: match call.status {
            Status::Ok => None,
            Status::Degraded(kind) => Some(kind),
        },
        flags: call.flags.iter().map(|flag| flag.as_str()).collect::<Vec<_>>().join(";"),
        finish: call.finish,
        attributed: call.attribution.actual.is_some(),
        requested: call.attribution.requested.clone(),
        actual: call.attribution.actual.clone(),
        params_millions: facts.params_millions,
        n_layer: facts.n_layer,
        n_embd: facts.n_embd,
        n_head: facts.n_head,
        n_kv_head: facts.n_kv_head,
        prompt_tokens: call.tokens.prompt_sent.map(|sent| f64::from(sent) / f64::from(call.batch.max(1))),
        prompt_padded: call.tokens.prompt_padded,
        decode_steps_timed: steps,
        new_tokens: new_tokens(call),
        scaled: call.decode_scale().is_some(),
        tokens: timed.tokens,
        latency_ms: timed.latency_ms,
        decode_measured_ms: measured,
        kv_decode_ms_equiv_step: measured.filter(|_| steps > 0).map(|ms| ms * (asked / f64::from(steps))),
        kv_decode_ms_equiv_proportional: measured
            .and_then(|ms| Some(ms * (asked / new_tokens(call).filter(|&count| count > 0.0)?))),
        ms_per_token: timed.ms_per_token(),
        tokens_per_s: timed.tokens_per_s(),
        total_wall_ms: call.total_wall_ns.as_ms(),
        since_last_call_ms: ms(call.since_last_call_ns),
        session_age_ms: call.session_age_ns.as_ms(),
        client_cpu_ms: ms(call.client_cpu_ns),
        outside_engine_ms: ms(outside),
        outside_engine_us_per_step: ms(outside).filter(|_| steps > 0).map(|ms| ms * 1e3 / f64::from(steps)),
        kv_bytes: call.memory.kv_bytes.map(|bytes| bytes.0),
        host_rss_bytes: call.memory.host_rss_bytes.map(|bytes| bytes.0),
        host_peak_bytes: call.memory.host_peak_bytes.map(|bytes| bytes.0),
        device_used_bytes: call.memory.device_used_bytes.map(|bytes| bytes.0),
        power_mean_w: timed.power_mean_w,
        energy_j: None,
        energy_net_j: None,
        energy_idle_kind: None,
        energy_power_w: None,
        j_per_token: None,
        energy_u_stat: None,
        energy_u_net: None,
        energy_grade: None,
        energy_method: None,
        energy_updates: None,
        energy_reason: None,
        energy_sensor: None,
        energy_simulated: None,
        foreign_cpu: call.beside.foreign_cpu,
        steal: call.beside.steal,
        load_1min: call.beside.load_1min,
        cpu_mhz: call.beside.cpu_mhz,
        gpu_temperature_c: None,
        gpu_memory_temperature_c: None,
        gpu_sm_mhz: None,
        gpu_memory_mhz: None,
        gpu_performance_state: None,
        task_idx: call.task_idx,
        call_idx: call.call_idx,
        round: call.round,
        load_index: call.load_index,
        epoch: call.epoch,
    }
}

/// New tokens per row.
fn new_tokens(call: &CallRecord) -> Option<f64> {
    call.tokens.new_tokens.map(|all| f64::from(all) / f64::from(call.batch.max(1)))
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
            phases(mode).iter().map(|&phase| call.spans.iter().find(|span| span.phase == phase)).collect();
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
        let counts = call.tokens;
        let prompt = counts.prompt_evaluated.or(counts.prompt_sent).map(u64::from);
        let steps = if scale.is_some() { counts.steps_requested } else { counts.decode_steps_timed };
        let made = u64::from(steps) * u64::from(call.batch);
        let (tokens, positions) = match mode {
            Mode::Prefill => (prompt, prompt.map(|tokens| tokens as f64 / f64::from(call.batch.max(1)))),
            Mode::KvDecode | Mode::GenerateUncached => (Some(made), Some(f64::from(steps))),
            Mode::E2eKv => (prompt.map(|prompt| prompt + made), None),
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

/// The phases whose times add up to a mode.
pub(super) fn phases(mode: Mode) -> &'static [Phase] {
    match mode {
        Mode::Prefill => &[Phase::Prefill],
        Mode::KvDecode => &[Phase::KvDecode],
        Mode::E2eKv => &[Phase::Prefill, Phase::KvDecode],
        Mode::GenerateUncached => &[Phase::GenerateUncached],
    }
}

/// Throughput. `None`: no time passed.
pub(super) fn tokens_per_s(tokens: f64, latency_ms: f64) -> Option<f64> {
    (latency_ms > 0.0).then(|| tokens / (latency_ms / 1e3))
}
