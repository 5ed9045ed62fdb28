//! A file as it was read, and errors that name it.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::hash::sha256_hex;
use crate::units::Nanos;

use super::error::ImportError;

/// A year in nanoseconds: no time of a call is longer.
const LONGEST_NS: f64 = 3.2e16;

/// One file.
#[derive(Debug)]
pub(super) struct Source {
    /// Its name without the folder.
    pub(super) name: String,
    /// As it was given, for errors.
    shown: String,
    /// Its content.
    pub(super) text: String,
    /// SHA-256 of its bytes.
    pub(super) sha256: String,
    /// When it was last written. `None`: the system does not tell.
    pub(super) modified_unix_ns: Option<u64>,
}

impl Source {
    pub(super) fn read(path: &Path) -> Result<Self, ImportError> {
        let shown = path.display().to_string();
        let failed = |what: String| ImportError::new(shown.clone(), "", what, "a result file of a known tool");
        let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
        let sha256 = sha256_hex(&bytes);
        let modified = fs::metadata(path).ok().and_then(|facts| facts.modified().ok());
        let since_epoch = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let text = String::from_utf8(bytes).map_err(|error| {
            let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|&&b| b == b'\n').count();
            ImportError::new(shown.clone(), line.to_string(), "is not UTF-8", "text in UTF-8")
        })?;
        if text.trim().is_empty() {
            return Err(failed("is empty".to_owned()));
        }
        Ok(Self {
            name: path.file_name().map_or_else(|| shown.clone(), |name| name.to_string_lossy().into_owned()),
            text: text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text),
            sha256,
            modified_unix_ns: since_epoch.and_then(|time| u64::try_from(time.as_nanos()).ok()),
            shown,
        })
    }

    /// What is wrong with it.
    pub(super) fn error(
        &self,
        place: impl Into<String>,
        what: impl Into<String>,
        allowed: impl Into<String>,
    ) -> ImportError {
        ImportError::new(self.shown.clone(), place, what, allowed)
    }

    /// A time in whole nanoseconds, as a record keeps it. `value` × `unit_ns` is the time.
    ///
    /// # Errors
    /// It is no time that a call can take.
    pub(super) fn time(&self, place: &str, value: f64, unit_ns: f64) -> Result<Nanos, ImportError> {
        let ns = value * unit_ns;
        if !ns.is_finite() || ns <= 0.0 || ns > LONGEST_NS {
            let what = format!("`{value}` is no time that a call takes");
            return Err(self.error(place, what, "a finite number above 0, at most a year"));
        }
        Ok(Nanos(ns.round() as u64))
    }
}
