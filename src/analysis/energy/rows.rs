//! Rows of `energy_events.csv` and of the idle baselines.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::energy::{Idle, together};
use crate::record::CallRecord;
use crate::terms::energy::{Grade, IdleKind, Method, Reason};
use crate::terms::{Flag, Phase, Role};

/// Relative systematic uncertainty of a board's sensor that was never held against a meter: published sheets find gains
/// from 5.5 % low to 11 % high.
pub const U_SYS: f64 = 0.05;

/// Uncertainties are shown as so many standard ones: about 95 %.
pub const COVERAGE_FACTOR: f64 = 2.0;

/// One phase and one sensor: of one call, or of one of many repetitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnergyEventRow {
    /// The call, or the loop; of `isolated` the cell and phase.
    pub call_id: String,
    /// The plan's cell.
    pub cell_id: String,
    /// Backend name.
    pub backend: String,
    /// Model name.
    pub model: String,
    /// Scenario name.
    pub scenario: String,
    /// What was done.
    pub phase: Phase,
    /// Why the call was made. `None`: a loop, or the mean of several calls, is no call.
    pub role: Option<Role>,
    /// `natural`: the phase as it came in a call. `looped`: one of the repetitions made for the sensor. `isolated`: the
    /// mean of phases each of which stood alone and is too short by itself.
    pub scope: Scope,
    /// Repetitions that the figure is the mean of; 1 for `natural`.
    pub repeats: u32,
    /// Share of the windows, pauses left out, that was spent in phases; the rest is in the figure too. `None` but for
    /// `looped`.
    pub busy: Option<f64>,
    /// Sensor it is charged to. `None`: none on this machine.
    pub sensor: Option<String>,
    /// Whether that sensor is scripted: then no figure of this row is a measurement. `None`: no sensor.
    pub simulated: Option<bool>,
    /// When it began, on the clock of `epoch`.
    pub begin_ns: u64,
    /// When it ended.
    pub end_ns: u64,
    /// Process of the run.
    pub epoch: u32,
    /// Energy, idle power included, in joules. `None`: see `reason`.
    pub energy_j: Option<f64>,
    /// The same without idle power over the phase. `None`: no figure, or no valid idle power.
    pub energy_net_j: Option<f64>,
    /// Standard uncertainty of the net energy, relative to its size, without the sensor's gain: that of the energy and of
    /// idle power. `None`: as above, or it is 0.
    pub u_net: Option<f64>,
    /// Which idle power. `None`: as above.
    pub idle_kind: Option<IdleKind>,
    /// Mean power over the phase. `None`: see `reason`.
    pub power_w: Option<f64>,
    /// Energy ÷ tokens of the phase. `None`: see `reason`, or no token count.
    pub j_per_token: Option<f64>,
    /// Standard uncertainty of the energy, relative, without the sensor's gain. `None`: no figure.
    pub u_stat: Option<f64>,
    /// The part of `u_stat` that is the same in every repetition of the phase, so that a mean does not make it smaller.
    /// `None`: no figure.
    pub u_shared: Option<f64>,
    /// Standard uncertainty of the sensor's gain, relative: the same in every row of one sensor. `None`: no figure.
    pub u_sys: Option<f64>,
    /// How it was obtained. `None`: no figure.
    pub method: Option<Method>,
    /// Sensor updates it rests on. `None`: no figure.
    pub updates: Option<u32>,
    /// What it may be used for. `None`: no figure.
    pub grade: Option<Grade>,
    /// Why there is no figure. `None`: there is.
    pub reason: Option<Reason>,
    /// Energy by the gate of the published reports, to compare with their tables only. `None`: fewer than two readings.
    pub legacy_gate_j: Option<f64>,
    /// Measurement of the sensor that the figure rests on. `None`: it was never measured, its timing is assumed.
    pub calibration_id: Option<String>,
    /// The call's flags, joined by `;`.
    pub flags: String,
}

/// What an event is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// A phase as it came.
    Natural,
    /// One of many repetitions without pause.
    Looped,
    /// The mean of many that stood alone.
    Isolated,
}

impl Scope {
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
            self.add_flags(&[Flag::IdleDrift]);
        }
    }

    /// Adds those that it does not have.
    pub(super) fn add_flags(&mut self, flags: &[Flag]) {
        let mut all: Vec<&str> = self.flags.split(';').filter(|flag| !flag.is_empty()).collect();
        for flag in flags {
            if !all.contains(&flag.as_str()) {
                all.push(flag.as_str());
            }
        }
        self.flags = all.join(";");
    }

    /// Whether it has a flag.
    #[must_use]
    pub fn has(&self, flag: Flag) -> bool {
        self.flags.split(';').any(|one| one == flag.as_str())
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
        Phase::KvDecode | Phase::GenerateUncached => call.tokens.decode_steps_timed * call.batch,
    };
    (tokens > 0).then(|| f64::from(tokens))
}

/// Phases of calls by call and phase, of the sensor charged first.
pub(super) fn by_call(events: &[EnergyEventRow]) -> BTreeMap<(&str, Phase), &EnergyEventRow> {
    let mut found = BTreeMap::new();
    for event in events.iter().filter(|event| event.scope == Scope::Natural) {
        found.entry((event.call_id.as_str(), event.phase)).or_insert(event);
    }
    found
}
