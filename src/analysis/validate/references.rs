//! Whether the lines of a record fit each other: what one says of another, what figures of one call say of each other,
//! and what evidence says of the claim it stands for.

use std::collections::{BTreeMap, BTreeSet};
use std::ptr;

use crate::record::manifest::Manifest;
use crate::record::plan::{Plan, SessionKey};
use crate::record::{CallRecord, Finished, IdleRecord, Line, LoadRecord, LoopRecord, ReferenceRecord};
use crate::store::Recording;
use crate::terms::{Attribution, Phase, Procedure, Role, device_of};
use crate::units::Nanos;

use super::Check;

/// The checks, in order.
pub(super) const NAMES: [&str; 7] = [
    "processes, loads and calls refer to each other",
    "calls follow each other in time",
    "steps and tokens add up",
    "times are possible",
    "no more of the processors is used than there is",
    "evidence supports what it stands for",
    COUNTED,
];

/// Of every run, imported or not.
pub(super) const COUNTED: &str = "the end counts what is there";

/// A call can take this much longer than the plan's timeout before somebody must have seen it: ending an engine takes time.
const GRACE: Nanos = Nanos(600_000_000_000);

/// Processor time is counted in steps, and a process may have begun to count before the call.
const PROCESSOR_SLACK: Nanos = Nanos(100_000_000);

/// The time between two calls of one session after which even a machine that was held up has to warm up again.
const LONG_IDLE: Nanos = Nanos(1_000_000_000);

/// What shares of the processors in half a second may be off by together: a hundredth of a second in each of the five
/// counters of what ran, on one processor.
const SHARE_RESOLUTION: f64 = 0.10;

/// Share of a decode phase, and time, that its steps may leave unexplained.
const UNEXPLAINED: (f64, Nanos) = (0.05, Nanos(2_000_000));

/// All of [`NAMES`].
pub(super) fn checks(recording: &Recording, plan: &Plan, manifest: &Manifest) -> Vec<Check> {
    let calls = recording.calls().count();
    let good = || format!("{calls} calls");
    let per_call = |problem: &dyn Fn(&CallRecord) -> Option<String>| -> Vec<String> {
        recording.calls().filter_map(|call| Some(format!("{}: {}", call.call_id, problem(call)?))).collect()
    };
    let [referred, followed, added, possible, shared, supported, counted] = NAMES;
    let walked = Walk::over(&recording.lines);
    let cores = manifest.stack.machine.logical_cores.unwrap_or(1).max(1);
    vec![
        Check::of(referred, &walked.references, good()),
        Check::of(followed, &walked.times, good()),
        Check::of(added, &per_call(&does_not_add_up), good()),
        Check::of(possible, &per_call(&|call| impossible(call, plan, cores)), good()),
        Check::of(shared, &per_call(&overused), good()),
        Check::of(supported, &unsupported(recording), good()),
        Check::of(counted, &miscounted(recording, plan), good()),
    ]
}

/// A load that a call can belong to.
struct Loaded<'a> {
    load: &'a LoadRecord,
    epoch: u32,
    /// Whether it can still be called.
    open: bool,
}

/// What was seen on the way through the lines.
#[derive(Default)]
struct Walk<'a> {
    /// Processes so far.
    processes: u32,
    /// Loads so far, by their index.
    loads: BTreeMap<u32, Loaded<'a>>,
    load_lines: u32,
    call_lines: u32,
    reference_lines: u32,
    /// The last call of this process: its session, its role.
    last: Option<(&'a SessionKey, Role)>,
    /// When the last call or loop of this process ended.
    last_end: Option<Nanos>,
    /// Loads that had their first call.
    begun: BTreeSet<u32>,
    references: Vec<String>,
    times: Vec<String>,
}

impl<'a> Walk<'a> {
    fn over(lines: &'a [Line]) -> Self {
        let mut walk = Self::default();
        for line in lines {
            match line {
                Line::Header(_) | Line::Imported(_) | Line::Stated(_) | Line::Decision(_) | Line::Finished(_) => {}
                Line::Opened(_) => walk.opens(),
                Line::Load(load) => walk.loads(load),
                Line::Idle(idle) => walk.idles(idle),
                Line::Reference(reference) => walk.measures(reference),
                Line::Call(call) => walk.calls(call),
                Line::Loop(looped) => walk.loops(looped),
            }
        }
        walk
    }

    fn opens(&mut self) {
        self.processes += 1;
        (self.last, self.last_end) = (None, None);
        for loaded in self.loads.values_mut() {
            loaded.open = false;
        }
    }

    fn loads(&mut self, load: &'a LoadRecord) {
        let (index, expected) = (load.load_index, self.load_lines);
        self.load_lines += 1;
        if index != expected {
            self.references.push(format!("load {index} stands where load {expected} would"));
        }
        let Some(epoch) = self.processes.checked_sub(1) else {
            self.references.push(format!("load {index} was made by no process"));
            return;
        };
        for evicted in &load.evicted {
            if !self.close(evicted) {
                self.references.push(format!("load {index} closes {}, which is not open", name(evicted)));
            }
        }
        self.close(&load.session);
        self.loads.insert(index, Loaded { load, epoch, open: load.status.is_ok() });
    }

    /// Notes that a session is gone. Whether it was open.
    fn close(&mut self, session: &SessionKey) -> bool {
        let mut open = self.loads.values_mut().filter(|loaded| loaded.open && loaded.load.session == *session);
        open.next().is_some_and(|loaded| {
            loaded.open = false;
            true
        })
    }

    fn measures(&mut self, reference: &ReferenceRecord) {
        let (index, expected) = (reference.reference_index, self.reference_lines);
        self.reference_lines += 1;
        if index != expected {
            self.references.push(format!("reference {index} stands where reference {expected} would"));
        }
        if reference.epoch.checked_add(1) != Some(self.processes) {
            self.references.push(format!("reference {index} belongs to process {}", reference.epoch));
        }
        let (begin, end) = (reference.begin_ns, reference.end_ns);
        if end < begin || self.last_end.is_some_and(|last| begin < last) {
            self.times
                .push(format!("reference {index}: it ends before it begins, or begins before the call before it ends"));
        }
        let whole = |rate: &f64| rate.is_finite() && *rate > 0.0;
        if !reference.speeds.iter().all(|speed| speed.threads > 0 && speed.per_second.iter().all(whole)) {
            self.times.push(format!("reference {index}: a speed is not positive"));
        }
    }

    fn idles(&mut self, idle: &IdleRecord) {
        if let Some(index) = idle.load_index.filter(|index| !self.loads.contains_key(index)) {
            self.references.push(format!("an idle stretch follows load {index}, which there is not"));
        }
        if idle.epoch.checked_add(1) != Some(self.processes) {
            self.references.push(format!("an idle stretch belongs to process {}", idle.epoch));
        }
    }

    fn calls(&mut self, call: &'a CallRecord) {
        let id = &call.call_id;
        if call.call_idx != self.call_lines {
            self.references.push(format!("{id}: call {}, expected {}", call.call_idx, self.call_lines));
        }
        self.call_lines += 1;
        if let Some(why) = self.misplaced(call.epoch, call.load_index, &call.session) {
            self.references.push(format!("{id}: {why}"));
        }
        if let Some(why) = self.out_of_time(call) {
            self.times.push(format!("{id}: {why}"));
        }
        if let Some(why) = self.not_rewarmed(call) {
            self.times.push(format!("{id}: {why}"));
        }
        self.begun.insert(call.load_index);
        self.last = Some((&*call.session, call.role));
        self.last_end = Some(call.begin_ns + call.total_wall_ns);
        if call.session_lost {
            self.close(&call.session);
        }
    }

    fn loops(&mut self, looped: &'a LoopRecord) {
        if let Some(why) = self.misplaced(looped.epoch, looped.load_index, &looped.session) {
            self.references.push(format!("{}: {why}", looped.loop_id));
        }
        self.last_end = Some(looped.end_ns);
        if looped.session_lost {
            self.close(&looped.session);
        }
    }

    /// Why a line cannot belong to this process and this load.
    fn misplaced(&self, epoch: u32, load_index: u32, session: &SessionKey) -> Option<String> {
        if epoch.checked_add(1) != Some(self.processes) {
            return Some(format!("belongs to process {epoch}, and {} have begun", self.processes));
        }
        let Some(loaded) = self.loads.get(&load_index) else {
            return Some(format!("belongs to load {load_index}, which there is not"));
        };
        if loaded.load.session != *session {
            return Some(format!("belongs to load {load_index}, which is of {}", name(&loaded.load.session)));
        }
        if loaded.epoch != epoch || !loaded.open {
            return Some(format!("belongs to load {load_index}, which was not open"));
        }
        None
    }

    /// How the times of a call contradict those of the lines before it.
    fn out_of_time(&self, call: &CallRecord) -> Option<String> {
        let begin = call.begin_ns;
        if let Some(last) = self.last_end.filter(|&last| begin < last) {
            return Some(format!("begins {} before what came before it has ended", last.since(begin)));
        }
        let rested = self.last_end.map(|last| begin.since(last));
        if call.since_last_call_ns != rested {
            let told = |time: Option<Nanos>| time.map_or_else(|| "none".to_owned(), |time| time.to_string());
            return Some(format!(
                "{} since the last call, and {} by the clock",
                told(call.since_last_call_ns),
                told(rested)
            ));
        }
        let loaded = self.loads.get(&call.load_index)?;
        let since_load = begin.since(loaded.load.begin_ns);
        (call.session_age_ns > since_load)
            .then(|| format!("its session is {} old, and its load began {since_load} before", call.session_age_ns))
    }

    /// Whether a timed call came without the short call that the order demands before it.
    fn not_rewarmed(&self, call: &CallRecord) -> Option<String> {
        let (session, role) = self.last.filter(|_| call.role == Role::Timed)?;
        if call.session != *session {
            return Some(format!("is timed right after a call of {}", name(session)));
        }
        let idle = call.since_last_call_ns.filter(|&idle| role != Role::Rewarm && idle > LONG_IDLE)?;
        Some(format!("is timed after {idle} without a call"))
    }
}

fn name(session: &SessionKey) -> String {
    format!("{} on {}", session.model, session.backend)
}

/// How the steps and tokens of a call that went well contradict its phases and counts.
fn does_not_add_up(call: &CallRecord) -> Option<String> {
    if !call.status.is_ok() {
        return None;
    }
    let steps = call.tokens.decode_steps_timed;
    let made = match call.procedure {
        Procedure::Prefill => 1,
        Procedure::PrefillDecode => steps.saturating_add(1),
        Procedure::Uncached => steps,
    };
    if !call.token_ids.is_empty() && call.token_ids.len() != made as usize {
        return Some(format!("{} token ids, expected {made}", call.token_ids.len()));
    }
    let (least, most) = (u64::from(steps) * u64::from(call.batch), u64::from(made) * u64::from(call.batch));
    if let Some(new) = call.tokens.new_tokens.filter(|&new| !(least..=most).contains(&u64::from(new))) {
        return Some(format!("{new} new tokens, expected {least} to {most}"));
    }
    let decode = call.spans.iter().find(|span| span.phase != Phase::Prefill)?;
    if call.step_ns.is_empty() {
        return None;
    }
    if call.step_ns.len() != steps as usize {
        return Some(format!("{} times of steps, {steps} steps timed", call.step_ns.len()));
    }
    let all = call.step_ns.total();
    let (length, slack) = (decode.duration(), decode.uncertainty_ns + decode.uncertainty_ns);
    let unexplained = Nanos::from_ms(UNEXPLAINED.0 * length.as_ms()).max(UNEXPLAINED.1) + slack;
    let apart = all > length + slack || length > all + unexplained;
    apart.then(|| format!("its steps take {all}, and {} takes {length}", decode.phase))
}

/// Times that no call can have.
fn impossible(call: &CallRecord, plan: &Plan, cores: u32) -> Option<String> {
    let wall = call.total_wall_ns;
    if wall > plan.timeout_ns + GRACE {
        return Some(format!("took {wall}, with a timeout of {}", plan.timeout_ns));
    }
    let most = Nanos(wall.0.saturating_mul(u64::from(cores))) + PROCESSOR_SLACK;
    let used = call.client_cpu_ns.filter(|&used| used > most)?;
    Some(format!("used {used} of processor time in {wall} on {cores} processors"))
}

/// How the shares of the processors beside a call add up to more than there is. Time that the hypervisor took is counted
/// apart, for some kernels charge it to the program that it was taken from.
fn overused(call: &CallRecord) -> Option<String> {
    let beside = &call.beside;
    let (foreign, ours) = (beside.foreign_cpu.unwrap_or(0.0), beside.ours_cpu.unwrap_or(0.0));
    let steal = beside.steal.unwrap_or(0.0);
    let most = 1.0 + SHARE_RESOLUTION;
    if foreign + ours > most {
        return Some(format!("other programs used {foreign:.2} of the processors, and ours {ours:.2}"));
    }
    (foreign + steal > most)
        .then(|| format!("other programs used {foreign:.2} of the processors, and the hypervisor {steal:.2}"))
}

/// Claims of loads and calls that their evidence does not support.
fn unsupported(recording: &Recording) -> Vec<String> {
    let mut problems = Vec::new();
    for load in recording.loads().filter(|load| load.status.is_ok()) {
        problems.extend(contradiction(&load.attribution).map(|why| format!("load {}: {why}", load.load_index)));
    }
    // Calls share their attribution: what was just looked at says the same.
    let mut last: Option<(&Attribution, Option<String>)> = None;
    for call in recording.calls().filter(|call| call.status.is_ok()) {
        let claim = &*call.attribution;
        let known = last.take_if(|(known, _)| ptr::eq(*known, claim));
        let (_, why) = last.insert(known.unwrap_or_else(|| (claim, contradiction(claim))));
        problems.extend(why.as_ref().map(|why| format!("{}: {why}", call.call_id)));
    }
    problems
}

/// Evidence by node placement begins so, with the provider after it.
const NODES: &str = "nodes.";

/// How evidence contradicts what it stands for. A claim without evidence is none, and no contradiction.
fn contradiction(claim: &Attribution) -> Option<String> {
    let actual = claim.actual.as_deref()?;
    let evidence = &claim.evidence;
    let placed = evidence.shown.get(&format!("{NODES}{actual}")).is_some_and(|count| count != "0");
    let by_nodes = evidence.shown.keys().any(|key| key.starts_with(NODES));
    if by_nodes && !placed {
        return Some(format!("{actual} is said to have run, and no node was placed there"));
    }
    if let Some(elsewhere) = &evidence.off_provider_ops {
        return Some(format!("{actual} is said to have run, and {elsewhere} ran elsewhere"));
    }
    let told = evidence.device.as_ref()?;
    (device_of(told) != claim.device()).then(|| format!("{actual} is said to have run, and the device is {told}"))
}

/// How the last line of a finished run contradicts the others.
fn miscounted(recording: &Recording, plan: &Plan) -> Vec<String> {
    let Some(Line::Finished(told)) = recording.lines.last() else { return Vec::new() };
    let is_again = |call: &&CallRecord| call.is_made_again(plan.retries());
    let counted = |calls: usize| u32::try_from(calls).unwrap_or(u32::MAX);
    let found = Finished {
        calls: counted(recording.calls().count() + recording.imported().count()),
        degraded: counted(
            recording.calls().filter(|call| !call.status.went_well() && !is_again(call)).count()
                + recording.imported().filter(|call| !call.status.is_ok()).count(),
        ),
        made_again: counted(recording.calls().filter(is_again).count()),
    };
    let pairs = [
        ("calls", told.calls, found.calls),
        ("degraded calls", told.degraded, found.degraded),
        ("calls made again", told.made_again, found.made_again),
    ];
    pairs
        .into_iter()
        .filter(|(_, told, found)| told != found)
        .map(|(what, told, found)| format!("{told} {what}, {found} are there"))
        .collect()
}
