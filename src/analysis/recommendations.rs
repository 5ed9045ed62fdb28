//! `recommendations.csv`: what a run's tables advise, how sure, from which rows, and what would overturn it.
//!
//! Nothing is measured or estimated here: every figure is another table's, every rule is told in the row's own words.

mod classes;
mod compile;
mod energy;
mod engine;
mod memory;
mod routing;
mod row;
mod scaling;
mod warm;

use super::table::{Sources, Table};

pub use memory::for_memory;
pub use row::{RecommendationRow, Standing, Topic};
pub use warm::by_prompt;

/// `analysis/recommendations.csv`.
pub struct Recommendations;

impl Table for Recommendations {
    type Row = RecommendationRow;
    const FILE: &'static str = "analysis/recommendations.csv";
    const ABOUT: &'static str = "What the other tables advise, a question a row: engines by phase and by class of requests, routing, compiling, warm pools, energy, scaling, and when to measure again.";

    fn derive(from: &Sources<'_>) -> Vec<RecommendationRow> {
        let mut rows = engine::recommend(from);
        rows.extend(classes::recommend(from));
        rows.extend(routing::recommend(from));
        rows.extend(compile::recommend(from));
        rows.extend(warm::recommend(from));
        rows.extend(energy::recommend(from));
        rows.extend(scaling::recommend(from));
        rows.extend(validity(from));
        rows
    }
}

/// What the run was made with: another of these is another question.
fn validity(from: &Sources<'_>) -> Option<RecommendationRow> {
    let stack = &from.manifest.stack;
    let engines = stack.backends.iter().map(|(name, entry)| match &entry.version {
        Some(version) => format!("{name}: {} {version}", entry.engine),
        None => format!("{name}: {}", entry.engine),
    });
    let mut parts: Vec<String> = engines.collect();
    parts.extend(stack.machine.cpu_model.clone());
    parts.extend(stack.machine.kernel.clone().map(|kernel| format!("kernel {kernel}")));
    if from.plan.cells.is_empty() {
        return None;
    }
    Some(RecommendationRow {
        topic: Topic::Validity,
        about: "all of the above".to_owned(),
        standing: Standing::Decided,
        advice: "measure again when one of these changes (phasebench rerun RUN --if-changed), or prompts and \
                 answers leave the measured lengths"
            .to_owned(),
        figures: Some(parts.join("; ")),
        rows: "manifest.json; plan.json".to_owned(),
        overturned_by: "any change of an engine, a driver, the kernel, the machine or the weights".to_owned(),
    })
}
