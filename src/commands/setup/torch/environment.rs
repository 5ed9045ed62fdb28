//! The virtual environment: made once per locked requirements and version of Python.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::TorchError;
use super::pip::Python;

/// Written last, when everything can be imported.
const COMPLETE: &str = "complete";

/// What the worker cannot do without.
const IMPORT: &str = "
import grpc, torch, transformers
print('torch', torch.__version__ + ',', 'transformers', transformers.__version__ + ',', 'grpc', grpc.__version__)
";

/// Where an environment is, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub id: String,
    /// Its folder.
    pub folder: PathBuf,
}

impl Place {
    /// For these requirements and this Python.
    #[must_use]
    pub fn new(torch: &Path, lock: &str, python: &Python) -> Self {
        let id = format!("{}-py{}", &crate::hash::sha256_hex(lock.as_bytes())[..12], python.version);
        Self { folder: torch.join(&id), id }
    }

    /// Its interpreter.
    #[must_use]
    pub fn python(&self) -> PathBuf {
        self.folder.join("venv/bin/python")
    }

    /// Whether it was made to the end, and the Python it was made from is still there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.folder.join(COMPLETE).is_file() && self.python().exists()
    }

    /// Makes it from the wheels; what an earlier attempt left is replaced.
    ///
    /// # Errors
    /// See [`TorchError`]. What there is stays unfinished, and is not used.
    pub fn make(&self, python: &Python, wheels: &Path, lock: &Path) -> Result<(), TorchError> {
        let venv = self.folder.join("venv");
        match fs::remove_dir_all(&venv) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(TorchError::io("replace", &venv, &error));
            }
            _ => {}
        }
        fs::create_dir_all(&self.folder).map_err(|error| TorchError::io("create", &self.folder, &error))?;
        let text = |path: &Path| path.display().to_string();
        // Debian's Python makes environments, but without a pip in them; ours serves.
        if !python.run(["-m", "venv", "--without-pip", &text(&venv)])? {
            return Err(TorchError::Venv { folder: venv });
        }
        let installed = python.run([
            "-m",
            "pip",
            // Whatever the user's settings say about where to install and from where does not hold here.
            "--isolated",
            "--python",
            &text(&self.python()),
            "install",
            "--no-index",
            "--find-links",
            &text(wheels),
            "--require-hashes",
            "--no-cache-dir",
            "--no-input",
            "--disable-pip-version-check",
            "--requirement",
            &text(lock),
        ])?;
        if !installed {
            return Err(TorchError::Install { folder: venv });
        }
        self.check()?;
        let mark = self.folder.join(COMPLETE);
        fs::write(&mark, "").map_err(|error| TorchError::io("write", &mark, &error))
    }

    fn check(&self) -> Result<(), TorchError> {
        let inside = Python { command: self.python(), version: String::new() };
        if inside.run(["-I", "-c", IMPORT])? { Ok(()) } else { Err(TorchError::Import { python: self.python() }) }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn another_lock_or_python_is_another_environment() {
        let torch = Path::new("/cache/torch");
        let python = |version: &str| Python { command: PathBuf::from("python3"), version: version.to_owned() };
        let place = Place::new(torch, "lock", &python("3.11"));
        assert!(place.id.ends_with("-py3.11") && place.id.len() == 12 + 7, "{}", place.id);
        assert_ne!(place, Place::new(torch, "other", &python("3.11")));
        assert_ne!(place, Place::new(torch, "lock", &python("3.12")));
    }

    #[test]
    fn what_was_not_made_to_the_end_is_not_used() {
        let torch = tempfile::tempdir().unwrap();
        let python = Python { command: PathBuf::from("python3"), version: "3.11".to_owned() };
        let place = Place::new(torch.path(), "lock", &python);
        fs::create_dir_all(place.folder.join("venv/bin")).unwrap();
        fs::write(place.python(), "").unwrap();
        assert!(!place.is_complete());
        fs::write(place.folder.join(COMPLETE), "").unwrap();
        assert!(place.is_complete());
        fs::remove_file(place.python()).unwrap();
        assert!(!place.is_complete());
    }
}
