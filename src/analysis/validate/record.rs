//! Whether the record says what the plan asks for, and does not contradict itself.

use std::collections::{HashMap, HashSet};

use crate::record::given_up;
use crate::record::manifest::Manifest;
use crate::record::plan::{Cell, CellId, Plan};
use crate::record::{CallRecord, Decision, InVain, Line, Opened, Rule};
use crate::stats::location::NEVER_BEFORE;
use crate::stats::moderated::FEWEST_SESSIONS;
use crate::store::Recording;
use crate::terms::{Degraded, Division, Finish, Flag, Phase, Procedure, Repetitions, Role};
use crate::units::Nanos;

use super::check::Check;

/// The checks, in order.
pub(super) const NAMES: [&str; 12] = [
    "call ids are unique",
    "calls belong to the plan",
    "timed calls are numbered without gaps",
    "tries are in order and within the limit",
    "repetitions follow the rule",
    "warmups come before timed calls",
    "phases lie inside the call, in order",
    "tokens are as asked",
    "figures are in range",
    "what counts as compiled ran compiled",
    "weights are the manifest's",
    ONE_STACK,
];

/// Of every run, imported or not.
pub(super) const ONE_STACK: &str = "one stack throughout";

/// How a call that counts was not compiled though a compiler was asked for.
fn uncompiled(_: &Run<'_>, call: &CallRecord) -> Option<String> {
    let asked = call.compile.iter().filter(|evidence| evidence.compiles() && call.status.is_ok());
    asked.filter_map(|evidence| evidence.complaint()).reduce(|first, next| format!("{first}, {next}"))
}

/// What the checks look at.
struct Run<'a> {
    recording: &'a Recording,
    plan: &'a Plan,
    manifest: &'a Manifest,
    cells: HashMap<&'a str, &'a Cell>,
}

/// All of [`NAMES`].
pub(super) fn checks(recording: &Recording, plan: &Plan, manifest: &Manifest) -> Vec<Check> {
    let cells = plan.cells.iter().map(|cell| (cell.id.0.as_str(), cell)).collect();
    let run = Run { recording, plan, manifest, cells };
    let calls = recording.calls().count();
    let [unique, known, numbered, tried, repeated, warmed, phases, tokens, range, compiled, weights, stack] = NAMES;
    let good = |what: &str| format!("{calls} calls{what}");
    vec![
        Check::of(unique, &run.repeated_ids(), good("")),
        Check::of(known, &run.of_calls(foreign), good("")),
        Check::of(numbered, &run.gaps(), good("")),
        Check::of(tried, &run.tries(), format!("{} calls made again", run.again())),
        if recording.finished() {
            Check::of(repeated, &run.repetitions(), format!("{} cells", plan.cells.len()))
        } else {
            Check::skip(repeated, "the run is not finished; phasebench run --resume goes on with it")
        },
        Check::of(warmed, &run.unwarmed(), good("")),
        Check::of(phases, &run.of_calls(misplaced), good("")),
        Check::of(tokens, &run.of_calls(wrong_tokens), good(", degraded ones aside")),
        Check::of(range, &run.of_calls(out_of_range), good("")),
        Check::of(compiled, &run.of_calls(uncompiled), good(", degraded ones aside")),
        Check::of(weights, &run.other_weights(), format!("{} models", manifest.models.len())),
        Check::of(stack, &run.other_stacks(), format!("{} processes", manifest.epochs.len())),
    ]
}

impl Run<'_> {
    /// What is wrong with each call by itself.
    fn of_calls(&self, problem: fn(&Self, &CallRecord) -> Option<String>) -> Vec<String> {
        let of_call = |call: &CallRecord| problem(self, call).map(|why| format!("{}: {why}", call.call_id));
        self.recording.calls().filter_map(of_call).collect()
    }

    fn repeated_ids(&self) -> Vec<String> {
        let mut seen = HashSet::with_capacity(self.recording.calls().count());
        let again = self.recording.calls().filter(|call| !seen.insert(call.call_id.as_str()));
        again.map(|call| format!("{} is recorded twice", call.call_id)).collect()
    }

    /// Timed calls of every cell must be 0, 1, 2, … in the record's order; the tries of one share its number.
    fn gaps(&self) -> Vec<String> {
        let mut next: HashMap<&str, u32> = HashMap::new();
        let mut problems = Vec::new();
        for call in self.timed() {
            let next = next.entry(call.cell_id.0.as_str()).or_default();
            let expected = next.saturating_sub(u32::from(call.attempt > 0));
            if call.index != expected {
                problems.push(format!("{}: index {}, expected {expected}", call.call_id, call.index));
            }
            *next = call.index.saturating_add(1);
        }
        problems
    }

    /// Whether a call ended early, or was disturbed, and is made again.
    fn made_again(&self, call: &CallRecord) -> bool {
        call.is_made_again(self.plan.retries())
    }

    fn again(&self) -> usize {
        self.timed().filter(|call| self.made_again(call)).count()
    }

    /// Another try follows a call that ended early or was disturbed while the plan has retries left, and no other call: so
    /// exactly one try counts, and every other has its reason.
    fn tries(&self) -> Vec<String> {
        let (early, disturbed) = (self.plan.early_stop.retries, self.plan.disturbed.retry);
        let planned = match disturbed {
            0 => format!("with {early} retries planned"),
            _ => format!("with {early} retries of early stops and {disturbed} of disturbed calls planned"),
        };
        let mut last: HashMap<&str, &CallRecord> = HashMap::new();
        let mut in_vain = InVain::new(self.plan.disturbed);
        let mut problems = Vec::new();
        for call in self.recording.calls() {
            let (id, attempt) = (&call.call_id, call.attempt);
            if call.role != Role::Timed {
                problems.extend((attempt > 0).then(|| format!("{id}: try {attempt} of a call that is not timed")));
                continue;
            }
            let before = last.insert(call.cell_id.0.as_str(), call);
            let expected =
                before.filter(|before| self.made_again(before)).map_or(0, |before| before.attempt.saturating_add(1));
            if attempt != expected {
                problems.push(format!("{id}: try {attempt}, expected {expected}, {planned}"));
            }
            let cell = call.cell_id.0.as_str();
            if call.in_vain != in_vain.before(&cell) {
                let told = |row: Option<u32>| row.map_or("none".to_owned(), |row| row.to_string());
                let found = told(in_vain.before(&cell));
                let said = told(call.in_vain);
                problems.push(format!("{id}: made once after {said} calls in vain, and {found} come before it"));
            }
            if let Some(disturbed) = call.was_disturbed(self.plan.disturbed).filter(|_| !self.made_again(call)) {
                in_vain.take(cell, disturbed);
            }
        }
        problems
    }

    fn timed(&self) -> impl Iterator<Item = &CallRecord> {
        self.recording.calls().filter(|call| call.role == Role::Timed)
    }

    /// In a finished run every cell has its calls, or a decision that says why not.
    fn repetitions(&self) -> Vec<String> {
        let mut counted: HashMap<&CellId, (usize, usize)> = HashMap::new();
        for call in self.timed().filter(|call| !self.made_again(call)) {
            let (made, good) = counted.entry(&call.cell_id).or_default();
            *made += 1;
            *good += usize::from(call.status.went_well());
        }
        let standing = given_up::standing_by_cell(&self.recording.lines);
        let problem = |cell: &Cell| {
            let (made, good) = counted.get(&cell.id).copied().unwrap_or_default();
            let decisions = standing.get(&cell.id).map_or(&[][..], Vec::as_slice);
            let why = match decisions {
                [] => undecided(self.plan.repetitions, made),
                [decision] => contradicted(self.plan.division(), decision, made, good),
                _ => Some(format!("{} decisions, at most one is allowed", decisions.len())),
            };
            why.map(|why| format!("cell {}: {why}", cell.id))
        };
        self.plan.cells.iter().filter_map(problem).collect()
    }

    /// Before a timed call, the cell must have had its planned warmups on the same load, and the load a cold call.
    fn unwarmed(&self) -> Vec<String> {
        let planned: HashMap<_, u32> = self.plan.sessions.iter().map(|s| (&s.key, s.warmups)).collect();
        let mut warmed: HashMap<(u32, &str), u32> = HashMap::new();
        let mut started = HashSet::new();
        let mut problems = Vec::new();
        for call in self.recording.calls() {
            let first = started.insert(call.load_index);
            if first != (call.role == Role::Cold) {
                let which = if first { "first" } else { "later" };
                problems.push(format!("{}: the {which} call of a load has role {}", call.call_id, call.role));
            }
            let made = warmed.entry((call.load_index, call.cell_id.0.as_str())).or_default();
            match call.role {
                Role::Cold | Role::Warmup => *made += 1,
                Role::Rewarm => {}
                Role::Timed => {
                    let needed = planned.get(&*call.session).copied().unwrap_or(0);
                    if *made < needed {
                        problems.push(format!("{}: after {made} warmups of {needed}", call.call_id));
                    }
                }
            }
        }
        problems
    }

    fn other_weights(&self) -> Vec<String> {
        let problem = |call: &CallRecord| {
            let (id, model, found) = (&call.call_id, &call.session.model, &*call.weights_id);
            let Some(entry) = self.manifest.models.get(model) else {
                return Some(format!("{id}: the manifest has no model `{model}`"));
            };
            let expected = entry.weights_of(&call.session.backend);
            (found != expected).then(|| format!("{id}: weights {found:.12}, the manifest has {expected:.12}"))
        };
        self.recording.calls().filter_map(problem).collect()
    }

    fn other_stacks(&self) -> Vec<String> {
        let opened: Vec<&Opened> = self
            .recording
            .lines
            .iter()
            .filter_map(|line| match line {
                Line::Opened(opened) => Some(&**opened),
                _ => None,
            })
            .collect();
        let expected = &self.manifest.stack_sha256;
        let other = |epoch: u32, found: &str| {
            (found != expected).then(|| format!("process {epoch} found stack {found:.12}, the first {expected:.12}"))
        };
        let mut problems: Vec<String> = opened.iter().filter_map(|o| other(o.epoch, &o.stack_sha256)).collect();
        problems.extend(self.manifest.epochs.iter().zip(0..).filter_map(|(e, epoch)| other(epoch, &e.stack_sha256)));
        let out_of_order = opened.iter().zip(0..).find(|(opened, epoch)| opened.epoch != *epoch);
        problems.extend(out_of_order.map(|(opened, epoch)| format!("process {}, expected {epoch}", opened.epoch)));
        // The manifest is written first: a process killed right after it has left no line.
        if opened.len() > self.manifest.epochs.len() {
            problems.push(format!(
                "{} processes in the record, {} in the manifest",
                opened.len(),
                self.manifest.epochs.len()
            ));
        }
        problems
    }
}

fn undecided(rule: Repetitions, made: usize) -> Option<String> {
    match rule {
        Repetitions::Fixed(n) if made == n as usize => None,
        Repetitions::Fixed(n) => Some(format!("{made} timed calls of {n}, and no decision that says why")),
        Repetitions::Adaptive { .. } => Some(format!("{made} timed calls and no decision that stopped it")),
    }
}

fn contradicted(rule: Division, decision: &Decision, made: usize, good: usize) -> Option<String> {
    if decision.calls_ok as usize != good {
        return Some(format!("decided on {} good calls, {good} are recorded", decision.calls_ok));
    }
    match (decision.rule, rule.repetitions) {
        (Rule::LoadFailed | Rule::SessionLost, _) => None,
        (_, Repetitions::Fixed(n)) => Some(format!("stopped by an adaptive rule, but always {n} calls are planned")),
        (Rule::MaxCalls, Repetitions::Adaptive { .. }) => {
            let max = rule.most_calls();
            (made != max as usize).then(|| format!("stopped at the most calls, {max}, after {made}"))
        }
        (Rule::NarrowEnough, Repetitions::Adaptive { min, until_relative_ci, .. }) => {
            // From sessions, a cell may be narrow where some of their calls are no good.
            let sessions = rule.sessions.is_several();
            let fewest = if sessions { FEWEST_SESSIONS } else { NEVER_BEFORE.max(min as usize) };
            let wide = decision.relative_ci.is_none_or(|width| width > until_relative_ci);
            if good < fewest {
                Some(format!("called narrow after {good} good calls, at least {fewest} are needed"))
            } else {
                wide.then(|| format!("called narrow at {:?}, allowed: {until_relative_ci}", decision.relative_ci))
            }
        }
    }
}

/// A call that is not what its cell says.
fn foreign(run: &Run<'_>, call: &CallRecord) -> Option<String> {
    let Some(cell) = run.cells.get(call.cell_id.0.as_str()) else {
        return Some(format!("cell {} is not in the plan", call.cell_id));
    };
    let same = call.session == cell.session
        && call.scenario == cell.scenario
        && cell.batch == call.batch
        && cell.procedure == call.procedure;
    if !same {
        return Some("backend, model, scenario, batch or procedure is not its cell's".to_owned());
    }
    otherwise_slowed(run, call)
}

/// A call that was slowed on purpose and not planned so, or the other way round.
fn otherwise_slowed(run: &Run<'_>, call: &CallRecord) -> Option<String> {
    let planned = run.plan.slowdown_of(&call.cell_id, call.session_index);
    let planned = planned.filter(|_| call.role == Role::Timed && call.status.went_well());
    let made = call.planted.as_ref().map(|planted| planted.factor);
    let labelled = call.status.degraded() == Some(Degraded::Planted);
    (planned != made || labelled != made.is_some()).then(|| {
        let told = |factor: Option<f64>| factor.map_or_else(|| "not".to_owned(), |factor| format!("by {factor}"));
        format!("slowed {}, planned: {}; labelled as {}", told(made), told(planned), call.status)
    })
}

fn misplaced(_: &Run<'_>, call: &CallRecord) -> Option<String> {
    if !call.status.went_well() {
        return None;
    }
    let mut last = call.begin_ns;
    for span in &call.spans {
        if span.end_ns < span.begin_ns {
            return Some(format!("{} ends before it begins", span.phase));
        }
        if span.begin_ns + span.uncertainty_ns < last {
            return Some(format!("{} begins before what comes before it has ended", span.phase));
        }
        last = span.end_ns;
    }
    let slack = call.spans.last().map(|span| span.uncertainty_ns).unwrap_or_default();
    if last > call.begin_ns + call.total_wall_ns + slack {
        return Some("the last phase ends after the call".to_owned());
    }
    let expected: &[Phase] = match call.procedure {
        Procedure::Prefill => &[Phase::Prefill],
        Procedure::PrefillDecode => &[Phase::Prefill, Phase::KvDecode],
        Procedure::Uncached => &[Phase::GenerateUncached],
    };
    let found: Vec<Phase> = call.spans.iter().map(|span| span.phase).collect();
    (found != expected).then(|| format!("phases {found:?}, expected {expected:?}"))
}

fn wrong_tokens(run: &Run<'_>, call: &CallRecord) -> Option<String> {
    if !call.status.went_well() {
        return None;
    }
    let counts = *call.tokens;
    let asked = run.cells.get(call.cell_id.0.as_str()).map_or(counts.steps_requested, |cell| cell.gen_tokens);
    if counts.decode_steps_timed != counts.steps_requested && !scaled(run, call) {
        return Some(format!("{} decode steps timed of {}", counts.decode_steps_timed, counts.steps_requested));
    }
    // A rewarm call makes fewer steps on purpose.
    if call.role != Role::Rewarm && counts.steps_requested != asked {
        return Some(format!("{} decode steps asked for, the cell has {asked}", counts.steps_requested));
    }
    if let (Some(sent), Some(evaluated)) = (counts.prompt_sent, counts.prompt_evaluated)
        && sent != evaluated.saturating_add(counts.prompt_cached.unwrap_or(0))
    {
        return Some(format!("{sent} prompt tokens sent, {evaluated} evaluated"));
    }
    if let Some(sent) = counts.prompt_sent.filter(|&sent| sent > counts.prompt_padded.saturating_mul(call.batch)) {
        return Some(format!("{sent} prompt tokens in {} rows of {}", call.batch, counts.prompt_padded));
    }
    if let Some(stray) = stray_token(run, call) {
        return Some(stray);
    }
    let requested = counts.prompt_requested.filter(|&requested| requested != counts.prompt_padded);
    requested.map(|requested| format!("{requested} prompt tokens asked for, rows have {}", counts.prompt_padded))
}

/// A new token that the model does not have.
fn stray_token(run: &Run<'_>, call: &CallRecord) -> Option<String> {
    let vocabulary = run.manifest.models.get(&call.session.model)?.architecture.as_ref()?.vocab;
    let id = call.token_ids.first_beyond(vocabulary)?;
    Some(format!("a new token has the id {id}, and the model knows {vocabulary} tokens"))
}

/// Whether a call that counts made fewer steps than asked as the plan allows.
fn scaled(run: &Run<'_>, call: &CallRecord) -> bool {
    let (steps, asked) = (call.tokens.decode_steps_timed, call.tokens.steps_requested);
    let rule = run.plan.early_stop;
    steps < asked && call.finish == Some(Finish::Stop) && rule.scales(call.procedure, call.role, call.attempt, steps)
}

fn out_of_range(run: &Run<'_>, call: &CallRecord) -> Option<String> {
    let beside = &call.beside;
    for (flag, told) in [(Flag::CpuQuota, beside.held_back_ns), (Flag::Frozen, beside.frozen_ns)] {
        let happened = told.is_some_and(|time| time > Nanos(0));
        if happened != call.flags.contains(&flag) {
            let found = told.map_or_else(|| "no time".to_owned(), |time| time.to_string());
            return Some(format!("flag {flag} does not go with {found} of it"));
        }
    }
    if call.waited.is_some() && run.plan.disturbed.wait_quiet_ns == Nanos(0) {
        return Some("a quiet machine was waited for, which the plan does not ask for".to_owned());
    }
    let shares = [("foreign_cpu", beside.foreign_cpu), ("ours_cpu", beside.ours_cpu), ("steal", beside.steal)];
    let amounts = [("load_1min", beside.load_1min), ("cpu_mhz", beside.cpu_mhz)];
    let powers = call.spans.iter().map(|span| ("power_mean_w", span.power_mean_w));
    for (name, share) in shares {
        if let Some(share) = share.filter(|share| !(0.0..=1.0).contains(share)) {
            return Some(format!("{name} is {share}"));
        }
    }
    for (name, amount) in amounts.into_iter().chain(powers) {
        if let Some(amount) = amount.filter(|amount| !amount.is_finite() || *amount < 0.0) {
            return Some(format!("{name} is {amount}"));
        }
    }
    let outside = call.outside_engine_ns.filter(|&outside| outside > call.total_wall_ns)?;
    Some(format!("{outside} outside the engine in a call of {}", call.total_wall_ns))
}
