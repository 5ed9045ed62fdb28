//! A comparison as JUnit XML: one test case per cell.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::Path;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use crate::commands::CommandError;
use crate::comparison::words::phase;
use crate::comparison::{CellRow, Comparison, Gate, Reason, Ruling};
use crate::files;
use crate::report::comparison::{names, said, why};
use crate::store::io_error;

/// What becomes of a cell as a test case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Passed,
    /// Worse.
    Failed,
    /// Not decided, and that is not allowed.
    Error,
    /// Not decided, and that is allowed or not asked about.
    Skipped,
}

/// Writes the file. Worse cells fail, those that are not decided are errors, or skipped where that is allowed.
pub(super) fn write(
    comparisons: &[Comparison],
    gate: &Gate,
    allowed: &BTreeSet<Reason>,
    path: &Path,
) -> Result<(), CommandError> {
    let mut xml = Writer::new_with_indent(Cursor::new(Vec::new()), b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let suites = xml.create_element("testsuites").with_attribute(("name", "phasebench compare"));
    suites.write_inner_content(|xml| {
        for comparison in comparisons {
            let ruling = Ruling::of(std::slice::from_ref(comparison), gate, allowed);
            suite(comparison, &ruling, gate, xml)?;
        }
        Ok(())
    })?;
    let mut bytes = xml.into_inner().into_inner();
    bytes.push(b'\n');
    files::replace(path, &bytes).map_err(io_error(path, "write"))?;
    Ok(())
}

fn suite(
    comparison: &Comparison,
    ruling: &Ruling,
    gate: &Gate,
    xml: &mut Writer<Cursor<Vec<u8>>>,
) -> std::io::Result<()> {
    let of = |cell: &CellRow| case(cell, gate, &ruling.allowed);
    let cases: Vec<(&CellRow, Case)> = comparison.cells.iter().map(|cell| (cell, of(cell))).collect();
    let count = |wanted: Case| cases.iter().filter(|(_, case)| *case == wanted).count().to_string();
    let name = format!("{} against {}", comparison.candidate, comparison.baseline);
    xml.create_element("testsuite")
        .with_attributes([
            ("name", name.as_str()),
            ("tests", cases.len().to_string().as_str()),
            ("failures", count(Case::Failed).as_str()),
            ("errors", count(Case::Error).as_str()),
            ("skipped", count(Case::Skipped).as_str()),
        ])
        .write_inner_content(|xml| {
            let names = names(&comparison.cells);
            for (cell, case) in &cases {
                let class = format!("{}.{}", cell.backend, cell.mode.as_str());
                test_case((&class, &names.of(cell)), cell, *case, ruling, xml)?;
            }
            let out = xml.create_element("system-out");
            let answer = format!("{}\noutcome: {}", comparison.sentence, ruling.in_words());
            out.write_text_content(BytesText::new(&answer))?;
            Ok(())
        })?;
    Ok(())
}

fn test_case(
    (class, name): (&str, &str),
    cell: &CellRow,
    case: Case,
    ruling: &Ruling,
    xml: &mut Writer<Cursor<Vec<u8>>>,
) -> std::io::Result<()> {
    let element = xml.create_element("testcase").with_attributes([("classname", class), ("name", name)]);
    let tag = match case {
        Case::Passed => return element.write_empty().map(|_| ()),
        Case::Failed => "failure",
        Case::Error => "error",
        Case::Skipped => "skipped",
    };
    element.write_inner_content(|xml| {
        let found = format!("{}: {}", cell.verdict.as_str(), said(cell));
        // That a worse cell is skipped has its reason beside it.
        let message = match ruling.excuse(cell).filter(|_| case == Case::Skipped) {
            Some(excuse) => format!("{excuse}: {found}"),
            None => found,
        };
        let inner = xml.create_element(tag).with_attribute(("message", message.as_str()));
        let words = format!("{} of {} {}", phase(cell.mode), name, why(cell));
        inner.write_text_content(BytesText::new(words.trim()))?;
        Ok(())
    })?;
    Ok(())
}

fn case(cell: &CellRow, gate: &Gate, allowed: &BTreeSet<Reason>) -> Case {
    if !gate.holds(cell) {
        return Case::Skipped;
    }
    match cell.verdict.reason() {
        None if cell.verdict.is_worse() => Case::Failed,
        None => Case::Passed,
        Some(reason) if allowed.contains(&reason) => Case::Skipped,
        Some(_) => Case::Error,
    }
}
