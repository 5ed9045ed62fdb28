//! One thing that was looked at, and what came of it.

use serde::{Deserialize, Serialize};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What was looked at, in a few words; the same for every run.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
    /// What was found, or why it could not be looked at.
    pub detail: String,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is as it should be.
    Pass,
    /// It is not.
    Fail,
    /// It could not be looked at.
    Skip,
}

/// How many problems of one check are spelt out.
const SPELT_OUT: usize = 3;

impl Check {
    /// Passes without problems, and spells out the first few otherwise. `good` is the detail of a pass.
    #[must_use]
    pub fn of(name: &str, problems: &[String], good: String) -> Self {
        let mut detail = problems.iter().take(SPELT_OUT).cloned().collect::<Vec<_>>().join("; ");
        if problems.len() > SPELT_OUT {
            detail.push_str(&format!("; and {} more", problems.len() - SPELT_OUT));
        }
        let (outcome, detail) = if problems.is_empty() { (Outcome::Pass, good) } else { (Outcome::Fail, detail) };
        Self { name: name.to_owned(), outcome, detail }
    }

    /// Could not be looked at.
    #[must_use]
    pub fn skip(name: &str, why: &str) -> Self {
        Self { name: name.to_owned(), outcome: Outcome::Skip, detail: why.to_owned() }
    }
}
