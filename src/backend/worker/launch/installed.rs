//! What `phasebench setup torch` has made: which Python with which package, and which image.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::backend::worker::torch::Environment;
use crate::files;

/// The image in use, as `torch/image.json` in the cache names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Content hash by which the engine knows it.
    pub image: String,
    /// Its name in the engine.
    pub tag: String,
    /// Hash of the sources it was built from.
    pub sources: String,
    /// Image it was built on. `None`: the one its Dockerfile names.
    pub base: Option<String>,
}

/// A file of ours in the cache.
pub trait Record: Serialize + DeserializeOwned {
    /// Its name below `torch/`.
    const FILE: &'static str;

    /// Reads it. `None`: nothing was set up, or by a version that wrote something else.
    #[must_use]
    fn read(cache: &Path) -> Option<Self> {
        let text = fs::read(folder(cache).join(Self::FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes it so that a reader sees the old or the new one, never half.
    ///
    /// # Errors
    /// The system's words.
    fn write(&self, cache: &Path) -> io::Result<()> {
        let folder = folder(cache);
        fs::create_dir_all(&folder)?;
        files::replace(&folder.join(Self::FILE), &serde_json::to_vec_pretty(self)?)
    }
}

impl Record for Environment {
    const FILE: &'static str = "selected.json";
}

impl Record for Image {
    const FILE: &'static str = "image.json";
}

/// Where everything for torch is kept.
#[must_use]
pub fn folder(cache: &Path) -> PathBuf {
    cache.join("torch")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_anything_else_is_nothing() {
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(Image::read(cache.path()), None);
        let image = Image { image: "sha256:1".to_owned(), tag: "t:1".to_owned(), sources: "s".to_owned(), base: None };
        image.write(cache.path()).unwrap();
        assert_eq!(Image::read(cache.path()), Some(image));
        fs::write(folder(cache.path()).join("selected.json"), r#"{"python": "/p"}"#).unwrap();
        assert_eq!(Environment::read(cache.path()), None);
    }
}
