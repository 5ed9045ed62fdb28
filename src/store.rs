//! The run folder: append-only, one writer, readable after any crash.
//!
//! A line is written whole, flushed and synced before the next call begins, so `kill -9` loses at most the call
//! in flight. A reader accepts a torn last line and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::files::{self, Prepared};

pub mod reader;
pub mod reserved;
pub mod seal;
pub mod trace;
pub mod writer;

pub use reader::{Recording, read, read_some};
pub use reserved::Reserved;
pub use trace::{POWER_TRACE, TraceRow, TraceWriter, read_trace};
pub use writer::Writer;

/// The scenario file, verbatim.
pub const SPEC: &str = "spec.yaml";
/// The plan.
pub const PLAN: &str = "plan.json";
/// The stack's fingerprint.
pub const MANIFEST: &str = "manifest.json";
/// The record.
pub const MEASUREMENTS: &str = "measurements.jsonl";
/// Facts of this machine that resuming needs and that nobody else does.
pub const LOCAL: &str = "local.json";
/// Held locked by the one writer.
pub const LOCK: &str = "lock";

/// Why a run folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder is there already.
    #[error("{path}: exists already and is not empty\n  try: another --out, or --resume {path} to go on with it")]
    Exists {
        /// The folder.
        path: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {doing}: {source}{}", hint(doing, .source))]
    Io {
        /// The file.
        path: String,
        /// What was being done.
        doing: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// A link where a run's own file or folder is to be.
    #[error(
        "{path}: is a link, which would lead out of the run's folder\n  try: remove it, or copy there what it leads to"
    )]
    Link {
        /// The link.
        path: String,
    },
    /// Another process writes to the folder.
    #[error("{path}: another process is writing to this run{}", .owner.as_ref().map(|o| format!(" (process {o})")).unwrap_or_default())]
    Locked {
        /// The folder.
        path: String,
        /// The other process, if it left its id.
        owner: Option<String>,
    },
    /// A line in the middle of the record cannot be read.
    #[error("{path}:{line}: not a record of format {}: {why}", crate::record::FORMAT)]
    Line {
        /// The file.
        path: String,
        /// Line number from 1.
        line: usize,
        /// What the parser says.
        why: String,
    },
    /// The file is not what it should be.
    #[error("{path}: {why}")]
    Content {
        /// The file.
        path: String,
        /// What is wrong and what is expected.
        why: String,
    },
    /// A self-test slowed the run on purpose, so that its figures are no measurement.
    #[error(
        "{path}: a self-test (rerun --slowdown) made some of its calls take {factor} times as long, so it is no measurement\n  allowed: phasebench validate, and the same rerun again"
    )]
    Planted {
        /// The folder.
        path: String,
        /// How many times longer.
        factor: f64,
    },
    /// The plan or scenario file has other line endings than the record was made with.
    #[error(
        "{path}: its line endings were changed since the run began, nothing else\n  try: `* -text` in the .gitattributes of \
         the repository that holds the run, then check it out again: git turned LF into CRLF"
    )]
    LineEndings {
        /// The file.
        path: String,
    },
    /// The run's folder, or the record in it, is not there any more while it is being written.
    #[error("{path}: is gone: somebody removed or moved it while the run was writing to it\n  try: the same run again")]
    Gone {
        /// The record.
        path: String,
    },
    /// The plan or scenario file in the folder is not the one the record was made with.
    #[error(
        "{path}: has changed since the run began (SHA-256 {found:.12}…, recorded {expected:.12}…)\n  try: restore it, or start a new run from the changed file"
    )]
    Changed {
        /// The file.
        path: String,
        /// Its hash now.
        found: String,
        /// Its hash when the run began.
        expected: String,
    },
}

impl StoreError {
    /// What is wrong, for a reader who knows which file is meant.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Io { source, .. } => source.to_string(),
            Self::Line { line, why, .. } => format!("line {line}: {why}"),
            Self::Content { why, .. } => why.clone(),
            Self::Exists { .. }
            | Self::Link { .. }
            | Self::Locked { .. }
            | Self::Planted { .. }
            | Self::LineEndings { .. }
            | Self::Gone { .. }
            | Self::Changed { .. } => self.to_string(),
        }
    }

    /// Whether a file is not there, or the system does not let it be read or written.
    #[must_use]
    pub const fn is_io(&self) -> bool {
        matches!(self, Self::Io { .. })
    }

    /// Whether this user may not write where something was to be written.
    #[must_use]
    pub fn is_refused_write(&self) -> bool {
        let refused = [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem];
        matches!(self, Self::Io { doing, source, .. } if *doing != "read" && refused.contains(&source.kind()))
    }
}

/// What a run does to its record and its trace while it goes on.
const APPEND: &str = "append";

/// What helps against a full disk. What helps where nobody may write depends on the command.
fn hint(doing: &str, source: &io::Error) -> &'static str {
    let full = matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    match (full, doing) {
        (true, APPEND) => "\n  every call recorded so far is kept; free some space and go on with --resume",
        (true, _) => "\n  try: free some space, and the same again",
        (false, _) => "",
    }
}

/// What an operation on a file failed with; `doing` is a verb: "read".
pub fn io_error<'a>(path: &'a Path, doing: &'static str) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { path: path.display().to_string(), doing, source }
}

/// Writes a whole file so that a reader sees the old content or the new one, never half.
///
/// # Errors
/// What the system says, with the path.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    files::replace(path, bytes).map_err(io_error(path, "write"))
}

fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    files::sync_folder(folder).map_err(io_error(folder, "sync"))
}

/// Writes a whole file of a folder of ours, in which no link leads to somebody else's; folders on the way are made.
///
/// # Errors
/// A link, or what the system says, with the path.
pub fn write_inside(folder: &Path, name: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    write_atomically(&place_inside(folder, name)?, bytes)
}

/// As [`write_inside`] for many files by their names, in their order; those that hold the same bytes stay as they are. All are on
/// the disk afterwards, with one wait for each folder in place of one for each file.
///
/// # Errors
/// As [`write_inside`].
pub fn write_all_inside(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
    let mut changed = BTreeSet::new();
    for (name, bytes) in files {
        let place = place_inside(folder, Path::new(name))?;
        if fs::read(&place).is_ok_and(|found| found == *bytes) {
            continue;
        }
        let written = Prepared::by(&place, |out| out.write_all(bytes)).and_then(Prepared::put);
        written.map_err(io_error(&place, "write"))?;
        changed.extend(place.parent().map(Path::to_owned));
    }
    changed.iter().try_for_each(|folder| sync_folder(folder))
}

/// Where a file of a folder of ours is to be, in which no link leads to somebody else's; folders on the way are made.
///
/// # Errors
/// A link, or what the system says, with the path.
pub fn place_inside(folder: &Path, name: &Path) -> Result<PathBuf, StoreError> {
    refuse_link(folder, name)?;
    let path = folder.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(io_error(parent, "create"))?;
    }
    Ok(path)
}

/// Whether a file below a folder is reached without a link. The folder itself may be one: whoever named it meant that.
///
/// # Errors
/// The link.
pub fn refuse_link(folder: &Path, name: &Path) -> Result<(), StoreError> {
    let mut path = folder.to_owned();
    for part in name.components() {
        path.push(part);
        if path.is_symlink() {
            return Err(StoreError::Link { path: path.display().to_string() });
        }
    }
    Ok(())
}

/// Whether nothing in a run's folder and in its folders is a link: a run may come from a stranger, and what is written
/// into it must not land elsewhere.
///
/// # Errors
/// The first link, or what the system says.
pub fn refuse_links(run: &Path) -> Result<(), StoreError> {
    let entries = fs::read_dir(run).map_err(io_error(run, "read"))?;
    for entry in entries {
        let entry = entry.map_err(io_error(run, "read"))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(io_error(&path, "read"))?;
        if kind.is_symlink() {
            return Err(StoreError::Link { path: path.display().to_string() });
        }
        if kind.is_dir() {
            refuse_links(&path)?;
        }
    }
    Ok(())
}

/// Reads a text file of a run folder.
///
/// # Errors
/// What the system says, with the path.
pub fn read_text(run: &Path, name: &str) -> Result<String, StoreError> {
    let path = run.join(name);
    fs::read_to_string(&path).map_err(io_error(&path, "read"))
}

/// Where a run goes if nobody says: `<utc>-<name>-<plan hash>` in `results`, with `-2`, `-3`, … where another run of the same
/// second is.
#[must_use]
pub fn default_folder(results: &Path, name: &str, plan_sha256: &str, now: SystemTime) -> PathBuf {
    let time = humantime::format_rfc3339_seconds(now).to_string();
    let stamp = time.replace(['-', ':'], "");
    let first = format!("{stamp}-{name}-{}", &plan_sha256[..8.min(plan_sha256.len())]);
    let mut folder = results.join(&first);
    let mut number = 2;
    while folder.exists() {
        folder = results.join(format!("{first}-{number}"));
        number += 1;
    }
    folder
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
