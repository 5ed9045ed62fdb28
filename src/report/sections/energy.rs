//! Energy per phase, with what the figures can bear.

use crate::analysis::EnergyEventRow;
use crate::record::manifest::PowerEntry;
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
mod soak;
mod trace;

/// Registers that tell power, with what their line is called.
const POWERS: [(&str, &str); 2] = [("instant", "power reading"), ("average", "its average over a longer time")];

/// Registers that count energy, with what the power between their changes is called.
const COUNTERS: [(&str, &str); 2] =
    [("counter", "from the energy counter"), ("package-0", "from the energy counter of package-0")];

/// How power was recorded, by every process that did.
fn recorded<'a>(run: &ReportedRun<'a>) -> impl Iterator<Item = &'a PowerEntry> {
    run.manifest.epochs.iter().filter_map(|epoch| epoch.power.as_ref())
}

/// What must stand above every number where a sensor is scripted.
pub(super) fn warning(run: &ReportedRun<'_>) -> Option<Text> {
    let mut names: Vec<&str> = recorded(run)
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

/// What a title adds where a sensor is scripted.
fn simulated(run: &ReportedRun<'_>) -> &'static str {
    if warning(run).is_some() { " (SIMULATED)" } else { "" }
}

/// Distances between readings that two changes are apart at least, where a counter stands still between them: a change
/// is then seen up to one distance late.
const READINGS_APART: f64 = 5.0;

/// Mean power between changes of a counter that are at least some seconds apart: where two look close together because
/// one was seen late, the power between them would be anything.
fn slopes(points: &[(f64, f64)], apart_s: f64) -> Vec<(f64, f64)> {
    let apart_s = apart_s.max(READINGS_APART * seen_late(points).unwrap_or(0.0));
    let mut changes: Vec<(f64, f64)> = Vec::new();
    let mut value = points.first().map(|point| point.1);
    for &(at, joules) in points {
        // Before the first change nothing tells when the value began.
        let changed = value.is_some_and(|value| value.to_bits() != joules.to_bits());
        value = Some(joules);
        if changed && changes.last().is_none_or(|last| at - last.0 >= apart_s) {
            changes.push((at, joules));
        }
    }
    let pairs = changes.windows(2);
    pairs.map(|pair| (pair[1].0, (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0))).collect()
}

/// How late a change is seen at most, about: the median distance between readings, in seconds. `None`: the counter changes
/// with every reading.
fn seen_late(points: &[(f64, f64)]) -> Option<f64> {
    let stands = points.windows(2).any(|pair| pair[0].1.to_bits() == pair[1].1.to_bits());
    let mut distances: Vec<f64> = points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    distances.sort_by(f64::total_cmp);
    distances.get(distances.len() / 2).copied().filter(|_| stands)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A counter that grows by 1 J every 10 ms, of which one update is seen 9 ms late.
    #[test]
    fn an_update_seen_late_makes_no_peak() {
        let seen = |i: u32| f64::from(i) * 0.01 + if i == 50 { 0.009 } else { 0.0 };
        let points: Vec<(f64, f64)> = (0..100).map(|i| (seen(i), f64::from(i))).collect();
        let highest = |apart| slopes(&points, apart).iter().map(|point| point.1).fold(0.0, f64::max);
        assert!(highest(0.0) > 900.0 && highest(0.1) < 115.0, "{} {}", highest(0.0), highest(0.1));
        assert_eq!(slopes(&points[..2], 0.0), [], "one change is no stretch");
    }

    /// A counter that grows by 14 J every 100 ms, read every 60 ms: changes look 60 or 120 ms apart.
    #[test]
    fn a_counter_read_in_between_makes_no_peaks() {
        let points: Vec<(f64, f64)> =
            (0..200).map(|i| f64::from(i) * 0.06).map(|at| (at, 14.0 * (at / 0.1).floor())).collect();
        let powers = slopes(&points, 0.01);
        assert!(powers.len() > 20, "{}", powers.len());
        assert!(powers.iter().all(|point| (point.1 - 140.0).abs() < 0.25 * 140.0), "{powers:?}");
    }
}
