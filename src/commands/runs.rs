//! Runs that are reported or decided on together, read.

use std::path::PathBuf;

use crate::analysis::{self, Tables};
use crate::commands::CommandError;
use crate::commands::error::BadReport;
use crate::report::sections::ReportedRun;
use crate::report::sections::several::{MOST_RUNS, NamedRun};
use crate::run_folder::RunFolder;
use crate::scenario::naming::free_name;
use crate::store::TraceRow;

/// A run with what is derived from it.
pub struct ReadRun {
    /// Its folder's name; no two runs have the same.
    pub name: String,
    /// What was recorded.
    pub folder: RunFolder,
    trace: Vec<TraceRow>,
    /// What is derived.
    pub tables: Tables,
}

impl ReadRun {
    /// Reads and derives, in the order given.
    ///
    /// # Errors
    /// A run folder that cannot be read; more runs than stand in one report.
    pub fn all(paths: &[PathBuf]) -> Result<Vec<Self>, CommandError> {
        if paths.len() > MOST_RUNS {
            return Err(BadReport::TooMany(paths.len()).into());
        }
        let mut read: Vec<Self> = Vec::new();
        for path in paths {
            let folder = RunFolder::open(path)?;
            let trace = folder.trace()?;
            let tables = analysis::derive(&folder.recording, &folder.plan, &folder.manifest, &trace);
            let called = path.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy());
            let name = free_name(&called, |name| read.iter().any(|other| other.name == name));
            read.push(Self { name, folder, trace, tables });
        }
        Ok(read)
    }

    /// As a report takes it.
    pub fn named(&self) -> NamedRun<'_> {
        NamedRun { name: &self.name, run: ReportedRun::new(&self.folder, &self.trace, &self.tables) }
    }
}
