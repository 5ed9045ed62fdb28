//! Idle power, and what power and temperature did over the stages of a run.

use crate::analysis::energy_soak::{STEADY_C, STEADY_POWER, STEADY_S, Stage, is_temperature};
use crate::analysis::{BaselineRow, SoakRow};
use crate::record::IdleWhen;
use crate::report::chart::{self, Quantity, Shade, TraceLine};
use crate::report::document::{Block, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::report::sections::names::counted;
use crate::report::sections::{MOST_ROWS, ReportedRun, strongest};
use crate::terms::energy::IdleKind;
use crate::units::Nanos;

use super::digits::Bounds;
use super::power::{COUNTERS, POWERS, recorded, simulated, slopes};
use crate::analysis::energy::COVERAGE_FACTOR;

/// Most places along a chart of the whole run.
const PLACES: f64 = 240.0;

/// Shortest time that one of them stands for, in seconds.
const SHORTEST_S: f64 = 0.5;

/// Baselines, stages, and pictures of the longest process of the run.
pub(super) fn blocks(run: &ReportedRun<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    if !run.tables.baselines.is_empty() {
        blocks.push(baselines(run));
    }
    let soak = &run.tables.energy_soak;
    if soak.is_empty() {
        return blocks;
    }
    blocks.push(stages(run));
    let longest = soak.iter().max_by_key(|row| row.end_ns.saturating_sub(row.begin_ns));
    let Some(chosen) = longest else { return blocks };
    blocks.push(power(run, chosen));
    blocks.push(temperature(run, chosen));
    blocks
}

/// Idle power before, with each model loaded, and after.
fn baselines(run: &ReportedRun<'_>) -> Block {
    let baselines = &run.tables.baselines;
    let mut sensors: Vec<&str> = baselines.iter().map(|row| row.sensor.as_str()).collect();
    sensors.sort_unstable();
    sensors.dedup();
    let caption = Text::plain(format!("What {} draws when nothing runs: ", sensors.join(", ")))
        .code(IdleKind::IdleBare.as_str())
        .and(" with nothing of ours loaded, ")
        .code(IdleKind::IdleCtx.as_str())
        .and(" with a model resident and quiet. Intervals are of the reading, without the sensor's gain. ")
        .and(drift(run))
        .and("From ")
        .code("baseline.json")
        .and(".");
    Table::of(baselines)
        .words("idle power", |row| format!("{}{}", when(run, row), of_sensor(run, &row.sensor)))
        .words("kind", |row| row.idle.as_ref().map_or(ABSENT, |idle| idle.kind.as_str()))
        .interval("power", "W", "95 %", idle_power)
        .number("against before", "W", |row| match above_before(baselines, row) {
            Some(watts) => format::fixed(watts, 1),
            None => ABSENT.to_owned(),
        })
        .number("over", "s", |row| format::fixed(row.idle.as_ref().map(|idle| idle.seconds), 0))
        .words("usable", usable)
        .captioned(caption)
        .into()
}

fn idle_power(row: &BaselineRow) -> String {
    let Some(idle) = &row.idle else { return ABSENT.to_owned() };
    let half = COVERAGE_FACTOR * idle.u_watts;
    Bounds { value: Some(idle.watts), low: idle.watts - half, high: idle.watts + half }.text()
}

/// Watts more than before the run. `None`: it is that baseline, or one of the two is missing.
fn above_before(baselines: &[BaselineRow], row: &BaselineRow) -> Option<f64> {
    if row.when == IdleWhen::Before {
        return None;
    }
    let same_sensor = baselines.iter().filter(|other| (&other.sensor, other.epoch) == (&row.sensor, row.epoch));
    let before = same_sensor.into_iter().find(|other| other.when == IdleWhen::Before)?;
    Some(row.idle.as_ref()?.watts - before.idle.as_ref()?.watts)
}

fn usable(row: &BaselineRow) -> String {
    let Some(idle) = &row.idle else { return "no: the sensor said too little".to_owned() };
    idle.invalid.as_ref().map_or_else(|| "yes".to_owned(), |why| format!("no: {why}"))
}

/// What tells rows of several sensors apart.
fn of_sensor(run: &ReportedRun<'_>, sensor: &str) -> String {
    let of_baselines = run.tables.baselines.iter().map(|row| &row.sensor);
    let mut sensors = of_baselines.chain(run.tables.energy_soak.iter().map(|row| &row.sensor));
    if sensors.any(|other| other != sensor) { format!(" · {sensor}") } else { String::new() }
}

fn when(run: &ReportedRun<'_>, row: &BaselineRow) -> String {
    let epoch = if run.manifest.epochs.len() > 1 { format!(", process {}", row.epoch) } else { String::new() };
    let name = match (row.when, row.load_index) {
        (IdleWhen::Before, _) => "before the run".to_owned(),
        (IdleWhen::After, _) => "after the run".to_owned(),
        (IdleWhen::Loaded, load) => {
            let model = run.tables.load_breakdown.iter().find(|row| Some(row.load_index) == load);
            model.map_or_else(|| "with a model loaded".to_owned(), |load| format!("{} loaded", load.model))
        }
    };
    format!("{name}{epoch}")
}

/// What of the phases is flagged because idle power moved.
fn drift(run: &ReportedRun<'_>) -> String {
    let flag = crate::terms::Flag::IdleDrift;
    let flagged = run.tables.energy_events.iter().filter(|event| event.flags.contains(flag));
    match flagged.count() {
        0 => String::new(),
        n => format!(
            "It drifted by more than 3\u{a0}W and 3\u{a0}% over the run, so {} of phases carry the flag {flag}. ",
            counted(n, "figure")
        ),
    }
}

/// Power and temperature at the ends of each stage.
fn stages(run: &ReportedRun<'_>) -> Block {
    let soak = &run.tables.energy_soak;
    let longest = strongest(soak, MOST_ROWS, |row| row.end_ns.saturating_sub(row.begin_ns) as f64);
    let shortened = match soak.len() - longest.len() {
        0 => String::new(),
        n => format!(" The longest {MOST_ROWS}; {n} more are in the file."),
    };
    let caption = Text::plain(format!(
        "Heat: each stage of the run, by its first and last 10\u{a0}s. Work is called equilibrated where over its last \
         {STEADY_S:.0}\u{a0}s temperature stayed within ±{STEADY_C:.0}\u{a0}°C and the power of three equal parts within \
         ±{:.1}\u{a0}%; a figure from work that is not holds for a device at that moment.{shortened} From ",
        STEADY_POWER * 100.0
    ))
    .code("analysis/energy_soak.csv")
    .and(".");
    Table::of(longest)
        .words("stage", |row| format!("{}{}", stage_name(row), of_sensor(run, &row.sensor)))
        .number("lasted", "s", |row| format::fixed(Nanos(row.end_ns).since(Nanos(row.begin_ns)).as_secs(), 0))
        .number("power at begin → end", "W", |row| from_to(row.power_begin_w, row.power_end_w))
        .number("°C at begin → end", "", |row| from_to(row.temperature_begin_c, row.temperature_end_c))
        .number("power moved", "", |row| format::percent(row.power_moved))
        .number("°C moved", "", |row| format::fixed(row.temperature_moved_c, 1))
        .words("at its end", |row| match (row.equilibrium, row.why.as_str()) {
            (None, _) => ABSENT.to_owned(),
            (Some(found), "") => found.as_str().to_owned(),
            (Some(found), why) => format!("{}: {why}", found.as_str()),
        })
        .captioned(caption)
        .into()
}

fn from_to(begin: Option<f64>, end: Option<f64>) -> String {
    if begin.is_none() && end.is_none() {
        return ABSENT.to_owned();
    }
    format!("{} → {}", format::fixed(begin, 1), format::fixed(end, 1))
}

fn stage_name(row: &SoakRow) -> String {
    let models = row.models.replace(';', ", ");
    match row.stage {
        Stage::IdleBefore => "idle, nothing loaded".to_owned(),
        Stage::IdleLoaded => format!("idle, {models} loaded"),
        Stage::IdleAfter => "idle, recovery".to_owned(),
        Stage::Calls => format!("calls: {models} · {}", row.scenarios.replace(';', ", ")),
        Stage::Loop => format!("loop: {models} · {}", row.scenarios),
    }
}

/// Power over the whole of a process.
fn power(run: &ReportedRun<'_>, chosen: &SoakRow) -> Block {
    let of_counter = |(register, name): &(&str, &'static str)| {
        let readings = readings(run, chosen, register);
        (*name, slopes(&readings, step(&readings)))
    };
    let counters = COUNTERS.iter().rev().map(of_counter);
    let powers = POWERS.iter().map(|(register, name)| (*name, averaged(&readings(run, chosen, register))));
    // Over a whole run the lines lie on each other, so one is enough: a counter's if there is one, since it misses nothing.
    let first = counters.chain(powers).find(|(_, points)| !points.is_empty());
    let lines = first.map(|(name, points)| TraceLine { name: name.to_owned(), points }).into_iter().collect();
    let caption = Text::plain("Power over the run, averaged between two places of the line; work is shaded. From ")
        .code("power_trace.csv")
        .and(".");
    Block::figure("power_run", caption, chart::trace(&over_run(run, chosen, Quantity::Power, lines)))
}

/// Temperature over the whole of a process, or that there is none.
fn temperature(run: &ReportedRun<'_>, chosen: &SoakRow) -> Block {
    let sensors = recorded(run).flat_map(|entry| &entry.found.sensors).filter(|sensor| sensor.id == chosen.sensor);
    let register = sensors.flat_map(|sensor| &sensor.registers).find(|register| is_temperature(register));
    let points = register.map(|register| averaged(&readings(run, chosen, &register.name))).unwrap_or_default();
    if points.is_empty() {
        let text = Text::plain("No temperature over the run: ").code(chosen.sensor.as_str()).and(
            " tells none, so that no work can be called equilibrated and a drift of its power cannot be put down to heat.",
        );
        return Block::Paragraph(text);
    }
    let lines = vec![TraceLine { name: "temperature".to_owned(), points }];
    let caption = Text::plain("The device's own temperature over the run; work is shaded. From ")
        .code("power_trace.csv")
        .and(".");
    let data = over_run(run, chosen, Quantity::Temperature, lines);
    Block::figure("temperature_run", caption, chart::trace(&data))
}

fn over_run(run: &ReportedRun<'_>, chosen: &SoakRow, quantity: Quantity, lines: Vec<TraceLine>) -> chart::Trace {
    let of_process = |row: &&SoakRow| (row.epoch, &row.sensor) == (chosen.epoch, &chosen.sensor);
    let work = run.tables.energy_soak.iter().filter(of_process).filter(|row| row.equilibrium.is_some());
    let at = |ns: u64| Nanos(ns).as_secs();
    let phases = work.map(|row| Shade { name: String::new(), begin_s: at(row.begin_ns), end_s: at(row.end_ns) });
    let what = match quantity {
        Quantity::Power => "power",
        Quantity::Temperature => "temperature",
    };
    chart::Trace {
        title: format!("{}: {what} over the run{}", chosen.sensor, simulated(run)),
        quantity,
        origin: "the process's begin",
        phases: phases.collect(),
        lines,
    }
}

/// A register's readings in the chosen process: seconds, and values.
fn readings(run: &ReportedRun<'_>, chosen: &SoakRow, register: &str) -> Vec<(f64, f64)> {
    let of = |row: &&crate::store::TraceRow| {
        row.register == register && row.epoch == chosen.epoch && row.sensor == chosen.sensor
    };
    run.trace.iter().filter(of).filter_map(|row| Some((row.end_ns.as_secs(), row.value?))).collect()
}

/// Time that one place of a line over the whole run stands for, in seconds.
fn step(points: &[(f64, f64)]) -> f64 {
    let length = points.first().zip(points.last()).map_or(0.0, |(first, last)| last.0 - first.0);
    (length / PLACES).max(SHORTEST_S)
}

/// Means over equal stretches of time, at most [`PLACES`] of them.
#[expect(clippy::cast_precision_loss, reason = "counts of readings")]
fn averaged(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let Some(first) = points.first() else { return Vec::new() };
    let step = step(points);
    let mut remaining = points;
    let mut found = Vec::new();
    let mut end = first.0 + step;
    while !remaining.is_empty() {
        let (inside, after) = remaining.split_at(remaining.partition_point(|point| point.0 <= end));
        let n = inside.len() as f64;
        if n > 0.0 {
            let sum = inside.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
            found.push((sum.0 / n, sum.1 / n));
        }
        remaining = after;
        end += step;
    }
    found
}
