//! Phases of calls as they came, each joined with what its sensor said.

use std::sync::Arc;

use super::rows::{EnergyEventRow, EnergyScope, U_SYS, tokens};
use super::sensors::{Metered, Meters};
use crate::analysis::key::CellKey;
use crate::energy::{Caps, Estimate, Stretch, StretchContext, estimate, grade, legacy_gate};
use crate::record::{CallRecord, SpanRecord};
use crate::terms::energy::{Grade, Method, NoFigure};

/// A phase of a call with its row.
pub(super) struct Natural<'a> {
    pub(super) row: EnergyEventRow,
    pub(super) call: &'a CallRecord,
    pub(super) span: &'a SpanRecord,
    /// The sensor, and what its counter says of a phase that stood alone, whatever it is worth by itself. `None`: another
    /// method, or no figure at all.
    pub(super) alone: Option<(&'a Metered, Estimate, Caps)>,
}

pub(super) fn events<'a>(
    call: &'a CallRecord,
    key: &Arc<CellKey>,
    span: &'a SpanRecord,
    meters: &'a Meters<'_>,
) -> Vec<Natural<'a>> {
    let charged = meters.charged(&call.attribution, &call.beside, call.epoch);
    match charged {
        Err(reason) => vec![Natural { row: row(call, key, span, None, Err(reason)), call, span, alone: None }],
        Ok(metered) => metered.into_iter().map(|metered| event(call, key, span, metered, meters)).collect(),
    }
}

fn event<'a>(
    call: &'a CallRecord,
    key: &Arc<CellKey>,
    span: &'a SpanRecord,
    metered: &'a Metered,
    meters: &'a Meters<'_>,
) -> Natural<'a> {
    let (begin, end) = (span.begin_ns, span.end_ns);
    let calibration = &metered.calibration;
    let idle = metered.idle(call.load_index);
    let (quiet_since, quiet_until) = if call.spans.len() == 1 {
        meters.quiet(call.epoch, call.begin_ns, call.begin_ns + call.total_wall_ns)
    } else {
        (None, None)
    };
    let around = StretchContext { calibration, poll: metered.poll, idle, quiet_since, quiet_until };
    let near = metered.near(begin, end);
    let stretch = Stretch::natural(begin, end, span.uncertainty_ns);
    let found = metered.readable().and_then(|()| estimate(&stretch, &near, &around));
    let caps = Caps { reconstructed: span.reconstructed, ..metered.caps(&call.beside, begin, end) };
    let graded = found.and_then(|found| Ok((found, grade(&found, calibration, &caps)?)));
    let mut row = row(call, key, span, Some(metered), graded);
    row.take_off(idle, end.since(begin).as_secs(), metered.idle_drifts);
    let power = if near.average.is_empty() { &near.instant } else { &near.average };
    row.legacy_gate_j = legacy_gate(begin, end, power);
    let alone = found.ok().filter(|found| found.method == Method::Padded).map(|found| (metered, found, caps));
    Natural { row, call, span, alone }
}

fn row(
    call: &CallRecord,
    key: &Arc<CellKey>,
    span: &SpanRecord,
    metered: Option<&Metered>,
    graded: Result<(Estimate, Grade), NoFigure>,
) -> EnergyEventRow {
    let length = span.duration().as_secs();
    let told = graded.as_ref().ok();
    let energy = told.map(|(found, _)| found.gross_j);
    EnergyEventRow {
        call_id: call.call_id.clone(),
        key: Arc::clone(key),
        phase: span.phase,
        role: Some(call.role),
        scope: EnergyScope::Natural,
        repeats: 1,
        busy: None,
        sensor: metered.map(|metered| metered.sensor.id.clone()),
        simulated: metered.map(|metered| metered.sensor.simulated),
        begin_ns: span.begin_ns.0,
        end_ns: span.end_ns.0,
        epoch: call.epoch,
        energy_j: energy,
        energy_net_j: None,
        u_net: None,
        idle_kind: None,
        power_w: energy.filter(|_| length > 0.0).map(|energy| energy / length),
        j_per_token: energy.zip(tokens(call, span.phase)).map(|(energy, tokens)| energy / tokens),
        u_stat: told.map(|(found, _)| found.u_stat),
        u_shared: told.map(|(found, _)| found.u_shared),
        u_sys: told.map(|_| U_SYS),
        method: told.map(|(found, _)| found.method),
        updates: told.map(|(found, _)| found.updates),
        grade: told.map(|(_, grade)| *grade),
        reason: graded.as_ref().err().copied(),
        legacy_gate_j: None,
        calibration_id: metered.and_then(|metered| metered.calibration.id.clone()),
        flags: call.flags.as_slice().into(),
    }
}
