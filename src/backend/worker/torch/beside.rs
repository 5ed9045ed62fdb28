//! A Python that is somebody's own: what it is, and the folder of ours that stands beside it on its path.
//!
//! Nothing is written into such an environment. What the worker needs beyond torch and numpy lies in the cache:
//!
//! ```text
//! <cache>/torch/beside/<lock>-cp311/   packages for CPython 3.11: gRPC, transformers, safetensors, …
//! <cache>/torch/beside/worker-<h>/     the worker's sources, as this program carries them
//! <cache>/torch/versions/<V>-py3.11/   an environment that `phasebench setup torch --version V` made
//! ```

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::backend::worker::launch::{LaunchError, package};
use crate::hash::sha256_hex;

/// Oldest torch that the worker runs on: transformers, in which its models are written, loads no older one.
pub const OLDEST_TORCH: (u32, u32) = (2, 6);

/// Oldest Python that the worker runs on.
pub const OLDEST_PYTHON: (u32, u32) = (3, 11);

/// Written last, when every package is there.
const COMPLETE: &str = "complete";

/// Packages of the lock that are the environment's own to bring: torch, numpy, and what torch alone needs.
const THEIRS: [&str; 10] =
    ["torch", "numpy", "triton", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "setuptools", "cuda-toolkit"];

/// What a Python says of itself. Nothing is imported that it could keep a compiled file of.
pub const ASK: &str = "
import sys
from importlib import metadata
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return 'none'
print('%d.%d' % sys.version_info[:2])
print(sys.implementation.name + ('t' if 't' in getattr(sys, 'abiflags', '') else ''))
print(version('torch'))
print(version('numpy'))
";

/// What is known of a Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its version, e.g. `3.11`.
    pub version: String,
    /// The version of its torch.
    pub torch: String,
    /// The version of its numpy.
    pub numpy: String,
}

/// Why somebody's Python, or an image with one, cannot run the worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{whose}: {what}")]
pub struct Unusable {
    /// The interpreter or the image.
    pub whose: String,
    /// What it lacks.
    pub what: String,
    /// What helps.
    pub fix: String,
}

impl From<Unusable> for LaunchError {
    fn from(unusable: Unusable) -> Self {
        Self { what: unusable.to_string(), fix: unusable.fix }
    }
}

/// Asks a Python what it is.
///
/// # Errors
/// It does not run, or lacks what the worker cannot bring.
pub fn ask(python: &Path) -> Result<Known, Unusable> {
    let mut command = Command::new(python);
    command.args(["-c", ASK]).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    let whose = python.display().to_string();
    match command.output() {
        Ok(output) if output.status.success() => judge(&whose, &String::from_utf8_lossy(&output.stdout)),
        Ok(output) => {
            let words = crate::backend::text::clean(&String::from_utf8_lossy(&output.stderr));
            let what = format!("it does not say what it is: {words}");
            Err(Unusable { whose, what, fix: "name the environment's own python".to_owned() })
        }
        Err(error) => {
            let fix = "name the environment's own python, such as /opt/serving/bin/python".to_owned();
            Err(Unusable { whose, what: format!("it does not run: {error}"), fix })
        }
    }
}

/// What comes of the four lines that [`ASK`] prints.
///
/// # Errors
/// See [`ask`].
pub fn judge(whose: &str, says: &str) -> Result<Known, Unusable> {
    let mut lines = says.lines().map(str::trim);
    let mut next = || lines.next().unwrap_or_default().to_owned();
    let (version, implementation, torch, numpy) = (next(), next(), next(), next());
    let unusable = |what: String, fix: &str| Err(Unusable { whose: whose.to_owned(), what, fix: fix.to_owned() });
    if implementation != "cpython" {
        let what = format!("it is `{implementation}`, and the worker's packages are for CPython with its global lock");
        return unusable(what, "an environment on CPython");
    }
    if number(&version).is_none_or(|found| found < OLDEST_PYTHON) {
        let (major, minor) = OLDEST_PYTHON;
        let what = format!("it is Python {version}, and the worker needs {major}.{minor} or newer");
        return unusable(what, "an environment with a newer Python");
    }
    if torch == "none" {
        return unusable("it has no torch".to_owned(), "name the python that torch is installed in");
    }
    if number(&torch).is_none_or(|found| found < OLDEST_TORCH) {
        let (major, minor) = OLDEST_TORCH;
        let what = format!("its torch is {torch}, and the worker needs {major}.{minor} or newer");
        return unusable(what, "an environment with a newer torch, or: phasebench setup torch --version 2.6.0");
    }
    if numpy == "none" {
        return unusable("it has torch and no numpy".to_owned(), "an environment that has both");
    }
    Ok(Known { version, torch, numpy })
}

/// `2.6.0+cu124` as (2, 6). `None`: no version.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '+']).map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

/// Whether a package of the lock is the environment's own to bring.
#[must_use]
pub fn is_theirs(package: &str) -> bool {
    THEIRS.contains(&package) || package.starts_with("nvidia-") || package.starts_with("cuda-")
}

/// Where everything that stands beside other environments is kept.
#[must_use]
pub fn folder(cache: &Path) -> PathBuf {
    cache.join("torch/beside")
}

/// The worker's sources, as this program carries them: written where they are not there.
///
/// # Errors
/// The system's words.
pub fn worker(cache: &Path) -> std::io::Result<PathBuf> {
    let folder = folder(cache);
    std::fs::create_dir_all(&folder)?;
    package::write(&folder)
}

/// Packages for one version of Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packages {
    /// Their name: of the locked requirements and the Python.
    pub id: String,
    /// Their folder, for `PYTHONPATH`.
    pub folder: PathBuf,
}

impl Packages {
    /// For a Python of this version, e.g. `3.11`; they need not be there.
    #[must_use]
    pub fn of(cache: &Path, version: &str) -> Self {
        let lock = &sha256_hex(package::REQUIREMENTS.as_bytes())[..12];
        let id = format!("{lock}-cp{}", version.replace('.', ""));
        Self { folder: folder(cache).join(&id), id }
    }

    /// Whether they were installed to the end.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.folder.join(COMPLETE).is_file()
    }

    /// Says that they are, in the folder `at`, which may not have its name yet.
    ///
    /// # Errors
    /// The system's words.
    pub fn complete(at: &Path) -> std::io::Result<()> {
        std::fs::write(at.join(COMPLETE), "")
    }

    /// These, where they are there.
    ///
    /// # Errors
    /// They are not, with the command that fetches them for `asked`: an interpreter or a version.
    pub fn require(self, whose: &str, asked: &str) -> Result<Self, Unusable> {
        if self.is_complete() {
            return Ok(self);
        }
        Err(Unusable {
            whose: whose.to_owned(),
            what: "what the worker needs beside it, such as gRPC, is not in the cache yet".to_owned(),
            fix: format!("phasebench setup torch --beside {asked}   (some 60 MB; nothing is installed into it)"),
        })
    }
}

/// The interpreter of the environment that `phasebench setup torch --version` made of a version of torch. `None`: there is
/// none.
#[must_use]
pub fn version(cache: &Path, torch: &str) -> Option<PathBuf> {
    let found = versions(cache).into_iter().find(|(version, _)| version == torch);
    found.map(|(_, python)| python)
}

/// Every environment that `phasebench setup torch --version` has made: the version of torch, and the interpreter.
#[must_use]
pub fn versions(cache: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(versions_folder(cache)).into_iter().flatten().flatten();
    let whole = |folder: PathBuf| {
        let name = folder.file_name()?.to_str()?.rsplit_once("-py")?.0.to_owned();
        let python = folder.join("venv/bin/python");
        (folder.join(COMPLETE).is_file() && python.exists()).then_some((name, python))
    };
    let mut found: Vec<_> = entries.filter_map(|entry| whole(entry.path())).collect();
    found.sort();
    found
}

/// Where those are kept.
#[must_use]
pub fn versions_folder(cache: &Path) -> PathBuf {
    cache.join("torch/versions")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_an_environment_lacks_is_said() {
        let judged = |says: &str| judge("/opt/python", says).map_err(|unusable| unusable.to_string());
        let known = judged("3.11\ncpython\n2.6.0+cu124\n2.1.3\n").unwrap();
        assert_eq!((known.version.as_str(), known.torch.as_str()), ("3.11", "2.6.0+cu124"));
        for (says, expected) in [
            ("3.9\ncpython\n2.6.0\n1.26\n", "/opt/python: it is Python 3.9, and the worker needs 3.11 or newer"),
            ("3.12\ncpython\nnone\n2.1\n", "/opt/python: it has no torch"),
            (
                "3.12\ncpython\n2.5.1+cpu\n2.1\n",
                "/opt/python: its torch is 2.5.1+cpu, and the worker needs 2.6 or newer",
            ),
            ("3.12\ncpython\n2.10.0\nnone\n", "/opt/python: it has torch and no numpy"),
            (
                "3.13\ncpythont\n2.10.0\n2.1\n",
                "/opt/python: it is `cpythont`, and the worker's packages are for CPython with its global lock",
            ),
            ("", "/opt/python: it is ``, and the worker's packages are for CPython with its global lock"),
        ] {
            assert_eq!(judged(says), Err(expected.to_owned()));
        }
    }

    #[test]
    fn packages_are_of_one_python_and_whole_or_not_used() {
        let cache = tempfile::tempdir().unwrap();
        let packages = Packages::of(cache.path(), "3.12");
        assert!(packages.id.ends_with("-cp312") && packages != Packages::of(cache.path(), "3.11"));
        let error = packages.clone().require("/opt/python", "/opt/python").unwrap_err();
        assert!(error.fix.starts_with("phasebench setup torch --beside /opt/python "), "{error:?}");
        std::fs::create_dir_all(&packages.folder).unwrap();
        assert!(!packages.is_complete());
        Packages::complete(&packages.folder).unwrap();
        assert_eq!(packages.clone().require("", ""), Ok(packages));
    }

    #[test]
    fn torch_and_what_it_needs_alone_stay_theirs() {
        for theirs in ["torch", "numpy", "nvidia-cublas", "cuda-bindings", "triton"] {
            assert!(is_theirs(theirs), "{theirs}");
        }
        for ours in ["grpcio", "protobuf", "safetensors", "transformers", "typing-extensions", "filelock"] {
            assert!(!is_theirs(ours), "{ours}");
        }
    }

    #[test]
    fn versions_are_found_once_they_are_whole() {
        let cache = tempfile::tempdir().unwrap();
        let folder = versions_folder(cache.path()).join("2.6.0-py3.11");
        std::fs::create_dir_all(folder.join("venv/bin")).unwrap();
        std::fs::write(folder.join("venv/bin/python"), "").unwrap();
        assert_eq!(version(cache.path(), "2.6.0"), None);
        std::fs::write(folder.join(COMPLETE), "").unwrap();
        assert_eq!(version(cache.path(), "2.6.0"), Some(folder.join("venv/bin/python")));
        assert_eq!(version(cache.path(), "2.7.0"), None);
    }
}
