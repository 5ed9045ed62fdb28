//! Why something could not be set up.

use std::io;
use std::path::{Path, PathBuf};

use crate::backend::onnx::library::{self, LibraryError};
use crate::units::Bytes;

/// Why a runtime could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No Python.
    #[error("python3 is not installed; its pip fetches the runtime")]
    NoPython,
    /// A Python without pip.
    #[error("python3 has no pip, which fetches the runtime")]
    NoPip,
    /// Nothing is pinned for this system.
    #[error(
        "no {build} build of ONNX Runtime {} is pinned for {} on {}",
        library::PINNED,
        std::env::consts::OS,
        std::env::consts::ARCH
    )]
    NoBuild {
        /// `CPU` or `CUDA`.
        build: &'static str,
    },
    /// A version that is fetched with CUDA only where it is pinned.
    #[error("ONNX Runtime {version} is not fetched with CUDA: only {} is", library::PINNED)]
    NotWithCuda {
        /// The version.
        version: String,
    },
    /// What was asked for is no version.
    #[error("`{version}` is no version of ONNX Runtime, allowed: 1.20.0 or later, such as 1.30.0")]
    NoVersion {
        /// What was asked for.
        version: String,
    },
    /// The disk is too full.
    #[error("{}: {free} free, {needed} needed", folder.display())]
    NoSpace {
        /// On which file system.
        folder: PathBuf,
        /// How much is needed.
        needed: Bytes,
        /// How much there is.
        free: Bytes,
    },
    /// Pip failed; it has said why on standard error.
    #[error("pip could not download {project} {version}")]
    Download {
        /// The project.
        project: &'static str,
        /// Its version.
        version: String,
    },
    /// The download is not what was pinned.
    #[error("{file}: sha256 is {found}, expected {expected}")]
    Hash {
        /// The wheel.
        file: String,
        /// Its hash.
        found: String,
        /// The pinned one.
        expected: &'static str,
    },
    /// A wheel could not be unpacked.
    #[error("{project}: cannot unpack its wheel: {why}")]
    Unpack {
        /// The project.
        project: &'static str,
        /// The unpacker's words.
        why: String,
    },
    /// The library that was named or fetched cannot be used.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The file system refused.
    #[error("cannot {action} {}: {why}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
}

impl SetupError {
    pub(super) fn io(action: &'static str, path: &Path, error: &io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), why: error.to_string() }
    }

    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> String {
        const OR: &str = "or name a library you have: phasebench setup onnxruntime --library PATH";
        match self {
            Self::NoPython => format!("apt install python3 python3-pip   (or your system's equivalent)\n  {OR}"),
            Self::NoPip => format!("apt install python3-pip   (or: python3 -m ensurepip --user)\n  {OR}"),
            Self::NoBuild { .. } => OR.replacen("or name", "name", 1),
            Self::NotWithCuda { .. } => {
                "name one that you have, in the scenario file: onnx: { python: PATH, provider: cuda }, or \
                                         library: PATH"
                    .to_owned()
            }
            Self::NoVersion { .. } => {
                "python3 -m pip index versions onnxruntime   lists those that there are".to_owned()
            }
            Self::NoSpace { .. } => "free some space, or set PHASEBENCH_CACHE to a folder on another disk".to_owned(),
            Self::Download { .. } => format!("python3 -m pip config list   shows which index pip uses\n  {OR}"),
            Self::Hash { .. } => {
                format!("again, in case the download was damaged; else ask who runs the index\n  {OR}")
            }
            Self::Unpack { .. } => "again".to_owned(),
            Self::Library(error) => error.fix(),
            Self::Io { .. } => "make the cache folder writable, or set PHASEBENCH_CACHE to another".to_owned(),
        }
    }
}
