//! The one ONNX Runtime of this process: its library and its environment.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use super::library::{self, Inspected, LibraryError};

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
        path: std::path::PathBuf,
        /// The runtime's words.
        why: String,
    },
    /// This process already runs another library.
    #[error("this process runs {}, {} cannot be loaded beside it", loaded.display(), asked.display())]
    Another {
        /// What is loaded.
        loaded: std::path::PathBuf,
        /// What is asked for now.
        asked: std::path::PathBuf,
    },
}

impl RuntimeError {
    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Self::Library(error) => error.fix(),
            Self::Start { .. } => "phasebench setup onnxruntime".to_owned(),
            Self::Another { .. } => "use one library for the whole run".to_owned(),
        }
    }
}

/// Never freed: sessions of any thread may refer to it until the process ends.
static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);

/// The process's runtime, started with the selected library on first use.
///
/// # Errors
/// See [`RuntimeError`].
pub fn start(cache: &Path) -> Result<Runtime, RuntimeError> {
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = runtime.as_ref() {
        return same(running, cache);
    }
    let library = library::open(cache)?;
    library::preload_nvidia(&library.path);
    let failed = |why: String| RuntimeError::Start { path: library.path.clone(), why };
    let environment = ort::init_from(&library.path)
        .map_err(|e| failed(e.to_string()))?
        .with_name("phasebench")
        .with_telemetry(false)
        .build()
        .map_err(|e| failed(words(&e)))?;
    environment.set_log_level(LogLevel::Error);
    let started = Runtime { library, environment };
    *runtime = Some(started.clone());
    Ok(started)
}

/// The running runtime, if the library asked for is still the one that runs.
fn same(running: &Runtime, cache: &Path) -> Result<Runtime, RuntimeError> {
    let asked = library::locate(cache)?.path;
    match asked.canonicalize() {
        Ok(path) if path == running.library.path => Ok(running.clone()),
        _ => Err(RuntimeError::Another { loaded: running.library.path.clone(), asked }),
    }
}

/// The runtime's words, without the place in its source that it puts before them.
#[must_use]
pub fn words(error: &ort::Error) -> String {
    without_place(error.message()).to_owned()
}

/// `<file and function> [ONNXRuntimeError] : <number> : <code> : <words>` → `<words>`
fn without_place(message: &str) -> &str {
    let words = message.split_once("[ONNXRuntimeError] : ").and_then(|(_, rest)| rest.splitn(3, " : ").nth(2));
    words.unwrap_or(message).trim()
}

#[cfg(test)]
mod tests {
    use super::without_place;

    #[test]
    fn messages_begin_where_they_say_something() {
        let long = "/src/bridge.cc:2043 Get() [ONNXRuntimeError] : 1 : FAIL : cannot load x.so : no such file\n";
        assert_eq!(without_place(long), "cannot load x.so : no such file");
        for short in ["Exiting due to terminate flag being set to true.", "[ONNXRuntimeError] : 1"] {
            assert_eq!(without_place(short), short);
        }
    }
}
