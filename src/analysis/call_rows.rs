//! Rows of calls one by one, for whoever reads a record once and keeps no call: without what follows from the whole record, which
//! are energy, boards, suspicion and the model's shape.

use std::collections::HashMap;
use std::sync::Arc;

use crate::record::CallRecord;
use crate::record::plan::{Cell, Plan};

use super::board::BoardColumns;
use super::energy::EnergyColumns;
use super::key::CellKey;
use super::metrics::{MetricRow, OfCall, row};
use super::models::ArchitectureColumns;

/// Makes rows of a run's calls.
#[derive(Debug)]
pub struct CallRows<'a> {
    plan: &'a Plan,
    /// Cells by id, with the key that the last call of each had.
    cells: HashMap<&'a str, (&'a Cell, Option<Arc<CellKey>>)>,
}

impl<'a> CallRows<'a> {
    /// Of a run of this plan.
    #[must_use]
    pub fn new(plan: &'a Plan) -> Self {
        Self { plan, cells: plan.cells.iter().map(|cell| (cell.id.0.as_str(), (cell, None))).collect() }
    }

    /// A row per mode that the call times. Empty: the plan does not have its cell.
    pub fn of(&mut self, call: &CallRecord) -> Vec<MetricRow> {
        let Some((cell, known)) = self.cells.get_mut(call.cell_id.0.as_str()) else { return Vec::new() };
        let same = |key: &&Arc<CellKey>| key.weights_id == call.weights_id && key.dtype == call.dtype;
        let key =
            known.as_ref().filter(same).cloned().unwrap_or_else(|| CellKey::of(cell, &call.weights_id, call.dtype));
        *known = Some(Arc::clone(&key));
        let of_call = OfCall {
            key,
            architecture: ArchitectureColumns::default(),
            board: BoardColumns::default(),
            suspect: false,
            disturbed: !call.disturbances(self.plan.disturbed).is_empty(),
            made_again: call.is_made_again(self.plan.retries()),
        };
        let modes = call.procedure.modes().iter();
        modes.map(|&mode| row(call, of_call.clone(), EnergyColumns::default(), mode)).collect()
    }
}
