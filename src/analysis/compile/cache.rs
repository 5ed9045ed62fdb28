//! How a compiler found its cache on disk: a filled one makes its time short.

use serde::{Deserialize, Serialize};

/// How a compiler found its cache on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheState {
    /// Nothing was there.
    Cold,
    /// Everything was there.
    Warm,
    /// Some of it was.
    Mixed,
    /// The compiler did not look, or does not tell.
    Unknown,
}

impl CacheState {
    /// From hits and misses.
    #[must_use]
    pub fn of(hits: u64, misses: u64) -> Self {
        match (hits, misses) {
            (0, 0) => Self::Unknown,
            (0, _) => Self::Cold,
            (_, 0) => Self::Warm,
            _ => Self::Mixed,
        }
    }

    /// Of several. `None`: of none.
    pub(super) fn together(states: impl IntoIterator<Item = Self>) -> Option<Self> {
        states.into_iter().reduce(|one, other| if one == other { one } else { Self::Mixed })
    }

    /// Whether nothing but the compiler's own work went into its time.
    pub(super) fn is_all_work(self) -> bool {
        matches!(self, Self::Cold | Self::Unknown)
    }

    /// The name used in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Mixed => "mixed",
            Self::Unknown => "unknown",
        }
    }
}
