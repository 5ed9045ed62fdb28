//! Measured figures, quantities made of them, and how sure those are.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal, StudentT};
use serde::Serialize;

use crate::stats::summary::quantile;

/// How often figures are drawn.
pub const DRAWS: usize = 10_000;
/// Seed of the draws.
pub const SEED: u64 = 42;
/// Powers are told apart in steps of this share of 1, where deviations are drawn; values are exact.
const STEPS: f64 = 64.0;

/// A positive figure with the error of its logarithm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// The estimate, in any unit.
    pub value: f64,
    /// Standard error of its logarithm; 0: it is exact.
    pub log_error: f64,
    /// Degrees of freedom of that error. `None`: it is known, and errors are normal.
    pub df: Option<f64>,
}

impl Figure {
    /// A figure without an error.
    #[must_use]
    pub fn exact(value: f64) -> Self {
        Self { value, log_error: 0.0, df: None }
    }
}

/// Which of the figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FigureId(usize);

/// All figures that are drawn together.
#[derive(Debug, Clone, Default)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// Takes one up.
    pub fn add(&mut self, figure: Figure) -> FigureId {
        self.0.push(figure);
        FigureId(self.0.len() - 1)
    }

    fn value(&self, id: FigureId) -> f64 {
        self.0[id.0].value
    }

    /// Draws every figure [`DRAWS`] times: its logarithm by Student's t, or normal. What comes of the same draw belongs
    /// together.
    ///
    /// Source: the fiducial distribution of a mean with a t interval; its 95 % percentile interval is that interval.
    #[must_use]
    pub fn draw(&self, seed: u64) -> Draws {
        let of = |(place, figure): (usize, &Figure)| {
            // Each figure has a generator of its own, so that one more does not change the others.
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(place as u64);
            let t = figure.df.and_then(|df| StudentT::new(df).ok());
            let one = |_| {
                let deviation: f64 = match &t {
                    Some(t) => t.sample(&mut rng),
                    None => StandardNormal.sample(&mut rng),
                };
                figure.log_error * deviation
            };
            (0..DRAWS).map(one).collect()
        };
        Draws(self.0.iter().enumerate().map(of).collect())
    }
}

/// Deviations of the logarithm of every figure, draw by draw.
#[derive(Debug, Clone)]
pub struct Draws(Vec<Vec<f64>>);

/// A product of figures: `scale × Π figure^power`.
#[derive(Debug, Clone, PartialEq)]
pub struct Product {
    /// The factor that is known.
    pub scale: f64,
    /// Figures with their powers.
    pub powers: Vec<(FigureId, f64)>,
}

impl Product {
    /// The same, so many times.
    #[must_use]
    pub fn times(mut self, factor: f64) -> Self {
        self.scale *= factor;
        self
    }

    /// Its value.
    #[must_use]
    pub fn value(&self, figures: &Figures) -> f64 {
        let ln: f64 = self.powers.iter().map(|(id, power)| power * figures.value(*id).ln()).sum();
        self.scale * ln.exp()
    }
}

/// A sum of products, of millions if need be: what is drawn alike is added up before it is drawn.
#[derive(Debug, Clone, Default)]
pub struct Sum {
    value: f64,
    alike: BTreeMap<Vec<(FigureId, i64)>, f64>,
}

impl Sum {
    /// Adds a product.
    #[expect(clippy::cast_possible_truncation, reason = "a power of a few")]
    pub fn add(&mut self, product: &Product, figures: &Figures) {
        let value = product.value(figures);
        self.value += value;
        let step = |power: f64| (power * STEPS).round() as i64;
        let key = product.powers.iter().map(|(id, power)| (*id, step(*power))).filter(|(_, step)| *step != 0);
        *self.alike.entry(key.collect()).or_default() += value;
    }

    /// Its value.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Its value in every draw.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a power of a few")]
    pub fn drawn(&self, draws: &Draws) -> Vec<f64> {
        let mut sums = vec![0.0; DRAWS];
        for (powers, value) in &self.alike {
            for (draw, sum) in sums.iter_mut().enumerate() {
                let deviation: f64 = powers.iter().map(|(id, step)| *step as f64 / STEPS * draws.0[id.0][draw]).sum();
                *sum += value * deviation.exp();
            }
        }
        sums
    }
}

/// A value with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Uncertain {
    /// The estimate.
    pub value: f64,
    /// Lower end. `None`: nothing tells how sure it is.
    pub low: Option<f64>,
    /// Upper end. `None`: the same.
    pub high: Option<f64>,
}

impl Uncertain {
    /// Without an interval.
    #[must_use]
    pub fn bare(value: f64) -> Self {
        Self { value, low: None, high: None }
    }

    /// With the percentiles of what was drawn.
    #[must_use]
    pub fn of(value: f64, drawn: &[f64]) -> Self {
        Self { value, low: quantile(drawn, 0.025), high: quantile(drawn, 0.975) }
    }
}
