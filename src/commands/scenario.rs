//! From a scenario file on disk to its plan; shared by `plan` and `run`.

use std::path::Path;

use anyhow::Context;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::model;
use crate::plan::{self, ModelFacts, Only, Plan};
use crate::spec::{self, Spec};
use crate::units::Bytes;

/// A scenario file with its plan.
#[derive(Debug)]
pub struct Loaded {
    /// The file, verbatim.
    pub text: String,
    /// What it says.
    pub spec: Spec,
    /// What its models are, in file order.
    pub facts: Vec<ModelFacts>,
    /// What it makes of the matrix.
    pub plan: Plan,
}

/// Reads and expands a scenario file; `only` is the command line's filter.
///
/// # Errors
/// Every problem of the file, a filter that selects nothing that exists, a model folder whose configuration
/// cannot be read.
pub fn load(path: &Path, only: Option<&str>) -> anyhow::Result<Loaded> {
    let text = spec::read_text(path)?;
    let spec = spec::parse(&text, path, folder_of(path))?;
    let only = match only {
        Some(filter) => Only::parse(filter, &spec)?,
        None => Only::default(),
    };
    let facts = facts(&spec)?;
    let budget = match spec.limits.memory {
        Some(given) => given,
        None => half_of_memory()?,
    };
    let plan = plan::expand(&spec, &facts, budget, &only)?;
    Ok(Loaded { text, spec, facts, plan })
}

/// Reads a scenario file that may lie elsewhere than where its relative paths start, such as a run's copy.
///
/// # Errors
/// Every problem of the file.
pub fn parse(path: &Path, base: &Path) -> anyhow::Result<Spec> {
    Ok(spec::parse(&spec::read_text(path)?, path, base)?)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn facts(spec: &Spec) -> anyhow::Result<Vec<ModelFacts>> {
    let fact = |source: &model::ModelSource| {
        if matches!(source.form, model::Form::Served(_)) {
            return Ok(ModelFacts::unknown(&source.name));
        }
        let architecture = model::architecture(&source.form).with_context(|| format!("model `{}`", source.name))?;
        Ok(ModelFacts::new(&source.name, &architecture))
    };
    spec.models.iter().map(fact).collect()
}

/// Half of this machine's memory in whole GiB, so that equal machines plan alike; at least 1 GiB.
fn half_of_memory() -> anyhow::Result<Bytes> {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(memory)
        .context("cannot tell how much memory this machine has: give `limits: { memory: … }` in the scenario file")?;
    Ok(Bytes((system.total_memory() >> 31).max(1) << 30))
}
