//! A comparison on a terminal: the sentence, what to know, the groups, and the cells that somebody should look at.

use std::io::Write;

use crate::commands::CommandError;
use crate::commands::columns::aligned_table;
use crate::comparison::{Comparison, Ruling, Verdict};
use crate::report::comparison::{by_concern, names, table, together};
use crate::report::document::Text;

/// Cells that are printed; the others are counted.
const MOST_CELLS: usize = 40;

/// Prints all of them, then the outcome.
pub(super) fn print(comparisons: &[Comparison], ruling: &Ruling, out: &mut dyn Write) -> Result<(), CommandError> {
    for comparison in comparisons {
        writeln!(out, "{} against {}", comparison.candidate, comparison.baseline)?;
        writeln!(out, "  {}", Text::plain(comparison.sentence.as_str()))?;
        for note in &comparison.notes {
            writeln!(out, "  note: {}", Text::plain(note.as_str()))?;
        }
        writeln!(out)?;
        for line in aligned_table(&together(comparison)) {
            writeln!(out, "  {line}")?;
        }
        writeln!(out)?;
        print_cells(comparison, out)?;
    }
    writeln!(out, "outcome: {}", ruling.in_words())?;
    Ok(())
}

fn print_cells(comparison: &Comparison, out: &mut dyn Write) -> Result<(), CommandError> {
    let sorted = by_concern(&comparison.cells);
    let (printed, left) = sorted.split_at(sorted.len().min(MOST_CELLS));
    for line in aligned_table(&table(printed, &names(&comparison.cells), Text::default())) {
        writeln!(out, "  {line}")?;
    }
    if !left.is_empty() {
        let same = left.iter().filter(|cell| cell.verdict == Verdict::Same).count();
        writeln!(out, "  … and {} more cells, {same} of them the same; --out DIR has all", left.len())?;
    }
    writeln!(out)?;
    Ok(())
}
