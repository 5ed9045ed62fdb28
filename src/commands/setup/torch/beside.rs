//! What the worker needs beside a torch that is somebody's own, and environments of other versions of torch.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::{TorchError, check_space, say};
use super::pip::{self, Python};
use super::requirements::{self, Requirement};
use super::wheels::{Missing, Target};
use crate::backend::worker::launch::{installed, package};
use crate::backend::worker::torch::beside::{self, Packages, Unusable};
use crate::files::UnfinishedFolder;
use crate::scenario::is_version;
use crate::units::Bytes;

/// What the packages take, fetched and unpacked. Unit: bytes.
const PACKAGES: Bytes = Bytes(250_000_000);

/// What an environment of one version of torch takes, with what is fetched for it. Unit: bytes.
const VERSION: Bytes = Bytes(9_000_000_000);

/// Makes sure that the packages for a Python are there; `asked` is its path, or a version. Whether they were before.
///
/// # Errors
/// See [`TorchError`].
pub fn packages(
    asked: &str,
    python: &Python,
    cache: &Path,
    progress: &mut dyn Write,
) -> Result<(Packages, bool), TorchError> {
    let version = version_of(asked)?;
    let packages = Packages::of(cache, &version);
    if packages.is_complete() {
        return Ok((packages, true));
    }
    let torch = installed::folder(cache);
    check_space(&torch, PACKAGES)?;
    let all = requirements::parse(package::REQUIREMENTS)?;
    let ours: Vec<Requirement> = all.into_iter().filter(|package| !beside::is_theirs(&package.name)).collect();
    say(progress, &format!("{} packages for Python {version}, in {}", ours.len(), packages.folder.display()));
    let (wheels, target) = (torch.join("wheels"), Target::version(&version, python));
    Missing::look(&ours, &target, &wheels)?.fetch(python, &target, &wheels, progress)?;
    let parent = beside::folder(cache);
    fs::create_dir_all(&parent).map_err(|error| TorchError::io("create", &parent, &error))?;
    let work = UnfinishedFolder::new_in(&parent).map_err(|error| TorchError::io("create", &parent, &error))?;
    let (list, new) = (work.path().join("requirements"), work.path().join("packages"));
    let text: Vec<&str> = ours.iter().map(|package| package.text.as_str()).collect();
    fs::write(&list, text.join("\n")).map_err(|error| TorchError::io("write", &list, &error))?;
    install(python, &target, &wheels, &list, &new)?;
    Packages::complete(&new).map_err(|error| TorchError::io("write", &new, &error))?;
    match fs::rename(&new, &packages.folder) {
        // Another setup finished in between: its result is as good.
        Err(_) if packages.is_complete() => Ok((packages, true)),
        Err(error) => Err(TorchError::io("create", &packages.folder, &error)),
        Ok(()) => Ok((packages, false)),
    }
}

/// The version of a Python by its path, by a name that the shell would find, or by itself.
fn version_of(asked: &str) -> Result<String, TorchError> {
    match pip::number(asked) {
        Some((major, minor)) if pip::is_new_enough(asked) => Ok(format!("{major}.{minor}")),
        Some(_) => {
            let (major, minor) = beside::OLDEST_PYTHON;
            let what = format!("the worker needs {major}.{minor} or newer");
            let fix = "--beside with the environment's own python, such as /opt/serving/bin/python or python3.12, or with the \
                       version of an image's Python, such as 3.12";
            Err(Unusable { whose: format!("Python {asked}"), what, fix: fix.to_owned() }.into())
        }
        None => Ok(beside::ask(Path::new(asked))?.version),
    }
}

/// Unpacks the wheels into a folder; nothing is compiled, and nothing installed anywhere else.
fn install(python: &Python, target: &Target, wheels: &Path, list: &Path, into: &Path) -> Result<(), TorchError> {
    let text = |path: &Path| path.display().to_string();
    let mut arguments: Vec<String> =
        ["-m", "pip", "--isolated", "install", "--no-index", "--no-deps", "--require-hashes"]
            .iter()
            .chain(&[
                "--no-compile",
                "--root-user-action=ignore",
                "--no-cache-dir",
                "--no-input",
                "--disable-pip-version-check",
                "--quiet",
            ])
            .map(|&argument| argument.to_owned())
            .collect();
    arguments.extend(["--only-binary=:all:".to_owned(), format!("--find-links={}", text(wheels))]);
    arguments.extend(target.arguments());
    arguments.extend([format!("--target={}", text(into)), format!("--requirement={}", text(list))]);
    if python.run(arguments)? { Ok(()) } else { Err(TorchError::Install { folder: into.to_owned() }) }
}

/// Makes sure that there is an environment with this version of torch, with what the worker needs beside it; tells its
/// interpreter, and whether it was there before.
///
/// # Errors
/// See [`TorchError`].
pub fn version(
    torch: &str,
    python: &Python,
    cache: &Path,
    progress: &mut dyn Write,
) -> Result<(PathBuf, bool), TorchError> {
    if !is_version(torch) {
        return Err(TorchError::NoVersion { version: torch.to_owned() });
    }
    packages(&python.version, python, cache, progress)?;
    if let Some(found) = beside::version(cache, torch) {
        return Ok((found, true));
    }
    let folder = beside::versions_folder(cache).join(format!("{torch}-py{}", python.version));
    check_space(&installed::folder(cache), VERSION)?;
    say(progress, &format!("making an environment with torch {torch}, {}", folder.display()));
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(TorchError::io("replace", &folder, &error));
        }
        _ => {}
    }
    let venv = folder.join("venv");
    fs::create_dir_all(&folder).map_err(|error| TorchError::io("create", &folder, &error))?;
    let (inside, interpreter) = (venv.display().to_string(), venv.join("bin/python"));
    if !python.run(["-m", "venv", "--without-pip", &inside])? {
        return Err(TorchError::Venv { folder: venv });
    }
    let (at, pinned) = (interpreter.display().to_string(), format!("torch=={torch}"));
    let installed = python.run([
        "-m",
        "pip",
        "--python",
        &at,
        "install",
        "--only-binary=:all:",
        "--no-cache-dir",
        "--no-input",
        "--disable-pip-version-check",
        &pinned,
        "numpy",
    ])?;
    if !installed {
        let (name, version) = ("torch".to_owned(), torch.to_owned());
        return Err(TorchError::Download { name, version, python: python.version.clone() });
    }
    beside::ask(&interpreter)?;
    Packages::complete(&folder).map_err(|error| TorchError::io("write", &folder, &error))?;
    Ok((interpreter, false))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_no_path_and_a_name_is_looked_up() {
        assert_eq!(version_of("3.12").unwrap(), "3.12");
        assert_eq!(version_of("3.12.4").unwrap(), "3.12");
        let old = version_of("3.10").unwrap_err();
        assert_eq!(old.to_string(), "Python 3.10: the worker needs 3.11 or newer");
        assert!(old.fix().contains("the environment's own python, such as"), "{}", old.fix());
        // Whatever it lacks: it was found, and asked.
        let found = version_of("python3").map_err(|error| error.to_string());
        assert!(!found.is_err_and(|error| error.contains("it does not run")));
        let none = version_of("python3.no").unwrap_err().to_string();
        assert!(none.starts_with("python3.no: it does not run: "), "{none}");
    }
}
