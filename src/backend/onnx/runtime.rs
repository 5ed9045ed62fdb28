//! The one ONNX Runtime of this process: its library and its environment.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use phasebench_onnx_pass::error_text;

use super::library::{self, Inspected, LibraryError, Located};
use super::raw;

/// The library in use and its environment. A process can load only one.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// What was loaded.
    pub library: Inspected,
    /// What sessions are built in.
    pub environment: Environment,
}

/// Why the runtime could not be started.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// No library that can be used.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The library was loaded but does not start.
    #[error("ONNX Runtime {} does not start: {why}", path.display())]
    Start {
        /// The library.
        path: PathBuf,
        /// The runtime's words.
        why: String,
    },
    /// This process already runs another library.
    #[error("this process runs {}, {} cannot be loaded beside it", loaded.display(), asked.display())]
    Another {
        /// What is loaded.
        loaded: PathBuf,
        /// What is asked for now.
        asked: PathBuf,
    },
}

impl RuntimeError {
    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Self::Library(error) => error.fix(),
            Self::Start { .. } => "phasebench setup onnxruntime".to_owned(),
            Self::Another { .. } => {
                "isolation: process   (a process can load one library; the run's other backends have theirs)".to_owned()
            }
        }
    }
}

/// Never freed: sessions of any thread may refer to it until the process ends.
static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);

/// The process's runtime, started on first use with the library that was located.
///
/// # Errors
/// See [`RuntimeError`].
pub fn start(located: Located) -> Result<Runtime, RuntimeError> {
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = runtime.as_ref() {
        return if_asked_for(running, located.path);
    }
    let library = library::open(located)?;
    library::preload_nvidia(&library.path);
    let failed = |why: String| RuntimeError::Start { path: library.path.clone(), why };
    raw::adopt(&library.path, library.api).map_err(|e| failed(e.to_string()))?;
    let environment =
        ort::init().with_name("phasebench").with_telemetry(false).build().map_err(|e| failed(error_text(&e)))?;
    environment.set_log_level(LogLevel::Error);
    let started = Runtime { library, environment };
    *runtime = Some(started.clone());
    Ok(started)
}

/// The running runtime, if its library is the one that is asked for.
fn if_asked_for(running: &Runtime, asked: PathBuf) -> Result<Runtime, RuntimeError> {
    match asked.canonicalize() {
        Ok(path) if path == running.library.path => Ok(running.clone()),
        _ => Err(RuntimeError::Another { loaded: running.library.path.clone(), asked }),
    }
}
