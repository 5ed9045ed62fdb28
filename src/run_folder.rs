//! A run folder read back: its plan, manifest, record and power trace, each whole, or with why it cannot be used.
//!
//! Every command that reads a run opens it here, so what is missing or damaged is told in one way.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::hash::sha256_hex;
use crate::record::Line;
use crate::record::manifest::Manifest;
use crate::record::plan::{self, Plan};
use crate::store::{self, MANIFEST, PLAN, Recording, SPEC, StoreError, TraceRow, Writer, io_error, reader};

/// A run that can be worked with: its parts can be read, and the plan and the scenario file are those it was made with.
#[derive(Debug)]
pub struct RunFolder {
    /// Where it is.
    pub path: PathBuf,
    /// What was planned.
    pub plan: Plan,
    /// On what it ran.
    pub manifest: Manifest,
    /// What was recorded.
    pub recording: Recording,
}

impl RunFolder {
    /// Reads a run whose figures are to be used.
    ///
    /// # Errors
    /// The folder is no run, is damaged, was changed, or was written in another format; or the run was slowed on purpose, and
    /// is no measurement.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let run = Self::open_planted(path)?;
        not_planted(path, &run.plan)?;
        Ok(run)
    }

    /// Reads a run for whoever knows what was planted in it, or uses no figure of it.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for what was slowed on purpose.
    pub fn open_planted(path: &Path) -> Result<Self, StoreError> {
        must_be_there(path)?;
        let recording = store::read(path)?;
        let (plan, manifest) = (read_plan(path)?.plan, read_manifest(path)?);
        Ok(Self { path: path.to_owned(), plan, manifest, recording })
    }

    /// Reads a run and takes it up: nobody else writes to it while the writer lives. `takes` is shown the plan and every line of
    /// the record; its calls are not kept, for nothing is asked of them but what comes next.
    ///
    /// # Errors
    /// As [`open`](Self::open), and another process writes to it; a record without a line is none.
    pub fn resume(path: &Path, takes: &mut dyn FnMut(&Plan, &Line)) -> Result<(Writer, Self), StoreError> {
        must_be_there(path)?;
        let plan = read_plan(path);
        let (writer, recording) = Writer::resume(path, &mut |line| {
            if let Ok(file) = &plan {
                takes(&file.plan, line);
            }
            !matches!(line, Line::Call(_))
        })?;
        let (plan, manifest) = (plan?.plan, read_manifest(path)?);
        Ok((writer, Self { path: path.to_owned(), plan, manifest, recording }))
    }

    /// Reads a run that something is to be written into.
    ///
    /// # Errors
    /// As [`open`](Self::open), and a link in the folder, which would lead out of it.
    pub fn open_to_write(path: &Path) -> Result<Self, StoreError> {
        let run = Self::open(path)?;
        store::refuse_links(path)?;
        Ok(run)
    }

    /// The power trace, which can be larger than all the rest and is read only where it is used. Empty: none was recorded.
    ///
    /// # Errors
    /// What the system says, or the line that is no reading.
    pub fn trace(&self) -> Result<Vec<TraceRow>, StoreError> {
        store::read_trace(&self.path)
    }
}

/// A run whose record is read later, line by line: it can be larger than memory, and what is made of a line is small.
#[derive(Debug)]
pub struct UnreadRun {
    /// Where it is.
    pub path: PathBuf,
    /// What was planned.
    pub plan: Plan,
    /// On what it ran.
    pub manifest: Manifest,
}

impl UnreadRun {
    /// Reads what is not the record.
    ///
    /// # Errors
    /// As [`RunFolder::open`]; with `planted` not for what was slowed on purpose.
    pub fn open(path: &Path, planted: bool) -> Result<Self, StoreError> {
        must_be_there(path)?;
        let plan = read_plan(path)?.plan;
        if !planted {
            not_planted(path, &plan)?;
        }
        Ok(Self { path: path.to_owned(), plan, manifest: read_manifest(path)? })
    }

    /// Reads the record: `keeps` is shown every line, and those of which it says so are kept.
    ///
    /// # Errors
    /// As [`RunFolder::open`].
    pub fn record(&self, keeps: &mut dyn FnMut(&Line) -> bool) -> Result<Recording, StoreError> {
        reader::read_some(&self.path, keeps)
    }
}

/// Whether there is a folder where a run is expected.
///
/// # Errors
/// There is none, or a file.
pub fn must_be_there(path: &Path) -> Result<(), StoreError> {
    let why = match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => "is a file, a run folder is expected".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "no such folder, a run folder is expected".to_owned(),
        Err(error) => format!("{error}, a run folder is expected"),
    };
    Err(StoreError::Content { path: path.display().to_string(), why })
}

/// What was slowed on purpose is no measurement.
fn not_planted(path: &Path, plan: &Plan) -> Result<(), StoreError> {
    plan.slowdown.as_ref().map_or(Ok(()), |slowdown| {
        let (path, factor) = (path.display().to_string(), slowdown.factor);
        Err(StoreError::Planted { path, factor })
    })
}

/// A plan as it was read.
#[derive(Debug)]
pub struct HashedPlan {
    /// The plan.
    pub plan: Plan,
    /// SHA-256 of its file, in hexadecimal digits.
    pub sha256: String,
}

/// The files of a run folder, looked at one by one: a damaged one does not keep the others from being read.
#[derive(Debug)]
pub struct Parts {
    /// SHA-256 of the scenario file, in hexadecimal digits.
    pub scenario_sha256: Result<String, StoreError>,
    /// The plan, with the hash of its file.
    pub plan: Result<HashedPlan, StoreError>,
    /// The manifest.
    pub manifest: Result<Manifest, StoreError>,
    /// The record, with one complete line at least.
    pub recording: Result<Recording, StoreError>,
}

impl Parts {
    /// Looks at every file.
    #[must_use]
    pub fn read(run: &Path) -> Self {
        Self {
            scenario_sha256: read_bytes(run, SPEC).map(|bytes| sha256_hex(&bytes)),
            plan: read_plan(run),
            manifest: read_manifest(run),
            recording: reader::read_lines(run),
        }
    }

    /// The run, where every part can be used.
    ///
    /// # Errors
    /// As [`RunFolder::open`].
    pub fn into_folder(self, path: &Path) -> Result<RunFolder, StoreError> {
        let (recording, plan, manifest) = (self.recording?, self.plan?.plan, self.manifest?);
        recording.check(path, &store::read_text(path, PLAN)?)?;
        not_planted(path, &plan)?;
        Ok(RunFolder { path: path.to_owned(), plan, manifest, recording })
    }
}

fn read_bytes(run: &Path, name: &str) -> Result<Vec<u8>, StoreError> {
    let path = run.join(name);
    fs::read(&path).map_err(io_error(&path, "read"))
}

fn read_plan(run: &Path) -> Result<HashedPlan, StoreError> {
    let bytes = read_bytes(run, PLAN)?;
    let unusable = |why: String| StoreError::Content { path: run.join(PLAN).display().to_string(), why };
    let malformed = |error: serde_json::Error| unusable(format!("not a plan of this version: {error}"));
    // The version first: a newer file must be refused for its version, not for the first field it adds.
    let tree: serde_json::Value = serde_json::from_slice(&bytes).map_err(malformed)?;
    let format = tree.get("format").and_then(serde_json::Value::as_u64);
    if let Some(found) = format.filter(|&found| found != u64::from(plan::FORMAT)) {
        return Err(unusable(format!("format {found}, this version reads {}", plan::FORMAT)));
    }
    let plan: Plan = serde_json::from_value(tree).map_err(malformed)?;
    if let Some(why) = plan.impossible() {
        return Err(unusable(format!("not a plan that can be: {why}")));
    }
    Ok(HashedPlan { plan, sha256: sha256_hex(&bytes) })
}

fn read_manifest(run: &Path) -> Result<Manifest, StoreError> {
    let bytes = read_bytes(run, MANIFEST)?;
    let path = || run.join(MANIFEST).display().to_string();
    Manifest::from_json(&bytes).map_err(|error| StoreError::Content { path: path(), why: error.to_string() })
}
