//! Power around one call.

use std::cmp::Reverse;

use crate::analysis::EnergyEventRow;
use crate::record::{CallRecord, SpanRecord};
use crate::report::chart::{self, Quantity, Shade, TraceLine};
use crate::report::document::{Block, Text};
use crate::report::sections::ReportedRun;
use crate::report::sections::names::{counted, mode};
use crate::store::TraceRow;
use crate::terms::Role;
use crate::units::Nanos;

use super::power::{COUNTERS, POWERS, simulated, slopes};

/// Longest time before and after a call that its trace shows, in seconds.
const MARGIN_S: f64 = 0.5;

/// Most steps of a counter's line.
const MOST_STEPS: f64 = 150.0;

/// A call, and the readings of one sensor around it, by seconds since its begin.
struct CallTrace<'a> {
    call: &'a CallRecord,
    readings: Vec<&'a TraceRow>,
    /// When the call ended.
    end_s: f64,
}

impl<'a> CallTrace<'a> {
    fn of(run: &ReportedRun<'a>, call: &'a CallRecord, sensor: &str, epoch: u32) -> Self {
        let begin = call.begin_ns.as_secs();
        let end_s = (call.begin_ns + call.total_wall_ns).as_secs() - begin;
        let around = |row: &&TraceRow| {
            let at = row.end_ns.as_secs() - begin;
            at > -MARGIN_S && at < end_s + MARGIN_S
        };
        let of_sensor = run.trace.iter().filter(|row| row.epoch == epoch && row.sensor == sensor);
        Self { call, readings: of_sensor.filter(around).collect(), end_s }
    }

    fn seconds(&self, time: Nanos) -> f64 {
        time.as_secs() - self.call.begin_ns.as_secs()
    }

    /// What a register said, and when.
    fn values(&self, register: &str) -> Vec<(f64, f64)> {
        let readings = self.readings.iter().filter(|row| row.register == register);
        readings.filter_map(|row| Some((self.seconds(row.end_ns), row.value?))).collect()
    }

    fn phases(&self) -> Vec<Shade> {
        let shade = |span: &SpanRecord| Shade {
            name: mode(span.phase.mode()).to_owned(),
            begin_s: self.seconds(span.begin_ns),
            end_s: self.seconds(span.end_ns),
        };
        self.call.spans.iter().map(shade).collect()
    }

    /// Power by each register that was read, from counters first.
    fn lines(&self) -> Vec<TraceLine> {
        let apart_s = (self.end_s + 2.0 * MARGIN_S) / MOST_STEPS;
        let counters = COUNTERS.iter().rev().map(|(register, name)| (*name, slopes(&self.values(register), apart_s)));
        let powers = POWERS.iter().map(|(register, name)| (*name, self.values(register)));
        let told = counters.chain(powers).filter(|(_, points)| !points.is_empty());
        told.map(|(name, points)| TraceLine { name: name.to_owned(), points }).collect()
    }
}

/// The trace around the best graded call, the longest of them.
pub(super) fn block(run: &ReportedRun<'_>) -> Option<Block> {
    let timed = run.tables.energy_events.iter().filter(|event| event.role == Some(Role::Timed));
    let best = timed
        .filter(|event| event.sensor.is_some())
        .min_by_key(|event| (event.grade.map_or(9, |grade| grade as u8), Reverse(event.span())))?;
    let call = run.recording.calls().find(|call| call.call_id == best.call_id)?;
    let sensor = best.sensor.as_deref()?;
    let trace = CallTrace::of(run, call, sensor, best.epoch);
    let data = chart::Trace {
        title: format!("{} on {sensor}: one call of {}{}", call.session.model, call.session.backend, simulated(run)),
        quantity: Quantity::Power,
        origin: "the call's begin",
        phases: trace.phases(),
        lines: trace.lines(),
    };
    let caption = Text::plain("Power around call ")
        .code(call.call_id.as_str())
        .and(", the best graded of the longest: ")
        .and(graded(run, best))
        .and(" A reading is the mean over a time that ended before it, so it lags. From ")
        .code("power_trace.csv")
        .and(".");
    Some(Block::figure("power_trace", caption, chart::trace(&data)))
}

/// Grade, method and updates of every phase of the call.
fn graded(run: &ReportedRun<'_>, best: &EnergyEventRow) -> String {
    let events = run.tables.energy_events.iter();
    let of_call = events.filter(|event| (&event.call_id, &event.sensor) == (&best.call_id, &best.sensor));
    let phases: Vec<String> = of_call.map(graded_phase).collect();
    format!("{}.", phases.join(", "))
}

fn graded_phase(event: &EnergyEventRow) -> String {
    let phase = mode(event.phase.mode());
    if let (Some(grade), Some(method), Some(updates)) = (event.grade, event.method, event.updates) {
        let updates = counted(updates as usize, "update");
        return format!("{phase} grade {grade} by {method} on {updates}");
    }
    let reason = event.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("{phase} without a figure{reason}")
}
