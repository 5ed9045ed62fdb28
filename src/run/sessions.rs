//! The sessions that are loaded at one moment of a run.

use std::collections::BTreeMap;

use crate::backend::{BackendError, Session};
use crate::record::plan::Plan;
use crate::units::{Bytes, Nanos};

/// A loaded model.
pub(super) struct OpenSession {
    pub(super) session: Box<dyn Session>,
    /// When it was ready for calls.
    pub(super) loaded_at: Nanos,
}

/// Loaded sessions by their place in the plan.
#[derive(Default)]
pub(super) struct OpenSessions(BTreeMap<usize, OpenSession>);

impl OpenSessions {
    pub(super) fn insert(&mut self, place: usize, session: Box<dyn Session>, loaded_at: Nanos) {
        self.0.insert(place, OpenSession { session, loaded_at });
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut OpenSession> {
        self.0.get_mut(&place)
    }

    /// How many are loaded beside one that is.
    pub(super) fn others(&self) -> u32 {
        u32::try_from(self.0.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// Memory that the plan counts for what is loaded.
    pub(super) fn planned_memory(&self, plan: &Plan) -> Bytes {
        self.0.keys().map(|&place| plan.sessions[place].resident_bytes).sum()
    }

    /// Frees some of them.
    ///
    /// # Errors
    /// The engine cannot free one.
    pub(super) fn evict(&mut self, places: &[usize]) -> Result<(), BackendError> {
        let gone: Vec<OpenSession> = places.iter().filter_map(|place| self.0.remove(place)).collect();
        gone.into_iter().try_for_each(|open| open.session.close())
    }

    /// Frees all of them.
    ///
    /// # Errors
    /// The engine cannot free one.
    pub(super) fn close(&mut self) -> Result<(), BackendError> {
        std::mem::take(&mut self.0).into_values().try_for_each(|open| open.session.close())
    }

    /// Drops a session whose engine is gone or unusable.
    pub(super) fn lose(&mut self, place: usize) {
        if let Some(open) = self.0.remove(&place) {
            // Closing may fail for the same reason and tells nothing new.
            drop(open.session.close());
        }
    }
}
