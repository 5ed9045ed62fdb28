//! Measured figures, quantities made of them, and how sure those are.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use serde::Serialize;

use crate::stats::summary::quantiles;
use crate::stats::{LEVEL, student};

/// How often figures are drawn.
pub const DRAWS: usize = 10_000;
/// Seed of the draws.
pub const SEED: u64 = 42;
/// Powers of a figure that round to the same multiple of this are drawn as one, at their mean: by how far they differ from
/// it enters squared, with the square of the figure's error. Values are exact.
const ALIKE: f64 = 0.125;

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

    /// Draws the logarithm of every figure so many times, usually [`DRAWS`]. What comes of the same draw belongs together.
    #[must_use]
    pub fn draw(&self, draws: usize, seed: u64) -> Draws {
        let of = |(place, figure): (usize, &Figure)| {
            // Each figure has a generator of its own, so that one more does not change the others.
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(place as u64);
            let one = |_| -> f64 {
                let deviation: f64 = StandardNormal.sample(&mut rng);
                figure.log_error * deviation
            };
            (0..draws).map(one).collect()
        };
        Draws { deviations: self.0.iter().enumerate().map(of).collect(), draws }
    }
}

/// Deviations of the logarithm of every figure, draw by draw.
#[derive(Debug, Clone)]
pub struct Draws {
    deviations: Vec<Vec<f64>>,
    draws: usize,
}

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

/// Products of a sum that are drawn as one.
#[derive(Debug, Clone)]
struct Alike {
    /// All together.
    value: f64,
    /// Of each figure, the sum of value × power.
    weighted: Vec<f64>,
}

impl Alike {
    /// No product yet, of so many figures.
    fn none(figures: usize) -> Self {
        Self { value: 0.0, weighted: vec![0.0; figures] }
    }

    fn add(&mut self, value: f64, weighted: impl Iterator<Item = f64>) {
        self.value += value;
        self.weighted.iter_mut().zip(weighted).for_each(|(all, one)| *all += one);
    }
}

/// What is alike, as it is drawn: at the mean of its powers.
struct Term<'a> {
    value: f64,
    /// Deviations of a figure in every draw, and the figure's power.
    powers: Vec<(&'a [f64], f64)>,
}

impl Term<'_> {
    fn drawn(&self, draw: usize, stretch: f64) -> f64 {
        let deviation: f64 = self.powers.iter().map(|(deviations, power)| power * deviations[draw]).sum();
        self.value * (stretch * deviation).exp()
    }
}

/// Draws that a thread takes at once.
const FEWEST_OF_A_THREAD: usize = 512;

/// A sum of products, of millions if need be: what is drawn alike is added up before it is drawn.
#[derive(Debug, Clone, Default)]
pub struct Sum {
    value: f64,
    alike: BTreeMap<Vec<(FigureId, i32)>, Alike>,
}

impl Sum {
    /// Adds a product.
    #[expect(clippy::cast_possible_truncation, reason = "a power of a few")]
    pub fn add(&mut self, product: &Product, figures: &Figures) {
        let value = product.value(figures);
        self.value += value;
        let powers: Vec<(FigureId, f64)> = product.powers.iter().copied().filter(|(_, power)| *power != 0.0).collect();
        let key = powers.iter().map(|(id, power)| (*id, (power / ALIKE).round() as i32)).collect();
        let alike = self.alike.entry(key).or_insert_with(|| Alike::none(powers.len()));
        alike.add(value, powers.iter().map(|(_, power)| value * power));
    }

    /// Its value.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.value
    }

    /// The same, so many times.
    #[must_use]
    pub fn times(mut self, factor: f64) -> Self {
        self.value *= factor;
        for alike in self.alike.values_mut() {
            alike.value *= factor;
            alike.weighted.iter_mut().for_each(|weighted| *weighted *= factor);
        }
        self
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.value += other.value;
        for (key, more) in &other.alike {
            let alike = self.alike.entry(key.clone()).or_insert_with(|| Alike::none(key.len()));
            alike.add(more.value, more.weighted.iter().copied());
        }
        self
    }

    /// What draws are to be stretched by: their errors are themselves known from a few calls. Of a sum of one figure its
    /// interval is then that figure's own.
    ///
    /// Source: Student's t over the normal quantile, at the degrees of freedom of Welch and Satterthwaite.
    fn stretch(&self, figures: &Figures) -> f64 {
        let mut slopes: BTreeMap<FigureId, f64> = BTreeMap::new();
        for (key, alike) in &self.alike {
            for ((id, _), weighted) in key.iter().zip(&alike.weighted) {
                *slopes.entry(*id).or_default() += weighted;
            }
        }
        let (mut variance, mut squares) = (0.0, 0.0);
        for (id, slope) in slopes {
            let figure = &figures.0[id.0];
            let own = (slope * figure.log_error).powi(2);
            variance += own;
            squares += figure.df.map_or(0.0, |df| own * own / df);
        }
        let df = if squares > 0.0 { variance * variance / squares } else { f64::INFINITY };
        let critical = |df: f64| student::critical(LEVEL, df);
        // Beyond so many they are normal, as far as a percentile of draws can tell.
        critical(df.min(1e6)).zip(critical(1e6)).map_or(1.0, |(t, z)| t / z)
    }

    fn terms<'a>(&self, draws: &'a Draws) -> Vec<Term<'a>> {
        let of = |(key, alike): (&Vec<(FigureId, i32)>, &Alike)| {
            let figures = key.iter().map(|(id, _)| draws.deviations[id.0].as_slice());
            let means = alike.weighted.iter().map(|weighted| weighted / alike.value);
            Term { value: alike.value, powers: figures.zip(means).collect() }
        };
        self.alike.iter().filter(|(_, alike)| alike.value != 0.0).map(of).collect()
    }

    /// Its value in every draw. Each is added up in the same order, however many threads there are.
    #[must_use]
    pub fn drawn(&self, figures: &Figures, draws: &Draws) -> Vec<f64> {
        let (stretch, terms) = (self.stretch(figures), self.terms(draws));
        let numbers = (0..draws.draws).into_par_iter().with_min_len(FEWEST_OF_A_THREAD);
        numbers.map(|draw| terms.iter().fold(0.0, |sum, term| sum + term.drawn(draw, stretch))).collect()
    }
}

/// Share of draws in which one of several quantities is the least; together with others it counts too.
///
/// `all` has the draws of each. `None`: there is no draw.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a count of draws")]
pub fn share_of_least(all: &[Vec<f64>], own: usize) -> Option<f64> {
    let draws = all.get(own)?.len();
    let least = (0..draws).filter(|draw| all.iter().all(|other| all[own][*draw] <= other[*draw])).count();
    (draws > 0).then(|| least as f64 / draws as f64)
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

    /// So many times as much.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        let times = |end: f64| end * factor;
        Self { value: times(self.value), low: self.low.map(times), high: self.high.map(times) }
    }

    /// With the percentiles of what was drawn.
    #[must_use]
    pub fn of(value: f64, drawn: &[f64]) -> Self {
        let [low, high] = quantiles(drawn, [0.025, 0.975]).map_or([None; 2], |ends| ends.map(Some));
        Self { value, low, high }
    }
}
