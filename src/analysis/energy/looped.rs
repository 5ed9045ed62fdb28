//! Energy of one repetition of what was repeated for the sensor.

use crate::energy::{Estimate, Grade, Reason, Stretch, Surroundings, Window, difference, estimate, grade};
use crate::record::LoopRecord;
use crate::store::Recording;
use crate::terms::{Phase, Procedure};
use crate::units::Nanos;

use super::sensors::{Metered, Meters};
use super::{EnergyEventRow, Scope, U_SYS, caps};

/// The phase that a loop is for, from every sensor charged. A loop of prefill and decode is for decode: what a loop of
/// the prefill alone takes is taken off.
pub fn events(record: &LoopRecord, recording: &Recording, meters: &Meters<'_>) -> Vec<EnergyEventRow> {
    let prefill = (record.procedure == Procedure::PrefillDecode)
        .then(|| recording.loops().find(|one| one.cell_id == record.cell_id && one.procedure == Procedure::Prefill));
    match meters.charged(&record.attribution, &record.beside, record.epoch) {
        _ if !record.status.is_ok() => vec![row(record, None, Err(Reason::Failed))],
        Err(reason) => vec![row(record, None, Err(reason))],
        Ok(metered) => metered.into_iter().map(|metered| event(record, prefill, metered)).collect(),
    }
}

/// `prefill` is the loop to take off: `None` where none is, `Some(None)` where it is missing.
fn event(record: &LoopRecord, prefill: Option<Option<&LoopRecord>>, metered: &Metered) -> EnergyEventRow {
    let part = match prefill {
        None => Ok(None),
        Some(Some(prefill)) if prefill.status.is_ok() && prefill.epoch == record.epoch => {
            estimated(prefill, metered).map(|found| Some((prefill, found)))
        }
        Some(_) => Err(Reason::Failed),
    };
    let found = part.and_then(|part| {
        let whole = estimated(record, metered)?;
        Ok((part.as_ref().map_or(Ok(whole), |(_, part)| difference(&whole, part))?, part.map(|(prefill, _)| prefill)))
    });
    let calibration = &metered.calibration;
    let (begin, end) = ends(record);
    let caps = caps(&record.beside, metered, begin, end);
    let graded = found.and_then(|(found, part)| Ok((found, grade(&found, calibration, &caps)?, part)));
    let told =
        graded.as_ref().map(|(found, grade, part)| (*found, *grade, seconds(record) - part.map_or(0.0, seconds)));
    let mut row = row(record, Some(metered), told.map_err(|reason| *reason));
    if let Ok((.., seconds)) = told {
        row.take_off(metered.idle(record.load_index), seconds, metered.idle_drifts);
    }
    row
}

fn ends(record: &LoopRecord) -> (Nanos, Nanos) {
    let (first, last) = (record.windows.first(), record.windows.last());
    (first.map_or(record.begin_ns, |window| window.begin_ns), last.map_or(record.end_ns, |window| window.end_ns))
}

fn estimated(record: &LoopRecord, metered: &Metered) -> Result<Estimate, Reason> {
    if metered.denied {
        return Err(Reason::Permission);
    }
    let around = Surroundings {
        calibration: &metered.calibration,
        poll: metered.poll,
        idle: metered.idle(record.load_index),
        quiet_since: None,
        quiet_until: None,
    };
    let (begin, end) = ends(record);
    let margin = Nanos(3 * metered.calibration.settling().0 + 4 * metered.poll.0);
    estimate(&stretch(record), &metered.trace.around(begin, end, margin), &around)
}

fn stretch(record: &LoopRecord) -> Stretch {
    let windows = record.windows.iter().map(|window| Window {
        begin: window.begin_ns,
        end: window.end_ns,
        repeats: window.repeats,
        idle: window.pauses_ns,
        groups: window.groups,
    });
    Stretch { windows: windows.collect(), looped: true }
}

/// Seconds of one repetition.
fn seconds(record: &LoopRecord) -> f64 {
    stretch(record).seconds()
}

/// Share of the windows that phases took, pauses left out.
fn busy(record: &LoopRecord) -> Option<f64> {
    let (mut phases, mut whole) = (0.0, 0.0);
    for window in &record.windows {
        phases += window.phases_ns.values().map(|time| time.as_secs()).sum::<f64>();
        whole += window.end_ns.since(window.begin_ns).since(window.pauses_ns).as_secs();
    }
    (whole > 0.0).then(|| phases / whole)
}

fn row(
    record: &LoopRecord,
    metered: Option<&Metered>,
    graded: Result<(Estimate, Grade, f64), Reason>,
) -> EnergyEventRow {
    let (phase, tokens) = match record.procedure {
        Procedure::Prefill => (Phase::Prefill, record.prompt_evaluated.map(f64::from)),
        Procedure::PrefillDecode => (Phase::KvDecode, Some(record.mean_steps() * f64::from(record.batch))),
        Procedure::Uncached => (Phase::GenerateUncached, Some(record.mean_steps() * f64::from(record.batch))),
    };
    let told = graded.as_ref().ok();
    let energy = told.map(|(found, ..)| found.gross_j);
    let tokens = tokens.filter(|tokens| *tokens > 0.0);
    let (begin, end) = ends(record);
    EnergyEventRow {
        call_id: record.loop_id.clone(),
        cell_id: record.cell_id.0.clone(),
        backend: record.session.backend.clone(),
        model: record.session.model.clone(),
        scenario: record.scenario.clone(),
        phase,
        role: None,
        scope: Scope::Looped,
        repeats: record.windows.iter().map(|window| window.repeats).sum(),
        busy: busy(record),
        sensor: metered.map(|metered| metered.sensor.id.clone()),
        simulated: metered.map(|metered| metered.sensor.simulated),
        begin_ns: begin.0,
        end_ns: end.0,
        epoch: record.epoch,
        energy_j: energy,
        energy_net_j: None,
        idle_kind: None,
        power_w: told.filter(|(.., seconds)| *seconds > 0.0).map(|(found, _, seconds)| found.gross_j / seconds),
        j_per_token: energy.zip(tokens).map(|(energy, tokens)| energy / tokens),
        u_stat: told.map(|(found, ..)| found.u_stat),
        u_sys: told.map(|_| U_SYS),
        method: told.map(|(found, ..)| found.method),
        updates: told.map(|(found, ..)| found.updates),
        grade: told.map(|(_, grade, _)| *grade),
        reason: graded.as_ref().err().copied(),
        legacy_gate_j: None,
        calibration_id: metered.and_then(|metered| metered.calibration.id.clone()),
        flags: record.flags.iter().map(|flag| flag.as_str()).collect::<Vec<_>>().join(";"),
    }
}
