//! What a row of claims is.

use serde::{Deserialize, Serialize};

use crate::analysis::columns::columns;

columns! {
    /// One statement, and what a run's rows say to it.
    pub struct ClaimRow {
        /// Its name.
        claim: String,
        /// The statement in words.
        text: String,
        /// What the rows say.
        status: ClaimStatus,
        /// Pieces of evidence that support it: pairs of engines, fits, cells or loads.
        n_supporting: usize,
        /// Pieces that contradict it.
        n_contradicting: usize,
        /// Pieces that leave it open.
        n_open: usize,
        /// The figures, those that contradict it first; of many the first few. `None`: there are none.
        figures: Option<String>,
        /// File whose rows it is held against.
        rows: String,
    }
}

/// What rows say to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimStatus {
    /// Every piece of evidence supports it.
    Supported,
    /// A piece contradicts it.
    Contradicted,
    /// There is evidence, and it leaves the claim open.
    NotIdentifiable,
    /// There is no evidence.
    NotTested,
}

impl ClaimStatus {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Supported => "supported",
            Self::Contradicted => "contradicted",
            Self::NotIdentifiable => "not identifiable",
            Self::NotTested => "not tested",
        }
    }
}
