//! Which Python environment runs the torch worker: the one that `phasebench setup torch` made and selected, or, see
//! [`beside`], one that is somebody's own.
//!
//! ```text
//! <cache>/torch/<id>/           an environment
//! <cache>/torch/selected.json   the one in use
//! ```

pub mod beside;

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The command that makes an environment.
pub const FIX: &str = "phasebench setup torch";

/// A Python with torch, and the worker's package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// The interpreter.
    pub python: PathBuf,
    /// Folder that holds the package, for `PYTHONPATH`.
    pub package: PathBuf,
    /// What the environment was made from: changes whenever a version or the worker changes.
    pub id: String,
}

/// There is no environment. [`FIX`] makes one.
#[derive(Debug, thiserror::Error)]
pub enum NotSetUp {
    /// None was selected.
    #[error("no torch environment: {} does not exist", selection.display())]
    Missing {
        /// The file that would name one.
        selection: PathBuf,
    },
    /// The selection cannot be read.
    #[error("{}: {why}", selection.display())]
    Selection {
        /// The file that names one.
        selection: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// What it names is gone.
    #[error("torch environment {id}: {} is gone", path.display())]
    Gone {
        /// The environment.
        id: String,
        /// What is missing.
        path: PathBuf,
    },
}

/// The file that names the selected environment.
#[must_use]
pub fn selection(cache: &Path) -> PathBuf {
    cache.join("torch/selected.json")
}

/// The selected environment.
///
/// # Errors
/// There is none, or it is damaged.
pub fn find(cache: &Path) -> Result<Environment, NotSetUp> {
    let selection = selection(cache);
    let text = match fs::read(&selection) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(NotSetUp::Missing { selection }),
        Err(error) => return Err(NotSetUp::Selection { selection, why: error.to_string() }),
    };
    let found: Environment = match serde_json::from_slice(&text) {
        Ok(found) => found,
        Err(error) => return Err(NotSetUp::Selection { selection, why: error.to_string() }),
    };
    for path in [&found.python, &found.package] {
        if !path.exists() {
            return Err(NotSetUp::Gone { id: found.id.clone(), path: path.clone() });
        }
    }
    Ok(found)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_selected_is_found_and_what_is_not_is_named() {
        let cache = tempfile::tempdir().unwrap();
        let error = find(cache.path()).unwrap_err().to_string();
        assert!(error.ends_with("torch/selected.json does not exist"), "{error}");
        fs::create_dir_all(cache.path().join("torch")).unwrap();
        let write = |text: &str| fs::write(selection(cache.path()), text).unwrap();
        write("{}");
        let error = find(cache.path()).unwrap_err().to_string();
        assert!(error.contains("selected.json: missing field `python`"), "{error}");
        let package = cache.path().display();
        write(&format!(r#"{{"python": "{package}/python", "package": "{package}", "id": "abc"}}"#));
        let error = find(cache.path()).unwrap_err().to_string();
        assert_eq!(error, format!("torch environment abc: {package}/python is gone"));
        fs::write(cache.path().join("python"), "").unwrap();
        assert_eq!(find(cache.path()).unwrap().id, "abc");
    }
}
