//! `energy_events.csv`, `energy_summary.csv` and the energy columns of `metrics.csv`: phases joined with the power trace.
//!
//! The join is pure, so it can be made again from the run's files. A call is charged to the sensor of the device that it
//! is proven to have run on, unless the scenario file names the sensors; a phase without a figure says why.

use crate::record::calibration::Measured;
use crate::record::manifest::Manifest;
use crate::store::{Recording, TraceRow};

mod isolated;
mod looped;
mod natural;
mod rows;
mod sensors;
mod summary;

pub use rows::{BaselineRow, COVERAGE_FACTOR, EnergyEventRow, Scope, U_SYS};
pub use summary::EnergySummaryRow;
pub(super) use summary::{fill, summarise};

use natural::{Natural, events};
use sensors::Meters;

/// Every phase of every call of a run that recorded power, in the record's order; and idle power by sensor.
pub(super) fn derive(
    recording: &Recording,
    manifest: &Manifest,
    trace: &[TraceRow],
) -> (Vec<EnergyEventRow>, Vec<BaselineRow>) {
    if manifest.epochs.iter().all(|epoch| epoch.power.is_none()) {
        return (Vec::new(), Vec::new());
    }
    let meters = Meters::new(recording, manifest, trace);
    let phases = recording.calls().flat_map(|call| call.spans.iter().map(move |span| (call, span)));
    let natural: Vec<Natural<'_>> = phases.flat_map(|(call, span)| events(call, span, &meters)).collect();
    let isolated = isolated::events(&natural);
    let looped = recording.loops().flat_map(|record| looped::events(record, recording, &meters));
    let rows = natural.into_iter().map(|natural| natural.row);
    (rows.chain(isolated).chain(looped).collect(), meters.baselines())
}

/// Calibrations of all processes of a run, each once.
pub(super) fn calibrations(manifest: &Manifest) -> Vec<Measured> {
    let mut found: Vec<Measured> = Vec::new();
    for measured in
        manifest.epochs.iter().filter_map(|epoch| epoch.power.as_ref()).flat_map(|power| &power.calibrations)
    {
        if !found.contains(measured) {
            found.push(measured.clone());
        }
    }
    found
}
