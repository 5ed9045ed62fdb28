//! Where cells are proven to have run.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::ptr;

use crate::record::CallRecord;
use crate::record::manifest::Manifest;
use crate::record::plan::CellId;
use crate::store::Recording;
use crate::terms::Attribution;

/// Where a cell ran, and on nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The processor.
    Processor,
    /// The NVIDIA board of this UUID.
    Board(String),
}

/// Cells by id. `None`: in several places, or on a board that nothing tells from others.
pub(super) struct Places<'a>(BTreeMap<&'a str, Option<Place>>);

impl<'a> Places<'a> {
    /// By every call that went well and proves where it ran.
    pub(super) fn of(recording: &'a Recording, manifest: &Manifest) -> Self {
        let mut places = BTreeMap::new();
        // Calls of a cell mostly share what they say: where that names no board, it is looked at once.
        let mut known: HashSet<(*const CellId, *const Attribution)> = HashSet::new();
        for call in recording.calls().filter(|call| call.status.is_ok()) {
            let said = (ptr::from_ref(&*call.cell_id), ptr::from_ref(&*call.attribution));
            if known.contains(&said) {
                continue;
            }
            let device = call.attribution.device();
            if device.flatten().is_none() {
                known.insert(said);
            }
            let Some(device) = device else { continue };
            let place = match device {
                None => Some(Place::Processor),
                Some(_) => board(call, manifest).map(|uuid| Place::Board(uuid.to_owned())),
            };
            match places.entry(call.cell_id.0.as_str()) {
                Entry::Vacant(entry) => drop(entry.insert(place)),
                Entry::Occupied(mut entry) if *entry.get() != place => drop(entry.insert(None)),
                Entry::Occupied(_) => {}
            }
        }
        Self(places)
    }

    /// `None`: nothing proves one place.
    pub(super) fn of_cell(&self, cell_id: &str) -> Option<&Place> {
        self.0.get(cell_id)?.as_ref()
    }
}

/// The UUID of the board that a call on a GPU ran on: the engine names it, or only there does a process of ours compute, or there
/// is no other. `None`: nothing proves one.
#[must_use]
pub fn board<'a>(call: &'a CallRecord, manifest: &'a Manifest) -> Option<&'a str> {
    if let Some(uuid) = &call.attribution.evidence.device_uuid {
        return Some(uuid);
    }
    let mut ours = call.beside.boards.iter().filter(|board| board.ours > 0);
    if let (Some(board), None) = (ours.next(), ours.next()) {
        return Some(&board.uuid);
    }
    match manifest.stack.gpus.devices.as_slice() {
        [only] if call.attribution.cuda_number().unwrap_or(0) == 0 => only.uuid.as_deref(),
        _ => None,
    }
}
