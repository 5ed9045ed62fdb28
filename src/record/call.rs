//! Calls: what was asked, what came of it, and what ran beside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::beside::BesideRecord;
use super::plan::{CellId, SessionKey};
use super::shared::Shared;
use super::steps::StepTimes;
use super::token_ids::TokenIds;
use crate::terms::disturbed::STEAL_LIMIT;
use crate::terms::{
    Attribution, CompileEvidence, Degraded, Disturbance, Disturbed, Dtype, Finish, Flag, Phase, Procedure, Regime,
    Retries, Role, Status,
};
use crate::units::{Bytes, Nanos};

/// One call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallRecord {
    /// Unique in the file: cell, role, index; a warmup's also names the load, a further try its number.
    pub call_id: String,
    /// The cell.
    pub cell_id: Shared<CellId>,
    /// Why it was made.
    pub role: Role,
    /// Number among the cell's calls of this role (for warmups: of this load), from 0.
    pub index: u32,
    /// Try of the same timed call, from 0; 0 for other roles.
    #[serde(default)]
    pub attempt: u32,
    /// How fresh the engine was.
    pub regime: Regime,
    /// Position of the task in the run's order, from 0: a visit of a cell.
    pub task_idx: u32,
    /// Position of the call in the run, from 0.
    pub call_idx: u32,
    /// Round of the interleaved order, or of adaptive repetition, from 0.
    pub round: u32,
    /// See [`LoadRecord::residency_id`](super::LoadRecord::residency_id).
    pub residency_id: u32,
    /// See [`LoadRecord::load_index`](super::LoadRecord::load_index).
    pub load_index: u32,
    /// Which of its cell's sessions made it, from 0: a session is one load in a fresh engine process. 0 also in files
    /// older than sessions.
    #[serde(default)]
    pub session_index: u32,
    /// Process, see [`Opened::epoch`](super::Opened::epoch).
    pub epoch: u32,

    /// Backend and model.
    pub session: Shared<SessionKey>,
    /// Hash of the weights.
    pub weights_id: Shared<String>,
    /// Element type.
    pub dtype: Dtype,
    /// Scenario name.
    pub scenario: Shared<String>,
    /// Rows.
    pub batch: u32,
    /// What the engine was asked to do.
    pub procedure: Procedure,

    /// Whether it counts.
    pub status: Status,
    /// Why not, in the engine's or our words.
    pub detail: Option<String>,
    /// What went on beside it.
    pub flags: Shared<Vec<Flag>>,
    /// Where it ran.
    pub attribution: Shared<Attribution>,

    /// Tokens, asked for and made.
    pub tokens: Shared<TokenCounts>,
    /// The timed stretches in order.
    pub spans: Vec<SpanRecord>,
    /// When the call began.
    pub begin_ns: Nanos,
    /// Whole call, read independently of the spans.
    pub total_wall_ns: Nanos,
    /// Time for which the machine was waited for before the call, and what came of it. `None`: it was not, or a record of an
    /// earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited: Option<WaitRecord>,
    /// How many timed calls in a row before it, of its cell or of all, were disturbed in every try: so many that this one is
    /// not made again, whatever disturbs it. `None`: it may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_vain: Option<u32>,
    /// What a self-test added to it on purpose. `None`: nothing, as in every call that is a measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<Box<PlantedDelay>>,
    /// Time since the previous call ended. `None`: first call of the process.
    pub since_last_call_ns: Option<Nanos>,
    /// Time since the session was loaded.
    pub session_age_ns: Nanos,
    /// Processor time of our own process during the call; for an in-process engine that includes the engine.
    pub client_cpu_ns: Option<Nanos>,
    /// Time of the decode phase not spent inside the engine. `None`: cannot be told apart.
    pub outside_engine_ns: Option<Nanos>,
    /// Duration of every decode step. Empty: not told.
    pub step_ns: StepTimes,
    /// Engine durations under the engine's own names.
    pub engine_ns: Shared<BTreeMap<String, Nanos>>,
    /// Memory.
    pub memory: Shared<MemoryRecord>,
    /// What ran beside it.
    pub beside: Shared<BesideRecord>,
    /// What a compiler did, one entry per phase. Empty: the engine has none.
    #[serde(default)]
    pub compile: Shared<Vec<CompileEvidence>>,
    /// New token ids of the first row: equal for equal weights and prompts.
    pub token_ids: TokenIds,
    /// How generation ended. `None`: the engine did not tell.
    pub finish: Option<Finish>,
    /// True where the session did not survive the call.
    pub session_lost: bool,
}

impl CallRecord {
    /// Whether it ended early, or was disturbed, and is made again instead of counting as the cell's timed call.
    #[must_use]
    pub fn is_made_again(&self, rules: Retries) -> bool {
        let disturbed = self.was_disturbed(rules.disturbed) == Some(true) && self.in_vain.is_none();
        self.role == Role::Timed
            && (self.ended_early() && self.attempt < rules.early_stop.retries
                || disturbed && self.attempt < rules.disturbed.retry)
    }

    /// Whether something disturbed a timed call that another try might have told better. `None`: it is not timed, or it did
    /// not go well, which is a result whatever ran beside it. What was frozen or held back may have gone wrong in any way for
    /// that reason alone, and counts as disturbed.
    #[must_use]
    pub fn was_disturbed(&self, rule: Disturbed) -> Option<bool> {
        let held = self.flags.contains(&Flag::Frozen) || self.flags.contains(&Flag::CpuQuota);
        let tells = self.role == Role::Timed && (self.status.went_well() || held);
        tells.then(|| !self.disturbances(rule).is_empty())
    }

    /// Whether the engine ended it before all steps were made, so that it does not count.
    #[must_use]
    pub fn ended_early(&self) -> bool {
        matches!(self.status, Status::Degraded(Degraded::EarlyStop | Degraded::TooShort))
    }

    /// What disturbed it from outside, each once.
    #[must_use]
    pub fn disturbances(&self, rule: Disturbed) -> Vec<Disturbance> {
        if rule.is_never() {
            return Vec::new();
        }
        let above = |share: Option<f64>, limit| share.is_some_and(|share| share > limit);
        let is_flagged = |flag| self.flags.contains(&flag);
        let found = [
            (above(self.beside.foreign_cpu, rule.foreign_cpu), Disturbance::ForeignCpu),
            (above(self.beside.steal, STEAL_LIMIT), Disturbance::Steal),
            (is_flagged(Flag::CpuQuota), Disturbance::CpuQuota),
            (is_flagged(Flag::Throttled), Disturbance::GpuThrottled),
            (is_flagged(Flag::Frozen), Disturbance::Frozen),
        ];
        found.into_iter().filter_map(|(is_so, disturbance)| is_so.then_some(disturbance)).collect()
    }

    /// Factor on the decode time of a call that counts although it ended early: steps asked for ÷ steps timed.
    /// `None`: the time stands as measured.
    #[must_use]
    pub fn decode_scale(&self) -> Option<f64> {
        let (asked, timed) = (self.tokens.steps_requested, self.tokens.decode_steps_timed);
        let went_well = self.status.went_well();
        let scaled = went_well && self.procedure == Procedure::PrefillDecode && (1..asked).contains(&timed);
        scaled.then(|| f64::from(asked) / f64::from(timed))
    }
}

/// A wait for a quiet machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitRecord {
    /// How long it took.
    pub duration_ns: Nanos,
    /// Whether the machine became quiet; otherwise the call was made all the same.
    pub quiet: bool,
}

/// A delay inside a call that a self-test added to what the engine took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlantedDelay {
    /// How many times longer the call was to take.
    pub factor: f64,
    /// Time that was really added to each of its spans, in order.
    pub pause_ns: Vec<Nanos>,
}

/// Tokens of a call. Counts are per row; a batch multiplies them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenCounts {
    /// Prompt tokens the scenario asked for. `None`: it gave text.
    pub prompt_requested: Option<u32>,
    /// Prompt tokens sent, BOS included; over all rows. `None`: only the engine has the tokenizer, and did not tell.
    pub prompt_sent: Option<u32>,
    /// Prompt tokens evaluated as the engine reports, over all rows. `None`: it does not tell.
    pub prompt_evaluated: Option<u32>,
    /// Prompt tokens that were not, since every prompt begins with them and the engine keeps what it has evaluated; over all
    /// rows. With those evaluated they are the tokens sent. `None`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_cached: Option<u32>,
    /// Length that rows were padded to.
    pub prompt_padded: u32,
    /// Decode steps asked for.
    pub steps_requested: u32,
    /// Decode steps that the decode span covers.
    pub decode_steps_timed: u32,
    /// New tokens as the engine counts them, the first one from the prefill included; over all rows. `None`: it does not tell.
    pub new_tokens: Option<u32>,
}

/// A timed stretch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpanRecord {
    /// What was done.
    pub phase: Phase,
    /// When it began.
    pub begin_ns: Nanos,
    /// When it ended.
    pub end_ns: Nanos,
    /// True where the times were put together from an engine's durations.
    pub reconstructed: bool,
    /// Largest error of either time.
    pub uncertainty_ns: Nanos,
    /// Mean power over it as the engine reports it, in watts. `None`: it does not.
    pub power_mean_w: Option<f64>,
    /// The same stretch between two events of the device's own clock. `None`: no device, or not measured.
    #[serde(default)]
    pub device_ns: Option<Nanos>,
}

impl SpanRecord {
    /// Its length.
    #[must_use]
    pub fn duration(&self) -> Nanos {
        self.end_ns.since(self.begin_ns)
    }
}

/// Memory around a call; every field `None` where it cannot be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryRecord {
    /// Resident set of the engine's process at the end.
    pub host_rss_bytes: Option<Bytes>,
    /// Largest resident set of that process during the call.
    pub host_peak_bytes: Option<Bytes>,
    /// Device memory in use.
    pub device_used_bytes: Option<Bytes>,
    /// KV cache really allocated at the end, all rows.
    pub kv_bytes: Option<Bytes>,
}
