//! What is written to `measurements.jsonl`: one JSON object per line, data only.
//!
//! The first line is a [`Header`]; then one line per task in the order they were done. Times are nanoseconds
//! on the clock of the process that wrote them, which an [`Opened`] line starts; `unix_ns` there ties it to the calendar.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub mod calibration;
pub mod given_up;
pub mod manifest;
pub mod plan;

use crate::record::plan::{CellId, SessionKey};
use crate::terms::{
    Attribution, CompileEvidence, Degraded, Dtype, EarlyStop, Finish, Flag, OnBoard, Phase, Procedure, Regime, Role,
    Status,
};
use crate::units::{Bytes, Nanos};

/// Version of this format. A reader refuses later ones, and [others](OLDEST).
///
/// 1: as 2, without seals. 2: every so many lines a seal over those before it.
pub const FORMAT: u32 = 2;

/// The oldest version that is read.
pub const OLDEST: u32 = 1;

/// The first version whose lines are sealed.
pub const SEALED: u32 = 2;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// The first line of the file.
    Header(Header),
    /// A process began or resumed the run; whatever was loaded before is gone.
    Opened(Opened),
    /// A session was loaded, or failed to.
    Load(Box<LoadRecord>),
    /// Everything was left alone.
    Idle(IdleRecord),
    /// A call was made.
    Call(Box<CallRecord>),
    /// One procedure was repeated without pause, for a power sensor.
    Loop(Box<LoopRecord>),
    /// A cell takes no further calls.
    Decision(Decision),
    /// Nothing is left to do.
    Finished(Finished),
}

/// What the file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Always `phasebench-measurements`.
    pub file: String,
    /// [`FORMAT`].
    pub format: u32,
    /// SHA-256 of `plan.json`; a resumed run must have the same.
    pub plan_sha256: String,
    /// Version of the tool that wrote the file.
    pub tool_version: String,
}

/// A process at work on the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    /// 0 for the first process, one more with every resume.
    pub epoch: u32,
    /// Calendar time at the clock's start.
    pub unix_ns: u64,
    /// SHA-256 of the manifest's stack section; differs where the stack changed between resumes.
    pub stack_sha256: String,
    /// Phases shorter than this are looped.
    #[serde(default)]
    pub loop_below: LoopBelow,
}

/// Phases shorter than this are too short for the power sensor that they are charged to, so that cells with such phases
/// are looped. `None`: nothing is, or nothing is charged to a counter there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoopBelow {
    /// Of work on the processor.
    pub processor_ns: Option<Nanos>,
    /// Of work on a board.
    pub board_ns: Option<Nanos>,
    /// Of work that nothing proves to have run on either: only where the scenario file names the sensors, so that all
    /// work is charged to the same.
    #[serde(default)]
    pub anywhere_ns: Option<Nanos>,
}

impl LoopBelow {
    /// For work on a board or not; `None`: that is not known.
    #[must_use]
    pub fn of(self, on_board: Option<bool>) -> Option<Nanos> {
        match on_board {
            Some(true) => self.board_ns,
            Some(false) => self.processor_ns,
            None => self.anywhere_ns,
        }
    }
}

/// One load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadRecord {
    /// Which load of the run this is, from 0.
    pub load_index: u32,
    /// What was loaded.
    pub session: SessionKey,
    /// Sessions closed before it, to make room.
    pub evicted: Vec<SessionKey>,
    /// Which set of sessions is resident together, from 0.
    pub residency_id: u32,
    /// Round of the interleaved order, from 0.
    pub round: u32,
    /// Whether it worked.
    pub status: Status,
    /// The engine's words where it did not.
    pub detail: Option<String>,
    /// When it began.
    pub begin_ns: Nanos,
    /// How long it took.
    pub duration_ns: Nanos,
    /// Its parts by the engine's own names, in order.
    pub parts_ns: Vec<(String, Nanos)>,
    /// `cold_process` for the first load of an engine in this process, else `cold_model`.
    pub regime: Regime,
    /// Where the graph was placed.
    pub attribution: Attribution,
    /// Hash of the weights. `None`: the load failed before they were known.
    pub weights_id: Option<String>,
    /// Resident set of the engine's process before. `None`: not measurable.
    pub host_rss_before_bytes: Option<Bytes>,
    /// Resident set after. `None`: not measurable.
    pub host_rss_after_bytes: Option<Bytes>,
    /// Device memory taken. `None`: no device, or not measurable.
    pub device_bytes: Option<Bytes>,
    /// Expected memory of all sessions resident after it.
    pub planned_resident_bytes: Bytes,
    /// Phases that a compiler was asked for, each with its name. Empty: none was, or the load failed before.
    #[serde(default)]
    pub compilers: BTreeMap<Phase, String>,
    /// What was compiled after it, before the first call; not in [`duration_ns`](Self::duration_ns).
    #[serde(default)]
    pub compiled: Vec<CompileRecord>,
}

/// A stretch in which everything was left alone, so that idle power can be told from the trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdleRecord {
    /// When in the run.
    pub when: IdleWhen,
    /// Process, see [`Opened::epoch`].
    pub epoch: u32,
    /// The load it follows, see [`LoadRecord::load_index`]. `None`: no model of ours is loaded.
    pub load_index: Option<u32>,
    /// When it began.
    pub begin_ns: Nanos,
    /// When it ended.
    pub end_ns: Nanos,
    /// GPUs, by UUID, on which this process holds a context at its end: a context draws power of its own. `None`: not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contexts: Option<Vec<String>>,
}

/// When in a run something was left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdleWhen {
    /// Before the first load of the process.
    Before,
    /// After a load, the model resident and quiet.
    Loaded,
    /// After the last call, everything freed.
    After,
}

/// One shape compiled, a phase of its own between load and first call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompileRecord {
    /// What calls of this shape do.
    pub procedure: Procedure,
    /// Rows.
    pub batch: u32,
    /// Columns of the prompts, padding included.
    pub prompt_tokens: u32,
    /// Decode steps.
    pub steps: u32,
    /// Whether it worked.
    pub status: Status,
    /// The compiler's words where it did not.
    pub detail: Option<String>,
    /// When it began.
    pub begin_ns: Nanos,
    /// How long it took, the runs that proved it included.
    pub duration_ns: Nanos,
    /// What was done for each phase, also where it did not work, as far as the engine tells.
    pub phases: Vec<CompileEvidence>,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallRecord {
    /// Unique in the file: cell, role, index; a warmup's also names the load, a further try its number.
    pub call_id: String,
    /// The cell.
    pub cell_id: CellId,
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
    /// See [`LoadRecord::residency_id`].
    pub residency_id: u32,
    /// See [`LoadRecord::load_index`].
    pub load_index: u32,
    /// Process, see [`Opened::epoch`].
    pub epoch: u32,

    /// Backend and model.
    pub session: SessionKey,
    /// Hash of the weights.
    pub weights_id: String,
    /// Element type.
    pub dtype: Dtype,
    /// Scenario name.
    pub scenario: String,
    /// Rows.
    pub batch: u32,
    /// What the engine was asked to do.
    pub procedure: Procedure,

    /// Whether it counts.
    pub status: Status,
    /// Why not, in the engine's or our words.
    pub detail: Option<String>,
    /// What went on beside it.
    pub flags: Vec<Flag>,
    /// Where it ran.
    pub attribution: Attribution,

    /// Tokens, asked for and made.
    pub tokens: TokenCounts,
    /// The timed stretches in order.
    pub spans: Vec<SpanRecord>,
    /// When the call began.
    pub begin_ns: Nanos,
    /// Whole call, read independently of the spans.
    pub total_wall_ns: Nanos,
    /// Time since the previous call ended. `None`: first call of the process.
    pub since_last_call_ns: Option<Nanos>,
    /// Time since the session was loaded.
    pub session_age_ns: Nanos,
    /// Processor time of our own process during the call; for an in-process engine that includes the engine.
    pub client_cpu_ns: Option<Nanos>,
    /// Time of the decode phase not spent inside the engine. `None`: cannot be told apart.
    pub outside_engine_ns: Option<Nanos>,
    /// Duration of every decode step. Empty: not told.
    pub step_ns: Vec<Nanos>,
    /// Engine durations under the engine's own names.
    pub engine_ns: BTreeMap<String, Nanos>,
    /// Memory.
    pub memory: MemoryRecord,
    /// What ran beside it.
    pub beside: BesideRecord,
    /// What a compiler did, one entry per phase. Empty: the engine has none.
    #[serde(default)]
    pub compile: Vec<CompileEvidence>,
    /// New token ids of the first row: equal for equal weights and prompts.
    pub token_ids: Vec<u32>,
    /// How generation ended. `None`: the engine did not tell.
    pub finish: Option<Finish>,
    /// True where the session did not survive the call.
    pub session_lost: bool,
}

impl CallRecord {
    /// Whether it ended early and is made again instead of counting as the cell's timed call.
    #[must_use]
    pub fn is_made_again(&self, rule: EarlyStop) -> bool {
        self.role == Role::Timed
            && matches!(self.status, Status::Degraded(Degraded::EarlyStop | Degraded::TooShort))
            && self.attempt < rule.retries
    }

    /// Factor on the decode time of a call that counts although it ended early: steps asked for ÷ steps timed.
    /// `None`: the time stands as measured.
    #[must_use]
    pub fn decode_scale(&self) -> Option<f64> {
        let (asked, timed) = (self.tokens.steps_requested, self.tokens.decode_steps_timed);
        let scaled = self.status.is_ok() && self.procedure == Procedure::PrefillDecode && (1..asked).contains(&timed);
        scaled.then(|| f64::from(asked) / f64::from(timed))
    }
}

/// One procedure of a cell repeated without pause, so that a power sensor that is slow sees enough of it. It is no call:
/// it enters no latency, and its energy stands beside that of the cell's calls, never in its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoopRecord {
    /// Unique in the file: cell and procedure.
    pub loop_id: String,
    /// The cell.
    pub cell_id: CellId,
    /// What each repetition did: the cell's procedure, or its prefill alone.
    pub procedure: Procedure,
    /// See [`LoadRecord::residency_id`].
    pub residency_id: u32,
    /// See [`LoadRecord::load_index`].
    pub load_index: u32,
    /// Process, see [`Opened::epoch`].
    pub epoch: u32,
    /// Backend and model.
    pub session: SessionKey,
    /// Hash of the weights.
    pub weights_id: String,
    /// Element type.
    pub dtype: Dtype,
    /// Scenario name.
    pub scenario: String,
    /// Rows.
    pub batch: u32,
    /// Whether every repetition did what was asked.
    pub status: Status,
    /// Why not, in the engine's or our words.
    pub detail: Option<String>,
    /// What went on beside it.
    pub flags: Vec<Flag>,
    /// Where the last repetition ran.
    pub attribution: Attribution,
    /// Prompt tokens that one repetition evaluated, over all rows. `None`: neither sent as ids nor told.
    pub prompt_evaluated: Option<u32>,
    /// Decode steps asked of each repetition.
    pub decode_steps: u32,
    /// When the first repetition began. Those before the first window let clocks and sensors settle.
    pub begin_ns: Nanos,
    /// When the last one ended.
    pub end_ns: Nanos,
    /// Stretches that energy is taken from, in order.
    pub windows: Vec<WindowRecord>,
    /// What ran beside it.
    pub beside: BesideRecord,
    /// True where the session did not survive it.
    pub session_lost: bool,
}

impl LoopRecord {
    /// Decode steps of the mean repetition in the windows: fewer than were asked for where some ended early.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of steps")]
    pub fn mean_steps(&self) -> f64 {
        let asked = |window: &WindowRecord| u64::from(window.repeats) * u64::from(self.decode_steps);
        let steps: u64 = self.windows.iter().map(|window| window.steps_timed.unwrap_or_else(|| asked(window))).sum();
        let repeats: u64 = self.windows.iter().map(|window| u64::from(window.repeats)).sum();
        if repeats == 0 { f64::from(self.decode_steps) } else { steps as f64 / repeats as f64 }
    }
}

/// A stretch of whole repetitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowRecord {
    /// When its first repetition began.
    pub begin_ns: Nanos,
    /// When its last one ended.
    pub end_ns: Nanos,
    /// Repetitions.
    pub repeats: u32,
    /// Groups they are divided into, with a pause between two; 1: no pause.
    pub groups: u32,
    /// Time of the pauses, all together.
    pub pauses_ns: Nanos,
    /// Time spent in each phase, all repetitions together. What is missing to the window's length, pauses left out, was
    /// spent between phases.
    pub phases_ns: BTreeMap<Phase, Nanos>,
    /// Repetitions that ended at a stop token before all decode steps were made.
    #[serde(default)]
    pub early_stops: u32,
    /// Decode steps of all repetitions together. `None`: not told, every repetition made those asked for.
    #[serde(default)]
    pub steps_timed: Option<u64>,
}

/// Tokens of a call. Counts are per row; a batch multiplies them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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

/// What ran beside a call; every field `None` where it cannot be measured.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BesideRecord {
    /// Share of all processors' time that programs other than ours used, 0 to 1.
    pub foreign_cpu: Option<f64>,
    /// Share of all processors' time that the hypervisor took away, 0 to 1.
    pub steal: Option<f64>,
    /// Load average over one minute.
    pub load_1min: Option<f64>,
    /// Mean clock of the processors at the end, in MHz.
    pub cpu_mhz: Option<f64>,
    /// Processes of others on any GPU. `None` also where the engine's own cannot be told from them.
    pub foreign_gpu_processes: Option<u32>,
    /// Programs on each GPU. Empty: not measurable, or not told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boards: Vec<OnBoard>,
    /// Sessions of ours that were resident beside the one measured.
    pub co_resident: u32,
}

impl BesideRecord {
    /// Processes of others on a board, by its UUID. `None`: not known.
    #[must_use]
    pub fn foreign_on(&self, uuid: Option<&str>) -> Option<u32> {
        let board = uuid.and_then(|uuid| self.boards.iter().find(|board| board.uuid == uuid));
        board.map_or(self.foreign_gpu_processes, |board| board.foreign)
    }
}

/// A rule's verdict on a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The cell.
    pub cell_id: CellId,
    /// What was decided.
    pub rule: Rule,
    /// Timed calls that counted when it was decided.
    pub calls_ok: u32,
    /// Widest half-width of a timed mode's 95 % interval relative to its estimate. `None`: too few calls.
    pub relative_ci: Option<f64>,
    /// In words, e.g. `CI 1.8 % ≤ 2.0 %`.
    pub why: String,
}

/// Why a cell takes no further calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The interval is narrow enough.
    NarrowEnough,
    /// The most calls allowed were made.
    MaxCalls,
    /// Its session cannot be loaded.
    LoadFailed,
    /// Its calls keep ending the session.
    SessionLost,
}

/// The end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finished {
    /// Calls in the file.
    pub calls: u32,
    /// Of these, degraded ones, but for those below: what the scenario file's limit is held against.
    pub degraded: u32,
    /// Of these, ended early and made again.
    #[serde(default)]
    pub made_again: u32,
}

impl Finished {
    /// Share of the calls that are degraded, `missing` ones that were never made among them. 0 of nothing.
    #[must_use]
    pub fn degraded_rate(self, missing: u32) -> f64 {
        let calls = self.calls.saturating_add(missing);
        if calls == 0 { 0.0 } else { f64::from(self.degraded.saturating_add(missing)) / f64::from(calls) }
    }
}
