//! Where imported figures come from.

use serde::{Deserialize, Serialize};

/// What was imported, and from which files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Imported {
    /// The format by the name that `import --format` has for it.
    pub format: String,
    /// The tool for people.
    pub tool: String,
    /// Its version as the files tell it. `None`: they do not.
    pub version: Option<String>,
    /// The files in the order of the command line; each is a session, unless it tells its sessions apart.
    pub files: Vec<ImportedFile>,
    /// What a reader must know: figures that their samples contradict, failures, what was left out.
    pub notes: Vec<String>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportedFile {
    /// Its name, without the folder.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was measured, in nanoseconds. `None`: the file does not tell.
    pub measured_unix_ns: Option<u64>,
}
