//! A comparison in a GitHub workflow: annotations on standard output, and a summary of the step.

use std::collections::BTreeSet;
use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use crate::commands::CommandError;
use crate::comparison::words::phase;
use crate::comparison::{Comparison, Gate, Outcome, Reason, Ruling, Verdict};
use crate::report::comparison::{by_concern, names, said, summarise, why};
use crate::report::markdown::to_markdown;
use crate::store::io_error;

/// GitHub shows ten annotations of a kind per step.
const MOST: usize = 10;
/// Where a step's summary goes.
const SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// Prints an annotation for each candidate's answer, as serious as what comes of that candidate alone, and one for each cell that is
/// worse; and adds the summary, of all of them `together`, where GitHub says to.
pub(super) fn annotate(
    comparisons: &[Comparison],
    together: &Ruling,
    gate: &Gate,
    allowed: &BTreeSet<Reason>,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    for comparison in comparisons {
        let ruling = Ruling::of(std::slice::from_ref(comparison), gate, allowed);
        let level = match ruling.outcome {
            Outcome::Worse => "error",
            Outcome::Open => "warning",
            Outcome::Good => "notice",
        };
        let title = format!("{} against {}", comparison.candidate, comparison.baseline);
        let counts = if ruling.is_qualified() { format!(" Outcome: {}.", ruling.in_words()) } else { String::new() };
        writeln!(out, "::{level} title={}::{}{}", property(&title), message(&comparison.sentence), message(&counts))?;
        let names = names(&comparison.cells);
        let worse =
            by_concern(&comparison.cells).into_iter().filter(|cell| gate.holds(cell) && cell.verdict.is_worse());
        for cell in worse.take(MOST - 1) {
            let title = format!("{} of {} on {}", phase(cell.mode), names.of(cell), cell.backend);
            let said = if cell.verdict == Verdict::NewlyFailing { String::new() } else { format!(": {}", said(cell)) };
            let words = format!("{}{said} {}", cell.verdict.as_str(), why(cell));
            writeln!(out, "::error title={}::{}", property(&title), message(words.trim()))?;
        }
    }
    if let Some(path) = env::var_os(SUMMARY).filter(|path| !path.is_empty()) {
        let path = Path::new(&path);
        let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(io_error(path, "write"))?;
        file.write_all(to_markdown(&summarise(comparisons, together)).as_bytes()).map_err(io_error(path, "write"))?;
    }
    Ok(())
}

/// Prints an annotation about all of it.
pub(super) fn notice(text: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "::notice::{}", message(text))
}

/// A message as workflow commands want it.
fn message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property, in which commas and colons end it.
fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_command_is_escaped() {
        assert_eq!(message("12 % slower\n::error::x"), "12 %25 slower%0A::error::x");
        assert_eq!(property("a: b, c"), "a%3A b%2C c");
    }
}
