//! What the intervals of money promise, on simulated cells whose truth is known. Every case is seeded by its number.

use phasebench::cost::request::Engine;
use phasebench::economics::figures::{Figure, FigureId, Figures, Sum, Uncertain, share_of_least};
use phasebench::economics::price::{Rates, Work};
use phasebench::economics::request_time::{Measured, RequestTime};
use phasebench::scenario::workload::Bin;
use phasebench::stats::LEVEL;
use phasebench::stats::location::log_location;
use phasebench::stats::pooled::{CellError, pooled};
use phasebench::stats::series::autocorrelation;
use phasebench::stats::student;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Autocorrelation of calls of one process.
const RHO: f64 = 0.3;
const SEEDS: u64 = 1000;
/// Fewer than the program makes, for these are made a thousand times.
const DRAWS: usize = 2000;
const RATES: Rates = Rates { per_hour: 1.006, per_kwh: 0.2, gco2e_per_kwh: 500.0 };
const CELLS: [(f64, f64); 6] =
    [(64.0, 64.0), (64.0, 256.0), (256.0, 64.0), (256.0, 256.0), (1024.0, 64.0), (1024.0, 256.0)];

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(rng)
}

fn prefill_ms(prompt: f64, _: f64) -> f64 {
    0.02 * prompt.powf(1.1)
}

/// Milliseconds per step, or joules.
fn step(prompt: f64, steps: f64) -> f64 {
    0.5 * (prompt + (1.0 + steps) / 2.0).powf(0.3)
}

/// A workload between and a little outside the cells.
fn bins() -> [Bin; 4] {
    [(60, 64, 3.0), (128, 100, 4.0), (500, 200, 2.0), (1100, 128, 1.0)].map(|(prompt, generated, weight)| Bin {
        prompt,
        generated,
        weight,
    })
}

/// Cells as they are, without any noise.
fn exactly(mut of: impl FnMut(f64, f64) -> Figure, figures: &mut Figures) -> Vec<Measured> {
    CELLS.iter().map(|&(prompt, steps)| Measured { prompt, steps, figure: figures.add(of(prompt, steps)) }).collect()
}

/// A cell of `n` calls that scatter by `noise`, each a little like the one before.
fn located(truth: f64, n: usize, noise: f64, rng: &mut ChaCha8Rng) -> (f64, CellError) {
    let mut state = normal(rng);
    let mut call = |_| {
        state = RHO * state + (1.0 - RHO * RHO).sqrt() * normal(rng);
        truth * (noise * state).exp()
    };
    let calls: Vec<f64> = (0..n).map(&mut call).collect();
    let location = log_location(&calls, LEVEL).unwrap();
    let critical = student::critical(LEVEL, location.n_effective - 1.0).unwrap();
    let standard_error = (location.interval.high / location.estimate).ln() / critical;
    let error = CellError { n, n_effective: location.n_effective, rho1: autocorrelation(&calls), standard_error };
    (location.estimate, error)
}

/// Cells of one phase as they were measured.
fn measured(
    truth: fn(f64, f64) -> f64,
    (n, noise): (usize, f64),
    figures: &mut Figures,
    rng: &mut ChaCha8Rng,
) -> Vec<Measured> {
    let cells: Vec<(f64, CellError)> =
        CELLS.iter().map(|&(prompt, steps)| located(truth(prompt, steps), n, noise, rng)).collect();
    let errors = pooled(&cells.iter().map(|(_, error)| *error).collect::<Vec<_>>());
    let mut found = Vec::new();
    for ((&(prompt, steps), (value, _)), error) in CELLS.iter().zip(&cells).zip(errors) {
        let figure = Figure { value: *value, log_error: error.standard_error, df: Some(error.df) };
        found.push(Measured { prompt, steps, figure: figures.add(figure) });
    }
    found
}

fn cost(time: &RequestTime, energy: Option<&RequestTime>, figures: &Figures, seed: u64) -> Uncertain {
    let engine = Engine { time, energy, energy_between: None, batch: 1.0, longest_context: None };
    let request = engine.mean_request(&bins(), figures);
    assert!(request.coverage.share > 0.999);
    let draws = figures.draw(DRAWS, seed);
    let price = |seconds: f64, joules: Option<f64>| {
        1000.0 * Work { seconds, kwh: joules.map(|joules| joules / 3.6e6) }.cost(RATES).total()
    };
    let seconds = request.seconds.drawn(figures, &draws);
    let joules = request.joules.as_ref().map(|joules| joules.drawn(figures, &draws));
    let drawn: Vec<f64> =
        (0..DRAWS).map(|draw| price(seconds[draw], joules.as_ref().map(|joules| joules[draw]))).collect();
    let value = price(request.seconds.value(), request.joules.map(|joules| joules.value()));
    Uncertain::of(value, &drawn)
}

fn truth(energy: bool) -> f64 {
    let mut figures = Figures::default();
    let prefill = exactly(|prompt, steps| Figure::exact(prefill_ms(prompt, steps)), &mut figures);
    let decode = exactly(|prompt, steps| Figure::exact(step(prompt, steps)), &mut figures);
    let time = RequestTime::new(&prefill, &decode, None).unwrap();
    cost(&time, energy.then_some(&time), &figures, 0).value
}

/// Joules are as many as milliseconds, known to 3 % in each cell, and to 5 % in all of them alike.
fn energy(figures: &mut Figures, rng: &mut ChaCha8Rng) -> RequestTime {
    let gain_error = 0.05 * normal(rng);
    let gain: FigureId = figures.add(Figure { value: 1.0, log_error: 0.05, df: None });
    let mut of =
        |truth: f64| Figure { value: truth * (gain_error + 0.03 * normal(rng)).exp(), log_error: 0.03, df: None };
    let prefill: Vec<Figure> = CELLS.iter().map(|&(prompt, steps)| of(prefill_ms(prompt, steps))).collect();
    let decode: Vec<Figure> = CELLS.iter().map(|&(prompt, steps)| of(step(prompt, steps))).collect();
    let mut cells = |of: Vec<Figure>| -> Vec<Measured> {
        let cell = |(&(prompt, steps), figure)| Measured { prompt, steps, figure: figures.add(figure) };
        CELLS.iter().zip(of).map(cell).collect()
    };
    RequestTime::new(&cells(prefill), &cells(decode), Some(gain)).unwrap()
}

#[test]
fn intervals_of_the_cost_of_a_mix_cover_the_truth() {
    println!("calls  noise  energy  covered   ({SEEDS} seeds, truth known)");
    for (n, noise, with_energy) in
        [(5, 0.05, false), (8, 0.03, false), (12, 0.10, false), (20, 0.05, false), (30, 0.05, false), (20, 0.05, true)]
    {
        let truth = truth(with_energy);
        let covers = |seed: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut figures = Figures::default();
            let prefill = measured(prefill_ms, (n, noise), &mut figures, &mut rng);
            let decode = measured(step, (n, noise), &mut figures, &mut rng);
            let time = RequestTime::new(&prefill, &decode, None).unwrap();
            let energy = with_energy.then(|| energy(&mut figures, &mut rng));
            let found = cost(&time, energy.as_ref(), &figures, seed);
            found.low.unwrap() <= truth && truth <= found.high.unwrap()
        };
        let share = (0..SEEDS).filter(|seed| covers(*seed)).count() as f64 / SEEDS as f64;
        println!("{n:>5}  {noise:>5}  {with_energy:>6}  {share:.3}");
        assert!((0.93..=0.97).contains(&share), "{n} calls, {noise} noise, seeds 0..{SEEDS}: {share}");
    }
}

/// Two engines whose costs differ by a few per cent either way, as their errors do: how often the one that is said to be the
/// cheaper with some probability is.
#[test]
fn the_probability_of_being_cheapest_is_calibrated() {
    const CASES: u64 = 2000;
    /// Lower ends of the probabilities that are told apart.
    const FROM: [f64; 6] = [0.5, 0.6, 0.7, 0.8, 0.87, 0.93];
    println!("calls  said       cases  said on average  true   ({CASES} cases, truth known)");
    for (n, noise) in [(8, 0.05), (12, 0.05), (30, 0.08)] {
        let mut found = [(0_u32, 0.0, 0_u32); FROM.len()];
        for seed in 0..CASES {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut figures = Figures::default();
            let factor = (0.04 * normal(&mut rng)).exp();
            let mut engine = |factor: f64| {
                let prefill = measured(prefill_ms, (n, noise), &mut figures, &mut rng);
                let decode = measured(step, (n, noise), &mut figures, &mut rng);
                let time = RequestTime::new(&prefill, &decode, None).unwrap();
                let engine =
                    Engine { time: &time, energy: None, energy_between: None, batch: 1.0, longest_context: None };
                engine.mean_request(&bins(), &figures).seconds.times(factor)
            };
            let seconds = [engine(1.0), engine(factor)];
            let draws = figures.draw(DRAWS / 2, seed);
            let drawn = seconds.map(|seconds| seconds.drawn(&figures, &draws));
            let first = share_of_least(&drawn, 0).unwrap();
            let (said, right) = if first >= 0.5 { (first, factor > 1.0) } else { (1.0 - first, factor < 1.0) };
            let place = FROM.iter().rposition(|from| said >= *from).unwrap();
            found[place].0 += 1;
            found[place].1 += said;
            found[place].2 += u32::from(right);
        }
        for (from, (cases, sum, right)) in FROM.iter().zip(found) {
            let (said, right) = (sum / f64::from(cases), f64::from(right) / f64::from(cases));
            println!("{n:>5}  from {from:.2}  {cases:>5}  {said:>15.3}  {right:.3}");
            // Of so few cases a share is known to this.
            let error = (said * (1.0 - said) / f64::from(cases)).sqrt();
            assert!((said - right).abs() < 0.02 + 3.0 * error, "{n} calls, from {from}: said {said}, true {right}");
            if *from == 0.87 {
                assert!((0.85..=0.95).contains(&right), "{n} calls, said {said}: true {right}");
            }
        }
    }
}

/// Requests of many lengths are drawn in groups. A draw of all of them is the sum of the draws of each.
#[test]
fn requests_that_are_drawn_together_cost_what_they_cost_one_by_one() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut figures = Figures::default();
    let mut cells = |value: f64| -> Vec<Measured> {
        let lengths =
            [32.0_f64, 128.0, 512.0].into_iter().flat_map(|prompt| [16.0, 64.0, 256.0].map(|steps| (prompt, steps)));
        lengths
            .map(|(prompt, steps)| {
                let figure = figures.add(Figure { value: value * prompt.powf(0.9), log_error: 0.05, df: None });
                Measured { prompt, steps, figure }
            })
            .collect()
    };
    let time = RequestTime::new(&cells(0.1), &cells(0.02), None).unwrap();
    let draws = figures.draw(500, 11);
    let (mut together, mut one_by_one) = (Sum::default(), vec![0.0; 500]);
    for _ in 0..2000 {
        let (prompt, steps) = (rng.random_range(32.0_f64..512.0).round(), rng.random_range(16.0_f64..256.0).round());
        for product in [time.prefill(prompt), time.decode(prompt, steps)] {
            together.add(&product, &figures);
            let mut alone = Sum::default();
            alone.add(&product, &figures);
            for (all, one) in one_by_one.iter_mut().zip(alone.drawn(&figures, &draws)) {
                *all += one;
            }
        }
    }
    let differences =
        together.drawn(&figures, &draws).into_iter().zip(one_by_one).map(|(all, sum)| (all / sum - 1.0).abs());
    let largest = differences.fold(0.0, f64::max);
    assert!(largest < 2e-5, "{largest}");
    assert_eq!(together.times(0.0).drawn(&figures, &draws), vec![0.0; 500]);
}
