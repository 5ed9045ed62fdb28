//! What prices say to claims on money.

use crate::units::significant;

use super::evidence::Priced;
use super::piece::{Piece, held};

/// Whether energy is as small a share of costs.
pub(super) fn energy_cost(priced: Option<&Priced>, at_most: f64) -> Vec<Piece> {
    let shares = priced.iter().flat_map(|priced| &priced.energy_shares);
    shares.map(|(of, share)| Piece::new(of, held(*share <= at_most), format!("{} % energy", percent(*share)))).collect()
}

/// Whether a machine of one's own saves as much.
pub(super) fn own_hardware_saves(priced: Option<&Priced>, at_least: f64) -> Vec<Piece> {
    let saves = priced.iter().flat_map(|priced| &priced.own_saves);
    saves
        .map(|(tier, share)| Piece::new(tier, held(*share >= at_least), format!("{} % less", percent(*share))))
        .collect()
}

fn percent(share: f64) -> String {
    significant(100.0 * share, 3)
}
