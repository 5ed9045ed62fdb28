//! What a table is: its file, what a row stands for, how its rows are derived, and what they are derived from.

use std::any::{Any, TypeId};
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use serde::Serialize;

use crate::record::manifest::Manifest;
use crate::record::plan::Plan;
use crate::store::{Recording, TraceRow};

use super::columns::{Column, Columns, Description};
use super::energy::sensors::Meters;

/// One CSV file of the run folder.
pub trait Table: Sized + 'static {
    /// Its rows.
    type Row: Columns + Serialize + Clone + Sync + 'static;

    /// The file inside the run folder.
    const FILE: &'static str;

    /// What a row stands for, and in which order they come.
    const ABOUT: &'static str;

    /// Whether only a run that recorded power has the file. Any other table without rows is a file with a header only.
    const NEEDS_POWER: bool = false;

    /// The rows; of other tables by [`Sources::rows`].
    fn derive(from: &Sources<'_>) -> Vec<Self::Row>;
}

impl Description {
    /// Of a table of a run.
    #[must_use]
    pub fn of<T: Table>() -> Self {
        let columns = T::Row::columns().into_iter().map(Column::with_own_name).collect();
        Self { file: T::FILE, about: T::ABOUT.to_owned(), columns }
    }
}

/// What a run has recorded.
pub struct Sources<'a> {
    /// The record.
    pub recording: &'a Recording,
    /// The plan.
    pub plan: &'a Plan,
    /// The manifest.
    pub manifest: &'a Manifest,
    /// The power trace; empty where none was recorded.
    pub trace: &'a [TraceRow],
    meters: OnceCell<Option<Meters<'a>>>,
    /// The rows of every table that was asked for, by the table's type, and what else is made once, by its own.
    derived: RefCell<HashMap<TypeId, Rc<dyn Any>>>,
}

impl<'a> Sources<'a> {
    /// Of a run's files.
    #[must_use]
    pub fn new(recording: &'a Recording, plan: &'a Plan, manifest: &'a Manifest, trace: &'a [TraceRow]) -> Self {
        Self { recording, plan, manifest, trace, meters: OnceCell::new(), derived: RefCell::default() }
    }

    /// The rows of a table, derived once.
    pub fn rows<T: Table>(&self) -> Rc<Vec<T::Row>> {
        let known = self.derived.borrow().get(&TypeId::of::<T>()).cloned();
        if let Some(rows) = known.and_then(|rows| rows.downcast().ok()) {
            return rows;
        }
        let rows = Rc::new(T::derive(self));
        self.derived.borrow_mut().insert(TypeId::of::<T>(), Rc::<Vec<T::Row>>::clone(&rows));
        rows
    }

    /// The rows of a table, given away: they would be derived again if another table asked for them.
    pub(super) fn take<T: Table>(&self) -> Vec<T::Row> {
        let rows = self.rows::<T>();
        self.derived.borrow_mut().remove(&TypeId::of::<T>());
        Rc::try_unwrap(rows).unwrap_or_else(|shared| (*shared).clone())
    }

    /// What is made of the run for several tables, made once.
    pub(super) fn once<V: 'static>(&self, make: impl FnOnce() -> V) -> Rc<V> {
        let known = self.derived.borrow().get(&TypeId::of::<V>()).cloned();
        if let Some(value) = known.and_then(|value| value.downcast().ok()) {
            return value;
        }
        let value = Rc::new(make());
        self.derived.borrow_mut().insert(TypeId::of::<V>(), Rc::<V>::clone(&value));
        value
    }

    /// The run's sensors with what they said, sorted once. `None`: no power was recorded.
    pub(super) fn meters(&self) -> Option<&Meters<'a>> {
        let sort = || {
            let recorded = self.manifest.epochs.iter().any(|epoch| epoch.power.is_some());
            recorded.then(|| Meters::new(self.recording, self.manifest, self.trace))
        };
        self.meters.get_or_init(sort).as_ref()
    }
}
