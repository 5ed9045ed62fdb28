//! The Python that is used, and its pip.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::TorchError;

/// Oldest Python that the locked requirements have wheels for.
const OLDEST: (u32, u32) = (3, 11);

/// Oldest pip that installs into another Python's environment, so that this one needs none of its own.
const OLDEST_PIP: (u32, u32) = (22, 3);

/// What a Python says of itself: its version, and its pip's.
const ASK: &str = "
import sys
print('%d.%d' % sys.version_info[:2])
try:
    import pip
    print(pip.__version__)
except ImportError:
    print('none')
";

/// A Python with pip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// The command.
    pub command: PathBuf,
    /// Its version, e.g. `3.11`.
    pub version: String,
}

impl Python {
    /// Asks a Python what it is.
    ///
    /// # Errors
    /// It is not there, too old, or its pip is.
    pub fn find(command: &Path) -> Result<Self, TorchError> {
        match Command::new(command).args(["-c", ASK]).stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => Self::judge(command, &String::from_utf8_lossy(&output.stdout)),
            _ => Err(TorchError::NoPython { command: command.to_owned() }),
        }
    }

    fn judge(command: &Path, says: &str) -> Result<Self, TorchError> {
        let command = command.to_owned();
        let mut lines = says.lines();
        let (version, pip) = (lines.next().unwrap_or_default().to_owned(), lines.next().unwrap_or_default());
        if !is_new_enough(&version) {
            return Err(TorchError::OldPython { command, version });
        }
        match number(pip) {
            Some(found) if found >= OLDEST_PIP => Ok(Self { command, version }),
            _ => Err(TorchError::NoPip { command, version: pip.to_owned() }),
        }
    }

    /// Runs it; what it says goes to standard error, since standard output is for results.
    ///
    /// # Errors
    /// [`TorchError::Io`] where it does not start. Whether it failed is the value.
    pub fn run<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Result<bool, TorchError> {
        let out = io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from);
        let status = Command::new(&self.command).args(arguments).stdin(Stdio::null()).stdout(out).status();
        let status = status.map_err(|error| TorchError::io("run", &self.command, &error))?;
        Ok(status.success())
    }
}

/// Whether the worker runs on a Python of this version.
#[must_use]
pub fn is_new_enough(version: &str) -> bool {
    number(version).is_some_and(|found| found >= OLDEST)
}

/// `23.2.1` as (23, 2). `None`: no version.
pub fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// What the worker's package says it needs is what is asked for here.
    #[test]
    fn the_oldest_python_is_the_package_s() {
        let package = include_str!("../../../../backends/torch/pyproject.toml");
        assert!(package.contains(&format!("requires-python = \">={}.{}\"", OLDEST.0, OLDEST.1)));
    }

    #[test]
    fn too_old_a_python_or_pip_is_told_from_none() {
        let find = |says: &str| Python::judge(Path::new("python3"), says);
        assert_eq!(find("3.11\n23.0.1\n").unwrap().version, "3.11");
        assert!(matches!(find("3.10\n23.0.1\n"), Err(TorchError::OldPython { version, .. }) if version == "3.10"));
        assert!(matches!(find("3.11\n22.2\n"), Err(TorchError::NoPip { version, .. }) if version == "22.2"));
        assert!(matches!(find("3.11\nnone\n"), Err(TorchError::NoPip { .. })));
        assert!(matches!(Python::find(Path::new("/no/such/python")), Err(TorchError::NoPython { .. })));
    }
}
