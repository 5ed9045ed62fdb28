//! Rows of calls one by one, for whoever reads a record once and keeps no call: without what follows from the whole record, which
//! are energy, boards, suspicion and the model's shape.

use crate::record::CallRecord;
use crate::record::plan::Plan;

use super::energy::EnergyColumns;
use super::key::CellKeys;
use super::metrics::{MetricRow, OfCall, row};

/// Makes rows of a run's calls.
#[derive(Debug)]
pub struct CallRows<'a> {
    plan: &'a Plan,
    keys: CellKeys<'a>,
}

impl<'a> CallRows<'a> {
    /// Of a run of this plan.
    #[must_use]
    pub fn new(plan: &'a Plan) -> Self {
        Self { plan, keys: CellKeys::new(plan) }
    }

    /// A row per mode that the call times.
    pub fn of(&mut self, call: &CallRecord) -> Vec<MetricRow> {
        let of_call = OfCall::alone(call, self.plan, self.keys.of_call(call));
        let modes = call.procedure.modes().iter();
        modes.map(|&mode| row(call, of_call.clone(), EnergyColumns::default(), mode)).collect()
    }
}
