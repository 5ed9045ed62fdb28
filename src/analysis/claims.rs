//! `claims.csv`: what is said of engines, held against a run's rows.
//!
//! A claim is split into the pieces that the run has: a pair of engines, a fit, a cell. One piece that contradicts it contradicts
//! it; it is supported where all do, and not identifiable where some leave it open. Nothing is measured or estimated here.

mod evidence;
mod money;
mod piece;
mod pieces;
mod proof;
mod published;
mod row;

use crate::terms::claim::Claim;

use super::compile::CompileOutcome;
use super::degraded::DegradedCalls;
use super::energy::EnergySummary;
use super::engines::EnginePairs;
use super::kv_memory::KvMemoryEmpirical;
use super::loads::LoadBreakdown;
use super::models::ModelArchitecture;
use super::phases::DecodeFractionSummary;
use super::scaling::ScalingFits;
use super::summary::Summary;
use super::table::{Sources, Table};

pub use evidence::{Evidence, Priced};
use piece::Piece;
pub use published::published;
pub use row::{ClaimRow, ClaimStatus};

/// `analysis/claims.csv`.
pub struct PublishedClaims;

impl Table for PublishedClaims {
    type Row = ClaimRow;
    const FILE: &'static str = "analysis/claims.csv";
    const ABOUT: &'static str = "What the claims file that the scenario file names states, or else what published reports conclude of other machines, in words of our own, each held against this run's rows; those of another file by `phasebench decide --claims`.";

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
            models: &from.rows::<ModelArchitecture>(),
            degraded: &from.rows::<DegradedCalls>(),
            priced: None,
        };
        // A run without a call is held against nothing.
        if evidence.summary.is_empty() {
            return Vec::new();
        }
        match &from.plan.claims[..] {
            [] => judge(&published(), &evidence),
            own => judge(own, &evidence),
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
