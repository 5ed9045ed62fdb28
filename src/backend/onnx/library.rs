//! Which ONNX Runtime library is used: the one that a scenario file names ([`source`]); else named by the environment, else
//! the one that `phasebench setup onnxruntime` selected. Never one that merely lies around on the system.
//!
//! ```text
//! <cache>/onnxruntime/1.31.1-cpu/       a runtime as unpacked by the setup command
//! <cache>/onnxruntime/1.31.1-cuda/      one with CUDA; NVIDIA's libraries below its nvidia/
//! <cache>/onnxruntime/1.24.1-openvino/  one with OpenVINO
//! <cache>/onnxruntime/selected.json     the one in use where none is named
//! ```

pub mod build;
pub mod source;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files;
use crate::hash::sha256_file;
use crate::scenario::Provider;

use self::build::Build;
use super::api;
use super::raw::{self, ProbeError};

/// Environment variable that names a library and overrides what the setup command selected.
pub const VARIABLE: &str = "PHASEBENCH_ONNXRUNTIME";

/// Version that the setup command fetches.
pub const PINNED: &str = "1.31.1";

/// The command that helps.
const FIX: &str = "phasebench setup onnxruntime";

/// Why no library can be used.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// None was named and none selected.
    #[error("no ONNX Runtime library: {VARIABLE} is not set and {} does not exist", selection.display())]
    NotSetUp {
        /// The file that would name one.
        selection: PathBuf,
    },
    /// The file that names the selected one is malformed.
    #[error("{}: {why}", selection.display())]
    Selection {
        /// That file.
        selection: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A version that is not in the cache.
    #[error("ONNX Runtime {version} ({}) was not fetched: {} does not exist", build.word(), folder.display())]
    NoVersion {
        /// The version.
        version: String,
        /// The build that was looked for.
        build: Build,
        /// Where it would be.
        folder: PathBuf,
    },
    /// A Python environment that has no library to use.
    #[error("{}: {why}", python.display())]
    Python {
        /// Its interpreter.
        python: PathBuf,
        /// What is missing.
        why: String,
    },
    /// The file is not there or cannot be read.
    #[error("ONNX Runtime library {}: {why}", path.display())]
    Unreadable {
        /// The library.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// The file's content is not what was selected.
    #[error("ONNX Runtime library {}: sha256 is {found}, was {selected} when it was selected", path.display())]
    Changed {
        /// The library.
        path: PathBuf,
        /// Its hash now.
        found: String,
        /// Its hash when it was selected.
        selected: String,
    },
    /// The system's loader refuses it.
    #[error("{} cannot be loaded: {why}", path.display())]
    NotLoadable {
        /// The library.
        path: PathBuf,
        /// The loader's words.
        why: String,
    },
    /// A shared library, but not this one.
    #[error("{} is not an ONNX Runtime: it exports no OrtGetApiBase", path.display())]
    NotOnnxRuntime {
        /// The library.
        path: PathBuf,
    },
    /// An ONNX Runtime that does not offer the interface this program needs.
    #[error("{} is ONNX Runtime {found}; 1.{} or later 1.x is needed", path.display(), api::OLDEST)]
    Unsupported {
        /// The library.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// The selection could not be written.
    #[error("cannot write {}: {why}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
}

impl LibraryError {
    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Self::NoVersion { version, build: Build::Cuda, .. } if version != PINNED => format!(
                "in the scenario file, an environment that has it: onnx: {{ python: PATH }}, with onnxruntime-gpu {version}\n  \
                 or the version that is fetched with CUDA: {FIX} --version {PINNED} --cuda"
            ),
            Self::NoVersion { version, build, .. } => format!("{FIX} --version {version}{}", build.flag()),
            Self::Python { .. } => {
                "name the interpreter of an environment with onnxruntime 1.20 or later (its bin/python)".to_owned()
            }
            Self::Write { .. } => "make the cache folder writable, or set PHASEBENCH_CACHE".to_owned(),
            _ if std::env::var_os(VARIABLE).is_some() => {
                format!("{FIX}   (and unset {VARIABLE}, or let it name another library)")
            }
            _ => FIX.to_owned(),
        }
    }
}

/// A library that was named, not yet looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The shared library.
    pub path: PathBuf,
    /// Its hash when it was selected or fetched, in hex. `None`: its path was given, so nothing was promised.
    pub sha256: Option<String>,
    /// Who named it: the environment variable, a file of the cache, or the key of a scenario file.
    pub named_by: String,
}

/// A library that was loaded and can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// The shared library, absolute.
    pub path: PathBuf,
    /// Its version, e.g. `1.31.1`.
    pub version: String,
    /// Version of its interface that is used; see [`api::version`].
    pub api: u32,
    /// Build flags and commit, as it reports them.
    pub build_info: String,
    /// Hash of the file, in hex.
    pub sha256: String,
    /// Execution providers compiled in, e.g. `CPUExecutionProvider`. Compiled in does not mean usable.
    pub providers: Vec<String>,
}

impl Inspected {
    /// Whether a provider was compiled in.
    #[must_use]
    pub fn has(&self, provider: Provider) -> bool {
        self.providers.iter().any(|name| name == provider.name())
    }
}

/// The selection file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Selected {
    path: PathBuf,
    sha256: String,
    cuda: bool,
}

/// The folder that holds all runtimes.
#[must_use]
pub fn root(cache: &Path) -> PathBuf {
    cache.join("onnxruntime")
}

/// Finds the library to use; loads nothing.
///
/// # Errors
/// [`LibraryError::NotSetUp`], [`LibraryError::Selection`].
pub fn locate(cache: &Path) -> Result<Located, LibraryError> {
    match std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        Some(path) => Ok(Located { path: PathBuf::from(path), sha256: None, named_by: VARIABLE.to_owned() }),
        None => selected(cache),
    }
}

/// The library that the setup command selected.
fn selected(cache: &Path) -> Result<Located, LibraryError> {
    let selection = root(cache).join("selected.json");
    let text = match fs::read_to_string(&selection) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(LibraryError::NotSetUp { selection });
        }
        Err(e) => {
            return Err(LibraryError::Selection { selection, why: e.to_string() });
        }
    };
    let selected: Selected = serde_json::from_str(&text)
        .map_err(|e| LibraryError::Selection { selection: selection.clone(), why: e.to_string() })?;
    Ok(Located { path: selected.path, sha256: Some(selected.sha256), named_by: selection.display().to_string() })
}

/// Loads a library and reports what it is. It stays loaded.
///
/// # Errors
/// A file that is missing, no library, no ONNX Runtime, or one that is too old.
pub fn inspect(path: &Path) -> Result<Inspected, LibraryError> {
    let unreadable = |e: &io::Error| LibraryError::Unreadable { path: path.to_owned(), why: e.to_string() };
    // A relative name would be looked up in the system's library folders.
    let path = path.canonicalize().map_err(|e| unreadable(&e))?;
    let sha256 = sha256_file(&path).map_err(|e| unreadable(&e))?;
    let probe = raw::probe(&path).map_err(|e| match e {
        ProbeError::NotLoadable(why) => LibraryError::NotLoadable { path: path.clone(), why },
        ProbeError::NotOnnxRuntime => LibraryError::NotOnnxRuntime { path: path.clone() },
    })?;
    let (Some(api), Some(build_info)) = (probe.api, probe.build_info) else {
        return Err(LibraryError::Unsupported { path, found: probe.version });
    };
    Ok(Inspected { path, version: probe.version, api, build_info, sha256, providers: probe.providers })
}

/// The file of a library that was found, absolute, checked against what was promised of it; loads nothing.
///
/// # Errors
/// [`LibraryError::Unreadable`], [`LibraryError::Changed`].
pub fn whole(located: Located) -> Result<PathBuf, LibraryError> {
    let unreadable = |e: &io::Error| LibraryError::Unreadable { path: located.path.clone(), why: e.to_string() };
    let path = located.path.canonicalize().map_err(|e| unreadable(&e))?;
    if let Some(selected) = &located.sha256 {
        let found = sha256_file(&path).map_err(|e| unreadable(&e))?;
        if found != *selected {
            return Err(LibraryError::Changed { path, found, selected: selected.clone() });
        }
    }
    Ok(path)
}

/// Checks a library that was found against what was promised of it, and loads it.
///
/// # Errors
/// As [`inspect`]; also [`LibraryError::Changed`].
pub fn open(located: Located) -> Result<Inspected, LibraryError> {
    let inspected = inspect(&located.path)?;
    match located.sha256 {
        Some(selected) if selected != inspected.sha256 => {
            Err(LibraryError::Changed { path: inspected.path, found: inspected.sha256, selected })
        }
        _ => Ok(inspected),
    }
}

/// Makes a library the one that is used from now on, after looking into it.
///
/// # Errors
/// As [`inspect`]; also [`LibraryError::Write`].
pub fn select(cache: &Path, path: &Path) -> Result<Inspected, LibraryError> {
    let inspected = inspect(path)?;
    let selection = root(cache).join("selected.json");
    write(&selection, &inspected).map_err(|e| LibraryError::Write { path: selection, why: e.to_string() })?;
    Ok(inspected)
}

fn write(selection: &Path, inspected: &Inspected) -> io::Result<()> {
    let folder = selection.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let selected = Selected {
        path: inspected.path.clone(),
        sha256: inspected.sha256.clone(),
        cuda: inspected.has(Provider::Cuda),
    };
    let mut text = serde_json::to_vec_pretty(&selected)?;
    text.push(b'\n');
    files::replace(selection, &text)
}

/// Libraries of NVIDIA's that ONNX Runtime needs, as their names begin. An environment has more of them, for others.
const NEEDED: [&str; 7] = ["libcublas", "libcudart", "libcudnn", "libcufft", "libcurand", "libnvrtc", "libnvJitLink"];

/// Loads NVIDIA's libraries that the setup command put beside a runtime, or pip into the environment that it is of, so that
/// its CUDA provider finds them wherever they are. What is not there is left to the system's loader.
pub fn preload_nvidia(library: &Path) {
    let mut waiting = nvidia_libraries(library);
    // They need each other in an order that changes from version to version: repeat while one more loads.
    loop {
        let before = waiting.len();
        waiting.retain(|path| raw::preload(path).is_err());
        if waiting.len() == before {
            return;
        }
    }
}

/// Those that lie beside a runtime, or where pip puts them for the package `onnxruntime`.
fn nvidia_libraries(library: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for above in library.ancestors().skip(1).take(2) {
        collect_libraries(&above.join("nvidia"), 5, &mut found);
    }
    let capi = library.parent().filter(|folder| folder.ends_with("onnxruntime/capi"));
    if let Some(packages) = capi.and_then(|capi| capi.ancestors().nth(2)) {
        let mut all = Vec::new();
        collect_libraries(&packages.join("nvidia"), 5, &mut all);
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        found.extend(all.into_iter().filter(|path| NEEDED.iter().any(|needed| name(path).starts_with(needed))));
    }
    found
}

fn collect_libraries(folder: &Path, depth: u32, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_library = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with("lib") && name.contains(".so"));
        if path.is_dir() && depth > 0 {
            collect_libraries(&path, depth - 1, found);
        } else if is_library {
            found.push(path);
        }
    }
    found.sort();
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_missing_or_no_library_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("libonnxruntime.so");
        let message = inspect(&missing).unwrap_err().to_string();
        assert!(message.contains("libonnxruntime.so: No such file"), "{message}");

        fs::write(&missing, "not a library").unwrap();
        let error = inspect(&missing).unwrap_err();
        assert!(matches!(error, LibraryError::NotLoadable { .. }), "{error}");
        assert!(error.to_string().contains("libonnxruntime.so cannot be loaded"), "{error}");
        assert!(error.fix().contains("phasebench setup onnxruntime"));
    }

    #[test]
    fn a_library_that_is_another_one_is_refused() {
        // Every dynamically linked program on Linux has mapped its C library: a real library, not the runtime.
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let libc = maps.split_whitespace().find(|word| word.contains("libc.so")).unwrap();
        let error = inspect(Path::new(libc)).unwrap_err();
        assert!(matches!(error, LibraryError::NotOnnxRuntime { .. }), "{error}");
    }

    #[test]
    fn nvidias_libraries_are_found_where_the_setup_command_and_pip_put_them() {
        let folder = tempfile::tempdir().unwrap();
        let touch = |path: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            path
        };
        let fetched = touch("1.31.1-cuda/libonnxruntime.so.1.31.1");
        let beside = touch("1.31.1-cuda/nvidia/libcudart.so.13");
        let packaged = touch("site-packages/onnxruntime/capi/libonnxruntime.so.1.30.0");
        let in_packages = [
            touch("site-packages/nvidia/cu13/lib/libcublas.so.13"),
            touch("site-packages/nvidia/cudnn/lib/libcudnn_graph.so.9"),
        ];
        touch("site-packages/nvidia/nccl/lib/libnccl.so.2");
        touch("site-packages/torch/lib/libcublas.so.13");
        assert_eq!(nvidia_libraries(&fetched), [beside]);
        assert_eq!(nvidia_libraries(&packaged), in_packages);
        // A library that is no package's has no environment.
        touch("opt/nvidia/libcudart.so.13");
        assert_eq!(nvidia_libraries(&touch("opt/lib/ort/libonnxruntime.so")), [] as [PathBuf; 0]);
    }

    #[test]
    fn a_malformed_selection_is_an_error_not_a_fallback() {
        let cache = tempfile::tempdir().unwrap();
        fs::create_dir_all(root(cache.path())).unwrap();
        fs::write(root(cache.path()).join("selected.json"), "{}").unwrap();
        let error = selected(cache.path()).unwrap_err();
        assert!(error.to_string().contains("missing field `path`"), "{error}");
    }

    #[test]
    fn nothing_selected_names_the_file_and_the_command() {
        let cache = tempfile::tempdir().unwrap();
        let error = selected(cache.path()).unwrap_err();
        assert!(error.to_string().contains("onnxruntime/selected.json does not exist"), "{error}");
        assert!(error.fix().starts_with("phasebench setup onnxruntime"), "{}", error.fix());
    }
}
