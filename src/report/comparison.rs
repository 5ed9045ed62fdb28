//! A comparison as a page: the answer first, then every cell.

mod cells;
mod stack;

use crate::comparison::words::{change, percent, phase};
use crate::comparison::{Comparison, GroupRow, Ruling, Verdict};
use crate::record::manifest::Tool;
use crate::report::document::{Assurance, Block, Document, Finding, Section, Table, Text};

pub use cells::{CellNames, by_concern, names, said, table, why};

/// Cells that a step's summary lists.
const MOST_CELLS: usize = 50;

/// The page of one baseline and one or several candidates.
#[must_use]
pub fn compose(comparisons: &[Comparison], ruling: &Ruling) -> Document {
    let mut document = first_screen(comparisons, ruling);
    let parts: [(&'static str, &str, Part); 5] = [
        ("together", "Together", |_, comparison| vec![together(comparison).into()]),
        ("forest", "Every cell", cells::figures),
        ("cells", "Figures", |_, comparison| cells::blocks(comparison)),
        ("changed", "What changed in the stack", |_, comparison| stack::changes(comparison)),
        ("machine", "The machine's own speed", |_, comparison| stack::machine(comparison).into_iter().collect()),
    ];
    document.sections.extend(parts.into_iter().filter_map(|(id, title, part)| section(id, title, comparisons, part)));
    document
}

/// What a section says of one comparison, which is the so-manieth of its page.
type Part = fn(usize, &Comparison) -> Vec<Block>;

/// Its first screen, with the cells that are not the same: short enough for a step's summary.
#[must_use]
pub fn summarise(comparisons: &[Comparison], ruling: &Ruling) -> Document {
    let mut document = first_screen(comparisons, ruling);
    let others: Part = |_, comparison| {
        let cells = by_concern(&comparison.cells).into_iter().filter(|cell| cell.verdict != Verdict::Same);
        let cells: Vec<_> = cells.take(MOST_CELLS).collect();
        let table = table(&cells, &names(&comparison.cells), Text::default());
        if cells.is_empty() { Vec::new() } else { vec![table.into()] }
    };
    let groups: Part = |_, comparison| vec![together(comparison).into()];
    document.sections.extend(section("together", "Together", comparisons, groups));
    document.sections.extend(section("cells", "Cells that are not the same", comparisons, others));
    document
}

/// A section over all candidates, each named where there are several. `None`: nothing to say of any.
fn section(id: &'static str, title: &str, comparisons: &[Comparison], part: Part) -> Option<Section> {
    let mut blocks = Vec::new();
    for (number, comparison) in comparisons.iter().enumerate() {
        let own = part(number, comparison);
        if comparisons.len() > 1 && !own.is_empty() {
            blocks.push(Block::Paragraph(Text::default().strong(comparison.candidate.as_str())));
        }
        blocks.extend(own);
    }
    (!blocks.is_empty()).then(|| Section { id, title: title.to_owned(), blocks })
}

fn first_screen(comparisons: &[Comparison], ruling: &Ruling) -> Document {
    let candidates: Vec<&str> = comparisons.iter().map(|comparison| comparison.candidate.as_str()).collect();
    let baseline = comparisons.first().map_or("", |comparison| comparison.baseline.as_str());
    let notes = comparisons.iter().flat_map(|comparison| &comparison.notes).fold(Vec::new(), |mut notes, note| {
        if !notes.contains(&note) {
            notes.push(note);
        }
        notes
    });
    let findings = comparisons.iter().map(|comparison| finding(comparison, comparisons.len() > 1)).collect();
    let mut verdict = vec![Block::Findings(findings)];
    verdict.extend(notes.into_iter().map(|note| Block::Note(note.as_str().into())));
    let mut facts: Vec<(String, Text)> = vec![
        ("outcome".to_owned(), ruling.in_words().into()),
        ("baseline".to_owned(), baseline.into()),
        ("candidate".to_owned(), candidates.join(", ").into()),
        ("margin".to_owned(), format!("{} %", percent(comparisons.first().map_or(1.0, |c| c.margin))).into()),
    ];
    facts.extend(ruling.which().map(|which| ("cells that count".to_owned(), which.into())));
    facts.extend(ruling.allowance().map(|allowance| ("may be left open".to_owned(), allowance.into())));
    Document {
        title: format!("{} against {baseline}", candidates.join(", ")),
        facts,
        verdict,
        sections: Vec::new(),
        made_by: format!("Made by phasebench {} from the runs' own rows.", Tool::this().version),
    }
}

fn finding(comparison: &Comparison, several: bool) -> Finding {
    let compared = comparison.cells.iter().filter(|cell| cell.ratio.is_some()).count();
    let settled =
        |verdict: Verdict| matches!(verdict, Verdict::Slower | Verdict::Faster | Verdict::Same | Verdict::NewlyFailing);
    let assurance = if compared == 0 {
        Assurance::Withheld
    } else if comparison.cells.iter().all(|cell| settled(cell.verdict)) && comparison.allowance.is_none() {
        Assurance::Holds
    } else {
        Assurance::Caution
    };
    let question = if several {
        format!("Did {} change anything?", comparison.candidate)
    } else {
        "Did anything change?".to_owned()
    };
    Finding {
        question,
        assurance,
        answer: comparison.sentence.as_str().into(),
        grounds: format!(
            "{compared} of {} cells compared; intervals at 95 %, false alarms at most {} % over all cells (Holm).",
            comparison.cells.len(),
            crate::units::significant(100.0 * comparison.alpha, 2)
        )
        .into(),
    }
}

/// Backends and phases.
#[must_use]
pub fn together(comparison: &Comparison) -> Table {
    let counted = |group: &GroupRow| {
        let each: Vec<String> = group.verdicts.iter().map(|(verdict, n)| format!("{n} {}", verdict.as_str())).collect();
        each.join(", ")
    };
    let engine = |group: &GroupRow| match &group.backend_b {
        Some(other) => format!("{other} against {}", group.backend),
        None => group.backend.clone(),
    };
    Table::of(&comparison.groups)
        .words("phase", |group| phase(group.mode))
        .words("backend", engine)
        .interval("mean change", "", "95 %", |group: &GroupRow| {
            let bounds = group.ratio_low.zip(group.ratio_high);
            group.ratio.map_or_else(|| super::format::ABSENT.to_owned(), |ratio| change(ratio, bounds))
        })
        .words("the mean is", |group| if group.below_floor { "same, below the floor" } else { group.verdict.as_str() })
        .count("cells", |group| group.cells)
        .words("of them", counted)
        .captioned(
            "Geometric means of the changes of the cells compared, as they stand below; the cells are these and no sample of others. \
             A mean is never surer than they make it, and of one cell it is that cell's."
                .into(),
        )
}
