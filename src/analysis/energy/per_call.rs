//! Energy of a call in one mode: columns of `metrics.csv`.

use crate::analysis::columns::columns;
use crate::energy::together;
use crate::record::CallRecord;
use crate::terms::energy::{Grade, IdleKind, Method, NoFigure};
use crate::terms::{Mode, Phase};

use super::rows::{ByCall, EnergyEventRow};

columns! {
    /// Energy of one call in one mode, from the sensor charged first.
    #[derive(Default)]
    pub struct EnergyColumns {
        /// Energy of the mode, idle power included, in joules; scaled like the time where `scaled`. `None`, here and in the
        /// next ten: see `energy_reason`, or no power was recorded.
        /// Source: the boxcar model of a sensor, arXiv 2312.02741.
        energy_j: Option<f64>,
        /// The same without idle power. `None`: also where no valid idle power was measured.
        energy_net_j: Option<f64>,
        /// Which idle power. `None`: also where the two phases of `e2e_kv` have different ones.
        energy_idle_kind: Option<IdleKind>,
        /// Mean power over the mode by the sensor.
        energy_power_w: Option<f64>,
        /// Energy ÷ tokens of the mode. `None`: also of `e2e_kv`.
        j_per_token: Option<f64>,
        /// Standard uncertainty of the energy, relative, without the sensor's gain.
        /// Unit: fraction.
        energy_u_stat: Option<f64>,
        /// Standard uncertainty of the net energy, relative to its size, without the sensor's gain.
        /// Unit: fraction.
        energy_u_net: Option<f64>,
        /// What the figure may be used for; of two phases the worse.
        energy_grade: Option<Grade>,
        /// How it was obtained. `None`: also of `e2e_kv`.
        energy_method: Option<Method>,
        /// Sensor updates it rests on.
        energy_updates: Option<u32>,
        /// Why there is no figure. `None`: there is, or no power was recorded.
        energy_reason: Option<NoFigure>,
        /// Sensor charged. `None`: none on this machine.
        energy_sensor: Option<String>,
        /// Whether that sensor is scripted: then nothing here is a measurement. `None`: no sensor.
        energy_simulated: Option<bool>,
    }
}

impl EnergyColumns {
    /// Of a call whose phases have these events. Empty: no power was recorded, or the call did not get so far.
    pub(in crate::analysis) fn of(call: &CallRecord, mode: Mode, events: &ByCall<'_>) -> Self {
        let event = |&phase| events.get(&(call.call_id.as_str(), phase)).copied();
        let found: Option<Vec<&EnergyEventRow>> = mode.phases().iter().map(event).collect();
        let Some(found) = found else { return Self::default() };
        let without_figure = Self {
            energy_sensor: found[0].sensor.clone(),
            energy_simulated: found[0].simulated,
            energy_reason: found.iter().find_map(|event| event.reason),
            ..Self::default()
        };
        if without_figure.energy_reason.is_some() {
            return without_figure;
        }
        Parts { events: found, decode_scale: call.decode_scale().unwrap_or(1.0) }.figures(without_figure)
    }
}

/// The phases that add up to a mode.
struct Parts<'a> {
    events: Vec<&'a EnergyEventRow>,
    /// What the decode is scaled by in a call that ended early and counts all the same: its energy as its time.
    decode_scale: f64,
}

impl Parts<'_> {
    /// A quantity of each phase, scaled. `None`: it is missing for one.
    fn each(&self, quantity: fn(&EnergyEventRow) -> Option<f64>) -> Option<Vec<f64>> {
        self.events.iter().map(|event| Some(quantity(event)? * self.scale(event.phase))).collect()
    }

    /// The sum over the phases. `None`: it is missing for one.
    fn sum(&self, quantity: fn(&EnergyEventRow) -> Option<f64>) -> Option<f64> {
        self.each(quantity).map(|parts| parts.iter().sum())
    }

    fn scale(&self, phase: Phase) -> f64 {
        match phase {
            Phase::KvDecode => self.decode_scale,
            Phase::Prefill | Phase::GenerateUncached => 1.0,
        }
    }

    /// The kind that all phases share. `None`: they differ, or one has none.
    fn idle_kind(&self) -> Option<IdleKind> {
        let first = self.events.first()?.idle_kind;
        first.filter(|_| self.events.iter().all(|event| event.idle_kind == first))
    }

    fn figures(&self, without_figure: EnergyColumns) -> EnergyColumns {
        let energy = self.sum(|event| event.energy_j);
        let net = self.sum(|event| event.energy_net_j);
        let seconds = self.sum(|event| Some(event.span().as_secs()));
        // What two phases leave open by themselves is independent; idle power is the same in both, so its part adds up.
        let own_uncertainty = self.each(|event| Some(event.u_stat? * event.energy_j?)).map(|parts| together(&parts));
        let idle_uncertainty = self.sum(EnergyEventRow::u_idle_j);
        let net_uncertainty = own_uncertainty.zip(idle_uncertainty).map(|(own, idle)| together(&[own, idle]));
        // Two phases have no token and no method in common.
        let only = if let [event] = self.events[..] { Some(event) } else { None };
        EnergyColumns {
            energy_j: energy,
            energy_net_j: net,
            energy_idle_kind: self.idle_kind(),
            energy_power_w: energy
                .zip(seconds.filter(|seconds| *seconds > 0.0))
                .map(|(joules, seconds)| joules / seconds),
            j_per_token: only.and_then(|event| event.j_per_token),
            energy_u_stat: own_uncertainty.zip(energy).map(|(uncertainty, energy)| uncertainty / energy),
            energy_u_net: net_uncertainty
                .zip(net.filter(|net| *net != 0.0))
                .map(|(uncertainty, net)| uncertainty / net.abs()),
            energy_grade: self.events.iter().filter_map(|event| event.grade).max(),
            energy_method: only.and_then(|event| event.method),
            energy_updates: self.events.iter().map(|event| event.updates).sum(),
            ..without_figure
        }
    }
}
