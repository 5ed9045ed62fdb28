//! Of every phase the engine that takes least time, and how far the others are from it.

use crate::analysis::aggregate::distinct;
use crate::analysis::{EnginePairsRow, EngineVerdict, Tables};
use crate::terms::{Dtype, Mode};

/// Engines of one phase and element type.
#[derive(Debug)]
pub(in crate::report::sections) struct Ranking<'a> {
    pub(in crate::report::sections) mode: Mode,
    pub(in crate::report::sections) dtype: Dtype,
    /// Takes least time on average against the others.
    pub(in crate::report::sections) fastest: &'a str,
    /// The others, the nearest first.
    pub(in crate::report::sections) others: Vec<Standing<'a>>,
}

/// How an engine stands to the fastest.
#[derive(Debug)]
pub(in crate::report::sections) struct Standing<'a> {
    pub(in crate::report::sections) other: &'a str,
    pub(in crate::report::sections) pair: &'a EnginePairsRow,
    /// Speed of the fastest ÷ speed of this one.
    pub(in crate::report::sections) speed: f64,
    /// Its 95 % interval.
    pub(in crate::report::sections) interval: Option<(f64, f64)>,
    /// What the fastest is to this one.
    pub(in crate::report::sections) verdict: EngineVerdict,
    /// Cells in which the fastest is faster.
    pub(in crate::report::sections) n_faster: usize,
    /// Cells in which it is slower.
    pub(in crate::report::sections) n_slower: usize,
}

/// One per phase and element type in which engines are compared, in the tables' order.
pub(in crate::report::sections) fn rankings(tables: &Tables) -> Vec<Ranking<'_>> {
    let compared: Vec<&EnginePairsRow> = tables.engine_pairs.iter().filter(|pair| pair.ratio.is_some()).collect();
    let mut keys: Vec<(Mode, Dtype)> = Vec::new();
    for key in compared.iter().filter_map(|pair| Some((pair.mode, pair.dtype?))) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.sort_by_key(|(mode, _)| *mode);
    let of = |(mode, dtype): (Mode, Dtype)| {
        let pairs: Vec<&EnginePairsRow> =
            compared.iter().copied().filter(|pair| (pair.mode, pair.dtype) == (mode, Some(dtype))).collect();
        ranking(mode, dtype, &pairs)
    };
    keys.into_iter().filter_map(of).collect()
}

fn ranking<'a>(mode: Mode, dtype: Dtype, pairs: &[&'a EnginePairsRow]) -> Option<Ranking<'a>> {
    let engines = distinct(pairs.iter().flat_map(|pair| [pair.backend_a.as_str(), pair.backend_b.as_str()]));
    let lead = |engine: &str| {
        let others = standings(engine, pairs);
        others.iter().map(|other| other.speed.ln()).sum::<f64>() / others.len().max(1) as f64
    };
    let fastest = engines.iter().copied().max_by(|a, b| lead(a).total_cmp(&lead(b)))?;
    let mut others = standings(fastest, pairs);
    others.sort_by(|a, b| a.speed.total_cmp(&b.speed));
    Some(Ranking { mode, dtype, fastest, others })
}

/// The other engines, seen from one.
fn standings<'a>(engine: &str, pairs: &[&'a EnginePairsRow]) -> Vec<Standing<'a>> {
    pairs.iter().filter_map(|pair| Standing::against(engine, pair)).collect()
}

impl<'a> Standing<'a> {
    /// The other engine of a pair, seen from `engine`. `None`: it is not in the pair.
    fn against(engine: &str, pair: &'a EnginePairsRow) -> Option<Self> {
        let (ratio, bounds) = (pair.ratio?, pair.ratio_low.zip(pair.ratio_high));
        if engine == pair.backend_a {
            // The ratio is time of the other ÷ time of this one.
            return Some(Self {
                other: &pair.backend_b,
                pair,
                speed: ratio,
                interval: bounds,
                verdict: pair.verdict.turned(),
                n_faster: pair.n_slower,
                n_slower: pair.n_faster,
            });
        }
        (engine == pair.backend_b).then(|| Self {
            other: &pair.backend_a,
            pair,
            speed: 1.0 / ratio,
            interval: bounds.map(|(low, high)| (1.0 / high, 1.0 / low)),
            verdict: pair.verdict,
            n_faster: pair.n_faster,
            n_slower: pair.n_slower,
        })
    }
}
