//! `energy_events.csv`, `energy_summary.csv` and the energy columns of `metrics.csv`: phases joined with the power trace.
//!
//! The join is pure, so it can be made again from the run's files. A call is charged to the sensor of the device that it
//! is proven to have run on, unless the scenario file names the sensors; a phase without a figure says why.

use crate::record::calibration::Measured;
use crate::record::manifest::Manifest;

mod isolated;
mod looped;
mod natural;
mod per_call;
pub(super) mod readings;
mod rows;
pub(super) mod sensors;
mod summary;
pub mod trace_columns;

pub use per_call::EnergyColumns;
pub use rows::{BaselineRow, COVERAGE_FACTOR, EnergyEventRow, EnergyScope, U_SYS};
pub(super) use rows::{ByCall, by_call};
pub use summary::{EnergySummary, EnergySummaryRow};

use super::key::CellKeys;
use super::table::{Sources, Table};
use natural::{Natural, events};
use sensors::Meters;

/// `analysis/energy_events.csv`.
pub struct EnergyEvents;

impl Table for EnergyEvents {
    type Row = EnergyEventRow;
    const FILE: &'static str = "analysis/energy_events.csv";
    const ABOUT: &'static str = "Every phase of every call, where power was recorded, in the record's order; then what was repeated for the sensor. Also as `events.jsonl`.";

    fn derive(from: &Sources<'_>) -> Vec<EnergyEventRow> {
        let Some(meters) = from.meters() else { return Vec::new() };
        let mut keys = CellKeys::new(from.plan);
        let mut natural: Vec<Natural<'_>> = Vec::new();
        for call in from.recording.calls() {
            let key = keys.of_call(call);
            for span in &call.spans {
                natural.extend(events(call, &key, span, meters));
            }
        }
        let isolated = isolated::events(&natural);
        let of_loop = |record| looped::events(record, &keys.of_loop(record), from.recording, meters);
        let looped = from.recording.loops().flat_map(of_loop);
        let rows = natural.into_iter().map(|natural| natural.row);
        rows.chain(isolated).chain(looped).collect()
    }
}

/// Idle power by sensor. Empty: no power was recorded.
pub(super) fn baselines(from: &Sources<'_>) -> Vec<BaselineRow> {
    from.meters().map(Meters::baselines).unwrap_or_default()
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
