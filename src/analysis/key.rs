//! What a row was measured of.

use std::collections::HashMap;
use std::sync::Arc;

use crate::record::plan::{Cell, Plan};
use crate::record::{CallRecord, LoopRecord};
use crate::terms::{Dtype, Procedure};

use super::columns::columns;

columns! {
    /// What a row was measured of: a cell, with the weights and the element type that its session really had.
    ///
    /// Rows of one cell share it.
    #[derive(Eq)]
    pub struct CellKey {
        /// The plan's cell.
        cell_id: String,
        /// Backend name.
        backend: String,
        /// Model name.
        model: String,
        /// Hash of the weights the row was measured with.
        weights_id: String,
        /// Element type of the session.
        dtype: Dtype,
        /// Scenario name.
        scenario: String,
        /// Rows decoded together.
        batch: u32,
        /// The cell's timed decode steps; a rewarm call makes fewer.
        gen_tokens: u32,
    }
}

impl CellKey {
    /// A cell of the plan as it was measured.
    pub(super) fn of(cell: &Cell, weights_id: &str, dtype: Dtype) -> Arc<Self> {
        Arc::new(Self {
            cell_id: cell.id.0.clone(),
            backend: cell.session.backend.clone(),
            model: cell.session.model.clone(),
            weights_id: weights_id.to_owned(),
            dtype,
            scenario: cell.scenario.clone(),
            batch: cell.batch,
            gen_tokens: cell.gen_tokens,
        })
    }
}

columns! {
    /// A cell as it was planned, measured or not.
    #[derive(Eq)]
    pub struct PlannedKey {
        /// The plan's cell, or what would have been one.
        cell_id: String,
        /// Backend name.
        backend: String,
        /// Model name.
        model: String,
        /// Element type asked for.
        dtype: Dtype,
        /// Scenario name.
        scenario: String,
        /// Rows decoded together.
        batch: u32,
        /// Timed decode steps.
        gen_tokens: u32,
        /// What a call makes the engine do.
        procedure: Procedure,
    }
}

impl PlannedKey {
    /// Of a cell of the plan.
    pub(super) fn of(cell: &Cell) -> Arc<Self> {
        Arc::new(Self {
            cell_id: cell.id.0.clone(),
            backend: cell.session.backend.clone(),
            model: cell.session.model.clone(),
            dtype: cell.dtype,
            scenario: cell.scenario.clone(),
            batch: cell.batch,
            gen_tokens: cell.gen_tokens,
            procedure: cell.procedure,
        })
    }
}

/// The keys given out so far, so that all rows of a cell share one.
#[derive(Debug)]
pub(super) struct CellKeys<'a> {
    planned: HashMap<&'a str, &'a Cell>,
    /// By cell. More than one: weights or element type changed on the way.
    given: HashMap<String, Vec<Arc<CellKey>>>,
}

impl<'a> CellKeys<'a> {
    /// None given out yet.
    pub(super) fn new(plan: &'a Plan) -> Self {
        let planned = plan.cells.iter().map(|cell| (cell.id.0.as_str(), cell)).collect();
        Self { planned, given: HashMap::new() }
    }

    /// The key of a call.
    pub(super) fn of_call(&mut self, call: &CallRecord) -> Arc<CellKey> {
        let gen_tokens = self.gen_tokens(&call.cell_id.0).unwrap_or(call.tokens.steps_requested);
        let same = |key: &&Arc<CellKey>| {
            (&key.weights_id, key.dtype, key.batch) == (&*call.weights_id, call.dtype, call.batch)
                && (&key.backend, &key.model, &key.scenario)
                    == (&call.session.backend, &call.session.model, &*call.scenario)
                && key.gen_tokens == gen_tokens
        };
        if let Some(key) = self.given(&call.cell_id.0).iter().find(same) {
            return Arc::clone(key);
        }
        self.give(CellKey {
            cell_id: call.cell_id.0.clone(),
            backend: call.session.backend.clone(),
            model: call.session.model.clone(),
            weights_id: String::clone(&call.weights_id),
            dtype: call.dtype,
            scenario: String::clone(&call.scenario),
            batch: call.batch,
            gen_tokens,
        })
    }

    fn given(&self, cell_id: &str) -> &[Arc<CellKey>] {
        self.given.get(cell_id).map_or(&[], Vec::as_slice)
    }

    fn give(&mut self, key: impl Into<Arc<CellKey>>) -> Arc<CellKey> {
        let key = key.into();
        self.given.entry(key.cell_id.clone()).or_default().push(Arc::clone(&key));
        key
    }

    /// The key of a cell as another tool measured it.
    pub(super) fn of_planned(&mut self, cell: &Cell, weights_id: &str) -> Arc<CellKey> {
        if let Some(key) = self.given(&cell.id.0).iter().find(|key| key.weights_id == weights_id) {
            return Arc::clone(key);
        }
        self.give(CellKey::of(cell, weights_id, cell.dtype))
    }

    /// The key of a loop for the sensor.
    pub(super) fn of_loop(&self, record: &LoopRecord) -> Arc<CellKey> {
        Arc::new(CellKey {
            cell_id: record.cell_id.0.clone(),
            backend: record.session.backend.clone(),
            model: record.session.model.clone(),
            weights_id: record.weights_id.clone(),
            dtype: record.dtype,
            scenario: record.scenario.clone(),
            batch: record.batch,
            gen_tokens: self.gen_tokens(&record.cell_id.0).unwrap_or(record.decode_steps),
        })
    }

    /// Decode steps that the plan says. `None`: it has no such cell.
    fn gen_tokens(&self, cell_id: &str) -> Option<u32> {
        self.planned.get(cell_id).map(|cell| cell.gen_tokens)
    }
}
