//! Why torch could not be set up, and what is told meanwhile.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::backend::worker::launch::docker::engine::EngineError;
use crate::backend::worker::torch::beside::Unusable;
use crate::units::Bytes;

/// Free space that must be left over: other programs need some too.
pub(super) const MARGIN: Bytes = Bytes(500_000_000);

/// Why torch could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TorchError {
    /// No Python.
    #[error("{} does not run", command.display())]
    NoPython {
        /// What was tried.
        command: PathBuf,
    },
    /// A Python too old for torch.
    #[error("{} is Python {version}; 3.11 or newer is needed", command.display())]
    OldPython {
        /// The Python.
        command: PathBuf,
        /// Its version.
        version: String,
    },
    /// An image with a Python too old for torch.
    #[error("the image {base} has Python {version}; 3.11 or newer is needed")]
    OldBase {
        /// The image.
        base: String,
        /// Version of its Python.
        version: String,
        /// One that would do.
        usable: &'static str,
    },
    /// A Python without pip, or with one too old.
    #[error("{} has pip {version}; 22.3 or newer is needed", command.display())]
    NoPip {
        /// The Python.
        command: PathBuf,
        /// The version of its pip, or `none`.
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
    /// The locked requirements hold something else than pinned packages.
    #[error("requirements.lock: `{line}` is not `name==version` with sha256 hashes")]
    Lock {
        /// The line, cut.
        line: String,
    },
    /// Pip failed; it has said why on standard error.
    #[error("pip could not download {name} {version} for Python {python}")]
    Download {
        /// The package.
        name: String,
        /// Its version.
        version: String,
        /// The Python it was for.
        python: String,
    },
    /// No environment could be made; Python has said why.
    #[error("python could not make the environment {}", folder.display())]
    Venv {
        /// Where.
        folder: PathBuf,
    },
    /// Pip failed; it has said why.
    #[error("pip could not install the wheels into {}", folder.display())]
    Install {
        /// Where.
        folder: PathBuf,
    },
    /// Everything is installed and does not work; Python has said why.
    #[error("{} cannot import grpc, torch and transformers", python.display())]
    Import {
        /// The Python.
        python: PathBuf,
    },
    /// Somebody's own Python that cannot run the worker.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// Not a version of torch.
    #[error("`{version}` is not a whole version of torch such as 2.6.0")]
    NoVersion {
        /// What was asked for.
        version: String,
    },
    /// No engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine could not build the image.
    #[error("the image could not be built: {why}; before that: {last}")]
    Build {
        /// The engine's words.
        why: String,
        /// The last line of the builder.
        last: String,
    },
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

impl TorchError {
    pub(super) fn io(action: &'static str, path: &Path, error: &io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), why: error.to_string() }
    }

    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Self::NoPython { .. } => "apt install python3 python3-pip   (or your system's equivalent)\n  \
                 or name one you have: phasebench setup torch --python PATH"
                .to_owned(),
            Self::OldPython { .. } => "phasebench setup torch --python python3.11   (or a newer one)".to_owned(),
            Self::OldBase { usable, .. } => {
                format!("phasebench setup torch --docker --base {usable}   (or another with a newer Python, or none)")
            }
            Self::NoPip { command, .. } => {
                format!("apt install python3-pip   (or: {} -m ensurepip --upgrade --user)", command.display())
            }
            Self::NoSpace { .. } => "free some space, or set PHASEBENCH_CACHE to a folder on another disk".to_owned(),
            Self::Lock { .. } => "this is a fault of this program; please report it".to_owned(),
            Self::Download { .. } => "python3 -m pip config list   shows which index pip uses\n  \
                 again: what was fetched is kept\n  \
                 if there is no wheel for that Python: phasebench setup torch --python python3.11"
                .to_owned(),
            Self::Venv { .. } => "apt install python3-venv   (or your system's equivalent)".to_owned(),
            Self::Install { .. } | Self::Import { .. } => {
                "what is above says why; again makes the environment anew".to_owned()
            }
            Self::Engine(error) => error.fix(),
            Self::Unusable(unusable) => unusable.fix.clone(),
            Self::NoVersion { .. } => "phasebench setup torch --version 2.6.0".to_owned(),
            Self::Build { .. } => "what is above says why; --base IMAGE builds on another image".to_owned(),
            Self::Io { .. } => "make the cache folder writable, or set PHASEBENCH_CACHE to another".to_owned(),
        }
    }
}

/// Whether this much can still be written, with a margin.
pub(super) fn check_space(folder: &Path, needed: Bytes) -> Result<(), TorchError> {
    let needed = Bytes(needed.0 + MARGIN.0);
    match crate::cache::free(folder) {
        Some(free) if free < needed => Err(TorchError::NoSpace { folder: folder.to_owned(), needed, free }),
        _ => Ok(()),
    }
}

pub(super) fn say(progress: &mut dyn Write, line: &str) {
    // Progress is for people; a closed standard error must not stop the work.
    let _ = writeln!(progress, "{line}");
}
