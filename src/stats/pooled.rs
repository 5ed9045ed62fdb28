//! Errors of several cells' locations, where how far calls depend on the one before is known from all cells together.
//!
//! A dozen calls hardly tell their own autocorrelation. The guess that [`super::location`] makes of it keeps a cell's own
//! interval honest, because it errs on the side of too wide: at 8 calls the variance is a third too large in the mean. Where
//! many cells are added up, their number makes up for how little each knows of its spread, and the third remains. Cells of
//! one engine and phase share what makes calls alike, so that here one autocorrelation is estimated for all.

use crate::stats::series::{mean_inflation, pooled_persistence};

/// A cell's location with its error as the cell alone tells it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CellError {
    /// Calls.
    pub n: usize,
    /// Independent calls that these were taken to be worth.
    pub n_effective: f64,
    /// Lag-1 autocorrelation found, not corrected. `None`: all calls are equal.
    pub rho1: Option<f64>,
    /// Standard error of the location's logarithm.
    pub standard_error: f64,
}

/// An error with the degrees of freedom that it is known with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnownError {
    /// Standard error of the location's logarithm.
    pub standard_error: f64,
    /// Degrees of freedom of it.
    pub df: f64,
}

/// The errors of cells that share how far calls depend on the one before, cell by cell.
#[must_use]
pub fn pooled(cells: &[CellError]) -> Vec<KnownError> {
    let rho = pooled_persistence(cells.iter().filter_map(|cell| Some((cell.rho1?, cell.n))));
    cells.iter().map(|cell| cell.with(rho)).collect()
}

impl CellError {
    /// The same spread of calls, under another autocorrelation.
    fn with(self, rho: f64) -> KnownError {
        let n = self.n as f64;
        // As in `LogMean`: the variance of a mean is s² × inflation ÷ n × (n − 1) ÷ (n − inflation).
        let factor = |inflation: f64| inflation / (n - inflation);
        let (taken, pooled) = (n / self.n_effective, mean_inflation(self.n, rho));
        let standard_error = self.standard_error * (factor(pooled) / factor(taken)).sqrt();
        KnownError { standard_error, df: n / pooled - 1.0 }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::stats::LEVEL;
    use crate::stats::location::log_location;
    use crate::stats::series::autocorrelation;
    use crate::stats::student;

    fn cell(calls: &[f64]) -> CellError {
        let location = log_location(calls, LEVEL).unwrap();
        let critical = student::critical(LEVEL, location.n_effective - 1.0).unwrap();
        CellError {
            n: calls.len(),
            n_effective: location.n_effective,
            rho1: autocorrelation(&calls.iter().map(|call| call.ln()).collect::<Vec<_>>()),
            standard_error: (location.interval.high / location.estimate).ln() / critical,
        }
    }

    /// One cell of many calls tells its own autocorrelation, and has nobody to share one with.
    #[test]
    fn a_cell_alone_keeps_its_error() {
        let calls: Vec<f64> = (0..40).map(|i| 10.0 + f64::from(i * 7 % 11) * 0.1).collect();
        let (alone, pooled) = (cell(&calls), pooled(&[cell(&calls)]));
        assert!((pooled[0].standard_error / alone.standard_error - 1.0).abs() < 1e-9);
        assert!((pooled[0].df - (alone.n_effective - 1.0)).abs() < 1e-9);
    }

    /// Beside cells whose calls alternate, one that happens to rise is taken to have risen by chance.
    #[test]
    fn cells_share_what_they_tell_of_their_calls() {
        let rising = cell(&[10.0, 10.1, 10.2, 10.3, 10.4, 10.5, 10.6, 10.7]);
        let alternating = cell(&[10.0, 10.5, 10.1, 10.4, 10.0, 10.6, 10.1, 10.5]);
        let together = pooled(&[rising, alternating, alternating, alternating]);
        assert!(together[0].standard_error < rising.standard_error, "{together:?}");
        assert!(together[0].df > rising.n_effective - 1.0, "{together:?}");
        assert_eq!(pooled(&[]), []);
        let constant = pooled(&[CellError { rho1: None, standard_error: 0.0, ..rising }]);
        assert_eq!(constant[0].standard_error.to_bits(), 0.0_f64.to_bits());
    }
}
