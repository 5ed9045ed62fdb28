//! Energy per phase, with what the figures can bear.

use crate::analysis::energy::{COVERAGE_FACTOR, Scope};
use crate::analysis::{EnergyEventRow, EnergySummaryRow};
use crate::energy::Grade;
use crate::manifest::PowerEntry;
use crate::report::chart::{self, Interval, Scaling, ScalingPoint, ScalingSeries, Shade, TraceLine};
use crate::report::document::{Block, Column, Section, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::store::TraceRow;
use crate::telemetry::sensor::RegisterKind;
use crate::terms::{Mode, Role};

use super::Source;
use super::calibration;
use super::names::{Names, counted, mode};

/// Longest time before and after a call that its trace shows, in seconds.
const MARGIN_S: f64 = 0.5;

/// How power was recorded, by every process that did.
fn recorded<'a>(source: &Source<'a>) -> impl Iterator<Item = &'a PowerEntry> {
    source.manifest.epochs.iter().filter_map(|epoch| epoch.power.as_ref())
}

/// What must stand above every number where a sensor is scripted.
pub(super) fn warning(source: &Source<'_>) -> Option<Text> {
    let mut names: Vec<&str> = recorded(source)
        .flat_map(|entry| &entry.found.sensors)
        .filter(|sensor| sensor.simulated)
        .map(|sensor| sensor.id.as_str())
        .collect();
    names.dedup();
    let first = names.first()?;
    Some(Text::plain("SIMULATED power: ").code(*first).and(
        " is a scripted sensor. No energy in this report is a measurement; it shows what a report with a real sensor \
         looks like.",
    ))
}

/// `None`: no power was asked for.
pub(super) fn section(source: &Source<'_>, names: &Names) -> Option<Section> {
    recorded(source).next()?;
    let section = |blocks| Some(Section { id: "energy", title: "Energy".to_owned(), blocks });
    if recorded(source).all(|entry| entry.found.sensors.is_empty()) {
        return section(vec![Block::Note(no_sensor(source))]);
    }
    let mut blocks = vec![Block::Paragraph(bearing(source))];
    for timed in [Mode::Prefill, Mode::KvDecode, Mode::GenerateUncached] {
        blocks.extend(per_token(source, names, timed));
    }
    blocks.push(table(source, names));
    blocks.extend(trace(source));
    blocks.push(sensors(source));
    blocks.extend(calibration::blocks(&source.tables.calibrations));
    section(blocks)
}

fn no_sensor(source: &Source<'_>) -> Text {
    let mut why: Vec<String> =
        recorded(source).flat_map(|entry| &entry.found.absent).map(|(kind, why)| format!("{kind}: {why}")).collect();
    why.sort();
    why.dedup();
    let why = why.join("; ");
    let refused = recorded(source).any(|entry| !entry.found.refused.is_empty());
    Text::plain("Power was asked for and this machine has no sensor that can be read (")
        .and(why)
        .and("). Energy columns are empty with the reason ")
        .code(if refused { "permission" } else { "no_sensor" })
        .and("; ")
        .code("phasebench doctor")
        .and(" says what would make it measurable.")
}

/// A plain paragraph on what the figures can bear.
fn bearing(source: &Source<'_>) -> Text {
    let events: Vec<&EnergyEventRow> =
        source.tables.energy_events.iter().filter(|event| event.role == Some(Role::Timed)).collect();
    let of = |grade| events.iter().filter(|event| event.grade == Some(grade)).count();
    let graded: Vec<String> =
        Grade::ALL.into_iter().filter(|&grade| of(grade) > 0).map(|grade| format!("{} {grade}", of(grade))).collect();
    let without = events.iter().filter(|event| event.grade.is_none()).count();
    let graded = if graded.is_empty() { "none".to_owned() } else { graded.join(", ") };
    let uncalibrated = events.iter().any(|event| event.grade.is_some() && event.calibration_id.is_none());
    let mut text = Text::plain(format!("Of {} of timed calls, graded: ", counted(events.len(), "phase")))
        .strong(graded)
        .and(format!("; without a figure: {without}. "))
        .and(
            "A to C may be compared and averaged, D is an interval and nothing more. Energy is gross: what the device \
             drew during the phase, idle power included. Intervals are 95\u{a0}% and include 5\u{a0}% for the gain of a \
             sensor that was never held against a meter; between rows of one sensor that part cancels. ",
        );
    if uncalibrated {
        text = text
            .and("This sensor's timing was not measured on this machine but assumed, so no figure is better than C. ");
    }
    text.and("Prefill and decode are never mixed.")
}

/// Energy per token against model size, one chart per mode.
fn per_token(source: &Source<'_>, names: &Names, timed: Mode) -> Option<Block> {
    let told = |row: &&EnergySummaryRow| row.mode == timed && row.j_per_token.is_some();
    // One point per cell: the better graded of its calls and its loop, of equals the calls.
    let better = |row: &&EnergySummaryRow| {
        let others = source.tables.energy_summary.iter().filter(told).filter(|one| one.cell_id == row.cell_id);
        others.min_by_key(|one| (one.grade, one.scope)).is_some_and(|best| best.scope == row.scope)
    };
    let rows = || source.tables.energy_summary.iter().filter(told).filter(better);
    let mut keys: Vec<(&str, &str, u32, u32)> = Vec::new();
    for row in rows() {
        let key = (row.backend.as_str(), row.scenario.as_str(), row.batch, row.gen_tokens);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let series = keys.iter().map(|&(backend, scenario, batch, gen_tokens)| {
        let of = |row: &&EnergySummaryRow| {
            (row.backend.as_str(), row.scenario.as_str(), row.batch, row.gen_tokens)
                == (backend, scenario, batch, gen_tokens)
        };
        let point = |row: &EnergySummaryRow| {
            let interval = row.j_per_token_low.zip(row.j_per_token_high);
            Some(ScalingPoint {
                x: row.params_millions?,
                median_ms: row.j_per_token?,
                interval_ms: interval.map(|(low, high)| Interval { low, high }),
            })
        };
        let name = if names.several_backends() { format!("{backend} · {scenario}") } else { scenario.to_owned() };
        ScalingSeries { name, points: rows().filter(of).filter_map(point).collect(), curve: Vec::new() }
    });
    let series: Vec<ScalingSeries> = series.filter(|series| !series.points.is_empty()).take(6).collect();
    if series.is_empty() {
        return None;
    }
    let data = Scaling {
        title: format!("{}: energy per token{}", mode(timed), simulated(source)),
        x_name: "parameters (millions)".to_owned(),
        y_name: "energy per token (J)".to_owned(),
        series,
    };
    let looped = if rows().any(|row| row.scope == Scope::Looped) {
        "; where a loop for the sensor is graded better than the calls, its figure stands here"
    } else {
        ""
    };
    let caption = Text::plain("Means of graded calls with 95\u{a0}% intervals, the sensor's gain included")
        .and(looped)
        .and(". From ")
        .code("analysis/energy_summary.csv")
        .and(".");
    Some(Block::figure(&format!("energy_{timed}"), caption, chart::scaling(&data)))
}

/// What a title adds where a sensor is scripted.
fn simulated(source: &Source<'_>) -> &'static str {
    if warning(source).is_some() { " (SIMULATED)" } else { "" }
}

fn table(source: &Source<'_>, names: &Names) -> Block {
    let mut sensors: Vec<&str> = source.tables.energy_summary.iter().filter_map(|row| row.sensor.as_deref()).collect();
    sensors.sort_unstable();
    sensors.dedup();
    let columns = vec![
        Column::words("cell"),
        Column::words("mode"),
        Column::words("scope"),
        Column::numbers("graded"),
        Column::words("grade"),
        Column::numbers("energy (J) [95 %]"),
        Column::numbers("net (J)"),
        Column::numbers("power (W)"),
        Column::numbers("J per token [95 %]"),
        Column::words("method, or why not"),
    ];
    let rows = source.tables.energy_summary.iter().map(|row| {
        let mut cell = names.cell(&row.model, &row.scenario, row.batch, row.gen_tokens);
        if names.several_backends() {
            cell = format!("{} · {cell}", row.backend);
        }
        let digits = digits(row);
        vec![
            cell.into(),
            mode(row.mode).into(),
            row.scope.as_str().into(),
            format!("{} of {}", row.graded, row.calls - row.throttled).into(),
            row.grade.map_or(ABSENT, Grade::as_str).into(),
            between(row.energy_j, row.energy_low_j.zip(row.energy_high_j), digits).into(),
            format::number(row.energy_net_j, digits).into(),
            format::number(row.power_w, digits).into(),
            between(row.j_per_token, row.j_per_token_low.zip(row.j_per_token_high), digits).into(),
            how(row).into(),
        ]
    });
    let sensors = if sensors.is_empty() { ABSENT.to_owned() } else { sensors.join(", ") };
    let caption = Text::plain(format!(
        "Charged to {sensors}: mean of a cell's warm calls of grade A to C. Digits follow the uncertainty. Throttled calls \
         are left out. "
    ))
    .and(looped(source))
    .and("From ")
    .code("analysis/energy_summary.csv")
    .and("; every phase of every call is in ")
    .code("analysis/energy_events.csv")
    .and(".");
    Block::Table(Table { caption, columns, rows: rows.collect() })
}

/// How a row's calls got their figures, and why others got none.
fn how(row: &EnergySummaryRow) -> String {
    match (row.methods.as_str(), row.reasons.as_str()) {
        (methods, "") => methods.to_owned(),
        ("", reasons) => reasons.to_owned(),
        (methods, reasons) => format!("{methods}; others {reasons}"),
    }
}

/// What the rows of scope `looped` are; nothing where there is none.
fn looped(source: &Source<'_>) -> String {
    let loops = || source.tables.energy_events.iter().filter(|event| event.scope == Scope::Looped);
    let busy = loops().filter_map(|event| event.busy).reduce(f64::min);
    let Some(busy) = busy else { return String::new() };
    format!(
        "Rows of scope looped are one repetition of many without pause, made because the phase alone is too short for the \
         sensor: counted by windows, engine warm, at least {:.0}\u{a0}% of their time in phases. Decode's is what prefill and \
         decode take less what prefill takes. ",
        (busy * 100.0).floor()
    )
}

/// Significant digits that an uncertainty leaves, at most four.
fn digits(row: &EnergySummaryRow) -> usize {
    match row.u_stat {
        Some(u) if COVERAGE_FACTOR * u < 0.002 => 4,
        Some(u) if COVERAGE_FACTOR * u < 0.02 => 3,
        _ => 2,
    }
}

fn between(value: Option<f64>, ends: Option<(f64, f64)>, digits: usize) -> String {
    let number = |value: f64| format::number(value, digits);
    match (value, ends) {
        (Some(value), Some((low, high))) => format!("{} [{}, {}]", number(value), number(low), number(high)),
        (value, _) => format::number(value, digits),
    }
}

/// The trace around the best graded call, the longest of them.
fn trace(source: &Source<'_>) -> Option<Block> {
    let events =
        source.tables.energy_events.iter().filter(|event| event.role == Some(Role::Timed) && event.sensor.is_some());
    let best = events.min_by_key(|event| {
        (event.grade.map_or(9, |grade| grade as u8), std::cmp::Reverse(event.end_ns - event.begin_ns))
    })?;
    let call = source.recording.calls().find(|call| call.call_id == best.call_id)?;
    let sensor = best.sensor.as_deref()?;
    let begin = call.begin_ns.as_secs();
    let at = |ns: crate::units::Nanos| ns.as_secs() - begin;
    let phases = call.spans.iter().map(|span| Shade {
        name: mode(span.phase.mode()).to_owned(),
        begin_s: at(span.begin_ns),
        end_s: at(span.end_ns),
    });
    let end = at(call.begin_ns + call.total_wall_ns);
    let near = |row: &&TraceRow| {
        row.epoch == best.epoch && row.sensor == sensor && at(row.end_ns) > -MARGIN_S && at(row.end_ns) < end + MARGIN_S
    };
    let rows: Vec<&TraceRow> = source.trace.iter().filter(near).collect();
    let of = |register: &str| -> Vec<(f64, f64)> {
        rows.iter()
            .filter(|row| row.register == register)
            .filter_map(|row| Some((at(row.end_ns), row.value?)))
            .collect()
    };
    let mut lines: Vec<TraceLine> = Vec::new();
    for (register, name) in [("instant", "power reading"), ("average", "its average over a longer time")] {
        let points = of(register);
        if !points.is_empty() {
            lines.push(TraceLine { name: name.to_owned(), points });
        }
    }
    for counter in ["counter", "package-0"] {
        let slopes = slopes(&of(counter));
        if !slopes.is_empty() {
            let of = if counter == "counter" { String::new() } else { format!(" of {counter}") };
            lines.insert(0, TraceLine { name: format!("from the energy counter{of}"), points: slopes });
        }
    }
    let title =
        format!("{} on {sensor}: one call of {}{}", call.session.model, call.session.backend, simulated(source));
    let caption = Text::plain("Power around call ")
        .code(call.call_id.as_str())
        .and(", the best graded of the longest. A reading is the mean over a time that ended before it, so it lags. From ")
        .code("power_trace.csv")
        .and(".");
    let data = chart::Trace { title, origin: "the call's begin", phases: phases.collect(), lines };
    Some(Block::figure("power_trace", caption, chart::trace(&data)))
}

/// Mean power between changes of a counter.
fn slopes(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut changes: Vec<(f64, f64)> = Vec::new();
    for &(at, joules) in points {
        if changes.last().is_none_or(|last| last.1.to_bits() != joules.to_bits()) {
            changes.push((at, joules));
        }
    }
    // Before the first change nothing tells when the value began.
    let pairs = changes.windows(2).skip(1);
    pairs.map(|pair| (pair[1].0, (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0))).collect()
}

fn sensors(source: &Source<'_>) -> Block {
    let columns = vec![
        Column::words("sensor"),
        Column::words("device"),
        Column::words("driver"),
        Column::words("registers"),
        Column::numbers("ticks taken"),
        Column::numbers("late p99 (ms)"),
        Column::numbers("answer p99 (ms)"),
        Column::numbers("longest gap (ms)"),
        Column::numbers("sampler (% of a core)"),
    ];
    let rows = recorded(source).flat_map(|entry| {
        entry.found.sensors.iter().map(move |sensor| {
            let told = entry.continuity.as_ref();
            let told_of = sensor.registers.iter().filter(|register| register.kind != RegisterKind::State);
            let names: Vec<&str> = told_of.map(|register| register.name.as_str()).collect();
            let busy = told.and_then(|told| {
                let wall = told.duration_ns.as_secs();
                (wall > 0.0).then(|| told.thread_cpu_ns.as_secs() / wall * 100.0)
            });
            vec![
                sensor.id.as_str().into(),
                sensor.device.as_str().into(),
                sensor.driver.as_deref().unwrap_or(ABSENT).into(),
                names.join(", ").into(),
                format::percent(told.and_then(|told| told.share_taken())).into(),
                format::ms(told.and_then(|told| told.lateness_p99_ns).map(|ns| ns.as_ms())).into(),
                format::ms(told.and_then(|told| told.answer_p99_ns).map(|ns| ns.as_ms())).into(),
                format::ms(told.map(|told| told.largest_gap_ns.as_ms())).into(),
                format::number(busy, 2).into(),
            ]
        })
    });
    let caption = Text::plain("Sensors, and how evenly they were read. One row per process of the run, from ")
        .code("manifest.json")
        .and(".");
    Block::Table(Table { caption, columns, rows: rows.collect() })
}
