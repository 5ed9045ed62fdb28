//! Rows of calls one by one, for whoever reads a record once and keeps no call: without what follows from the whole record, which
//! are energy, boards, suspicion and the model's shape.

use std::sync::Arc;

use crate::record::plan::Plan;
use crate::record::{CallRecord, Shared};

use super::energy::EnergyColumns;
use super::key::CellKeys;
use super::metrics::{CommonParts, MetricRow, OfCall, row};
use super::models::ArchitectureColumns;

/// Makes rows of a run's calls.
#[derive(Debug)]
pub struct CallRows<'a> {
    plan: &'a Plan,
    keys: CellKeys<'a>,
    /// Of every model: none is known.
    architecture: Arc<ArchitectureColumns>,
    parts: CommonParts,
}

impl<'a> CallRows<'a> {
    /// Of a run of this plan.
    #[must_use]
    pub fn new(plan: &'a Plan) -> Self {
        Self { plan, keys: CellKeys::new(plan), architecture: Arc::default(), parts: CommonParts::default() }
    }

    /// A row per mode that the call times.
    pub fn of(&mut self, call: &Shared<CallRecord>) -> Vec<MetricRow> {
        let of_call = OfCall::alone(call, self.plan, self.keys.of_call(call), Arc::clone(&self.architecture));
        let modes = call.procedure.modes().iter();
        modes.map(|&mode| row(call, &of_call, EnergyColumns::default(), mode, &mut self.parts)).collect()
    }
}
