//! What changed between two runs beside their speed.

use crate::comparison::words::change;
use crate::comparison::{Comparison, MachineRow};
use crate::record::manifest::{Change, Weight};
use crate::report::document::{Block, Table};

/// Changes in groups. Empty: nothing changed.
pub(super) fn changes(comparison: &Comparison) -> Vec<Block> {
    let of = |weight: Weight, caption: &str| -> Option<Block> {
        let own: Vec<&Change> = comparison.changes.iter().filter(|change| change.weight == weight).collect();
        let told = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        let table = Table::of(own.iter().copied())
            .words("what", |change: &Change| change.what.as_str())
            .words("before", |change: &Change| told(&change.before))
            .words("after", |change: &Change| told(&change.after))
            .captioned(caption.into());
        (!own.is_empty()).then(|| table.into())
    };
    let groups = [
        of(Weight::Speed, "What can change speed."),
        of(Weight::Follows, "What comes with it."),
        of(Weight::Harmless, "What cannot."),
    ];
    let found: Vec<Block> = groups.into_iter().flatten().collect();
    if found.is_empty() { vec![Block::Paragraph("Nothing.".into())] } else { found }
}

/// The reference kernels. `None`: they were not run on both sides.
pub(super) fn machine(comparison: &Comparison) -> Option<Block> {
    let table = Table::of(&comparison.machine)
        .words("kernel", |row: &MachineRow| row.kernel.as_str())
        .interval("change", "", "95 %", |row: &MachineRow| change(row.ratio, Some((row.low, row.high))))
        .count("readings before", |row: &MachineRow| row.n_a)
        .count("readings after", |row: &MachineRow| row.n_b)
        .captioned("Kernels that use nothing of any engine: a witness, not a correction.".into());
    (!comparison.machine.is_empty()).then(|| table.into())
}
