//! Means of phases that stood alone: one of them leaves much open by chance, several of a cell less.

use crate::energy::{Caps, Estimate, Idle, grade, mean, pooled};
use crate::terms::energy::{Grade, NoFigure};
use crate::terms::{Flag, Phase, Role};

use super::natural::Natural;
use super::rows::{EnergyEventRow, EnergyScope, U_SYS, tokens};
use super::sensors::Metered;
use crate::analysis::flags::Flags;

/// Phases below which there is no mean: so many are worth something on a counter that sees everything.
const FEWEST: usize = 5;

/// One row per cell, phase and sensor whose timed calls stood alone often enough, in the record's order.
pub fn events(natural: &[Natural<'_>]) -> Vec<EnergyEventRow> {
    let mut groups: Vec<Vec<&Natural<'_>>> = Vec::new();
    for one in natural.iter().filter(|one| counts(one)) {
        match groups.iter_mut().find(|group| key(group[0]) == key(one)) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups.into_iter().filter(|group| group.len() >= FEWEST).filter_map(|group| row(&group)).collect()
}

fn key<'a>(one: &'a Natural<'_>) -> (&'a str, Phase, Option<&'a str>, &'a str) {
    (&one.row.key.cell_id, one.row.phase, one.row.sensor.as_deref(), &one.call.weights_id)
}

/// Whether it is one of those that a mean is taken of.
fn counts(one: &Natural<'_>) -> bool {
    let call = one.call;
    one.alone.is_some()
        && call.role == Role::Timed
        && call.status.is_ok()
        && call.decode_scale().is_none()
        && !call.flags.contains(&Flag::Throttled)
        && !call.flags.contains(&Flag::Frozen)
}

/// `None`: there is nothing to take a mean of.
fn row(group: &[&Natural<'_>]) -> Option<EnergyEventRow> {
    let (first, last) = (group.first()?, group.last()?);
    let found: Vec<(&Metered, Estimate, Caps)> = group.iter().filter_map(|one| one.alone).collect();
    let estimates: Vec<Estimate> = found.iter().map(|(_, found, _)| *found).collect();
    let mean_of = pooled(&estimates)?;
    let events = u32::try_from(group.len()).unwrap_or(u32::MAX);
    let caps = found.iter().map(|(.., caps)| *caps).reduce(Caps::and)?;
    let caps = Caps { events, ..caps };
    // A run that was resumed may have measured the sensor twice: the worse of both holds.
    let grades: Result<Vec<Grade>, NoFigure> =
        found.iter().map(|(metered, ..)| grade(&mean_of, &metered.calibration, &caps)).collect();
    let graded = grades.map(|grades| grades.into_iter().max());
    let seconds = mean(&group.iter().map(|one| one.span.duration().as_secs()).collect::<Vec<_>>());
    let tokens: Option<Vec<f64>> = group.iter().map(|one| tokens(one.call, one.row.phase)).collect();
    let energy = graded.as_ref().ok().map(|_| mean_of.gross_j);
    let mut row = EnergyEventRow {
        call_id: format!("{}-{}-isolated", first.row.key.cell_id, first.row.phase),
        role: None,
        scope: EnergyScope::Isolated,
        repeats: events,
        end_ns: last.row.end_ns,
        energy_j: energy,
        energy_net_j: None,
        u_net: None,
        idle_kind: None,
        power_w: energy.filter(|_| seconds > 0.0).map(|energy| energy / seconds),
        j_per_token: energy.zip(tokens).map(|(energy, tokens)| energy / mean(&tokens)),
        u_stat: energy.map(|_| mean_of.u_stat),
        u_shared: energy.map(|_| mean_of.u_shared),
        u_sys: energy.map(|_| U_SYS),
        method: energy.map(|_| mean_of.method),
        updates: energy.map(|_| mean_of.updates),
        grade: graded.as_ref().ok().copied().flatten(),
        reason: graded.err(),
        legacy_gate_j: None,
        flags: Flags::default(),
        ..first.row.clone()
    };
    for one in group {
        row.flags.add(&one.call.flags);
    }
    row.take_off(idle(group).as_ref(), seconds, found.iter().any(|(metered, ..)| metered.idle_drifts));
    Some(row)
}

/// Idle power over all of them: of one load as it is, of several their mean. `None`: it is missing for one.
fn idle(group: &[&Natural<'_>]) -> Option<Idle> {
    let each = group.iter().map(|one| one.alone.and_then(|(metered, ..)| metered.idle(one.call.load_index)));
    let each: Vec<&Idle> = each.collect::<Option<_>>()?;
    let of = |part: fn(&Idle) -> f64| mean(&each.iter().map(|idle| part(idle)).collect::<Vec<_>>());
    let first = (*each.first()?).clone();
    Some(Idle { watts: of(|idle| idle.watts), u_watts: of(|idle| idle.u_watts), ..first })
}
