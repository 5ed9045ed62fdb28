//! Whether calls ran where they were asked to.

use crate::analysis::degraded::DegradedRow;
use crate::analysis::summary::SummaryRow;
use crate::terms::Degraded;

use super::piece::Piece;
use super::row::ClaimStatus;

/// What a call is degraded by that ran otherwise than asked.
const ELSEWHERE: [Degraded; 3] = [Degraded::WrongDevice, Degraded::Fallback, Degraded::CompileFailed];

/// A piece for every backend: one call that ran elsewhere contradicts, one cell without proof leaves it open.
pub(super) fn as_labelled(summary: &[SummaryRow], degraded: &[DegradedRow]) -> Vec<Piece> {
    let elsewhere: Vec<(&str, &DegradedRow)> = degraded
        .iter()
        .filter(|row| row.degraded > 0 && row.kind.is_some_and(|kind| ELSEWHERE.contains(&kind)))
        .filter_map(|row| Some((row.key.as_ref()?.backend.as_str(), row)))
        .collect();
    let mut backends: Vec<&str> = Vec::new();
    let named = summary.iter().map(|row| row.key.backend.as_str()).chain(elsewhere.iter().map(|(backend, _)| *backend));
    for backend in named {
        if !backends.contains(&backend) {
            backends.push(backend);
        }
    }
    backends.into_iter().map(|backend| of_backend(backend, summary, &elsewhere)).collect()
}

fn of_backend(backend: &str, summary: &[SummaryRow], elsewhere: &[(&str, &DegradedRow)]) -> Piece {
    let calls: usize = elsewhere.iter().filter(|(of, _)| *of == backend).map(|(_, row)| row.degraded).sum();
    if calls > 0 {
        return Piece::new(backend, ClaimStatus::Contradicted, format!("{calls} calls ran otherwise than asked"));
    }
    let own: Vec<&SummaryRow> = summary.iter().filter(|row| row.key.backend == backend).collect();
    let unproven = own.iter().filter(|row| !row.is_proven()).count();
    if unproven > 0 {
        return Piece::new(
            backend,
            ClaimStatus::NotIdentifiable,
            format!("{unproven} of {} rows without proof", own.len()),
        );
    }
    Piece::new(backend, ClaimStatus::Supported, format!("{} rows with proof", own.len()))
}
