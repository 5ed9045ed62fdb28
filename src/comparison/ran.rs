//! Where a cell's calls ran, and so which of the machine's own kernels may speak for it: a board that slowed down explains
//! nothing of a cell on the processor, nor the processor's memory one on a board.

use crate::terms::device_of;

use super::machine::MachineRow;
use super::side::SideCell;

/// Where the calls of a cell ran on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ran {
    /// On the processor.
    Processor,
    /// On a GPU of this UUID. `None`: not told which.
    Board(Option<String>),
    /// On one device here and on another there.
    Elsewhere,
    /// Nothing tells of one device.
    Unknown,
}

impl Ran {
    /// Of a cell on both sides.
    pub(super) fn of(a: &SideCell, b: &SideCell) -> Self {
        match (Self::on_one_side(a), Self::on_one_side(b)) {
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Board(None), Self::Board(_)) | (Self::Board(_), Self::Board(None)) => Self::Board(None),
            (own, theirs) if own == theirs => own,
            _ => Self::Elsewhere,
        }
    }

    fn on_one_side(cell: &SideCell) -> Self {
        match cell.actual.as_deref().and_then(device_of) {
            None => Self::Unknown,
            Some(None) => Self::Processor,
            Some(Some(_)) => Self::Board(cell.board.clone()),
        }
    }

    /// Whether a kernel is of the device that the cell ran on.
    pub(super) fn is_where(&self, row: &MachineRow) -> bool {
        match self {
            Self::Processor => row.board.is_none(),
            Self::Board(None) => row.board.is_some(),
            Self::Board(uuid) => row.board == *uuid,
            // What changed is where it ran, and no device's speed explains that.
            Self::Elsewhere => false,
            Self::Unknown => true,
        }
    }

    /// Whether the cell's time may go by a kernel's device: a board waits for the processor, which has to feed it.
    pub(super) fn may_go_by(&self, row: &MachineRow) -> bool {
        match self {
            Self::Processor | Self::Unknown => self.is_where(row),
            Self::Board(_) => row.board.is_none() || self.is_where(row),
            Self::Elsewhere => true,
        }
    }

    /// What a kernel that may speak for the cell is of, in words.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Board(_) => "the board",
            Self::Processor | Self::Elsewhere | Self::Unknown => "the machine",
        }
    }
}
