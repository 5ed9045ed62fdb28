//! From time and energy to money and carbon.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Tokens that prices are quoted for.
pub const MILLION: f64 = 1e6;
const SECONDS_PER_HOUR: f64 = 3600.0;
/// Joules in a kilowatt-hour.
pub const JOULES_PER_KWH: f64 = 3.6e6;

/// What an hour of a machine, a kilowatt-hour and its carbon cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Of one machine. Unit: money per hour.
    pub per_hour: f64,
    /// Unit: money per kWh.
    pub per_kwh: f64,
    /// Unit: grams of CO2 equivalent per kWh.
    pub gco2e_per_kwh: f64,
}

/// How much a phase draws while it works.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Draw {
    /// Mean power. Unit: watts.
    Watts(f64),
    /// Energy per token. Unit: joules.
    JoulesPerToken(f64),
}

impl Draw {
    /// Of so many tokens that took so long. Unit: joules.
    #[must_use]
    pub fn joules(self, seconds: f64, tokens: f64) -> f64 {
        match self {
            Self::Watts(watts) => watts * seconds,
            Self::JoulesPerToken(joules) => joules * tokens,
        }
    }
}

/// Time of one machine, and the energy it drew meanwhile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    /// Unit: seconds.
    pub seconds: f64,
    /// Unit: kWh. `None`: not measured.
    pub kwh: Option<f64>,
}

impl Work {
    /// A million tokens of a phase at a rate. `None`: the rate is not positive.
    ///
    /// Source: TR119, `seconds_per_1M = 1e6 / tokens_per_s` and `kWh_per_1M = W × seconds_per_1M / 3.6e6`.
    #[must_use]
    pub fn of_a_million(tokens_per_s: f64, draw: Option<Draw>) -> Option<Self> {
        (tokens_per_s > 0.0 && tokens_per_s.is_finite())
            .then(|| Self::of_seconds(MILLION / tokens_per_s, draw, MILLION))
    }

    /// So many tokens that took so long.
    #[must_use]
    pub fn of_seconds(seconds: f64, draw: Option<Draw>, tokens: f64) -> Self {
        Self { seconds, kwh: draw.map(|draw| draw.joules(seconds, tokens) / JOULES_PER_KWH) }
    }

    /// One after the other. Energy of which a part is not known is not known.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { seconds: self.seconds + other.seconds, kwh: self.kwh.zip(other.kwh).map(|(a, b)| a + b) }
    }

    /// So many times as much.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self { seconds: self.seconds * factor, kwh: self.kwh.map(|kwh| kwh * factor) }
    }

    /// The mean of several scenarios' work per million tokens: times are averaged, rates never. `None`: of nothing.
    ///
    /// Source: TR119's tables; averaging rates and inverting the mean makes costs 12 to 29 % too low.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of scenarios")]
    pub fn mean(of: &[Self]) -> Option<Self> {
        let sum = of.iter().copied().reduce(Self::and)?;
        Some(sum.times(1.0 / of.len() as f64))
    }

    /// The rate that work of a million tokens stands for. Unit: tokens per second.
    #[must_use]
    pub fn tokens_per_s(self) -> f64 {
        MILLION / self.seconds
    }

    /// Unit: watts. `None`: energy is not known.
    #[must_use]
    pub fn mean_watts(self) -> Option<f64> {
        Some(self.kwh? * JOULES_PER_KWH / self.seconds)
    }

    /// What it costs.
    ///
    /// Source: TR119, `infra = seconds / 3600 × rate` and `total = infra + kWh × price`.
    #[must_use]
    pub fn cost(self, rates: Rates) -> Cost {
        Cost {
            infrastructure: self.seconds / SECONDS_PER_HOUR * rates.per_hour,
            energy: self.kwh.map(|kwh| kwh * rates.per_kwh),
            carbon_g: self.kwh.map(|kwh| kwh * rates.gco2e_per_kwh),
        }
    }
}

/// Money in its parts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// The machine's time.
    pub infrastructure: f64,
    /// The energy. `None`: not measured.
    pub energy: Option<f64>,
    /// Unit: grams of CO2 equivalent. `None`: not measured.
    pub carbon_g: Option<f64>,
}

impl Cost {
    /// All of it that is known; [`scope`](Self::scope) says what that is.
    #[must_use]
    pub fn total(self) -> f64 {
        self.energy.map_or(self.infrastructure, |energy| self.infrastructure + energy)
    }

    /// What the total is of.
    #[must_use]
    pub fn scope(self) -> Scope {
        if self.energy.is_some() { Scope::WithEnergy } else { Scope::InfrastructureOnly }
    }
}

/// What a total is of. Totals of different scope are not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Machine and energy.
    WithEnergy,
    /// The machine alone: energy was not measured.
    InfrastructureOnly,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::WithEnergy => "with energy",
            Self::InfrastructureOnly => "infrastructure only",
        })
    }
}

/// A million tokens of which a share is read and the rest written.
///
/// Source: TR123, `input_ratio × prefill + output_ratio × decode`.
#[must_use]
pub fn blend(input: f64, output: f64, prefill_of_a_million: Work, decode_of_a_million: Work) -> Work {
    prefill_of_a_million.times(input).and(decode_of_a_million.times(output))
}

/// A million tokens, where requests of so many tokens cost so much each.
///
/// Source: TR121's `usd_per_1k = usd_per_1m × total_tokens / 1000`, turned round.
#[must_use]
pub fn per_million_tokens(per_request: f64, tokens_per_request: f64) -> f64 {
    per_request / tokens_per_request * MILLION
}

/// The mean of values by shares that add up to 1.
#[must_use]
pub fn weighted(shares: &[f64], values: &[f64]) -> f64 {
    shares.iter().zip(values).map(|(share, value)| share * value).sum()
}

/// What a tier saves against another. Unit: percent of the other.
///
/// Source: TR123's table of tiers.
#[must_use]
pub fn savings_percent(per_hour: f64, base_per_hour: f64) -> f64 {
    (1.0 - per_hour / base_per_hour) * 100.0
}
