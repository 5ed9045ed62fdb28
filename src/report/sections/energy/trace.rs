//! Power around one call.

use std::cmp::Reverse;

use crate::analysis::EnergyEventRow;
use crate::report::chart::{self, Quantity, Shade, TraceLine};
use crate::report::document::{Block, Text};
use crate::report::sections::ReportedRun;
use crate::report::sections::names::{counted, mode};
use crate::store::TraceRow;
use crate::terms::Role;

use super::{simulated, slopes};

/// Longest time before and after a call that its trace shows, in seconds.
const MARGIN_S: f64 = 0.5;

/// Most steps of a counter's line.
const MOST_STEPS: f64 = 150.0;

/// The trace around the best graded call, the longest of them.
pub(super) fn block(run: &ReportedRun<'_>) -> Option<Block> {
    let events =
        run.tables.energy_events.iter().filter(|event| event.role == Some(Role::Timed) && event.sensor.is_some());
    let best = events
        .min_by_key(|event| (event.grade.map_or(9, |grade| grade as u8), Reverse(event.end_ns - event.begin_ns)))?;
    let call = run.recording.calls().find(|call| call.call_id == best.call_id)?;
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
    let rows: Vec<&TraceRow> = run.trace.iter().filter(near).collect();
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
        let slopes = slopes(&of(counter), (end + 2.0 * MARGIN_S) / MOST_STEPS);
        if !slopes.is_empty() {
            let of = if counter == "counter" { String::new() } else { format!(" of {counter}") };
            lines.insert(0, TraceLine { name: format!("from the energy counter{of}"), points: slopes });
        }
    }
    let title = format!("{} on {sensor}: one call of {}{}", call.session.model, call.session.backend, simulated(run));
    let caption = Text::plain("Power around call ")
        .code(call.call_id.as_str())
        .and(", the best graded of the longest: ")
        .and(graded(run, best))
        .and(" A reading is the mean over a time that ended before it, so it lags. From ")
        .code("power_trace.csv")
        .and(".");
    let data =
        chart::Trace { title, quantity: Quantity::Power, origin: "the call's begin", phases: phases.collect(), lines };
    Some(Block::figure("power_trace", caption, chart::trace(&data)))
}

/// Grade, method and updates of every phase of the call.
fn graded(run: &ReportedRun<'_>, of: &EnergyEventRow) -> String {
    let phases = run.tables.energy_events.iter().filter(|e| (&e.call_id, &e.sensor) == (&of.call_id, &of.sensor));
    let told: Vec<String> = phases
        .map(|event| match (event.grade, event.method, event.updates, event.reason) {
            (Some(grade), Some(method), Some(updates), _) => {
                let updates = counted(updates as usize, "update");
                format!("{} grade {grade} by {method} on {updates}", mode(event.phase.mode()))
            }
            (.., reason) => {
                let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
                format!("{} without a figure{reason}", mode(event.phase.mode()))
            }
        })
        .collect();
    format!("{}.", told.join(", "))
}
