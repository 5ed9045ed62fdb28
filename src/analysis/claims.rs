//! `claims.csv`: what is said of engines, held against a run's rows.
//!
//! A claim is split into the pieces that the run has: a pair of engines, a fit, a cell. One piece that contradicts it contradicts
//! it; it is supported where all do, and not identifiable where some leave it open. Nothing is measured or estimated here.

mod piece;
mod pieces;
mod published;

use serde::{Deserialize, Serialize};

use crate::record::manifest::Manifest;
use crate::terms::claim::Claim;

use super::columns::columns;
use super::compile::{CompileOutcome, CompileOutcomeRow};
use super::energy::{EnergySummary, EnergySummaryRow};
use super::engines::{EnginePairs, EnginePairsRow};
use super::kv_memory::{KvEmpiricalRow, KvMemoryEmpirical};
use super::loads::{LoadBreakdown, LoadRow};
use super::phases::{DecodeFractionSummary, DecodeFractionSummaryRow};
use super::registry::Tables;
use super::scaling::{ScalingFitRow, ScalingFits};
use super::summary::{Summary, SummaryRow};
use super::table::{Sources, Table};

use piece::Piece;
pub use published::published;

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

/// `analysis/claims.csv`.
pub struct PublishedClaims;

impl Table for PublishedClaims {
    type Row = ClaimRow;
    const FILE: &'static str = "analysis/claims.csv";
    const ABOUT: &'static str = "What published reports conclude of other machines, in words of our own, each held against this run's rows; those of a file by `phasebench decide --claims`.";

    fn derive(from: &Sources<'_>) -> Vec<ClaimRow> {
        let evidence = Evidence {
            manifest: from.manifest,
            pairs: &from.rows::<EnginePairs>(),
            outcomes: &from.rows::<CompileOutcome>(),
            fits: &from.rows::<ScalingFits>(),
            shares: &from.rows::<DecodeFractionSummary>(),
            loads: &from.rows::<LoadBreakdown>(),
            summary: &from.rows::<Summary>(),
            caches: &from.rows::<KvMemoryEmpirical>(),
            energy: &from.rows::<EnergySummary>(),
        };
        judge(&published(), &evidence)
    }
}

/// The rows that claims are held against.
pub struct Evidence<'a> {
    manifest: &'a Manifest,
    pairs: &'a [EnginePairsRow],
    outcomes: &'a [CompileOutcomeRow],
    fits: &'a [ScalingFitRow],
    shares: &'a [DecodeFractionSummaryRow],
    loads: &'a [LoadRow],
    summary: &'a [SummaryRow],
    caches: &'a [KvEmpiricalRow],
    energy: &'a [EnergySummaryRow],
}

impl<'a> Evidence<'a> {
    /// Of a run.
    #[must_use]
    pub fn of(tables: &'a Tables, manifest: &'a Manifest) -> Self {
        Self {
            manifest,
            pairs: &tables.engine_pairs,
            outcomes: &tables.compile_outcome,
            fits: &tables.scaling_fits,
            shares: &tables.decode_fraction_summary,
            loads: &tables.load_breakdown,
            summary: &tables.summary,
            caches: &tables.kv_memory_empirical,
            energy: &tables.energy_summary,
        }
    }
}

/// Holds claims against a run's rows, a row each.
#[must_use]
pub fn judge(claims: &[Claim], evidence: &Evidence<'_>) -> Vec<ClaimRow> {
    claims.iter().map(|claim| row(claim, pieces::of(&claim.asserts, evidence))).collect()
}

/// Figures that a row shows; more of them make nobody wiser.
const MOST_FIGURES: usize = 4;

fn row(claim: &Claim, (file, mut pieces): (&str, Vec<Piece>)) -> ClaimRow {
    let count = |status: ClaimStatus| pieces.iter().filter(|piece| piece.status == status).count();
    let (supporting, contradicting) = (count(ClaimStatus::Supported), count(ClaimStatus::Contradicted));
    let open = count(ClaimStatus::NotIdentifiable);
    let status = match (supporting, contradicting, open) {
        (0, 0, 0) => ClaimStatus::NotTested,
        (_, 0, 0) => ClaimStatus::Supported,
        (_, 0, _) => ClaimStatus::NotIdentifiable,
        _ => ClaimStatus::Contradicted,
    };
    pieces.sort_by_key(|piece| piece.status != ClaimStatus::Contradicted);
    let more = pieces.len().saturating_sub(MOST_FIGURES);
    let mut figures: Vec<String> = pieces.iter().take(MOST_FIGURES).map(Piece::to_string).collect();
    figures.extend((more > 0).then(|| format!("and {more} more")));
    ClaimRow {
        claim: claim.name.clone(),
        text: claim.text.clone(),
        status,
        n_supporting: supporting,
        n_contradicting: contradicting,
        n_open: open,
        figures: (!figures.is_empty()).then(|| figures.join("; ")),
        rows: file.to_owned(),
    }
}
