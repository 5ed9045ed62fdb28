//! The run folder: append-only, one writer, readable after any crash.
//!
//! A line is written whole, flushed and synced before the next call begins, so `kill -9` loses at most the call
//! in flight. A reader accepts a torn last line and nothing else.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub mod reader;
pub mod reserved;
pub mod trace;
pub mod writer;

pub use reader::{Recording, read};
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
    #[error("{path}: {doing}: {source}{}", hint(.source))]
    Io {
        /// The file.
        path: String,
        /// What was being done.
        doing: &'static str,
        /// The system's error.
        source: io::Error,
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
            Self::Exists { .. } | Self::Locked { .. } | Self::Changed { .. } => self.to_string(),
        }
    }

    /// Whether a file is not there, or the system does not let it be read or written.
    #[must_use]
    pub const fn is_io(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "\n  every call recorded so far is kept; free some space and go on with --resume"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "\n  try: a folder that this user may write to, with --out"
        }
        _ => "",
    }
}

pub(crate) fn io_error<'a>(path: &'a Path, doing: &'static str) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { path: path.display().to_string(), doing, source }
}

/// Writes a whole file so that a reader sees the old content or the new one, never half.
///
/// # Errors
/// What the system says, with the path.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io_error(path, "write"))?;
    io::Write::write_all(&mut file, bytes).map_err(io_error(path, "write"))?;
    file.as_file().sync_all().map_err(io_error(path, "write"))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode).map_err(io_error(path, "write"))?;
    file.persist(path).map_err(|e| io_error(path, "write")(e.error))?;
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(io_error(folder, "sync"))
}

/// Reads a text file of a run folder.
///
/// # Errors
/// What the system says, with the path.
pub fn read_text(run: &Path, name: &str) -> Result<String, StoreError> {
    let path = run.join(name);
    fs::read_to_string(&path).map_err(io_error(&path, "read"))
}

/// Where a run goes if nobody says: `results/<utc>-<name>-<plan hash>`.
#[must_use]
pub fn default_folder(name: &str, plan_sha256: &str, now: SystemTime) -> PathBuf {
    let time = humantime::format_rfc3339_seconds(now).to_string();
    let stamp = time.replace(['-', ':'], "");
    Path::new("results").join(format!("{stamp}-{name}-{}", &plan_sha256[..8.min(plan_sha256.len())]))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
