//! `engine_groups.csv`: three engines or more at once.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::analysis::columns::columns;
use crate::analysis::compile::CompileAudit;
use crate::analysis::metrics::Metrics;
use crate::analysis::table::{Sources, Table};
use crate::record::manifest::Manifest;
use crate::stats::compare::{self, Group};
use crate::stats::kruskal::kruskal_wallis;
use crate::stats::summary::median;
use crate::terms::{Dtype, Mode};

use super::side::{Question, Side, sides};

/// Engines from which on a test of all at once says more than one of two.
const FEWEST_ENGINES: usize = 3;
/// Scenarios from which on they can be taken as samples.
const FEWEST_SCENARIOS: usize = 2;

columns! {
    /// Whether engines differ at all. Which differs from which stands in `engine_comparison.csv`.
    pub struct EngineGroupsRow {
        /// What one sample is.
        samples: Samples,
        /// The engines, joined by `;`.
        backends: String,
        /// Model name.
        model: String,
        /// Hash of the weights.
        weights_id: String,
        /// Element type of the sessions.
        dtype: Dtype,
        /// Scenario name. `None`: scenarios are the samples.
        scenario: Option<String>,
        /// Rows decoded together.
        batch: u32,
        /// Timed decode steps.
        gen_tokens: u32,
        /// What is timed.
        mode: Mode,
        /// Engines.
        n_backends: usize,
        /// Samples of all engines together.
        n_samples: usize,
        /// Variance of the engines' mean logarithms ÷ variance within them. `None`: nothing varies within.
        /// Source: one-way analysis of variance of logarithms.
        /// Unit: ratio.
        anova_f: Option<f64>,
        /// p of equal mean logarithms. `None`: as `anova_f`.
        /// Unit: probability.
        anova_p: Option<f64>,
        /// How far apart the engines' mean ranks are. `None`: all samples are equal.
        /// Source: Kruskal and Wallis, corrected for ties.
        /// Unit: none, as chi-squared.
        kruskal_h: Option<f64>,
        /// p of equal distributions. `None`: as `kruskal_h`.
        /// Unit: probability.
        kruskal_p: Option<f64>,
    }
}

/// What one sample of a test is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Samples {
    /// A call of one process: the test knows nothing of how processes of one engine differ.
    Calls,
    /// The median of one scenario: scenarios differ by design, so that the test finds little even where every scenario
    /// agrees. As the published reports test.
    Scenarios,
}

impl Samples {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Scenarios => "scenarios",
        }
    }
}

/// `analysis/engine_groups.csv`.
pub struct EngineGroups;

impl Table for EngineGroups {
    type Row = EngineGroupsRow;
    const FILE: &'static str = "analysis/engine_groups.csv";
    const ABOUT: &'static str = "Every cell of three engines or more with its calls as samples, in the plan's order; then every shape of a model with its scenarios as samples.";

    fn derive(from: &Sources<'_>) -> Vec<EngineGroupsRow> {
        let (metrics, audit) = (from.rows::<Metrics>(), from.rows::<CompileAudit>());
        let sides = sides(from, &metrics, &audit);
        let cells = cells(&sides, from.manifest);
        let by_call = cells.iter().map(|engines| {
            let samples: Vec<Vec<f64>> = engines.iter().map(|side| side.latencies_ms()).collect();
            row(Samples::Calls, engines, Some(&engines[0].cell.scenario), &samples)
        });
        let by_scenario =
            shapes(&cells).into_iter().map(|(engines, medians)| row(Samples::Scenarios, &engines, None, &medians));
        by_call.chain(by_scenario).flatten().collect()
    }
}

/// The sides of every cell that can be compared with the first of them, where they are enough.
fn cells<'a, 'b>(sides: &'b [Side<'a>], manifest: &Manifest) -> Vec<Vec<&'b Side<'a>>> {
    let mut cells: Vec<Vec<&Side<'_>>> = Vec::new();
    let mut asking: HashMap<Question<'_>, Vec<usize>> = HashMap::new();
    for side in sides.iter().filter(|side| side.reason.is_none()) {
        let known = asking.entry(side.question()).or_default();
        let same = known.iter().copied().find(|&place| cells[place][0].differs_from(side, manifest).is_none());
        match same {
            Some(place) => cells[place].push(side),
            None => {
                known.push(cells.len());
                cells.push(vec![side]);
            }
        }
    }
    cells.retain(|cell| cell.len() >= FEWEST_ENGINES);
    cells
}

/// Of every shape of a model the engines, and their medians scenario by scenario.
fn shapes<'a, 'b>(cells: &[Vec<&'b Side<'a>>]) -> Vec<(Vec<&'b Side<'a>>, Vec<Vec<f64>>)> {
    let same_shape = |a: &Side<'_>, b: &Side<'_>| {
        let (one, other) = (a.cell, b.cell);
        one.session == other.session
            && (one.batch, one.gen_tokens, one.procedure) == (other.batch, other.gen_tokens, other.procedure)
            && (a.mode, a.measured_as) == (b.mode, b.measured_as)
    };
    let mut shapes: Vec<(Vec<&Side<'_>>, Vec<Vec<f64>>)> = Vec::new();
    for cell in cells {
        let medians = cell.iter().filter_map(|side| median(&side.latencies_ms()));
        let alike = |engines: &[&Side<'_>]| {
            engines.len() == cell.len() && engines.iter().zip(cell).all(|(one, other)| same_shape(one, other))
        };
        match shapes.iter_mut().find(|(engines, _)| alike(engines)) {
            Some((_, samples)) => samples.iter_mut().zip(medians).for_each(|(samples, median)| samples.push(median)),
            None => shapes.push((cell.clone(), medians.map(|median| vec![median]).collect())),
        }
    }
    shapes.retain(|(_, samples)| samples.iter().all(|samples| samples.len() >= FEWEST_SCENARIOS));
    shapes
}

/// `None`: a sample cannot be used.
fn row(
    samples: Samples,
    engines: &[&Side<'_>],
    scenario: Option<&String>,
    values: &[Vec<f64>],
) -> Option<EngineGroupsRow> {
    let first = engines.first()?;
    let (weights_id, dtype) = first.measured_as?;
    let logs: Vec<Group> = values.iter().map(|values| Group::of_logs(values)).collect::<Result<_, _>>().ok()?;
    let anova = compare::anova(&logs);
    let plain: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
    let kruskal = kruskal_wallis(&plain).ok()?;
    let backends: Vec<&str> = engines.iter().map(|side| side.cell.session.backend.as_str()).collect();
    Some(EngineGroupsRow {
        samples,
        backends: backends.join(";"),
        model: first.cell.session.model.clone(),
        weights_id: weights_id.to_owned(),
        dtype,
        scenario: scenario.cloned(),
        batch: first.cell.batch,
        gen_tokens: first.cell.gen_tokens,
        mode: first.mode,
        n_backends: engines.len(),
        n_samples: values.iter().map(Vec::len).sum(),
        anova_f: anova.map(|anova| anova.f),
        anova_p: anova.map(|anova| anova.p),
        kruskal_h: kruskal.map(|kruskal| kruskal.h),
        kruskal_p: kruskal.map(|kruskal| kruskal.p),
    })
}
