//! Whether what was derived is what the record gives now.

use std::fs;
use std::path::{Path, PathBuf};

use crate::analysis::{derive, files};
use crate::record::manifest::Manifest;
use crate::record::plan::Plan;
use crate::store::{Recording, read_trace};

use super::check::Check;

/// Name of [`current`].
pub(super) const CURRENT: &str = "tables are what the record gives";
/// Name of [`figures`].
const FIGURES: &str = "figures of the report exist";

/// Derives every table again and compares bytes.
pub(super) fn current(run: &Path, recording: &Recording, plan: &Plan, manifest: &Manifest) -> Check {
    let trace = match read_trace(run) {
        Ok(trace) => trace,
        Err(error) => return Check::of(CURRENT, &[error.to_string()], String::new()),
    };
    let expected = match files(&derive(recording, plan, manifest, &trace)) {
        Ok(expected) => expected,
        Err(error) => return Check::of(CURRENT, &[error.to_string()], String::new()),
    };
    if !expected.keys().any(|path| run.join(path).exists()) {
        return Check::skip(CURRENT, "there are none yet; phasebench analyze makes them");
    }
    let wrong = expected.iter().filter_map(|(path, bytes)| match fs::read(run.join(path)) {
        Ok(found) if found == *bytes => None,
        Ok(_) => Some(format!("{} differs; phasebench analyze makes it again", path.display())),
        Err(error) => Some(format!("{}: {error}", path.display())),
    });
    Check::of(CURRENT, &wrong.collect::<Vec<_>>(), format!("{} files, byte for byte", expected.len()))
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
