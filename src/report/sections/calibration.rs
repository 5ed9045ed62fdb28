//! What was measured of power sensors: a report of its own, and a part of a run's.

use crate::record::calibration::{Coverage, Measured};
use crate::record::manifest::Tool;
use crate::report::chart::{self, Quantity, Shade, TraceLine};
use crate::report::document::{Block, Document, Section, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::units::Nanos;

use super::facts;

/// A report on these sensors.
#[must_use]
pub fn document(measured: &[Measured]) -> Document {
    let mut verdict: Vec<Block> =
        measured.iter().filter(|sensor| sensor.simulated).map(|sensor| Block::Note(warning(sensor))).collect();
    verdict.push(Block::Paragraph(explained()));
    let sections = vec![Section { id: "sensors", title: "Sensors".to_owned(), blocks: blocks(measured) }];
    let made_by = format!("Made by phasebench {} from calibration.json.", facts::tool(&Tool::this()));
    Document { title: "Calibration of power sensors".to_owned(), facts: Vec::new(), verdict, sections, made_by }
}

fn warning(sensor: &Measured) -> Text {
    Text::plain("SIMULATED power: ").code(sensor.sensor.as_str()).and(" is a scripted sensor, and so is its timing.")
}

fn explained() -> Text {
    Text::plain(
        "A sensor's reading is the mean over a window that ended a delay before its last update. Periods are found under a \
         load that varies; window and delay by fitting steps of a load; coverage by pulses of a quarter of the counter's \
         period at eight places of it, which take the same energy at all of them only if the counter sees all of the time.",
    )
}

/// Table and pictures.
pub(super) fn blocks(measured: &[Measured]) -> Vec<Block> {
    if measured.is_empty() {
        return Vec::new();
    }
    let load = measured.iter().find_map(|sensor| sensor.load.as_deref()).map_or_else(
        || "Without a load of our own, so that only the pace of the updates is measured.".to_owned(),
        |load| format!("Measured under {load}."),
    );
    let caption = Text::plain(format!("What was measured of the sensors' timing. {load} From "))
        .code("calibration.json")
        .and(".");
    // Without a response the timing of readings is an assumption, and not shown as a finding.
    let found = |sensor: &Measured, time: Nanos| format::ms(sensor.response.map(|_| time.as_ms()));
    let table = Table::of(measured)
        .words("sensor", |sensor| sensor.sensor.as_str())
        .words("measurement", |sensor| sensor.calibration.id.as_deref().unwrap_or(ABSENT))
        .number("counter period", "ms", |sensor| format::ms(sensor.calibration.counter_period_ns.as_ms()))
        .number("reading period", "ms", |sensor| format::ms(sensor.calibration.power_period_ns.as_ms()))
        .number("window", "ms", |sensor| found(sensor, sensor.calibration.window_ns))
        .number("delay", "ms", |sensor| found(sensor, sensor.calibration.delay_ns))
        .number("rise", "ms", |sensor| {
            format::ms(sensor.response.and_then(|response| response.rise_ns).map(|rise| rise.as_ms()))
        })
        .words("coverage", |sensor| coverage(sensor.calibration.coverage))
        .number("pulses differ by", "", |sensor| format::percent(pulse_spread(sensor)))
        .number("safe to read every", "ms", |sensor| {
            format::ms(sensor.calibration.safe_poll_ns.map(|poll| poll.as_ms()))
        })
        .number("counter step", "J", |sensor| format::number(sensor.calibration.resolution_j, 3))
        .captioned(caption);
    let mut blocks = vec![table.into()];
    blocks.extend(measured.iter().filter(|sensor| !sensor.steps_w.is_empty()).map(step_response));
    blocks
}

fn coverage(coverage: Coverage) -> &'static str {
    match coverage {
        Coverage::Unknown => "not known",
        other => other.as_str(),
    }
}

/// Largest difference between phases of what a pulse took, relative to the mean. `None`: not measured.
fn pulse_spread(sensor: &Measured) -> Option<f64> {
    let pulses = sensor.phases.iter().filter(|phase| phase.share > 0.0);
    let watts: Vec<f64> = pulses.map(|phase| phase.watts).collect();
    let least = watts.iter().copied().reduce(f64::min)?;
    let most = watts.iter().copied().reduce(f64::max)?;
    #[expect(clippy::cast_precision_loss, reason = "eight phases")]
    let mean = watts.iter().sum::<f64>() / watts.len().max(1) as f64;
    (watts.len() > 1).then(|| (most - least) / mean)
}

/// The power reading while a load went on and off.
fn step_response(sensor: &Measured) -> Block {
    let begin = sensor.steps_w.first().map_or(0.0, |(at, _)| at.as_secs());
    let at = |time: Nanos| time.as_secs() - begin;
    let simulated = if sensor.simulated { " (SIMULATED)" } else { "" };
    let data = chart::Trace {
        quantity: Quantity::Power,
        origin: "the first reading",
        title: format!("{}: power while a load goes on and off{simulated}", sensor.sensor),
        phases: sensor
            .steps_ns
            .iter()
            .map(|&(on, off)| Shade { name: String::new(), begin_s: at(on), end_s: at(off) })
            .collect(),
        lines: vec![TraceLine {
            name: "power reading".to_owned(),
            points: sensor.steps_w.iter().map(|&(time, watts)| (at(time), watts)).collect(),
        }],
    };
    let caption = Text::plain("The load ran in the shaded stretches. From ").code("calibration.json").and(".");
    let id = format!("calibration_{}", sensor.sensor.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
    Block::figure(&id, caption, chart::trace(&data))
}

/// What was found of a sensor, for a terminal.
#[must_use]
pub fn lines(sensor: &Measured) -> Vec<String> {
    let found = &sensor.calibration;
    let simulated = if sensor.simulated { " (SIMULATED)" } else { "" };
    let mut lines = vec![
        format!("{}{simulated}: {}", sensor.sensor, sensor.device),
        format!("  updates: counter every {}, power every {}", found.counter_period_ns, found.power_period_ns),
    ];
    match &sensor.response {
        Some(response) => lines.push(format!(
            "  power: mean over {}, {} late; {:.0} W idle, {:.0} W under load, fit to {:.1} % of the step",
            response.window_ns,
            response.delay_ns,
            response.idle_w,
            response.busy_w,
            response.residual * 100.0
        )),
        None => lines.push("  power: no reading that follows the load".to_owned()),
    }
    let spread =
        pulse_spread(sensor).map(|spread| format!(" (pulses differ by {:.1} %)", spread * 100.0)).unwrap_or_default();
    lines.push(format!("  coverage: {}{spread}", coverage(found.coverage)));
    if let Some(poll) = found.safe_poll_ns {
        lines.push(format!("  safe to read every {poll}"));
    }
    lines.push(format!("  id {}", found.id.as_deref().unwrap_or(ABSENT)));
    lines
}
