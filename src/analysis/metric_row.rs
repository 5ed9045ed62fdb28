//! A row of `metrics.csv`, whoever made the call.

use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::record::{CallRecord, Shared};
use crate::terms::{Degraded, Finish, Mode, Phase, Regime, Role};
use crate::units::Nanos;

use super::board::BoardColumns;
use super::columns::columns;
use super::energy::EnergyColumns;
use super::flags::Flags;
use super::key::CellKey;
use super::models::ArchitectureColumns;

columns! {
    /// One call in one mode, of any role and status. Times are of the mode unless the name says otherwise.
    pub struct MetricColumns {
        /// The call's id in `measurements.jsonl`.
        call_id: String,
        ..key: Arc<CellKey>,
        /// What is timed.
        mode: Mode,
        /// Why the call was made.
        role: Role,
        /// Number among the cell's calls of this role.
        index: u32,
        /// Try of the same timed call, from 0.
        attempt: u32,
        /// How fresh the engine was: `cold_process` is the first call in a fresh process of it, `cold_model` the first after a load
        /// into a process that had loaded before, `cold_shape` the first of its shape in the session, `warm` any later one.
        regime: Regime,
        /// Whether the row counts.
        status: Standing,
        /// Why it does not. `None`: it does.
        degraded_kind: Option<Degraded>,
        /// What went on beside the call, joined by `;`, whether the row counts or not: `foreign_load` (others used over 10 % of the
        /// processors or computed on a board, or the hypervisor took over 2 %), `co_resident` (another session was loaded, too),
        /// `throttled`, `power_capped`, `idle_drift`, `cpu_quota`, `frozen`, `suspect`, `unaccounted`.
        flags: Flags,
        /// Whether something outside disturbed the call, by the scenario file's rule.
        disturbed: bool,
        /// Whether the call was made again: this try is in no figure.
        made_again: bool,
        /// How generation ended. `None`: the engine did not tell.
        finish: Option<Finish>,
        /// Whether something proves where the work ran.
        attributed: bool,
        /// Device or provider asked for.
        requested: String,
        /// Device or provider that ran. `None`: nothing proves it.
        actual: Option<String>,
        ..architecture: ArchitectureColumns,
        /// Prompt tokens sent per row, the mean where rows differ; BOS included. `None`: not told.
        /// Unit: tokens.
        prompt_tokens: Option<f64>,
        /// Length that rows were padded to. `None`: another tool made the call.
        prompt_padded: Option<u32>,
        /// Decode steps that the decode span covers.
        decode_steps_timed: u32,
        /// New tokens per row as the engine counts them, the first one from the prefill included; the mean where rows differ.
        /// `None`: it does not tell.
        /// Unit: tokens.
        new_tokens: Option<f64>,
        /// Whether the call ended early and its decode time is scaled by step to the steps asked for.
        scaled: bool,
        /// Tokens of the mode over all rows: prompt tokens evaluated, decode steps × batch, or both; with a scaled time those
        /// of the steps asked for. `None`: no time to go with them, or not told.
        tokens: Option<u64>,
        /// Latency; where `scaled`, with the decode time of `kv_decode_ms_equiv_step`. `None`: the call did not get so far.
        latency_ms: Option<f64>,
        /// Decode time as measured, scaled or not; on rows of `kv_decode`, as are the two below. `None`: no such time.
        decode_measured_ms: Option<f64>,
        /// The same ÷ `decode_steps_timed` × steps asked for. `None`: no such time, or no step.
        /// Unit: milliseconds.
        kv_decode_ms_equiv_step: Option<f64>,
        /// The same ÷ `new_tokens` × steps asked for: as TR121 did it, wrong where the first token is not timed. `None`: no
        /// such time, or no count.
        /// Source: technical report TR121.
        /// Unit: milliseconds.
        kv_decode_ms_equiv_proportional: Option<f64>,
        /// Latency per position of a row: per decode step, or per prompt token of one row. `None`: no latency, no
        /// position, or `e2e_kv`, where the two kinds would mix.
        ms_per_token: Option<f64>,
        /// `tokens` ÷ latency. `None`: no latency, or none but 0.
        tokens_per_s: Option<f64>,
        /// Whole call, read independently of the phases. `None`: another tool made the call, and does not tell.
        total_wall_ms: Option<f64>,
        /// Rest before the call. `None`: first call of the process.
        since_last_call_ms: Option<f64>,
        /// Time since the session was loaded. `None`: another tool made the call.
        session_age_ms: Option<f64>,
        /// Processor time of our own process during the whole call. `None`: not measurable.
        client_cpu_ms: Option<f64>,
        /// Decode time not spent inside the engine; on rows of decode modes. `None`: cannot be told apart.
        outside_engine_ms: Option<f64>,
        /// The same per decode step. `None`: as above.
        outside_engine_us_per_step: Option<f64>,
        /// KV cache really allocated at the call's end. `None`: not told.
        kv_bytes: Option<u64>,
        /// Resident set of the engine's process at the call's end. `None`: not measurable.
        host_rss_bytes: Option<u64>,
        /// Largest resident set of that process during the call. `None`: not measurable.
        host_peak_bytes: Option<u64>,
        /// Device memory in use at the call's end. `None`: not told, or no device.
        device_used_bytes: Option<u64>,
        /// Mean power over the mode as the engine reports it. `None`: it does not, for some part of the mode.
        power_mean_w: Option<f64>,
        ..energy: EnergyColumns,
        /// Share of processor time that other programs used, 0 to 1. `None`: not measurable.
        /// Unit: fraction.
        foreign_cpu: Option<f64>,
        /// Share of processor time that the hypervisor took, 0 to 1. `None`: not measurable.
        /// Unit: fraction.
        steal: Option<f64>,
        /// Load average over one minute. `None`: not measurable.
        /// Unit: processes.
        load_1min: Option<f64>,
        /// Mean processor clock at the end. `None`: not measurable.
        cpu_mhz: Option<f64>,
        ..board: BoardColumns,
        /// Visit of the cell, in the run's order.
        task_idx: u32,
        /// Position of the call in the run.
        call_idx: u32,
        /// Repetition the call belongs to.
        round: u32,
        /// The load its session comes from.
        load_index: u32,
        /// Which of its cell's sessions made the call, from 0. A session is one load in a fresh engine process.
        session_index: u32,
        /// Process of the run.
        epoch: u32,
        /// Of an imported row: where another tool wrote it, as `tool:file@begin of its SHA-256:place`. `None`: this program measured
        /// the call.
        imported: Option<String>,
    }
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

/// One call in one mode, as tables are made from it: what only a file shows is worked out while it is written, for a million calls
/// have millions of rows.
///
/// What the record says of the call stands under its own name: `row.role`, `row.round`.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricRow {
    /// The call; of another tool's, what is known of it.
    pub call: Shared<CallRecord>,
    /// Its cell.
    pub key: Arc<CellKey>,
    /// Its model.
    pub architecture: Arc<ArchitectureColumns>,
    /// What few runs have.
    pub extras: Arc<Extras>,
    /// What went on beside the call.
    pub flags: Arc<Flags>,
    /// See [`MetricColumns::latency_ms`].
    pub latency_ms: Option<f64>,
    /// What is timed.
    pub mode: Mode,
    /// Whether the row counts.
    pub status: Standing,
    /// Why it does not. `None`: it does.
    pub degraded_kind: Option<Degraded>,
    /// Whether something outside disturbed the call, by the scenario file's rule.
    pub disturbed: bool,
    /// Whether the call was made again: this try is in no figure.
    pub made_again: bool,
    /// Whether something proves where the work ran.
    pub attributed: bool,
    /// Whether the call ended early and its decode time is scaled by step to the steps asked for.
    pub scaled: bool,
    /// Whether the call was timed, on a warm engine.
    pub timed_warm: bool,
}

/// What few runs have beside their calls.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Extras {
    /// Empty: no power was recorded.
    pub energy: EnergyColumns,
    /// Empty: no state of a board was.
    pub board: BoardColumns,
    /// What another tool told. `None`: this program measured the call.
    pub told: Option<Told>,
}

/// What another tool told of its call in one mode.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// See [`MetricColumns::imported`].
    pub source: String,
    /// How long the whole call took. `None`: the tool does not tell.
    pub total_wall: Option<Nanos>,
    /// Tokens of the mode over all rows. `None`: not told, or there is no time to go with them.
    pub tokens: Option<u64>,
    /// Positions of one row. `None`: not told, or the mode has two kinds of them.
    pub positions: Option<f64>,
}

impl Deref for MetricRow {
    type Target = CallRecord;

    fn deref(&self) -> &CallRecord {
        &self.call
    }
}

/// Whether a call was timed, on a warm engine.
pub(super) fn is_timed_warm(call: &CallRecord) -> bool {
    call.role == Role::Timed && call.regime == Regime::Warm
}

impl MetricRow {
    /// Whether the row enters aggregates of its cell: timed, on a warm engine, not degraded, with a latency.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.status == Standing::Ok && self.would_count()
    }

    /// Whether it would if it were not degraded.
    #[must_use]
    pub fn would_count(&self) -> bool {
        !self.made_again && self.latency_ms.is_some() && self.timed_warm
    }

    /// Whether the row is a cold or planned warmup call that went well.
    #[must_use]
    pub fn warms_up(&self) -> bool {
        matches!(self.role, Role::Cold | Role::Warmup) && self.status == Standing::Ok && self.latency_ms.is_some()
    }

    /// Whether another tool made the call.
    #[must_use]
    pub fn is_imported(&self) -> bool {
        self.extras.told.is_some()
    }

    /// Energy of the mode. Empty: no power was recorded.
    #[must_use]
    pub fn energy(&self) -> &EnergyColumns {
        &self.extras.energy
    }

    /// See [`MetricColumns::actual`].
    #[must_use]
    pub fn actual(&self) -> Option<&str> {
        self.attribution.actual.as_deref().filter(|_| self.attributed)
    }

    /// See [`MetricColumns::prompt_tokens`].
    #[must_use]
    pub fn prompt_tokens(&self) -> Option<f64> {
        self.per_row(self.call.tokens.prompt_sent)
    }

    /// See [`MetricColumns::prompt_padded`].
    #[must_use]
    pub fn prompt_padded(&self) -> Option<u32> {
        (!self.is_imported()).then_some(self.call.tokens.prompt_padded)
    }

    /// See [`MetricColumns::decode_steps_timed`].
    #[must_use]
    pub fn decode_steps_timed(&self) -> u32 {
        self.call.tokens.decode_steps_timed
    }

    /// See [`MetricColumns::new_tokens`].
    #[must_use]
    pub fn new_tokens(&self) -> Option<f64> {
        self.per_row(self.call.tokens.new_tokens)
    }

    /// See [`MetricColumns::decode_measured_ms`].
    #[must_use]
    pub fn decode_measured_ms(&self) -> Option<f64> {
        if self.mode != Mode::KvDecode {
            return None;
        }
        if self.is_imported() {
            return self.latency_ms;
        }
        self.spans.iter().find(|span| span.phase == Phase::KvDecode).map(|span| span.duration().as_ms())
    }

    /// See [`MetricColumns::kv_bytes`].
    #[must_use]
    pub fn kv_bytes(&self) -> Option<u64> {
        self.memory.kv_bytes.map(|bytes| bytes.0)
    }

    /// Tokens of all rows ÷ rows.
    fn per_row(&self, all: Option<u32>) -> Option<f64> {
        all.map(|all| f64::from(all) / f64::from(self.batch.max(1)))
    }
}

/// Throughput. `None`: no time passed.
pub(super) fn tokens_per_s(tokens: f64, latency_ms: f64) -> Option<f64> {
    (latency_ms > 0.0).then(|| tokens / (latency_ms / 1e3))
}
