//! Whether what was derived is what the record gives now.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use crate::analysis::{TableFile, Tables, WriteError, table_files};

use super::check::Check;

/// Name of [`current`].
pub(super) const CURRENT: &str = "tables are what the record gives";
/// Name of [`figures`].
const FIGURES: &str = "figures of the report exist";

/// Compares every table's file with what it is to hold.
pub(super) fn current(run: &Path, tables: &Tables) -> Check {
    let expected = table_files(tables);
    if !expected.iter().any(|file| run.join(file.path()).exists()) {
        return Check::skip(CURRENT, "there are none yet; phasebench analyze makes them");
    }
    let mut problems = Vec::new();
    for file in &expected {
        match SameBytes::as_in(&run.join(file.path())).and_then(|found| found.all_of(file)) {
            Ok(true) => {}
            Ok(false) => problems.push(format!("{} differs; phasebench analyze makes it again", file.path().display())),
            Err(error) => problems.push(format!("{}: {error}", file.path().display())),
        }
    }
    Check::of(CURRENT, &problems, format!("{} files, byte for byte", expected.len()))
}

/// Takes bytes and looks whether a file holds the same.
struct SameBytes {
    file: BufReader<File>,
    found: Vec<u8>,
    same: bool,
}

impl SameBytes {
    fn as_in(path: &Path) -> Result<Self, WriteError> {
        Ok(Self { file: BufReader::with_capacity(1 << 16, File::open(path)?), found: Vec::new(), same: true })
    }

    /// Whether they are the bytes of this table, all of them and no more.
    fn all_of(mut self, table: &TableFile<'_>) -> Result<bool, WriteError> {
        table.fill(&mut self)?;
        Ok(self.same && self.file.read(&mut [0])? == 0)
    }
}

impl Write for SameBytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.same {
            self.found.resize(bytes.len(), 0);
            self.same = match self.file.read_exact(&mut self.found) {
                Ok(()) => self.found == bytes,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
                Err(error) => return Err(error),
            };
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
