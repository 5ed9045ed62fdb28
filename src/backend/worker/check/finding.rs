//! What comes of trying a rule.

use serde::Serialize;

/// A rule, and whether it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's name.
    pub rule: &'static str,
    /// Whether it is kept.
    pub verdict: Verdict,
    /// What was seen.
    pub words: String,
}

/// Whether a rule is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is.
    Pass,
    /// It is not.
    Fail,
    /// It could not be tried, or does not concern this worker.
    NotTried,
}

/// What came of trying one rule.
pub enum Tried {
    /// It is kept; what was seen.
    Pass(String),
    /// It is broken; what is wrong.
    Fail(String),
    /// It was not tried; why.
    Not(String),
}

/// `Ok`: kept, with what was seen; `Err`: what is wrong.
impl From<Result<String, String>> for Tried {
    fn from(found: Result<String, String>) -> Self {
        match found {
            Ok(seen) => Self::Pass(seen),
            Err(wrong) => Self::Fail(wrong),
        }
    }
}

impl Tried {
    fn of(self, rule: &'static str) -> Finding {
        let (verdict, words) = match self {
            Self::Pass(words) => (Verdict::Pass, words),
            Self::Fail(words) => (Verdict::Fail, words),
            Self::Not(words) => (Verdict::NotTried, words),
        };
        Finding { rule, verdict, words }
    }
}

/// Is told each finding as it comes.
pub type Tell<'a> = &'a mut dyn FnMut(&Finding);

/// What was found so far.
pub struct Findings<'a> {
    found: Vec<Finding>,
    tell: Tell<'a>,
}

impl<'a> Findings<'a> {
    /// Nothing yet; `tell` hears of each.
    #[must_use]
    pub fn new(tell: Tell<'a>) -> Self {
        Self { found: Vec::new(), tell }
    }

    /// All of them.
    #[must_use]
    pub fn all(self) -> Vec<Finding> {
        self.found
    }

    /// Adds what came of a rule.
    pub fn add(&mut self, rule: &'static str, tried: impl Into<Tried>) {
        let finding = tried.into().of(rule);
        (self.tell)(&finding);
        self.found.push(finding);
    }
}
