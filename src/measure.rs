//! One call: made, watched, checked and turned into its record.

use crate::backend::{Call, CancelToken, Deadline, LoadReport, Memory, Outcome, Reply, Session, Span, SpanClock};
use crate::clock::Clock;
use crate::record::plan::{Cell, Plan};
use crate::record::{BesideRecord, CallRecord, MemoryRecord, SpanRecord, TokenCounts, WaitRecord};
use crate::schedule::CallTask;
use crate::telemetry::{Beside, Watcher, is_slowed};
use crate::terms::{Degraded, Dtype, Finish, Flag, Procedure, Status};
use crate::units::{Nanos, total};

use planted::{labelled, plant};

pub mod looped;
mod planted;

pub use looped::{LoopRule, LoopSetting, given_up, looped};

/// Time inside an in-process call that no phase accounts for may be this long, or [`LARGEST_REST`] of the call.
const LONGEST_REST: Nanos = Nanos(50_000_000);

/// See [`LONGEST_REST`].
const LARGEST_REST: f64 = 0.2;

/// A call to another process takes this much time outside its phases on a quiet machine, with room: 1 to 2 ms are measured.
const MESSAGE_ROOM: Nanos = Nanos(5_000_000);

/// A call is handed from thread to thread more often than an empty message, and is longer: what a busy machine makes of one
/// it may make of the other so many times.
const MESSAGES_PER_CALL: u64 = 4;

/// What a call is made with and on.
pub struct Setting<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What the schedule wants.
    pub task: &'a CallTask,
    /// The call itself.
    pub call: &'a Call,
    /// Hash of the session's weights.
    pub weights_id: &'a str,
    /// Element type of the session.
    pub dtype: Dtype,
    /// Process, see [`crate::record::Opened::epoch`].
    pub epoch: u32,
    /// When the session was loaded.
    pub loaded_at: Nanos,
    /// When the previous call ended. `None`: first of the process.
    pub last_end: Option<Nanos>,
    /// Sessions of ours that are resident beside this one.
    pub co_resident: u32,
    /// How long a quiet machine was waited for before it. `None`: not at all.
    pub waited: Option<WaitRecord>,
    /// How many times longer a self-test makes it take. `None`: it is left alone, as every measurement is.
    pub slowdown: Option<f64>,
}

/// Makes one call and records it. Nothing but the engine runs between the two readings of the clock, and the delay that a
/// self-test plants there.
#[must_use]
pub fn measure(
    session: &mut dyn Session,
    setting: &Setting<'_>,
    clock: &dyn Clock,
    watcher: Option<&mut Watcher>,
    cancel: &CancelToken,
) -> CallRecord {
    let by = Deadline(setting.plan.timeout_ns.duration());
    let mut watcher = watcher;
    session.ready();
    let mark = watcher.as_mut().map(|w| w.start());
    let begin = clock.now();
    let mut outcome = session.call(setting.call, by, cancel);
    let planted = setting.slowdown.and_then(|factor| plant(&mut outcome, factor, clock));
    let end = clock.now();
    let beside = match (watcher, mark) {
        (Some(watcher), Some(mark)) => watcher.finish(mark, || engine_pids(session)),
        _ => Beside::default(),
    };
    session.inspect(&mut outcome);
    let record = record(setting, outcome, session.loaded(), &beside, begin, end, session.in_process());
    match planted {
        Some(planted) => labelled(record, planted),
        None => record,
    }
}

fn record(
    setting: &Setting<'_>,
    outcome: Outcome,
    loaded: &LoadReport,
    beside: &Beside,
    begin: Nanos,
    end: Nanos,
    in_process: bool,
) -> CallRecord {
    let cell = &setting.plan.cells[setting.task.cell];
    let answered = outcome.reply.is_some();
    let reply = outcome.reply.unwrap_or_default();
    let scripted = scripted(&reply, beside);
    let beside = scripted.as_ref().unwrap_or(beside);
    let failed = outcome.failure.map(|failure| (Status::Degraded(failure.kind), Some(failure.message)));
    let (status, detail) = failed.unwrap_or_else(|| judge(setting, &reply, begin, end, in_process));
    CallRecord {
        call_id: setting.task.call_id(setting.plan),
        cell_id: cell.id.clone().into(),
        role: setting.task.role,
        index: setting.task.index,
        attempt: setting.task.attempt,
        regime: setting.task.regime,
        task_idx: setting.task.task_idx,
        call_idx: setting.task.call_idx,
        round: setting.task.round,
        residency_id: setting.task.residency_id,
        load_index: setting.task.load_index,
        session_index: setting.task.session_index,
        epoch: setting.epoch,
        session: cell.session.clone().into(),
        weights_id: setting.weights_id.to_owned().into(),
        dtype: setting.dtype,
        scenario: cell.scenario.clone().into(),
        batch: cell.batch,
        procedure: cell.procedure,
        status,
        detail,
        flags: flags(beside, setting.co_resident, &reply, end).into(),
        attribution: if answered { &reply.attribution } else { &loaded.attribution }.clone().into(),
        tokens: tokens(cell, setting.call, &reply).into(),
        spans: reply.spans.iter().map(span_record).collect(),
        begin_ns: begin,
        total_wall_ns: end.since(begin),
        waited: setting.waited,
        in_vain: setting.task.in_vain,
        planted: None,
        since_last_call_ns: setting.last_end.map(|last| begin.since(last)),
        session_age_ns: begin.since(setting.loaded_at),
        client_cpu_ns: beside.own_cpu,
        outside_engine_ns: reply.outside_engine,
        step_ns: step_durations(&reply).into(),
        engine_ns: reply.engine_durations.into(),
        memory: memory_record(&reply.memory).into(),
        beside: BesideRecord { simulated: scripted.is_some(), ..beside_record(beside, setting.co_resident) }.into(),
        compile: reply.compile.into(),
        token_ids: reply.tokens.into_iter().next().unwrap_or_default().into(),
        finish: reply.finish,
        session_lost: !outcome.session_usable,
    }
}

/// All that there was beside a call that a script tells of. `None`: none does, and what was seen holds.
fn scripted(reply: &Reply, seen: &Beside) -> Option<Beside> {
    let share = reply.scripted_foreign_cpu?;
    Some(Beside { foreign_cpu: Some(share), own_cpu: seen.own_cpu, ..Beside::default() })
}

/// The engine's processes besides our own. `None`: it has some, and cannot tell which.
fn engine_pids(session: &dyn Session) -> Option<Vec<u32>> {
    let pids = session.engine_pids();
    (session.in_process() || !pids.is_empty()).then_some(pids)
}

/// What may have disturbed a call, each once, in the order of the flags.
fn flags(beside: &Beside, co_resident: u32, reply: &Reply, end: Nanos) -> Vec<Flag> {
    let mut flags = crate::telemetry::flags(beside);
    flags.extend(is_unaccounted(reply, end).then_some(Flag::Unaccounted));
    // What a board does is nothing to the processor.
    let on_processor = reply.attribution.device() == Some(None);
    flags.extend((!on_processor && is_slowed(beside)).then_some(Flag::Throttled));
    if co_resident > 0 {
        flags.push(Flag::CoResident);
    }
    flags.sort_unstable();
    flags
}

fn memory_record(memory: &Memory) -> MemoryRecord {
    MemoryRecord {
        host_rss_bytes: memory.host_rss,
        host_peak_bytes: memory.host_peak,
        device_used_bytes: memory.device_used,
        kv_bytes: memory.kv,
    }
}

fn beside_record(beside: &Beside, co_resident: u32) -> BesideRecord {
    BesideRecord {
        foreign_cpu: beside.foreign_cpu,
        ours_cpu: beside.ours_cpu,
        steal: beside.steal,
        load_1min: beside.load_1min,
        cpu_mhz: beside.cpu_mhz,
        foreign_gpu_processes: beside.foreign_gpu_processes,
        boards: beside.boards.clone(),
        held_back_ns: beside.held_back,
        frozen_ns: beside.frozen,
        simulated: false,
        co_resident,
    }
}

fn span_record(span: &Span) -> SpanRecord {
    SpanRecord {
        phase: span.phase,
        begin_ns: span.begin,
        end_ns: span.end,
        reconstructed: span.clock == SpanClock::Reconstructed,
        uncertainty_ns: span.uncertainty,
        power_mean_w: span.mean_power_w,
        device_ns: span.device,
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn tokens(cell: &Cell, call: &Call, reply: &Reply) -> TokenCounts {
    let told = |row: usize| reply.prompt_tokens.as_ref().and_then(|rows| rows.get(row)).copied();
    let sent: Option<Vec<u32>> = (call.prompts.iter().enumerate())
        .map(|(row, ids)| if ids.is_empty() { told(row) } else { Some(count(ids.len())) })
        .collect();
    let longest = sent.iter().flatten().copied().max().unwrap_or_default();
    TokenCounts {
        prompt_requested: cell.prompt_tokens,
        prompt_sent: sent.map(total),
        prompt_evaluated: reply.prompt_evaluated(),
        prompt_cached: reply.prompt_cached,
        prompt_padded: call.padded_to.max(longest),
        steps_requested: call.steps,
        decode_steps_timed: reply.steps_timed,
        new_tokens: (!reply.new_tokens.is_empty()).then(|| total(reply.new_tokens.iter().copied())),
    }
}

/// Step ends as durations, from the begin of the decode span.
fn step_durations(reply: &Reply) -> Vec<Nanos> {
    let decode = reply.spans.iter().find(|span| span.phase != crate::terms::Phase::Prefill);
    let Some(first) = decode.map(|span| span.begin) else { return Vec::new() };
    let begins = std::iter::once(first).chain(reply.step_ends.iter().copied());
    reply.step_ends.iter().zip(begins).map(|(end, begin)| end.since(begin)).collect()
}

/// Whether a reply without a failure is what was asked for, and does not contradict itself.
fn judge(setting: &Setting<'_>, reply: &Reply, begin: Nanos, end: Nanos, in_process: bool) -> (Status, Option<String>) {
    let call = setting.call;
    let degraded = |kind, why: String| (Status::Degraded(kind), Some(why));
    if let Some(why) = contradiction(call, reply, begin, end, in_process) {
        return degraded(Degraded::Invariant, why);
    }
    if let Some(why) = reply.attribution.elsewhere() {
        return degraded(Degraded::WrongDevice, why);
    }
    if reply.steps_timed < call.steps {
        let why = format!("{} of {} decode steps were made", reply.steps_timed, call.steps);
        let rule = setting.plan.early_stop;
        return match reply.finish {
            Some(Finish::Stop) if reply.steps_timed < rule.min_steps => degraded(Degraded::TooShort, why),
            Some(Finish::Stop) if rule.scales(call.procedure, setting.task.role, call.attempt, reply.steps_timed) => {
                (Status::Ok, None)
            }
            Some(Finish::Stop) => degraded(Degraded::EarlyStop, why),
            _ => degraded(Degraded::Incomplete, why),
        };
    }
    (Status::Ok, None)
}

/// How a reply contradicts itself or the clock around it; METHOD: phases lie inside the whole, in order, without
/// overlap, the rest is small for an engine in this process, and the tokens are as asked.
fn contradiction(call: &Call, reply: &Reply, begin: Nanos, end: Nanos, in_process: bool) -> Option<String> {
    let mut last = begin;
    for span in &reply.spans {
        let slack = span.uncertainty;
        if span.end < span.begin {
            return Some(format!("{} ends before it begins", span.phase));
        }
        if span.begin + slack < last {
            return Some(format!("{} begins before what comes before it has ended", span.phase));
        }
        last = span.end;
    }
    if last > end + reply.spans.last().map_or(Nanos(0), |span| span.uncertainty) {
        return Some("the last phase ends after the call".to_owned());
    }
    let rest = end.since(begin).since(in_phases(reply));
    if in_process && rest > LONGEST_REST && rest.as_ms() > LARGEST_REST * end.since(begin).as_ms() {
        return Some(format!("{rest} of {} belong to no phase", end.since(begin)));
    }
    if reply.steps_timed > call.steps {
        return Some(format!("{} decode steps timed, {} asked for", reply.steps_timed, call.steps));
    }
    wrong_tokens(call, reply, in_process)
}

/// Time that belongs to a phase.
fn in_phases(reply: &Reply) -> Nanos {
    reply.spans.iter().map(|span| span.end.since(span.begin)).sum()
}

/// Whether most of a call to another process, from its first phase on, belongs to no phase, and more than messages take there
/// and then. A phase that ends before its device does looks so. What comes before the first phase is no sign of it: inputs
/// are made there, and caches emptied. Nor is a short call on a busy machine, for the messages right before it took as long.
/// One stall in a quiet hour still can be: it is a flag, and only where most calls of a cell carry it something is made of it.
fn is_unaccounted(reply: &Reply, end: Nanos) -> bool {
    let (Some(round_trip), Some(first)) = (reply.round_trip, reply.spans.first()) else { return false };
    let phases = in_phases(reply);
    let rest = end.since(first.begin).since(phases);
    rest > phases && rest > MESSAGE_ROOM + Nanos(round_trip.0.saturating_mul(MESSAGES_PER_CALL))
}

/// How the tokens of a reply are not those of its steps and prompts.
fn wrong_tokens(call: &Call, reply: &Reply, in_process: bool) -> Option<String> {
    let rows = call.prompts.len();
    let made = match call.procedure {
        Procedure::Prefill => 1,
        Procedure::PrefillDecode => reply.steps_timed.saturating_add(1),
        Procedure::Uncached => reply.steps_timed,
    };
    let told = in_process || !reply.tokens.is_empty();
    if told && (reply.tokens.len() != rows || reply.tokens.iter().any(|row| count(row.len()) != made)) {
        return Some(format!("expected {made} new tokens in each of {rows} rows"));
    }
    // Some engines count the token that ends the answer, some do not.
    let counted = |new: &u32| (reply.steps_timed..=made).contains(new);
    if !reply.new_tokens.is_empty() && (reply.new_tokens.len() != rows || !reply.new_tokens.iter().all(counted)) {
        let (steps, found) = (reply.steps_timed, &reply.new_tokens);
        return Some(format!("{steps} decode steps timed in {rows} rows, but {found:?} new tokens counted"));
    }
    let evaluated = reply.prompt_tokens.as_ref()?;
    let differs = |(ids, &tokens): (&Vec<u32>, &u32)| !ids.is_empty() && count(ids.len()) != tokens;
    if evaluated.len() != rows || call.prompts.iter().zip(evaluated).any(differs) {
        let sent: Vec<usize> = call.prompts.iter().map(Vec::len).collect();
        return Some(format!("prompt tokens sent {sent:?}, evaluated {evaluated:?}"));
    }
    None
}
