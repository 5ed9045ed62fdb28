//! Why a file cannot be imported.

use std::fmt;

/// What is wrong with a file, where, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportError {
    file: String,
    place: String,
    what: String,
    allowed: String,
}

impl ImportError {
    /// `place`: a line, a line and column, a JSON pointer, or empty for the whole file. `allowed`: empty where nothing is to be said.
    #[must_use]
    pub fn new(
        file: impl Into<String>,
        place: impl Into<String>,
        what: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        Self { file: file.into(), place: place.into(), what: what.into(), allowed: allowed.into() }
    }
}

/// `file:place: what`, and below it what is allowed.
impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if !self.place.is_empty() {
            write!(f, ":{}", self.place)?;
        }
        write!(f, ": {}", self.what)?;
        if !self.allowed.is_empty() {
            write!(f, "\n  allowed: {}", self.allowed)?;
        }
        Ok(())
    }
}

impl std::error::Error for ImportError {}
