//! Whether what was derived is what the record gives now.

use std::fs;
use std::path::{Path, PathBuf};

use crate::analysis::write::{differs_in_line_endings, is_current, is_metrics, metrics_file};
use crate::analysis::{Sources, Tables, WriteError, table_files};

use super::check::Check;

/// Name of [`current`].
pub(super) const CURRENT: &str = "tables are what the record gives";
/// Name of [`figures`].
const FIGURES: &str = "figures of the report exist";

/// Derives every table and compares its file with what it is to hold: the largest while the others are derived.
pub(super) fn derive_and_compare(from: &Sources<'_>, run: &Path) -> (Tables, Check) {
    let (tables, largest) = Tables::derive_beside(from, |rows| is_current(run, &metrics_file(rows)));
    let check = current(run, &tables, largest);
    (tables, check)
}

/// Compares every table's file with what it is to hold, but for that of [`metrics_file`], of which that is known.
fn current(run: &Path, tables: &Tables, largest: Result<bool, WriteError>) -> Check {
    let expected = table_files(tables);
    if !expected.iter().any(|file| run.join(file.path()).exists()) {
        return Check::skip(CURRENT, "there are none yet; phasebench analyze makes them");
    }
    let mut largest = Some(largest);
    let mut problems = Vec::new();
    let mut line_endings = Vec::new();
    for file in &expected {
        let known = largest.take_if(|_| is_metrics(file));
        let name = file.path().display();
        match known.unwrap_or_else(|| is_current(run, file)) {
            Ok(true) => {}
            Ok(false) if differs_in_line_endings(run, file).unwrap_or(false) => line_endings.push(name.to_string()),
            Ok(false) => problems.push(format!("{name} differs; phasebench analyze makes it again")),
            Err(error) => problems.push(format!("{name}: {error}")),
        }
    }
    problems.extend(of_line_endings(&line_endings, "tables", "analyze"));
    Check::of(CURRENT, &problems, format!("{} files, byte for byte", expected.len()))
}

/// What is said of files that have other line endings than they were written with, and are the same otherwise; `makes` is the
/// command that writes them. `None`: there are none.
#[must_use]
pub fn of_line_endings(names: &[String], what: &str, makes: &str) -> Option<String> {
    let whose = match names {
        [] => return None,
        [only] => only.clone(),
        several => format!("{} {what}", several.len()),
    };
    Some(format!("the line endings of {whose} were changed, nothing else; phasebench {makes} makes them again"))
}

/// Looks for every picture that `report.md` shows.
pub(super) fn figures(run: &Path) -> Check {
    let Ok(report) = fs::read_to_string(run.join("report.md")) else {
        return Check::skip(FIGURES, "there is no report.md; phasebench report makes it");
    };
    let shown: Vec<PathBuf> = shown(&report).map(PathBuf::from).collect();
    let missing = shown.iter().filter(|path| !run.join(path).is_file());
    let missing: Vec<String> = missing.map(|path| format!("{} is missing", path.display())).collect();
    Check::of(FIGURES, &missing, format!("{} pictures", shown.len()))
}

/// The targets of Markdown images.
fn shown(markdown: &str) -> impl Iterator<Item = &str> {
    markdown.split("![").skip(1).filter_map(|image| {
        let target = image.split_once("](")?.1;
        let end = target.find([')', ' ', '\n'])?;
        Some(&target[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_found_with_and_without_titles() {
        let text = "a ![one](plots/a.svg) b [link](c.md)\n![two, by (x)](plots/b.svg \"title\")";
        assert_eq!(shown(text).collect::<Vec<_>>(), ["plots/a.svg", "plots/b.svg"]);
    }
}
