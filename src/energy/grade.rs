//! What a figure may be used for.

use crate::energy::Estimate;
use crate::record::calibration::{Calibration, Coverage, UPDATES_FOR_B};
use crate::terms::energy::{Grade, Method, NoFigure};

/// What limits a grade besides the figure itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caps {
    /// The board is divided and the sensor tells of all of it.
    pub divided: bool,
    /// Programs of others used the device.
    pub foreign: bool,
    /// Less than 95 % of the readings that were due came.
    pub readings_missing: bool,
    /// Counter and power differ by more than 5 %.
    pub registers_differ: bool,
    /// The sensor gives nothing but an average over a second or more.
    pub average_only: bool,
    /// The phase's times were put together from an engine's durations rather than read from a clock.
    pub reconstructed: bool,
    /// Isolated events of the same kind that the figure is the mean of; 1: one.
    pub events: u32,
}

impl Caps {
    /// What limits a figure that rests on both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            divided: self.divided || other.divided,
            foreign: self.foreign || other.foreign,
            readings_missing: self.readings_missing || other.readings_missing,
            registers_differ: self.registers_differ || other.registers_differ,
            average_only: self.average_only || other.average_only,
            reconstructed: self.reconstructed || other.reconstructed,
            events: self.events.min(other.events),
        }
    }
}

/// Grades a figure.
///
/// # Errors
/// Why it is none.
pub fn grade(found: &Estimate, calibration: &Calibration, caps: &Caps) -> Result<Grade, NoFigure> {
    if caps.divided {
        return Err(NoFigure::Mig);
    }
    let (u, updates) = (found.u_stat, found.updates);
    let full = calibration.coverage == Coverage::Full;
    let enough_for_c = match found.method {
        Method::InstantInside => updates >= 3,
        Method::Padded => caps.events >= if full { 5 } else { 32 },
        Method::SteadySlope | Method::InnerEdge => updates >= 5,
    };
    let own = if found.method.counts() && found.method != Method::Padded && updates >= 20 && u <= 0.02 {
        Grade::A
    } else if found.method != Method::Padded && u64::from(updates) >= UPDATES_FOR_B && u <= 0.05 {
        Grade::B
    } else if enough_for_c && u <= 0.15 {
        Grade::C
    } else if u <= 0.5 {
        Grade::D
    } else {
        return Err(NoFigure::UTooLarge);
    };
    Ok(own.max(cap(found, calibration, caps)))
}

/// The best grade that circumstances allow.
fn cap(found: &Estimate, calibration: &Calibration, caps: &Caps) -> Grade {
    let unswept = found.method == Method::SteadySlope && calibration.coverage == Coverage::Partial && !found.swept;
    if caps.foreign || unswept {
        Grade::D
    } else if caps.average_only || caps.readings_missing || caps.registers_differ || calibration.id.is_none() {
        // The last: nothing better is claimed of a board that nobody has measured.
        Grade::C
    } else if calibration.coverage == Coverage::Unknown || caps.reconstructed {
        Grade::B
    } else {
        Grade::A
    }
}

#[cfg(test)]
mod tests;
