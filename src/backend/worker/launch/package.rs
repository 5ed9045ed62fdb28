//! The torch worker's sources, carried in this program.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};

use crate::files::UnfinishedFolder;

/// Name of the Python package.
const NAME: &str = "phasebench_torch";

static PACKAGE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../backends/torch/phasebench_torch");

/// Every package the worker needs, with version and hashes.
pub const REQUIREMENTS: &str = include_str!("../../../../backends/torch/requirements.lock");

/// How the worker's image is built.
pub const DOCKERFILE: &str = include_str!("../../../../backends/torch/Dockerfile");

/// Every file that the worker's image is built from, by its path; sorted.
#[must_use]
pub fn files() -> Vec<(PathBuf, &'static [u8])> {
    let mut files = sources();
    files.push((PathBuf::from("requirements.lock"), REQUIREMENTS.as_bytes()));
    files.push((PathBuf::from("Dockerfile"), DOCKERFILE.as_bytes()));
    files.sort();
    files
}

/// The modules of the package, by their path. What Python or a checker left beside them is not one.
fn sources() -> Vec<(PathBuf, &'static [u8])> {
    let mut sources = Vec::new();
    let mut folders = vec![&PACKAGE];
    while let Some(folder) = folders.pop() {
        let modules = folder.files().filter(|file| file.path().extension().is_some_and(|kind| kind == "py"));
        sources.extend(modules.map(|file| (Path::new(NAME).join(file.path()), file.contents())));
        folders.extend(folder.dirs());
    }
    sources.sort();
    sources
}

/// Hash of everything the image is built from: 64 hexadecimal digits.
#[must_use]
pub fn hash() -> String {
    hash_of(&files())
}

fn hash_of(files: &[(PathBuf, &'static [u8])]) -> String {
    let mut hash = Sha256::new();
    for (path, content) in files {
        let path = path.as_os_str().as_encoded_bytes();
        for part in [path, content] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    crate::hash::hex(&hash.finalize())
}

/// Folder below `folder` for the package as this program carries it; another version's has another name.
#[must_use]
pub fn place(folder: &Path) -> PathBuf {
    folder.join(format!("worker-{}", &hash_of(&sources())[..12]))
}

/// Whether `at` holds the package as this program carries it.
#[must_use]
pub fn is_whole(at: &Path) -> bool {
    sources().iter().all(|(path, content)| fs::read(at.join(path)).is_ok_and(|found| found == *content))
}

/// Writes the package to [`place`], whole or not at all; does nothing where it is.
///
/// # Errors
/// The system's words.
pub fn write(folder: &Path) -> io::Result<PathBuf> {
    let at = place(folder);
    if is_whole(&at) {
        return Ok(at);
    }
    let work = UnfinishedFolder::new_in(folder)?;
    let new = work.path().join("package");
    for (path, content) in sources() {
        let path = new.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, content)?;
    }
    // What is there and is not whole makes way.
    match fs::rename(&at, work.path().join("replaced")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match fs::rename(&new, &at) {
        // Another setup finished in between: its result is as good.
        Err(_) if is_whole(&at) => Ok(at),
        result => result.map(|()| at),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_worker_is_carried_without_its_tests() {
        let files = files();
        let names: Vec<_> = files.iter().map(|(path, _)| path.display().to_string()).collect();
        for name in ["Dockerfile", "requirements.lock", "phasebench_torch/__init__.py", "phasebench_torch/__main__.py"]
        {
            assert!(names.iter().any(|found| found == name), "{name} of {names:?}");
        }
        let beside = ["Dockerfile", "requirements.lock"];
        let rest = names.iter().filter(|name| !beside.contains(&name.as_str()));
        let of_package = |name: &String| name.starts_with("phasebench_torch/") && name.ends_with(".py");
        assert!(rest.clone().count() > 10 && rest.clone().all(of_package), "{names:?}");
        assert_eq!(hash().len(), 64);
    }

    #[test]
    fn a_damaged_package_is_replaced_and_a_whole_one_kept() {
        let folder = tempfile::tempdir().unwrap();
        let at = write(folder.path()).unwrap();
        assert!(is_whole(&at) && at == place(folder.path()));
        let module = at.join("phasebench_torch/__init__.py");
        let before = fs::metadata(&module).unwrap().modified().unwrap();
        write(folder.path()).unwrap();
        assert_eq!(fs::metadata(&module).unwrap().modified().unwrap(), before);
        fs::write(&module, "broken").unwrap();
        assert!(!is_whole(&at));
        write(folder.path()).unwrap();
        assert!(is_whole(&at));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
