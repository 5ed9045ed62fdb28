//! `phasebench validate`: whether a run folder holds together.

use std::fs;
use std::io::Write;
use std::mem;
use std::path::Path;

use serde_json::json;

use crate::analysis::validate::{Check, Derived, Examined, Outcome, examine, of_line_endings, passed};
use crate::cli::RunFolderArgs;
use crate::commands::CommandError;
use crate::exit::Exit;
use crate::report::files::{self, MARKDOWN, PAGE};
use crate::report::sections::{ReportedRun, compose};
use crate::run_folder::must_be_there;

/// Name of the check of the report.
const REPORT: &str = "report is what the record gives";

/// Prints one line per check; ends with [`Exit::CheckFailed`] if one failed.
///
/// # Errors
/// There is no such folder, standard output refuses.
pub fn execute(args: &RunFolderArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    must_be_there(&args.run)?;
    let Examined { mut checks, derived } = examine(&args.run);
    checks.push(rebuilt(&args.run, derived.as_ref().map_err(String::as_str)));
    // The process ends: to give back what a million calls hold would only take time.
    mem::forget(derived);
    let good = passed(&checks);
    if args.json {
        writeln!(out, "{:#}", json!({ "passed": good, "checks": serde_json::to_value(&checks)? }))?;
    } else {
        for check in &checks {
            let outcome = match check.outcome {
                Outcome::Pass => "PASS",
                Outcome::Fail => "FAIL",
                Outcome::Skip => "SKIP",
            };
            writeln!(out, "{outcome}  {}: {}", check.name, check.detail)?;
        }
        let count = |outcome| checks.iter().filter(|check| check.outcome == outcome).count();
        let (fail, skip) = (count(Outcome::Fail), count(Outcome::Skip));
        writeln!(out, "{} passed, {fail} failed, {skip} skipped", count(Outcome::Pass))?;
    }
    Ok(if good { Exit::Good } else { Exit::CheckFailed })
}

/// Builds the report again from the record and compares bytes. Only the version that made a report can tell whether it
/// is the one that the record gives, so one of another version is not looked at.
fn rebuilt(run: &Path, derived: Result<&Derived, &str>) -> Check {
    let read = |name: &str| Some(fs::read_to_string(run.join(name)).ok()?.replace("\r\n", "\n"));
    let (text, page) = (read(MARKDOWN), read(PAGE));
    if text.is_none() && page.is_none() {
        return Check::skip(REPORT, "there is none yet; phasebench report makes it");
    }
    let Derived { run: opened, trace, tables, contradictions } = match derived {
        Ok(derived) => derived,
        Err(why) => return Check::skip(REPORT, why),
    };
    let reported = ReportedRun::new(opened, trace, tables).with_contradictions(contradictions);
    let expected = files::contents(&compose(&reported));
    let of = |name: &str| expected.iter().find(|(path, _)| path == name).map(|(_, bytes)| bytes.as_slice());
    // Either file tells: another version's name in one of them must not keep the other from being compared.
    let ours = [(text, MARKDOWN, END_OF_TEXT), (page, PAGE, END_OF_PAGE)]
        .into_iter()
        .any(|(found, name, mark)| same_end(found.as_deref(), of(name), mark));
    if !ours {
        return Check::skip(REPORT, "not checked: made by another version; phasebench report makes it again");
    }
    Check::of(REPORT, &differences(run, &expected), format!("{} files, byte for byte", expected.len()))
}

/// What comes before the last words of `report.md`, which name version and commit.
const END_OF_TEXT: &str = "\n---\n";
/// The same of `report.html`.
const END_OF_PAGE: &str = "<footer>";

/// Whether a file ends, from the last `mark` on, as it is to.
fn same_end(found: Option<&str>, expected: Option<&[u8]>, mark: &str) -> bool {
    let end = |text: &str| text.rfind(mark).map(|at| text[at..].trim_end().to_owned());
    let expected = expected.and_then(|bytes| end(std::str::from_utf8(bytes).ok()?));
    expected.is_some() && found.and_then(end) == expected
}

/// A text's bytes with LF wherever CRLF ends a line.
fn with_lf(bytes: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(bytes).replace("\r\n", "\n").into_bytes()
}

/// Files that are not as expected, and pictures that nothing expects.
fn differences(run: &Path, expected: &[(String, Vec<u8>)]) -> Vec<String> {
    let (mut problems, mut line_endings) = (Vec::new(), Vec::new());
    for (name, bytes) in expected {
        match fs::read(run.join(name)) {
            Ok(found) if found == *bytes => {}
            Ok(found) if with_lf(&found) == *bytes => line_endings.push(name.clone()),
            Ok(_) => problems.push(format!("{name} differs; phasebench report makes it again")),
            Err(error) => problems.push(format!("{name}: {error}")),
        }
    }
    problems.extend(of_line_endings(&line_endings, "files of the report", "report"));
    let stray = files::stray_charts(run, expected).unwrap_or_default();
    problems.extend(stray.iter().map(|path| format!("{} is not of this report", path.display())));
    problems
}
