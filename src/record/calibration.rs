//! What is known of a sensor's timing: measured on this board, kept in `calibration.json` and the manifest, or assumed.

use serde::{Deserialize, Serialize};

use crate::terms::SensorKind;
use crate::units::Nanos;

/// Updates that a figure of grade B rests on at least.
pub const UPDATES_FOR_B: u64 = 10;

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
    /// Time by which power readings are late, and the counter where its own delay is not measured.
    pub delay_ns: Nanos,
    /// Time a power reading needs from 10 % to 90 % of a step.
    pub rise_ns: Nanos,
    /// What the counter sees.
    pub coverage: Coverage,
    /// Smallest step of the counter, in joules.
    pub resolution_j: f64,
    /// Shortest time between two readings at which reading does not change what is read. `None`: not measured.
    #[serde(default)]
    pub safe_poll_ns: Option<Nanos>,
    /// Time by which the counter is late. `None`: not measured.
    #[serde(default)]
    pub counter_delay_ns: Option<Nanos>,
    /// Stretch whose mean power an update of the counter adds: its period, or longer where it adds averages. `None`: not
    /// measured.
    #[serde(default)]
    pub counter_window_ns: Option<Nanos>,
}

/// A sensor's calibration as it was measured, with what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Sensor by its name in the trace.
    pub sensor: String,
    /// The device by its own name.
    pub device: String,
    /// What tells it from others of its kind. `None`: it does not say.
    pub uuid: Option<String>,
    /// Version of the driver. `None`: it has none.
    pub driver: Option<String>,
    /// Power that the device is held to, in watts. `None`: not told.
    pub limit_w: Option<f64>,
    /// Whether no such device exists.
    pub simulated: bool,
    /// Hash of the boot in which it was measured. `None`: the system does not tell one boot from another.
    pub boot_sha256: Option<String>,
    /// When, calendar time.
    pub unix_ns: u64,
    /// What ran meanwhile. `None`: nothing could, so that only the pace of the updates is measured.
    pub load: Option<String>,
    /// What was found; what could not be measured is assumed.
    pub calibration: Calibration,
    /// How the power reading follows the load. `None`: no such reading, or it does not follow.
    pub response: Option<Response>,
    /// How the counter's growth follows the load. `None`: no counter, too fast a one, or it does not follow.
    #[serde(default)]
    pub counter_response: Option<Response>,
    /// What short pulses took, by their place in the counter's update period. Empty: not measured.
    pub phases: Vec<PhaseSlope>,
    /// What a steady load took, by the pace of reading. Empty: not measured.
    pub paces: Vec<PaceSlope>,
    /// The load's steps: begin and end of each stretch of work, for a picture.
    pub steps_ns: Vec<(Nanos, Nanos)>,
    /// The power reading meanwhile, in watts, at most some hundred points.
    pub steps_w: Vec<(Nanos, f64)>,
}

impl Calibration {
    /// What is assumed of a sensor that nobody has measured.
    #[must_use]
    pub fn assumed_of(kind: SensorKind) -> Self {
        match kind {
            SensorKind::Rapl => Self::processor(),
            SensorKind::Nvml | SensorKind::Hwmon => Self::assumed(),
        }
    }

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
            safe_poll_ns: None,
            counter_delay_ns: None,
            counter_window_ns: None,
        }
    }

    /// For the energy counters of processors: they update about once a millisecond. That they add up all energy is what
    /// their makers say; pulses that would show it cannot be made short enough, so that nothing better is claimed.
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
            coverage: Coverage::Unknown,
            resolution_j: 2.0_f64.powi(-14),
            safe_poll_ns: None,
            counter_delay_ns: None,
            counter_window_ns: None,
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

    /// A phase at least this long holds the ten updates that grade B asks for, whenever it begins, at a polling period.
    #[must_use]
    pub fn long_enough(&self, poll: Nanos) -> Nanos {
        Nanos((UPDATES_FOR_B + 1).saturating_mul(self.counter_period_ns.max(poll).0))
    }

    /// Time from the beginning of a phase until a reading shows nothing else.
    #[must_use]
    pub fn settling(&self) -> Nanos {
        let window = self.window_ns.max(self.rise_ns).max(self.counter_window_ns.unwrap_or_default());
        let delay = self.delay_ns.max(self.counter_delay_ns.unwrap_or_default());
        window + self.power_period_ns.max(self.counter_period_ns) + delay
    }

    /// Whether an update of the counter adds an average that reaches back well beyond the update before it: then it says
    /// little about where in time energy went.
    #[must_use]
    pub fn counter_averages(&self) -> bool {
        self.counter_window_ns.is_some_and(|window| window.0 > 2 * self.counter_period_ns.0)
    }
}

/// How a power register follows a load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// Stretch that a reading is the mean of.
    pub window_ns: Nanos,
    /// Time from the end of that stretch until the update that shows it.
    pub delay_ns: Nanos,
    /// Time from 10 % to 90 % of the longest step up, updates included. `None`: no step that long.
    pub rise_ns: Option<Nanos>,
    /// Power without the load, in watts.
    pub idle_w: f64,
    /// Power with all of it, in watts.
    pub busy_w: f64,
    /// What the fit leaves, root mean square, relative to the step.
    pub residual: f64,
}

impl Response {
    /// Whether a register follows the load as the fit says, so that its window and delay mean something.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.residual <= LARGEST_RESIDUAL
    }
}

/// Largest part of the step that a fit may leave.
const LARGEST_RESIDUAL: f64 = 0.2;

/// A counter's slope while pulses came at one phase of its updates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseSlope {
    /// Place of the pulses in the update period, 0 to 1.
    pub phase: f64,
    /// Share of the time that was work.
    pub share: f64,
    /// Mean power by the counter, in watts.
    pub watts: f64,
    /// Energy by which the second half of the pulses differs from the first, relative to the mean: chance, not phase.
    pub halves_differ: f64,
}

/// Power by a counter while it was read at one pace, under a steady load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaceSlope {
    /// Time between two readings.
    pub poll_ns: Nanos,
    /// Mean power by the counter, in watts.
    pub watts: f64,
    /// Power by which the second half of the time differs from the first, relative to the mean: chance, not pace.
    pub halves_differ: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_counter_that_adds_averages_needs_longer_to_settle() {
        let of = |ms: u64| Calibration { counter_window_ns: Some(Nanos(ms * MS)), ..Calibration::assumed() };
        assert!(
            !of(100).counter_averages() && of(1100).counter_averages() && !Calibration::assumed().counter_averages()
        );
        assert_eq!(of(1100).settling(), Nanos(1200 * MS));
        assert_eq!(Calibration::processor().coverage, Coverage::Unknown, "nobody measured it");
    }
}
