//! Why two cells of one name are not the same thing.

use crate::record::Statistic;
use crate::record::manifest::{Machine, Manifest};

use super::cell_name::CellName;
use super::side::{OneSide, SideCell};

/// Why a cell of the baseline cannot be compared with one of the candidate. `None`: it can.
pub(super) fn unlike(a: &SideCell, b: &SideCell, of: (&OneSide<'_>, &OneSide<'_>)) -> Option<String> {
    let (own, theirs) = CellName::of_side(a, &of.0.run).zip(CellName::of_side(b, &of.1.run))?;
    let known_by = (known_by(a), known_by(b));
    // What two tools tell is not of one kind, however it is known.
    if own.imported_from == theirs.imported_from && known_by.0 != known_by.1 {
        return Some(format!("one side has {}, the other {}", known_by.0, known_by.1));
    }
    if let Some(reason) = own.unlike(&theirs) {
        return Some(reason);
    }
    let on_gpu = !on_processor(a) || !on_processor(b);
    unlike_hosts(of.0.run.manifest, of.1.run.manifest, on_gpu)
}

/// What a cell's time is known by: a mean, a median and the location of samples are not the same of the same calls.
fn known_by(cell: &SideCell) -> &'static str {
    match cell.sessions.stated.map(|stated| stated.statistic) {
        None => "samples",
        Some(Statistic::Mean) => "a stated mean without samples",
        Some(Statistic::HarmonicMean) => "a stated mean of rates without samples",
        Some(Statistic::Median) => "a stated median without samples",
    }
}

/// Whether a cell ran on the processor, as far as is proven.
fn on_processor(cell: &SideCell) -> bool {
    cell.actual.as_deref().is_some_and(|actual| actual.to_ascii_lowercase().contains("cpu"))
}

/// Why what was measured on two machines is not compared. `None`: as far as is known they are one, but for their GPUs.
#[must_use]
pub fn another_machine(own: &Machine, theirs: &Machine) -> Option<String> {
    let told = |value: &Option<String>| value.clone().unwrap_or_else(|| "not told".to_owned());
    if (&own.arch, &own.cpu_model) != (&theirs.arch, &theirs.cpu_model) {
        return Some(format!("another machine: {} and {}", told(&own.cpu_model), told(&theirs.cpu_model)));
    }
    if own.logical_cores != theirs.logical_cores {
        let told = |cores: Option<u32>| cores.map_or_else(|| "not told".to_owned(), |cores| cores.to_string());
        let (own, theirs) = (told(own.logical_cores), told(theirs.logical_cores));
        return Some(format!("another machine: {own} and {theirs} processors"));
    }
    None
}

/// Why two machines are not one.
fn unlike_hosts(a: &Manifest, b: &Manifest, on_gpu: bool) -> Option<String> {
    let other = another_machine(&a.stack.machine, &b.stack.machine);
    if other.is_some() {
        return other;
    }
    let boards = |manifest: &Manifest| -> Vec<String> {
        let names = manifest.stack.gpus.devices.iter();
        names.map(|gpu| gpu.uuid.clone().or_else(|| gpu.name.clone()).unwrap_or_default()).collect()
    };
    (on_gpu && boards(a) != boards(b)).then(|| "another GPU".to_owned())
}
