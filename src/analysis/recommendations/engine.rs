//! Which engine to use for a phase.
//!
//! An engine is the default of a phase if, over all cells that can be compared, it is faster than every other engine or the same.

use crate::analysis::engines::{EnginePairs, EnginePairsRow, EngineVerdict};
use crate::analysis::table::{Sources, Table as _};
use crate::record::plan::Plan;
use crate::terms::{Dtype, Mode};
use crate::units::significant;

use super::row::{RecommendationRow, Standing, Topic};

/// Phases that an engine is chosen for.
pub(super) const PHASES: [Mode; 3] = [Mode::Prefill, Mode::KvDecode, Mode::GenerateUncached];
/// What no interval of one run knows.
const OVERTURNED: &str = "several sessions: one process of each engine was measured; cells that were not measured";

/// What no interval of one run of several sessions knows.
const OVERTURNED_SESSIONS: &str =
    "another run: the intervals know sessions of one stretch of time; cells that were not measured";

/// One row per phase and element type in which engines are compared.
pub(super) fn recommend(from: &Sources<'_>) -> Vec<RecommendationRow> {
    let pairs = from.rows::<EnginePairs>();
    let mut rows = Vec::new();
    for mode in PHASES {
        for dtype in dtypes(&pairs, mode) {
            let of: Vec<&EnginePairsRow> =
                pairs.iter().filter(|pair| pair.mode == mode && pair.dtype == Some(dtype)).collect();
            rows.push(row(mode, dtype, &of, overturned_by(from.plan)));
        }
    }
    rows
}

/// What would make a choice of an engine untrue.
pub(super) fn overturned_by(plan: &Plan) -> &'static str {
    if plan.session_count.is_several() { OVERTURNED_SESSIONS } else { OVERTURNED }
}

/// Element types of the pairs that are compared, each once.
pub(super) fn dtypes(pairs: &[EnginePairsRow], mode: Mode) -> Vec<Dtype> {
    let mut found: Vec<Dtype> = Vec::new();
    for pair in pairs.iter().filter(|pair| pair.mode == mode && pair.ratio.is_some()) {
        found.extend(pair.dtype.filter(|dtype| !found.contains(dtype)));
    }
    found
}

fn row(mode: Mode, dtype: Dtype, pairs: &[&EnginePairsRow], overturned_by: &str) -> RecommendationRow {
    let Choice { standing, advice, figures } = choice(pairs);
    RecommendationRow {
        topic: Topic::DefaultEngine,
        about: format!("{mode} ({})", dtype.as_str()),
        standing,
        advice,
        figures,
        rows: EnginePairs::FILE.to_owned(),
        overturned_by: overturned_by.to_owned(),
    }
}

/// What pairs of engines say of which to use.
pub(super) struct Choice {
    pub(super) standing: Standing,
    pub(super) advice: String,
    /// `None`: nothing is compared.
    pub(super) figures: Option<String>,
}

/// The engine that is faster than every other or the same, over the cells of the pairs.
pub(super) fn choice(pairs: &[&EnginePairsRow]) -> Choice {
    let defaults = defaults(pairs);
    let names: Vec<&str> = defaults.iter().map(String::as_str).collect();
    let (standing, advice) = match names[..] {
        [] => (Standing::NotSeparated, "no engine is known to be fastest: take any, or measure longer".to_owned()),
        [one] => (Standing::Decided, format!("use {one}")),
        _ => (Standing::Decided, format!("use any of {}: over all cells they take the same time", names.join(", "))),
    };
    let speeds: Vec<String> = match defaults.first() {
        Some(default) => pairs.iter().filter_map(|pair| speed(pair, default)).collect(),
        None => pairs.iter().filter_map(|pair| speed(pair, &pair.backend_b)).collect(),
    };
    Choice { standing, advice, figures: (!speeds.is_empty()).then(|| speeds.join("; ")) }
}

/// Engines that are compared, in the plan's order.
fn engines<'a>(pairs: &[&'a EnginePairsRow]) -> Vec<&'a str> {
    let mut engines: Vec<&str> = Vec::new();
    for pair in pairs.iter().filter(|pair| pair.ratio.is_some()) {
        for name in [pair.backend_a.as_str(), pair.backend_b.as_str()] {
            if !engines.contains(&name) {
                engines.push(name);
            }
        }
    }
    engines
}

/// The engine that takes the least time over all cells, known to or not: what anything else must be better than. Of two that
/// take as long the one that the plan names first. `None`: nothing is compared.
pub(super) fn fastest(pairs: &[&EnginePairsRow]) -> Option<String> {
    // Over the others, the sum of the logarithms of its time ÷ theirs.
    let time = |engine: &str| -> f64 {
        let own = pairs.iter().filter_map(|pair| {
            let ln = pair.ratio?.ln();
            match (pair.backend_a == engine, pair.backend_b == engine) {
                (true, _) => Some(-ln),
                (_, true) => Some(ln),
                _ => None,
            }
        });
        own.sum()
    };
    let engines = engines(pairs).into_iter();
    engines.min_by(|a, b| time(a).total_cmp(&time(b))).map(str::to_owned)
}

/// Engines that are faster than every other or the same, in the plan's order.
pub(super) fn defaults(pairs: &[&EnginePairsRow]) -> Vec<String> {
    let engines = engines(pairs);
    let not_slower = |engine: &str| {
        let others = engines.iter().filter(|other| **other != engine);
        others.clone().all(|other| {
            let verdict = against(pairs, engine, other);
            verdict.is_some_and(|verdict| verdict.is_faster() || verdict == EngineVerdict::Same)
        })
    };
    engines.iter().filter(|engine| not_slower(engine)).map(|engine| (*engine).to_owned()).collect()
}

/// What an engine is to another. `None`: they are not compared.
fn against(pairs: &[&EnginePairsRow], engine: &str, other: &str) -> Option<EngineVerdict> {
    pairs.iter().find_map(|pair| match (pair.backend_a.as_str(), pair.backend_b.as_str()) {
        (a, b) if b == engine && a == other => Some(pair.verdict),
        (a, b) if a == engine && b == other => Some(pair.verdict.turned()),
        _ => None,
    })
}

/// How many times as fast an engine is as the other of a pair, with the interval. `None`: it is not in the pair, or there is
/// no ratio.
pub(super) fn speed(pair: &EnginePairsRow, engine: &str) -> Option<String> {
    let (ratio, low, high) = (pair.ratio?, pair.ratio_low?, pair.ratio_high?);
    let (other, speed, from, to) = if pair.backend_a == engine {
        (&pair.backend_b, ratio, low, high)
    } else if pair.backend_b == engine {
        (&pair.backend_a, ratio.recip(), high.recip(), low.recip())
    } else {
        return None;
    };
    let (speed, from, to) = (significant(speed, 3), significant(from, 3), significant(to, 3));
    let cells = if pair.n_compared == 1 { "1 cell".to_owned() } else { format!("{} cells", pair.n_compared) };
    Some(format!("{engine} {speed}× [{from}, {to}] as fast as {other} over {cells}"))
}
