//! The wheels of the locked requirements, fetched once for every environment and image.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::error::TorchError;
use super::pip::Python;
use super::requirements::Requirement;
use crate::files::UnfinishedFolder;
use crate::hash::sha256_file;
use crate::units::Bytes;

/// What all wheels take together, about. Unit: bytes.
const ALL_BYTES: u64 = 3_100_000_000;

/// Which Python wheels are fetched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its version, e.g. `3.11`.
    version: String,
    /// Whether it is another than the one that runs pip.
    other: bool,
}

impl Target {
    /// The Python that runs pip.
    #[must_use]
    pub fn same(python: &Python) -> Self {
        Self { version: python.version.clone(), other: false }
    }

    /// CPython of this version, on this system.
    #[must_use]
    pub fn version(version: &str, python: &Python) -> Self {
        Self { version: version.to_owned(), other: version != python.version }
    }

    fn abi(&self) -> String {
        format!("cp{}", self.version.replace('.', ""))
    }

    /// Whether a wheel of this name serves it: `name-version-python-abi-platform.whl`.
    fn takes(&self, file: &str) -> bool {
        let mut tags = file.trim_end_matches(".whl").rsplit('-').skip(1);
        let (Some(abi), Some(python)) = (tags.next(), tags.next()) else { return false };
        abi == "abi3" || abi == "none" || python.split('.').any(|python| python == self.abi())
    }

    /// What pip is told of it.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        if !self.other {
            return Vec::new();
        }
        let mut arguments = vec![format!("--python-version={}", self.version), "--implementation=cp".to_owned()];
        arguments.extend([self.abi().as_str(), "abi3", "none"].map(|abi| format!("--abi={abi}")));
        // Every name a wheel for this system may carry, newest first; pip accepts no other when one is given.
        let arch = std::env::consts::ARCH;
        arguments.extend((5..=36).rev().map(|minor| format!("--platform=manylinux_2_{minor}_{arch}")));
        arguments.push(format!("--platform=manylinux2014_{arch}"));
        arguments
    }
}

/// What of the requirements is not there yet.
#[derive(Debug)]
pub struct Missing<'a> {
    requirements: Vec<&'a Requirement>,
    of: usize,
    /// How much is there. Unit: bytes.
    there: Bytes,
}

impl<'a> Missing<'a> {
    /// Looks into the folder. A file is what its hash says.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn look(requirements: &'a [Requirement], target: &Target, folder: &Path) -> Result<Self, TorchError> {
        let mut files = BTreeMap::new();
        if folder.is_dir() {
            let entries = fs::read_dir(folder).map_err(|error| TorchError::io("list", folder, &error))?;
            for entry in entries.flatten().filter(|entry| target.takes(&entry.file_name().to_string_lossy())) {
                let path = entry.path();
                let hash = sha256_file(&path).map_err(|error| TorchError::io("read", &path, &error))?;
                files.insert(hash, entry.metadata().map_or(0, |found| found.len()));
            }
        }
        let has = |requirement: &&Requirement| requirement.hashes.iter().any(|hash| files.contains_key(hash));
        let known: BTreeSet<&String> = requirements.iter().flat_map(|requirement| &requirement.hashes).collect();
        let there = files.iter().filter(|(hash, _)| known.contains(hash)).map(|(_, size)| size).sum();
        Ok(Self {
            requirements: requirements.iter().filter(|requirement| !has(requirement)).collect(),
            of: requirements.len(),
            there: Bytes(there),
        })
    }

    /// How much is to be fetched, about. 0 where nothing is.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        if self.requirements.is_empty() { Bytes(0) } else { Bytes(ALL_BYTES.saturating_sub(self.there.0)) }
    }

    /// Fetches one after the other: what is there stays there when the next one fails.
    ///
    /// # Errors
    /// [`TorchError::Download`] with the first that could not be fetched.
    pub fn fetch(
        &self,
        python: &Python,
        target: &Target,
        folder: &Path,
        progress: &mut dyn Write,
    ) -> Result<(), TorchError> {
        fs::create_dir_all(folder).map_err(|error| TorchError::io("create", folder, &error))?;
        let before = self.of - self.requirements.len();
        for (number, requirement) in self.requirements.iter().enumerate() {
            let Requirement { name, version, .. } = requirement;
            // Progress is for people; a closed standard error must not stop the work.
            let _ = writeln!(progress, "fetching {} of {}: {name} {version}", before + number + 1, self.of);
            fetch(requirement, python, target, folder)?;
        }
        Ok(())
    }
}

fn fetch(requirement: &Requirement, python: &Python, target: &Target, folder: &Path) -> Result<(), TorchError> {
    // Beside the wheels: moved into place, never copied half.
    let parent = folder.parent().unwrap_or(folder);
    let work =
        UnfinishedFolder::new_in(parent).map_err(|error| TorchError::io("create a folder in", parent, &error))?;
    let list = work.path().join("requirement");
    fs::write(&list, &requirement.text).map_err(|error| TorchError::io("write", &list, &error))?;
    let into = work.path().join("files");
    let mut arguments: Vec<String> = ["-m", "pip", "download", "--require-hashes", "--no-deps", "--only-binary=:all:"]
        .iter()
        // Its cache would keep everything a second time.
        .chain(&["--no-cache-dir", "--no-input", "--disable-pip-version-check", "--quiet"])
        .map(|&argument| argument.to_owned())
        .collect();
    arguments.extend(target.arguments());
    arguments.extend(["--dest".to_owned(), into.display().to_string()]);
    arguments.extend(["--requirement".to_owned(), list.display().to_string()]);
    if !python.run(arguments)? {
        let (name, version) = (requirement.name.clone(), requirement.version.clone());
        return Err(TorchError::Download { name, version, python: python.version.clone() });
    }
    // None where the requirement's markers leave this system out.
    let found = match fs::read_dir(&into) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(|error| TorchError::io("list", &into, &error))?,
    };
    for file in found.flatten() {
        let at = folder.join(file.file_name());
        fs::rename(file.path(), &at).map_err(|error| TorchError::io("create", &at, &error))?;
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::hash::sha256_hex;

    fn requirement(name: &str, hashes: &[String]) -> Requirement {
        Requirement { name: name.to_owned(), version: "1".to_owned(), hashes: hashes.to_vec(), text: String::new() }
    }

    #[test]
    fn only_what_is_not_there_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("one-1-py3-none-any.whl"), "one").unwrap();
        fs::write(folder.path().join("two-1-py3-none-any.whl"), "twx").unwrap();
        let target = Target { version: "3.11".to_owned(), other: false };
        let one = requirement("one", &[sha256_hex(b"for another system"), sha256_hex(b"one")]);
        let two = requirement("two", &[sha256_hex(b"two")]);
        let both = [one.clone(), two];
        let missing = Missing::look(&both, &target, folder.path()).unwrap();
        assert_eq!(missing.requirements, [&both[1]]);
        assert_eq!(missing.bytes(), Bytes(ALL_BYTES - 3));
        assert_eq!(Missing::look(&[one], &target, folder.path()).unwrap().bytes(), Bytes(0));
        assert_eq!(Missing::look(&both, &target, &folder.path().join("none")).unwrap().requirements.len(), 2);
    }

    #[test]
    fn a_wheel_of_another_python_does_not_serve() {
        let target = Target { version: "3.11".to_owned(), other: true };
        for (file, takes) in [
            ("torch-2.15.0-cp311-cp311-manylinux_2_28_x86_64.whl", true),
            ("torch-2.15.0-cp312-cp312-manylinux_2_28_x86_64.whl", false),
            ("tokenizers-0.23.3-cp310-abi3-manylinux_2_17_x86_64.whl", true),
            ("nvidia_nccl_cu13-2.30.7-py3-none-manylinux_2_18_x86_64.whl", true),
            ("jinja2-3.1.6-py3-none-any.whl", true),
            ("notes", false),
        ] {
            assert_eq!(target.takes(file), takes, "{file}");
        }
        assert!(target.arguments().contains(&"--python-version=3.11".to_owned()));
    }
}
