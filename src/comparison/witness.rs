//! Whether anything vouches for the machine between two runs of a virtual or shared one.
//!
//! What such a machine gives a program moves by half and more within minutes, when its neighbours start or stop, and no counter
//! inside it shows that: one build called itself 37 % slower, 17 % at least, with 5 % allowed for drift. So the default allowance
//! makes an interval, but no accusation: that takes readings of the machine's own speed, or an allowance that was measured.

use super::allowance::{Allowance, AllowanceSource};
use super::machine::MachineRow;
use super::ran::Ran;
use super::side::{OneSide, Sides};
use super::words::{change, ends};

/// Why it stays open how much slower, or faster, a cell of a backend is, whose ratio's interval has these ends: the machine itself
/// may be. `ran`: where its calls were made. `None`: it is vouched for.
pub(super) fn missing(
    (backend, ran): (&str, &Ran),
    ratio: (Option<f64>, Option<f64>),
    slower: bool,
    sides: &Sides<'_>,
    machine: &[MachineRow],
    allowance: Option<&Allowance>,
) -> Option<String> {
    allowance.filter(|allowance| allowance.source == AllowanceSource::Shared)?;
    if is_scripted(backend, &sides.baseline) && is_scripted(backend, &sides.candidate) {
        return None;
    }
    // The processor alone vouches for no board.
    if matches!(ran, Ran::Board(_)) && !machine.iter().any(|row| ran.is_where(row)) {
        return Some("nothing vouches for the board".to_owned());
    }
    let mut rows = machine.iter().filter(|row| ran.may_go_by(row));
    let Some(first) = rows.next() else {
        return Some("nothing vouches for the machine".to_owned());
    };
    // How far the machine itself may have moved, and how far the cell has at least, both as factors above 1.
    let may = |row: &MachineRow| if slower { row.high } else { 1.0 / row.low };
    let has = if slower { ratio.0? } else { 1.0 / ratio.1? };
    let far = rows.fold(first, |far, row| if may(row) > may(far) { row } else { far });
    (may(far) >= has).then(|| in_words(far))
}

/// What a kernel leaves room for. One that does not tell whether the machine changed is no sign that it did.
fn in_words(kernel: &MachineRow) -> String {
    if kernel.holds_one() {
        let known = ends(kernel.low, kernel.high);
        return format!("the machine's own speed is known only to {known} ({})", kernel.kernel);
    }
    let moved = change(kernel.ratio, Some((kernel.low, kernel.high)));
    format!("the machine itself may be as much: {moved} ({})", kernel.kernel)
}

/// What must be known where something is left open for that.
pub(super) const NOTE: &str = "No cell is called slower or faster by a known extent where the machine is virtual or shared and may \
     itself have moved as far. Runs of a few minutes read its speed often enough; --history DIR takes what earlier runs showed; \
     both in one plan, compared with --between, need neither.";

/// Whether a cell's time is scripted, so that no machine has a part in it.
fn is_scripted(backend: &str, side: &OneSide<'_>) -> bool {
    side.run.manifest.stack.backends.get(backend).is_some_and(|entry| entry.virtual_clock)
}
