//! `phasebench plan`: what a scenario file would measure, in which order, and roughly how long it takes.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use serde_json::{Value, json};

use crate::cli::PlanArgs;
use crate::commands::CommandError;
use crate::commands::columns::aligned;
use crate::commands::scenario::{self, Loaded, Purpose};
use crate::exit::Exit;
use crate::plan::{self, CallCounts, TimeRange};
use crate::record::plan::{Cell, Plan, ReferencePlan, SkippedCell};
use crate::run::power::looping;
use crate::scenario::Scenario;
use crate::schedule::{self, Task};
use crate::terms::{Disturbed, Procedure, Role};
use crate::units::{Nanos, significant};

/// How many tasks of the order are printed for people.
const HEAD: usize = 12;
/// Digits of the plan's hash that are printed for people.
const HASH_DIGITS: usize = 12;

/// Prints the plan; runs nothing.
///
/// # Errors
/// A bad scenario file or filter, a model that cannot be read, standard output refuses.
pub fn execute(args: &PlanArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let loaded = scenario::load(&args.scenario, &args.only, Purpose::Look)?;
    super::processors::warn(&loaded.file);
    scenario::warn_of_weights(&loaded);
    let sha256 = plan::plan_sha256(&loaded.plan)?;
    if args.json {
        writeln!(out, "{:#}", as_json(&loaded, &sha256)?)?;
        return Ok(Exit::Good);
    }
    matrix(&loaded, out)?;
    order(&loaded.plan, out)?;
    skips(&loaded.plan, out)?;
    totals(&loaded, out)?;
    kept(&loaded, out)?;
    writeln!(out, "plan {}", &sha256[..HASH_DIGITS.min(sha256.len())])?;
    Ok(Exit::Good)
}

/// One table per backend: models down, scenarios across, in each place what is timed.
fn matrix(loaded: &Loaded, out: &mut dyn Write) -> Result<(), CommandError> {
    let Loaded { file, plan, facts, .. } = loaded;
    writeln!(out, "{}: order {}, seed {}", plan.name, snake(&plan.order)?, plan.seed)?;
    let places = Places::of(plan);
    for backend in &file.backends {
        let mut header = vec![format!("{} ({})", backend.name, backend.engine.limits().kind()), "params".to_owned()];
        header.extend(file.scenarios.iter().map(title));
        let mut rows = vec![header];
        for model in facts {
            let mut row = vec![model.name.clone(), model.params.map_or_else(|| "–".to_owned(), millions)];
            row.extend(
                file.scenarios.iter().map(|scenario| places.timed((&backend.name, &model.name, &scenario.name))),
            );
            rows.push(row);
        }
        writeln!(out)?;
        for line in aligned(&rows) {
            writeln!(out, "{line}")?;
        }
    }
    writeln!(out, "\np: prefill; d: decode steps after it; u: uncached steps; ×: rows decoded together")?;
    Ok(())
}

/// A scenario's name, with its rows where they are several.
fn title(scenario: &Scenario) -> String {
    match scenario.batch {
        1 => scenario.name.clone(),
        rows => format!("{} ×{rows}", scenario.name),
    }
}

fn millions(params: u64) -> String {
    format!("{} M", significant(params as f64 / 1e6, 3))
}

/// Backend, model and scenario.
type Place<'a> = (&'a str, &'a str, &'a str);

/// Cells of a plan by the place in the matrix that they are in.
struct Places<'a> {
    cells: HashMap<Place<'a>, Vec<&'a Cell>>,
    skipped: HashMap<Place<'a>, Vec<&'a SkippedCell>>,
}

impl<'a> Places<'a> {
    fn of(plan: &'a Plan) -> Self {
        let place = |cell: &'a Cell| -> Place<'a> { (&cell.session.backend, &cell.session.model, &cell.scenario) };
        let (mut cells, mut skipped) = (HashMap::new(), HashMap::new());
        for cell in &plan.cells {
            cells.entry(place(cell)).or_insert_with(Vec::new).push(cell);
        }
        for left_out in &plan.skipped {
            skipped.entry(place(&left_out.cell)).or_insert_with(Vec::new).push(left_out);
        }
        Self { cells, skipped }
    }

    /// What is timed of one scenario on one model and backend.
    fn timed(&self, place: Place<'_>) -> String {
        let cells = self.cells.get(&place).into_iter().flatten().copied();
        timed(cells, self.skipped.get(&place).into_iter().flatten().copied())
    }
}

/// `p d8,16 u8,16`, or the rule that left all of it out.
fn timed<'a>(cells: impl Iterator<Item = &'a Cell>, skipped: impl Iterator<Item = &'a SkippedCell>) -> String {
    let (mut prefill, mut decode, mut uncached) = (false, Vec::new(), Vec::new());
    for cell in cells {
        match cell.procedure {
            Procedure::Prefill => prefill = true,
            Procedure::PrefillDecode => {
                prefill = true;
                decode.push(cell.gen_tokens.to_string());
            }
            Procedure::Uncached => uncached.push(cell.gen_tokens.to_string()),
        }
    }
    let mut parts = Vec::new();
    if prefill {
        parts.push("p".to_owned());
    }
    for (letter, steps) in [("d", decode), ("u", uncached)] {
        if !steps.is_empty() {
            parts.push(format!("{letter}{}", steps.join(",")));
        }
    }
    if parts.is_empty() {
        let rules: Vec<&str> = skipped.map(|s| s.rule.as_str()).collect();
        return rules.first().map_or_else(|| "-".to_owned(), |rule| format!("({rule})"));
    }
    parts.join(" ")
}

/// The beginning of the order, as it goes if every call succeeds.
fn order(plan: &Plan, out: &mut dyn Write) -> Result<(), CommandError> {
    let tasks: Vec<String> = schedule::preview(plan).iter().filter_map(|task| described(plan, task)).collect();
    if tasks.is_empty() {
        return Ok(());
    }
    writeln!(out, "\norder")?;
    for task in tasks.iter().take(HEAD) {
        writeln!(out, "  {task}")?;
    }
    if tasks.len() > HEAD {
        writeln!(out, "  … and {} more", tasks.len() - HEAD)?;
    }
    Ok(())
}

/// A task in words. `None`: it does nothing to an engine.
fn described(plan: &Plan, task: &Task) -> Option<String> {
    match task {
        Task::Load(load) => {
            let key = &plan.sessions.get(load.session)?.key;
            let number = plan.session_count.is_several().then(|| format!(", session {}", load.session_index + 1));
            Some(format!("load    {} {}{}", key.backend, key.model, number.unwrap_or_default()))
        }
        Task::Call(call) => {
            let cell = plan.cells.get(call.cell)?;
            let steps = match cell.procedure {
                Procedure::Prefill => "prefill".to_owned(),
                Procedure::PrefillDecode => format!("prefill + {} steps", cell.gen_tokens),
                Procedure::Uncached => format!("{} uncached steps", cell.gen_tokens),
            };
            let session = &cell.session;
            Some(format!("{:<7} {} {} {}, {steps}", call.role, session.backend, session.model, cell.scenario))
        }
        // What is repeated for a power sensor depends on how long the calls take.
        Task::Loop(_) | Task::Reference(_) | Task::Stop(_) => None,
    }
}

/// Skipped cells by rule and reason.
fn skips(plan: &Plan, out: &mut dyn Write) -> Result<(), CommandError> {
    let mut groups: BTreeMap<(&str, &str), Vec<&Cell>> = BTreeMap::new();
    for skipped in &plan.skipped {
        groups.entry((&skipped.rule, &skipped.reason)).or_default().push(&skipped.cell);
    }
    if !groups.is_empty() {
        writeln!(out, "\nskipped")?;
    }
    for ((rule, reason), cells) in groups {
        let first = cells.first().map(|c| format!("{} {} {}", c.session.backend, c.session.model, c.scenario));
        let more = if cells.len() > 1 { " and others" } else { "" };
        writeln!(
            out,
            "  {} by rule {rule}: {reason} [{}{more}]",
            counted(cells.len() as u64, "cell"),
            first.unwrap_or_default()
        )?;
    }
    Ok(())
}

fn totals(loaded: &Loaded, out: &mut dyn Write) -> Result<(), CommandError> {
    let Loaded { file, plan, facts, .. } = loaded;
    let work = schedule::work(plan);
    let several = plan.session_count.is_several();
    writeln!(
        out,
        "\n{} in {}{}, {} skipped; {}{}",
        counted(plan.cells.len() as u64, "cell"),
        counted(plan.sessions.len() as u64, if several { "pair" } else { "session" }),
        if several { sessions_each(plan) } else { String::new() },
        plan.skipped.len(),
        amount(work.0.counts(), work.1.counts()),
        tries(loaded),
    )?;
    let time = plan::time_range(plan, file, facts, &work);
    if plan.cells.is_empty() {
        writeln!(out, "estimate: there is nothing to measure")?;
        return Ok(());
    }
    if time.max == Nanos(0) {
        writeln!(out, "estimate: next to nothing, on a virtual clock")?;
        return Ok(());
    }
    let range = if time.min == time.max { time.max.to_string() } else { format!("{} to {}", time.min, time.max) };
    writeln!(out, "estimate: about {range} on an idle machine of two cores; making the models comes on top, once")?;
    if let Some(machine) = machine(plan, time, [work.0.counts().loads, work.1.counts().loads]) {
        writeln!(out, "  {machine}")?;
    }
    if let Some(busy) = busy(plan) {
        writeln!(out, "  {busy}")?;
    }
    if let Some(telemetry) = &file.telemetry {
        let loads = work.0.counts().loads;
        // Before, after, and after each load.
        let idle = Nanos::from(telemetry.idle.saturating_mul(u32::try_from(loads + 2).unwrap_or(u32::MAX)));
        let procedures: usize = plan.cells.iter().map(|cell| cell.procedure.modes().len().min(2)).sum();
        let looped =
            Nanos::from(looping(telemetry.looped).saturating_mul(u32::try_from(procedures).unwrap_or(u32::MAX)));
        writeln!(
            out,
            "  with a power sensor {idle} of idle stretches, and up to {looped} of repetitions for it, where phases are short"
        )?;
    }
    Ok(())
}

/// What of other files the run keeps, to be decided by.
fn kept(loaded: &Loaded, out: &mut dyn Write) -> Result<(), CommandError> {
    let Loaded { file, plan, .. } = loaded;
    if let Some(named) = &file.workload {
        let read = plan.workload.as_ref().and_then(|workload| workload.counted.as_ref());
        let lengths = read.map(|of| format!(": {} in {} rows", counted(of.lengths.len() as u64, "length"), of.rows));
        writeln!(out, "workload {}, kept in the run{}", named.path.display(), lengths.unwrap_or_default())?;
    }
    if let Some(named) = &file.claims {
        let claims = counted(plan.claims.len() as u64, "claim");
        writeln!(out, "claims {}, kept in the run: {claims}", named.path.display())?;
    }
    Ok(())
}

/// Over how many sessions each pair of backend and model is spread.
fn sessions_each(plan: &Plan) -> String {
    let division = plan.division();
    let (least, most) = (division.fixed(division.fewest_calls()), division.fixed(division.most_calls()));
    let range = match (least.sessions.max, most.sessions.max) {
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least} to {most}"),
    };
    format!(" of backend and model, each loaded afresh in {range} sessions spread over the run")
}

/// Loads and calls of every kind that there is, from fewest to most: `7 loads, 21 warmup and 168 to 630 timed calls`.
fn amount(least: CallCounts, most: CallCounts) -> String {
    let range = |of: fn(CallCounts) -> u64| match (of(least), of(most)) {
        (low, high) if low == high => low.to_string(),
        (low, high) => format!("{low} to {high}"),
    };
    let mut calls = vec![format!("{} warmup", range(|counts| counts.warmup))];
    if most.rewarm > 0 {
        calls.push(format!("{} rewarm", range(|counts| counts.rewarm)));
    }
    let loads = range(|counts| counts.loads);
    let plural = if loads == "1" { "" } else { "s" };
    format!("{loads} load{plural}, {} and {} timed calls", calls.join(", "), range(|counts| counts.timed))
}

/// What calls that end early add to the timed ones, where an engine may end one.
fn tries(loaded: &Loaded) -> String {
    let retries = loaded.plan.early_stop.retries;
    let may = loaded.file.backends.iter().any(|backend| backend.engine.limits().may_stop_early());
    if may && retries > 0 { format!(", and up to {retries} more for each that stops early") } else { String::new() }
}

/// How often the machine itself is measured meanwhile, and what that takes. `None`: never asked for.
fn machine(plan: &Plan, time: TimeRange, loads: [u64; 2]) -> Option<String> {
    let rule = plan.reference.as_ref()?;
    let [least, most] = [rule.count(time.min, loads[0]), rule.count(time.max, loads[1])];
    let share = format!("{} %", significant(rule.share * 100.0, 2));
    if most == 0 {
        return Some(format!("too short to measure the machine's own speed beside it within {share} of the time"));
    }
    let times = if least == most { counted(most, "time") } else { format!("{least} to {most} times") };
    let all = Nanos(most * rule.takes(ReferencePlan::KERNELS.1).0);
    let first = if rule.begins { "first before anything is loaded" } else { "first when that share allows for it" };
    Some(format!("the machine's own speed is measured about {times} meanwhile, {all} in all, {share} at most; {first}"))
}

/// What other programs' load, and whatever else disturbs calls, adds to the estimate. `None`: nothing.
fn busy(plan: &Plan) -> Option<String> {
    let Disturbed { retry, wait_quiet_ns, .. } = plan.disturbed;
    let again = match retry {
        0 => None,
        1 => Some("a disturbed call is made again once, as long as that helps".to_owned()),
        n => Some(format!("a disturbed call is made again up to {n} times, as long as that helps")),
    };
    let wait =
        (wait_quiet_ns > Nanos(0)).then(|| format!("before a timed call up to {wait_quiet_ns} are waited for quiet"));
    let parts: Vec<String> = again.into_iter().chain(wait).collect();
    (!parts.is_empty()).then(|| format!("on a busy machine longer: {}", parts.join(", ")))
}

fn counted(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// An enum's name in files.
fn snake(value: &impl serde::Serialize) -> Result<String, CommandError> {
    Ok(serde_json::to_value(value)?.as_str().unwrap_or_default().to_owned())
}

fn as_json(loaded: &Loaded, sha256: &str) -> Result<Value, CommandError> {
    let plan = &loaded.plan;
    let work = schedule::work(plan);
    let (least, most) = (work.0.counts(), work.1.counts());
    let time = plan::time_range(plan, &loaded.file, &loaded.facts, &work);
    let models: Vec<Value> = loaded
        .facts
        .iter()
        .map(|f| json!({ "name": f.name, "params": f.params, "n_positions": f.n_positions }))
        .collect();
    Ok(json!({
        "plan_sha256": sha256,
        "plan": serde_json::to_value(plan)?,
        "models": models,
        "calls": {
            "loads_min": least.loads, "loads_max": most.loads,
            "warmup_min": least.warmup, "warmup_max": most.warmup,
            "rewarm_min": least.rewarm, "rewarm_max": most.rewarm,
            "timed_min": least.timed, "timed_max": most.timed,
        },
        "estimate": { "min_ms": time.min.as_ms(), "max_ms": time.max.as_ms() },
        "references": plan.reference.as_ref().map(|rule| json!({
            "min": rule.count(time.min, least.loads), "max": rule.count(time.max, most.loads),
            "each_ms": rule.takes(ReferencePlan::KERNELS.1).as_ms(), "begins": rule.begins,
        })),
        "order": schedule::preview(plan).iter().filter_map(|task| ordered(plan, task)).collect::<Vec<_>>(),
    }))
}

/// A task for scripts. `None`: it does nothing to an engine.
fn ordered(plan: &Plan, task: &Task) -> Option<Value> {
    match task {
        Task::Load(load) => {
            let key = &plan.sessions.get(load.session)?.key;
            let (backend, model) = (&key.backend, &key.model);
            Some(json!({ "task": "load", "backend": backend, "model": model, "session_index": load.session_index }))
        }
        Task::Call(call) => {
            let cell = plan.cells.get(call.cell)?;
            let role: Role = call.role;
            Some(json!({ "task": "call", "cell_id": cell.id.0, "role": role.as_str(), "index": call.index }))
        }
        // What is repeated for a power sensor depends on how long the calls take.
        Task::Loop(_) | Task::Reference(_) | Task::Stop(_) => None,
    }
}
