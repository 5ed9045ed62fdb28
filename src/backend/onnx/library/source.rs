//! The library of a scenario file's `library`, `version` or `python`, and what the cache holds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::build::Build;
use super::{LibraryError, Located, locate, root};
use crate::hash::sha256_file;
use crate::scenario::{Provider, RuntimeSource};

/// The folder into which the setup command unpacks one runtime.
#[must_use]
pub fn folder(cache: &Path, version: &str, build: Build) -> PathBuf {
    root(cache).join(format!("{version}-{}", build.word()))
}

/// Finds the library of a source; loads nothing, and changes nothing where it looks. `provider` chooses between the builds of
/// a version.
///
/// # Errors
/// See [`LibraryError`].
pub fn find(cache: &Path, source: &RuntimeSource, provider: Provider) -> Result<Located, LibraryError> {
    let named = |path: PathBuf, by: &str| Located { path, sha256: None, named_by: by.to_owned() };
    match source {
        RuntimeSource::Selected => locate(cache),
        RuntimeSource::Library(path) => Ok(named(path.clone(), "library")),
        RuntimeSource::Version(version) => of_version(cache, version, Build::with(provider)),
        RuntimeSource::Python(python) => of_python(python).map(|path| named(path, "python")),
    }
}

/// What the setup command wrote beside the libraries that it unpacked, as far as it is needed here.
#[derive(Debug, Deserialize)]
struct Unpacked {
    files: BTreeMap<String, String>,
}

fn of_version(cache: &Path, version: &str, build: Build) -> Result<Located, LibraryError> {
    let folder = folder(cache, version, build);
    let Some(path) = library_in(&folder) else {
        return Err(LibraryError::NoVersion { version: version.to_owned(), build, folder });
    };
    let receipt = folder.join("unpacked.json");
    let refused = |why: String| LibraryError::Selection { selection: receipt.clone(), why };
    let text = fs::read(&receipt).map_err(|e| refused(e.to_string()))?;
    let unpacked: Unpacked = serde_json::from_slice(&text).map_err(|e| refused(e.to_string()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let sha256 = unpacked.files.get(&*name).cloned();
    Ok(Located { path, sha256, named_by: receipt.display().to_string() })
}

/// The shared library of a folder: `libonnxruntime.so`, with its version behind it where it has one.
#[must_use]
pub fn library_in(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let is_it = |name: &str| {
        name.strip_prefix("libonnxruntime.so").is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let named = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_it)).map(|entry| entry.path());
    // Links name the file that has the whole version.
    named.max_by_key(|path| path.as_os_str().len())
}

/// Where Python would import `onnxruntime` from, without importing it. The folder it is called in is no place of its.
const LOOK: &str = "
import importlib.util, os, sys
sys.path = [place for place in sys.path if place]
found = importlib.util.find_spec('onnxruntime')
places = list(found.submodule_search_locations or []) if found else []
print(os.path.join(places[0], 'capi') if places else '')
";

fn of_python(python: &Path) -> Result<PathBuf, LibraryError> {
    let refused = |why: String| LibraryError::Python { python: python.to_owned(), why };
    let mut command = Command::new(python);
    command.args(["-B", "-c", LOOK]).stdin(Stdio::null()).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().map_err(|e| refused(e.to_string()))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(refused(words.trim().lines().last().unwrap_or("it failed without a word").to_owned()));
    }
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if folder.as_os_str().is_empty() {
        return Err(refused("it has no package onnxruntime".to_owned()));
    }
    library_in(&folder).ok_or_else(|| {
        refused(format!(
            "{} holds no libonnxruntime.so: packages before 1.20 keep it inside another file",
            folder.display()
        ))
    })
}

/// A runtime in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its version, as its folder says.
    pub version: String,
    /// Its build.
    pub build: Build,
    /// The library.
    pub path: PathBuf,
    /// Whether the file still is what was unpacked.
    pub whole: bool,
}

/// Every runtime that the setup command fetched, the newest first.
#[must_use]
pub fn fetched(cache: &Path) -> Vec<Fetched> {
    let names = fs::read_dir(root(cache)).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut found: Vec<Fetched> = names.filter_map(|name| runtime(cache, name.to_str()?)).collect();
    let numbers = |version: &str| version.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>();
    found.sort_by_key(|runtime| (std::cmp::Reverse(numbers(&runtime.version)), runtime.build.word()));
    found
}

fn runtime(cache: &Path, name: &str) -> Option<Fetched> {
    let (version, word) = name.rsplit_once('-')?;
    let build = Build::ALL.into_iter().find(|build| build.word() == word)?;
    let located = of_version(cache, version, build).ok()?;
    let found = sha256_file(&located.path).ok();
    let whole = found.is_some() && found == located.sha256;
    Some(Fetched { version: version.to_owned(), build, path: located.path, whole })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::backend::onnx::library::PINNED;

    fn unpacked(cache: &Path, version: &str, build: Build) -> PathBuf {
        let folder = folder(cache, version, build);
        fs::create_dir_all(&folder).unwrap();
        let name = format!("libonnxruntime.so.{version}");
        fs::write(folder.join(&name), version).unwrap();
        fs::write(folder.join("libonnxruntime_providers_shared.so"), "").unwrap();
        let hash = sha256_file(&folder.join(&name)).unwrap();
        let receipt = format!("{{ \"wheels\": {{}}, \"files\": {{ \"{name}\": \"{hash}\" }} }}");
        fs::write(folder.join("unpacked.json"), receipt).unwrap();
        folder.join(name)
    }

    #[test]
    fn a_version_is_found_by_its_build_and_a_missing_one_names_the_command() {
        let cache = tempfile::tempdir().unwrap();
        let cpu = unpacked(cache.path(), "1.24.1", Build::Cpu);
        let openvino = unpacked(cache.path(), "1.24.1", Build::Openvino);
        let of = |version: &str, provider| find(cache.path(), &RuntimeSource::Version(version.to_owned()), provider);
        assert_eq!(of("1.24.1", Provider::Cpu).unwrap().path, cpu);
        assert_eq!(of("1.24.1", Provider::Openvino).unwrap().path, openvino);
        let error = of("1.24.1", Provider::Tensorrt).unwrap_err();
        assert!(error.to_string().contains("ONNX Runtime 1.24.1 (cuda) was not fetched"), "{error}");
        // With CUDA only one version is fetched: what is advised can be done.
        let fix = error.fix();
        assert!(fix.contains("onnx: { python: PATH }, with onnxruntime-gpu 1.24.1"), "{fix}");
        assert!(fix.ends_with(&format!("phasebench setup onnxruntime --version {PINNED} --cuda")), "{fix}");
        let fix = of(PINNED, Provider::Cuda).unwrap_err().fix();
        assert_eq!(fix, format!("phasebench setup onnxruntime --version {PINNED} --cuda"));
        let fix = of("1.30.0", Provider::Openvino).unwrap_err().fix();
        assert_eq!(fix, "phasebench setup onnxruntime --version 1.30.0 --openvino");
    }

    #[test]
    fn everything_fetched_is_listed_and_what_was_changed_shows() {
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(fetched(cache.path()), []);
        unpacked(cache.path(), "1.9.0", Build::Cpu);
        let damaged = unpacked(cache.path(), "1.30.0", Build::Cpu);
        fs::write(damaged, "other").unwrap();
        fs::create_dir_all(root(cache.path()).join("1.31.0-cpu")).unwrap();
        let found: Vec<_> = fetched(cache.path()).into_iter().map(|found| (found.version, found.whole)).collect();
        assert_eq!(found, [("1.30.0".to_owned(), false), ("1.9.0".to_owned(), true)]);
    }

    #[test]
    fn a_python_is_asked_without_importing_anything() {
        let python = Path::new("python3");
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("onnxruntime");
        fs::create_dir_all(package.join("capi")).unwrap();
        fs::write(package.join("__init__.py"), "raise SystemExit('imported')").unwrap();
        let script = folder.path().join("python");
        let program = format!("#!/bin/sh\nPYTHONPATH='{}' exec {} \"$@\"\n", folder.path().display(), python.display());
        fs::write(&script, program).unwrap();
        fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let error = of_python(&script).unwrap_err().to_string();
        assert!(error.contains("holds no libonnxruntime.so: packages before 1.20"), "{error}");
        let library = package.join("capi/libonnxruntime.so.1.28.0");
        fs::write(&library, "").unwrap();
        assert_eq!(of_python(&script).unwrap(), library);
        assert_eq!(fs::read_dir(&package).unwrap().count(), 2, "nothing was written beside it");
        let error = of_python(&folder.path().join("none")).unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
