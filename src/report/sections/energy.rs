//! Energy per phase, with what the figures can bear.

use crate::analysis::EnergyEventRow;
use crate::report::document::{Block, Section, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::terms::continuity::Continuity;
use crate::terms::energy::Grade;
use crate::terms::sensor::{RegisterKind, Sensor};

use crate::terms::{Mode, Role};
use crate::units::Nanos;

use super::ReportedRun;
use super::calibration;
use super::names::{Names, counted};

mod digits;
mod figures;
mod power;
mod soak;
mod trace;

use power::recorded;
pub(super) use power::warning;

/// `None`: no power was asked for.
pub(super) fn section(run: &ReportedRun<'_>, names: &Names) -> Option<Section> {
    recorded(run).next()?;
    let section = |blocks| Some(Section { id: "energy", title: "Energy".to_owned(), blocks });
    if recorded(run).all(|entry| entry.found.sensors.is_empty()) {
        return section(vec![Block::Note(no_sensor(run))]);
    }
    let mut blocks = vec![Block::Paragraph(bearing(run))];
    for timed in [Mode::Prefill, Mode::KvDecode, Mode::GenerateUncached] {
        blocks.extend(figures::per_token(run, names, timed));
    }
    blocks.push(figures::table(run, names));
    blocks.extend(trace::block(run));
    blocks.extend(soak::blocks(run));
    blocks.push(sensors(run));
    blocks.extend(calibration::blocks(&run.tables.calibrations));
    section(blocks)
}

fn no_sensor(run: &ReportedRun<'_>) -> Text {
    let mut why: Vec<String> =
        recorded(run).flat_map(|entry| &entry.found.absent).map(|(kind, why)| format!("{kind}: {why}")).collect();
    why.sort();
    why.dedup();
    let why = why.join("; ");
    let refused = recorded(run).any(|entry| !entry.found.refused.is_empty());
    Text::plain("Power was asked for and this machine has no sensor that can be read (")
        .and(why)
        .and("). Energy columns are empty with the reason ")
        .code(if refused { "permission" } else { "no_sensor" })
        .and("; ")
        .code("phasebench doctor")
        .and(" says what would make it measurable.")
}

/// A plain paragraph on what the figures can bear.
fn bearing(run: &ReportedRun<'_>) -> Text {
    let events: Vec<&EnergyEventRow> =
        run.tables.energy_events.iter().filter(|event| event.role == Some(Role::Timed)).collect();
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

/// A sensor of one process of the run, with how evenly it was read there.
#[derive(Clone, Copy)]
struct Read<'a> {
    sensor: &'a Sensor,
    /// `None`: the process ended before it could tell.
    continuity: Option<&'a Continuity>,
}

impl Read<'_> {
    /// What is read of it as a number.
    fn registers(self) -> String {
        let numbers = self.sensor.registers.iter().filter(|register| register.kind != RegisterKind::State);
        numbers.map(|register| register.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Milliseconds of a time that the sampler told.
    fn ms(self, time: fn(&Continuity) -> Option<Nanos>) -> String {
        format::ms(self.continuity.and_then(time).map(|time| time.as_ms()))
    }

    /// Of one core. `None`: not told, or of no time at all.
    fn sampler_percent(self) -> Option<f64> {
        let continuity = self.continuity?;
        let wall = continuity.duration_ns.as_secs();
        (wall > 0.0).then(|| continuity.thread_cpu_ns.as_secs() / wall * 100.0)
    }
}

fn sensors(run: &ReportedRun<'_>) -> Block {
    let caption = Text::plain("Sensors, and how evenly they were read. One row per process of the run, from ")
        .code("manifest.json")
        .and(".");
    let read = recorded(run).flat_map(|entry| {
        let continuity = entry.continuity.as_ref();
        entry.found.sensors.iter().map(move |sensor| Read { sensor, continuity })
    });
    Table::of(read)
        .words("sensor", |read| read.sensor.id.as_str())
        .words("device", |read| read.sensor.device.as_str())
        .words("driver", |read| read.sensor.driver.as_deref().unwrap_or(ABSENT))
        .words("registers", Read::registers)
        .number("ticks taken", "", |read| format::percent(read.continuity.and_then(Continuity::share_taken)))
        .number("late p99", "ms", |read| read.ms(|told| told.lateness_p99_ns))
        .number("answer p99", "ms", |read| read.ms(|told| told.answer_p99_ns))
        .number("longest gap", "ms", |read| read.ms(|told| Some(told.largest_gap_ns)))
        .number("sampler", "% of a core", |read| format::number(read.sampler_percent(), 2))
        .captioned(caption)
        .into()
}
