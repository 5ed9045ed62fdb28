//! Whether a record, and the files that its closing seal names, are as they were written.

use std::path::Path;

use crate::store::reader::differs_in_line_endings;
use crate::store::{self, Recording, writer};

use super::Check;

/// The check.
pub(super) const NAME: &str = "the record is as it was written";

/// What the seals say; `run` is the run's folder.
pub(super) fn check(run: &Path, recording: &Recording) -> Check {
    if !recording.is_sealed() && recording.seals.broken.is_empty() {
        return Check::skip(NAME, "a record of format 1, which has no seals");
    }
    let mut problems = recording.seals.broken.clone();
    if recording.is_sealed() && recording.finished() {
        problems.extend(closing_problems(run, recording));
    }
    let tail = match recording.seals.unsealed {
        0 => String::new(),
        lines => format!(", {lines} lines after the last are not sealed yet"),
    };
    Check::of(NAME, &problems, format!("{} seals agree{tail}", recording.seals.agreeing))
}

/// How a file is not as its seal says it was. `expected`: its hash then.
fn difference(run: &Path, name: &str, expected: Option<&String>) -> String {
    let (text, expected) = (store::read_text(run, name), expected.map_or("", String::as_str));
    if text.is_ok_and(|text| differs_in_line_endings(&text, expected)) {
        return format!("the line endings of {name} were changed, nothing else");
    }
    format!("{name} is not as it was when the run was finished")
}

/// What the seal that closes a finished run says against it.
fn closing_problems(run: &Path, recording: &Recording) -> Vec<String> {
    let Some(seal) = &recording.seals.closing else {
        let again = format!("phasebench run --resume {}", run.display());
        return vec![format!(
            "the run is finished and has no closing seal: it was ended in between ({again} adds it), or lines are gone"
        )];
    };
    match writer::closed_files(run) {
        Ok(found) => {
            let names = seal.files.keys().chain(found.keys().filter(|name| !seal.files.contains_key(*name)));
            let changed = names.filter(|name| seal.files.get(*name) != found.get(*name));
            changed.map(|name| difference(run, name, seal.files.get(name))).collect()
        }
        Err(error) => vec![error.to_string()],
    }
}
