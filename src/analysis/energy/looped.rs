//! Energy of one repetition of what was repeated for the sensor.

use std::sync::Arc;

use crate::analysis::key::CellKey;
use crate::energy::{Caps, Estimate, Stretch, StretchContext, Window, difference, estimate, grade};
use crate::record::LoopRecord;
use crate::store::Recording;
use crate::terms::energy::{Grade, NoFigure};
use crate::terms::{Phase, Procedure};
use crate::units::{Nanos, total};

use super::rows::{EnergyEventRow, EnergyScope, U_SYS};
use super::sensors::{Metered, Meters};

/// The phase that a loop is for, from every sensor charged. A loop of prefill and decode is for decode: what a loop of
/// the prefill alone takes is taken off.
pub fn events(
    record: &LoopRecord,
    key: &Arc<CellKey>,
    recording: &Recording,
    meters: &Meters<'_>,
) -> Vec<EnergyEventRow> {
    let prefill = (record.procedure == Procedure::PrefillDecode).then(|| prefill(record, recording));
    match meters.charged(&record.attribution, &record.beside, record.epoch) {
        _ if !record.status.is_ok() => vec![row(record, key, None, Err(NoFigure::Failed))],
        Err(reason) => vec![row(record, key, None, Err(reason))],
        Ok(metered) => metered.into_iter().map(|metered| event(record, key, prefill, metered, meters)).collect(),
    }
}

/// The loop of the same cell's prefill, where there is one that is whole. A run that was resumed between the two made them
/// in different processes.
fn prefill<'a>(record: &LoopRecord, recording: &'a Recording) -> Option<&'a LoopRecord> {
    let same = |one: &&LoopRecord| one.cell_id == record.cell_id && one.procedure == Procedure::Prefill;
    let whole = |one: &&LoopRecord| one.status.is_ok();
    recording.loops().filter(same).filter(whole).max_by_key(|one| (one.epoch == record.epoch, one.epoch))
}

/// A loop beside the sensor that it is charged to, in the process that made it.
#[derive(Clone, Copy)]
struct ChargedLoop<'a> {
    record: &'a LoopRecord,
    metered: &'a Metered,
}

/// `prefill` is the loop to take off: `None` where none is, `Some(None)` where it is missing.
fn event(
    record: &LoopRecord,
    key: &Arc<CellKey>,
    prefill: Option<Option<&LoopRecord>>,
    metered: &Metered,
    meters: &Meters<'_>,
) -> EnergyEventRow {
    let graded = repetition(ChargedLoop { record, metered }, prefill, meters);
    let mut row = row(record, key, Some(metered), graded);
    if let Some(Some(prefill)) = prefill {
        row.flags.add(&prefill.flags);
    }
    if let Ok((.., seconds)) = graded {
        row.take_off(metered.idle(record.load_index), seconds, metered.idle_drifts);
    }
    row
}

/// Energy of one repetition with its grade and its seconds, a prefill taken off; `prefill` as in [`event`].
fn repetition(
    whole: ChargedLoop<'_>,
    prefill: Option<Option<&LoopRecord>>,
    meters: &Meters<'_>,
) -> Result<(Estimate, Grade, f64), NoFigure> {
    let Some(prefill) = prefill else {
        let estimate = whole.estimated()?;
        let grade = grade(&estimate, &whole.metered.calibration, &whole.caps())?;
        return Ok((estimate, grade, seconds(whole.record)));
    };
    let part = charged(prefill.ok_or(NoFigure::Failed)?, &whole.metered.sensor.id, meters)?;
    let of_part = part.estimated()?;
    let estimate = difference(&whole.estimated()?, &of_part)?;
    // Whatever limits one of the two limits what is left of them.
    let caps = whole.caps().and(part.caps());
    let own = grade(&estimate, &whole.metered.calibration, &caps)?;
    let other = grade(&estimate, &part.metered.calibration, &caps)?;
    Ok((estimate, own.max(other), seconds(whole.record) - seconds(part.record)))
}

/// A loop charged to the sensor of this name, in whichever process it was made.
fn charged<'a>(record: &'a LoopRecord, sensor: &str, meters: &'a Meters<'_>) -> Result<ChargedLoop<'a>, NoFigure> {
    let metered = meters.charged(&record.attribution, &record.beside, record.epoch)?;
    let same = metered.into_iter().find(|metered| metered.sensor.id == sensor);
    same.map(|metered| ChargedLoop { record, metered }).ok_or(NoFigure::Unattributed)
}

impl ChargedLoop<'_> {
    fn estimated(&self) -> Result<Estimate, NoFigure> {
        let Self { record, metered } = *self;
        metered.readable()?;
        let around = StretchContext {
            calibration: &metered.calibration,
            poll: metered.poll,
            idle: metered.idle(record.load_index),
            quiet_since: None,
            quiet_until: None,
        };
        let (begin, end) = ends(record);
        estimate(&stretch(record), &metered.near(begin, end), &around)
    }

    fn caps(&self) -> Caps {
        let (begin, end) = ends(self.record);
        self.metered.caps(&self.record.beside, begin, end)
    }
}

fn ends(record: &LoopRecord) -> (Nanos, Nanos) {
    let (first, last) = (record.windows.first(), record.windows.last());
    (first.map_or(record.begin_ns, |window| window.begin_ns), last.map_or(record.end_ns, |window| window.end_ns))
}

fn stretch(record: &LoopRecord) -> Stretch {
    let windows = record.windows.iter().map(|window| Window {
        begin: window.begin_ns,
        end: window.end_ns,
        repeats: window.repeats,
        idle: window.pauses_ns,
        groups: window.groups,
        uncertainty: Nanos(0),
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
    key: &Arc<CellKey>,
    metered: Option<&Metered>,
    graded: Result<(Estimate, Grade, f64), NoFigure>,
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
        key: Arc::clone(key),
        phase,
        role: None,
        scope: EnergyScope::Looped,
        repeats: total(record.windows.iter().map(|window| window.repeats)),
        busy: busy(record),
        sensor: metered.map(|metered| metered.sensor.id.clone()),
        simulated: metered.map(|metered| metered.sensor.simulated),
        begin_ns: begin.0,
        end_ns: end.0,
        epoch: record.epoch,
        energy_j: energy,
        energy_net_j: None,
        u_net: None,
        idle_kind: None,
        power_w: told.filter(|(.., seconds)| *seconds > 0.0).map(|(found, _, seconds)| found.gross_j / seconds),
        j_per_token: energy.zip(tokens).map(|(energy, tokens)| energy / tokens),
        u_stat: told.map(|(found, ..)| found.u_stat),
        u_shared: told.map(|(found, ..)| found.u_shared),
        u_sys: told.map(|_| U_SYS),
        method: told.map(|(found, ..)| found.method),
        updates: told.map(|(found, ..)| found.updates),
        grade: told.map(|(_, grade, _)| *grade),
        reason: graded.as_ref().err().copied(),
        legacy_gate_j: None,
        calibration_id: metered.and_then(|metered| metered.calibration.id.clone()),
        flags: record.flags.as_slice().into(),
    }
}
