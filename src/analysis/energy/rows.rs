//! Rows of `energy_events.csv` and of the idle baselines.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::analysis::columns::columns;
use crate::analysis::flags::Flags;
use crate::analysis::key::CellKey;
use crate::energy::{Idle, together};
use crate::record::CallRecord;
use crate::terms::energy::{Grade, IdleKind, Method, NoFigure};
use crate::terms::{Flag, Phase, Role};
use crate::units::Nanos;

/// Relative systematic uncertainty of a board's sensor that was never held against a meter: published sheets find gains
/// from 5.5 % low to 11 % high.
pub const U_SYS: f64 = 0.05;

/// Uncertainties are shown as so many standard ones: about 95 %.
pub const COVERAGE_FACTOR: f64 = 2.0;

columns! {
    /// One phase and one sensor: of one call, or of one of many repetitions.
    pub struct EnergyEventRow {
        /// The call, or the loop; of `isolated` the cell and phase.
        call_id: String,
        ..key: Arc<CellKey> { cell_id, backend, model, scenario },
        /// What was done.
        phase: Phase,
        /// Why the call was made. `None`: a loop, or the mean of several calls, is no call.
        role: Option<Role>,
        /// `natural`: the phase as it came in a call. `looped`: one of the repetitions made for the sensor. `isolated`: the
        /// mean of phases each of which stood alone and is too short by itself.
        scope: EnergyScope,
        /// Repetitions that the figure is the mean of; 1 for `natural`.
        repeats: u32,
        /// Share of the windows, pauses left out, that was spent in phases; the rest is in the figure too. `None` but for
        /// `looped`.
        /// Unit: fraction.
        busy: Option<f64>,
        /// Sensor it is charged to. `None`: none on this machine.
        sensor: Option<String>,
        /// Whether that sensor is scripted: then no figure of this row is a measurement. `None`: no sensor.
        simulated: Option<bool>,
        /// When it began, on the clock of `epoch`.
        begin_ns: u64,
        /// When it ended.
        end_ns: u64,
        /// Process of the run.
        epoch: u32,
        /// Energy, idle power included, in joules. `None`: see `reason`.
        /// Source: the boxcar model of a sensor, arXiv 2312.02741.
        energy_j: Option<f64>,
        /// The same without idle power over the phase. `None`: no figure, or no valid idle power.
        energy_net_j: Option<f64>,
        /// Standard uncertainty of the net energy, relative to its size, without the sensor's gain: that of the energy and of
        /// idle power. `None`: as above, or it is 0.
        /// Unit: fraction.
        u_net: Option<f64>,
        /// Which idle power. `None`: as above.
        idle_kind: Option<IdleKind>,
        /// Mean power over the phase. `None`: see `reason`.
        power_w: Option<f64>,
        /// Energy ÷ tokens of the phase. `None`: see `reason`, or no token count.
        j_per_token: Option<f64>,
        /// Standard uncertainty of the energy, relative, without the sensor's gain. `None`: no figure.
        /// Unit: fraction.
        u_stat: Option<f64>,
        /// The part of `u_stat` that is the same in every repetition of the phase, so that a mean does not make it smaller.
        /// `None`: no figure.
        /// Unit: fraction.
        u_shared: Option<f64>,
        /// Standard uncertainty of the sensor's gain, relative: the same in every row of one sensor. `None`: no figure.
        /// Source: gains published with arXiv 2312.02741.
        /// Unit: fraction.
        u_sys: Option<f64>,
        /// How it was obtained. `None`: no figure.
        method: Option<Method>,
        /// Sensor updates it rests on. `None`: no figure.
        updates: Option<u32>,
        /// What it may be used for. `None`: no figure.
        grade: Option<Grade>,
        /// Why there is no figure. `None`: there is.
        reason: Option<NoFigure>,
        /// Energy by the gate of the published reports, to compare with their tables only. `None`: fewer than two readings.
        legacy_gate_j: Option<f64>,
        /// Measurement of the sensor that the figure rests on. `None`: it was never measured, its timing is assumed.
        calibration_id: Option<String>,
        /// The call's flags, joined by `;`.
        flags: Flags,
    }
}

/// What an event is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnergyScope {
    /// A phase as it came.
    Natural,
    /// One of many repetitions without pause.
    Looped,
    /// The mean of many that stood alone.
    Isolated,
}

impl EnergyScope {
    /// The name used in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Natural => "natural",
            Self::Looped => "looped",
            Self::Isolated => "isolated",
        }
    }
}

impl EnergyEventRow {
    /// Gives the net figure beside the gross one, where both idle power and a figure are known.
    pub(super) fn take_off(&mut self, idle: Option<&Idle>, seconds: f64, drifts: bool) {
        let (Some(energy), Some(u_stat), Some(idle)) = (self.energy_j, self.u_stat, idle) else { return };
        let net = energy - idle.watts * seconds;
        self.energy_net_j = Some(net);
        let uncertain = together(&[u_stat * energy, idle.u_watts * seconds]);
        self.u_net = (net != 0.0).then(|| uncertain / net.abs());
        self.idle_kind = Some(idle.kind);
        if drifts {
            self.flags.add(&[Flag::IdleDrift]);
        }
    }

    /// From begin to end. Zero where a clock went back between them.
    pub(crate) fn span(&self) -> Nanos {
        Nanos(self.end_ns).since(Nanos(self.begin_ns))
    }

    /// What idle power leaves open of the net energy, in joules. `None`: no net energy.
    pub(super) fn u_idle_j(&self) -> Option<f64> {
        let net = self.u_net? * self.energy_net_j?;
        Some((net.powi(2) - (self.u_stat? * self.energy_j?).powi(2)).max(0.0).sqrt())
    }

    /// Whether the figure may enter aggregates.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.grade.is_some_and(|grade| grade <= Grade::C)
    }
}

/// `baseline.json`: one idle stretch and sensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineRow {
    /// Sensor.
    pub sensor: String,
    /// Whether it is scripted.
    pub simulated: bool,
    /// Process of the run.
    pub epoch: u32,
    /// `before`, `loaded` or `after`.
    pub when: crate::record::IdleWhen,
    /// The load it follows. `None`: nothing is loaded.
    pub load_index: Option<u32>,
    /// The figure. `None`: readings do not give one.
    pub idle: Option<crate::energy::Idle>,
}

/// Tokens that the phase really worked on, over all rows. `None`: not told, or none.
pub(super) fn tokens(call: &CallRecord, phase: Phase) -> Option<f64> {
    let tokens = match phase {
        Phase::Prefill => call.tokens.prompt_evaluated.or(call.tokens.prompt_sent)?,
        Phase::KvDecode | Phase::GenerateUncached => call.tokens.decode_steps_timed.saturating_mul(call.batch),
    };
    (tokens > 0).then(|| f64::from(tokens))
}

/// Phases of calls by call and phase.
pub(in crate::analysis) type ByCall<'a> = BTreeMap<(&'a str, Phase), &'a EnergyEventRow>;

/// Phases of calls by call and phase, of the sensor charged first.
pub(in crate::analysis) fn by_call(events: &[EnergyEventRow]) -> ByCall<'_> {
    let mut found = BTreeMap::new();
    for event in events.iter().filter(|event| event.scope == EnergyScope::Natural) {
        found.entry((event.call_id.as_str(), event.phase)).or_insert(event);
    }
    found
}
