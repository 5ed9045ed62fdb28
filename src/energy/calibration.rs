//! What is known of a sensor.

use serde::{Deserialize, Serialize};

use crate::energy::{Sample, edges};
use crate::units::Nanos;

/// Share of time that a sensor sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coverage {
    /// All of it.
    Full,
    /// Part: what happens between two windows is never seen.
    Partial,
    /// Not measured.
    #[default]
    Unknown,
}

impl Coverage {
    /// The name used in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Partial => "partial",
            Self::Unknown => "unknown",
        }
    }
}

/// A sensor's timing and resolution, measured on this board or assumed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Names the measurement it comes from. `None`: assumed, nothing of it was measured on this board.
    pub id: Option<String>,
    /// Time between updates of the counter.
    pub counter_period_ns: Nanos,
    /// Time between updates of the power reading.
    pub power_period_ns: Nanos,
    /// Stretch a power reading is the mean of.
    pub window_ns: Nanos,
    /// Time by which readings are late.
    pub delay_ns: Nanos,
    /// Time a power reading needs from 10 % to 90 % of a step.
    pub rise_ns: Nanos,
    /// What the counter sees.
    pub coverage: Coverage,
    /// Smallest step of the counter, in joules.
    pub resolution_j: f64,
}

impl Calibration {
    /// For a board nobody has measured: the slowest timing published for current boards, coverage unknown.
    ///
    /// Source: the sheets published with arXiv 2312.02741: updates about every 100 ms, windows of 18 to 110 ms, here
    /// taken as a whole period.
    #[must_use]
    pub fn assumed() -> Self {
        let period = Nanos(100_000_000);
        Self {
            id: None,
            counter_period_ns: period,
            power_period_ns: period,
            window_ns: period,
            delay_ns: Nanos(0),
            rise_ns: Nanos(250_000_000),
            coverage: Coverage::Unknown,
            resolution_j: 1e-3,
        }
    }

    /// For the energy counters of processors: they add up all energy, about once a millisecond.
    ///
    /// Source: Intel's Software Developer's Manual, volume 3, on RAPL; its unit is 2⁻¹⁴ J on most processors.
    #[must_use]
    pub fn processor() -> Self {
        let period = Nanos(1_000_000);
        Self {
            id: None,
            counter_period_ns: period,
            power_period_ns: period,
            window_ns: period,
            delay_ns: Nanos(0),
            rise_ns: period,
            coverage: Coverage::Full,
            resolution_j: 2.0_f64.powi(-14),
        }
    }

    /// How long to pause between groups of repetitions, each of which takes `group`, so that every group begins another
    /// share of 1 ÷ `groups` of the update period later: a sensor that sees only part of the time then sees every part
    /// of a repetition. 0 for one group.
    #[must_use]
    pub fn sweep_pause(&self, group: Nanos, groups: u32) -> Nanos {
        let period = self.counter_period_ns.0.max(1);
        if groups < 2 { Nanos(0) } else { Nanos((period / u64::from(groups) + period - group.0 % period) % period) }
    }

    /// Time from the beginning of a phase until a reading shows nothing else.
    #[must_use]
    pub fn settling(&self) -> Nanos {
        self.window_ns.max(self.rise_ns) + self.power_period_ns.max(self.counter_period_ns) + self.delay_ns
    }
}

/// Median spacing of a register's changes, in order of time. `None`: fewer than four changes.
///
/// Equal values in a row hide updates, so it is the period only under a load that varies.
#[must_use]
pub fn update_period(samples: &[Sample]) -> Option<Nanos> {
    let changes = edges::changes(samples);
    let mut gaps: Vec<u64> = changes.windows(2).map(|pair| pair[1].since(pair[0]).0).collect();
    gaps.sort_unstable();
    if gaps.len() < 3 { None } else { gaps.get(gaps.len() / 2).copied().map(Nanos) }
}
