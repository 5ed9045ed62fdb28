//! All runs of the same cells in the order of time: how each went, where its level changed, and what was not the same then.
//!
//! [`read()`] takes runs from folders, [`History::of`] sets them side by side, [`page()`] and the tables write what it found. A cell is
//! followed by all that it is, as two runs are compared by it ([`CellName`](crate::comparison::CellName)); what changes in the stack is
//! what a history is for. Changes of level are found by [`change_points`](crate::stats::change_points).

mod cells;
mod names;
mod newest;
mod page;
mod read;
mod side_by_side;
mod tables;

pub use cells::{Change, Level, Point, Series};
pub use newest::Newest;
pub use page::page;
pub use read::{HistoryError, HistoryRun, MeasuredCell, folders_without, read, read_without};
pub use side_by_side::{History, NOISE_NEEDS, Noise, RunInHistory, StackMark};
pub use tables::{ChangeTableRow, RunTableRow, csv_files, descriptions, time};
