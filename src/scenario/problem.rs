//! Problems of a scenario, pricing or workload file, all of them at once.

use std::path::{Path, PathBuf};
use std::{fmt, io};

/// A place in the file, as an editor counts it: both from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: u64,
    /// Column.
    pub column: u64,
}

/// One thing wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub at: Position,
    /// What, in lower case.
    pub message: String,
    /// What would be right: a label such as `known`, and a text.
    pub help: Vec<(&'static str, String)>,
}

impl Problem {
    /// A problem without help.
    #[must_use]
    pub fn new(at: Position, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), help: Vec::new() }
    }

    /// The same with a line of help.
    #[must_use]
    pub fn help(mut self, label: &'static str, text: impl Into<String>) -> Self {
        self.help.push((label, text.into()));
        self
    }

    /// The same with what is known, and what was perhaps meant by `found`.
    #[must_use]
    pub fn known(self, found: &str, known: &[&str]) -> Self {
        if known.is_empty() {
            return self;
        }
        let more = if known.len() > MOST_LISTED { format!(", … ({} in all)", known.len()) } else { String::new() };
        let listed = self.help("known", known[..known.len().min(MOST_LISTED)].join(", ") + &more);
        match nearest(found, known) {
            Some(near) => listed.help("nearest", near),
            None => listed,
        }
    }
}

/// Most names that are listed with every name that is none of them.
const MOST_LISTED: usize = 50;

/// Most names that another is compared with: a file may hold ten thousand names, and as many that are none of them.
const MOST_COMPARED: usize = 200;

/// Longest name that is compared. Unit: bytes.
const LONGEST_COMPARED: usize = 200;

/// The known name that `found` was perhaps meant to be. `None`: nothing is near, or there is too much to compare.
#[must_use]
pub fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    if found.len() > LONGEST_COMPARED || known.len() > MOST_COMPARED {
        return None;
    }
    let found = found.to_lowercase();
    known
        .iter()
        .filter(|name| name.len() <= LONGEST_COMPARED)
        .map(|name| (strsim::jaro_winkler(&found, &name.to_lowercase()), *name))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// Why a file makes no [`super::ScenarioFile`], [`super::Pricing`] or [`super::Workload`].
///
/// Displayed as people read it, `error: ` included: a file with problems prints one message for each.
#[derive(Debug)]
pub enum ScenarioError {
    /// The file could not be read.
    Unreadable {
        /// What it was to be: `scenario file`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file says something wrong.
    Invalid {
        /// The file.
        path: PathBuf,
        /// Everything wrong with it, in file order; never empty.
        problems: Vec<Problem>,
    },
}

impl ScenarioError {
    pub(super) fn invalid(path: &Path, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|p| p.at);
        problems.dedup();
        Self::Invalid { path: path.to_owned(), problems }
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { what, path, source } => {
                write!(f, "error: cannot read {what} {}: {source}", path.display())
            }
            Self::Invalid { path, problems } => {
                for (i, problem) in problems.iter().enumerate() {
                    let Position { line, column } = problem.at;
                    let gap = if i > 0 { "\n" } else { "" };
                    write!(f, "{gap}error: {}:{line}:{column}: {}", path.display(), problem.message)?;
                    for (label, text) in &problem.help {
                        write!(f, "\n  {label}: {text}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ScenarioError {}
