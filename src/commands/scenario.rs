//! From a scenario file on disk to its plan; shared by `plan` and `run`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::commands::CommandError;
use crate::commands::error::MemoryUnknown;
use crate::manifest::machine::memory_limit;
use crate::model;
use crate::plan::{self, ModelFacts, Only};
use crate::record::plan::{CountedRequests, Plan, PlannedWorkload};
use crate::run::prompts::text_tokens;
use crate::scenario::workload::Requests;
use crate::scenario::{
    self, NamedFile, Position, Problem, Prompt, Scenario, ScenarioError, ScenarioFile, claims, workload,
};
use crate::terms::claim::Claim;
use crate::units::Bytes;

/// A scenario file with its plan.
#[derive(Debug)]
pub struct Loaded {
    /// What the file is called in messages; its folder is where its relative paths start.
    pub path: PathBuf,
    /// The file, verbatim.
    pub text: String,
    /// What it says.
    pub file: ScenarioFile,
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
pub fn load(path: &Path, only: &[String]) -> Result<Loaded, CommandError> {
    of_text(scenario::read_text(path)?, path, only)
}

/// As [`load`], of a scenario file that need not exist: `path` is what it is called and where its relative paths start.
///
/// # Errors
/// As [`load`].
pub fn of_text(text: String, path: &Path, only: &[String]) -> Result<Loaded, CommandError> {
    let file = scenario::parse(&text, path, folder_of(path))?;
    let only = Only::parse(only, &file)?;
    let facts = facts(&file, path)?;
    let budget = match file.limits.memory {
        Some(given) => given,
        None => half_of_memory()?,
    };
    let (workload, claims) = named_files(&file, path)?;
    let plan = Plan { workload, claims, ..plan::expand(&file, &facts, budget, &only)? };
    Ok(Loaded { path: path.to_owned(), text, file, facts, plan })
}

/// The workload and the statements of the files that a scenario file at `path` names, as they are now.
///
/// # Errors
/// A file that cannot be read, at the place where it is named; what is wrong in one, at its own places.
fn named_files(file: &ScenarioFile, path: &Path) -> Result<(Option<PlannedWorkload>, Vec<Claim>), CommandError> {
    let mut problems = Vec::new();
    let mut read = |named: &Option<NamedFile>, what: &str| {
        let named = named.as_ref()?;
        let text = text_of(named, what).map_err(|problem| problems.push(problem)).ok()?;
        Some((text, named.path.clone()))
    };
    let (workload, stated) = (read(&file.workload, "workload file"), read(&file.claims, "claims file"));
    if !problems.is_empty() {
        return Err(ScenarioError::Invalid { path: path.to_owned(), problems }.into());
    }
    let workload = workload.map(|(text, path)| planned_workload(text, &path)).transpose()?;
    let stated = stated.map(|(text, path)| claims::parse(&text, &path)).transpose()?;
    Ok((workload, stated.map(|file| file.claims).unwrap_or_default()))
}

/// # Errors
/// It cannot be read: a problem of the file that names it.
fn text_of(named: &NamedFile, what: &str) -> Result<String, Problem> {
    scenario::read_text(&named.path).map_err(|error| {
        let why = match &error {
            ScenarioError::Unreadable { source, .. } => source.to_string(),
            ScenarioError::Invalid { .. } => error.to_string(),
        };
        Problem::new(named.at, format!("cannot read {what} {}: {why}", named.path.display()))
    })
}

/// A workload file's text, and what is counted in the file that it names.
fn planned_workload(text: String, path: &Path) -> Result<PlannedWorkload, CommandError> {
    let requests = workload::parse(&text, path, folder_of(path))?.requests;
    let bins = match requests {
        Requests::Histogram(_) | Requests::Log(_) => requests.bins()?,
        // These stand in the text itself.
        Requests::Mix(_) | Requests::Blends(_) => None,
    };
    let counted = bins.map(|counted| CountedRequests {
        lengths: counted.bins.iter().map(|bin| (bin.prompt, bin.generated, bin.weight)).collect(),
        rows: counted.rows,
        weightless: counted.weightless,
        without_counts: counted.without_counts,
    });
    Ok(PlannedWorkload { text, counted })
}

/// Reads a scenario file that may lie elsewhere than where its relative paths start, such as a run's copy.
///
/// # Errors
/// Every problem of the file.
pub fn parse(path: &Path, base: &Path) -> Result<ScenarioFile, CommandError> {
    Ok(scenario::parse(&scenario::read_text(path)?, path, base)?)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// What the file's models are; every model that cannot be told is a problem of the file at `path`.
fn facts(file: &ScenarioFile, path: &Path) -> Result<Vec<ModelFacts>, ScenarioError> {
    let fact = |source: &model::ModelSource| -> model::Result<ModelFacts> {
        if matches!(source.form, model::Form::Served(_)) {
            return Ok(ModelFacts::unknown(&source.name));
        }
        let facts = ModelFacts::new(&source.name, &model::architecture(&source.form)?);
        let context = facts.n_positions.unwrap_or(u64::MAX).min(shortest_allocated(file));
        Ok(ModelFacts { text_tokens: long_texts(file, source, context), ..facts })
    };
    let (mut facts, mut problems) = (Vec::new(), Vec::new());
    for (source, &at) in file.models.iter().zip(&file.model_places) {
        match fact(source) {
            Ok(found) => facts.push(found),
            Err(why) => problems.push(Problem::new(at, format!("model `{}`: {}", source.name, why))),
        }
    }
    if problems.is_empty() { Ok(facts) } else { Err(ScenarioError::Invalid { path: path.to_owned(), problems }) }
}

/// Holds what lies on disk of the models that a plan measures against their configurations, before any of them is made
/// ready, which takes minutes. Numbers are not read.
///
/// # Errors
/// Every model whose weights are missing, damaged, or another model's, at its place in the file at `path`.
pub fn check_weights(file: &ScenarioFile, plan: &Plan, path: &Path, cache: &Path) -> Result<(), ScenarioError> {
    let reads = |name: &str| file.backends.iter().any(|of| of.name == name && of.engine.limits().reads_weights());
    let is_read = |name: &str| plan.sessions.iter().any(|of| of.key.model == name && reads(&of.key.backend));
    let folders = file.models.iter().zip(&file.model_places).filter_map(|(source, &at)| match &source.form {
        model::Form::Folder(folder) if is_read(&source.name) => Some((&source.name, at, folder)),
        _ => None,
    });
    let problem = |(name, at, folder): (&String, Position, &PathBuf)| {
        let why = model::Folder::open(folder, cache).err()?;
        Some(Problem::new(at, format!("model `{name}`: {why}")))
    };
    let problems: Vec<Problem> = folders.filter_map(problem).collect();
    if problems.is_empty() { Ok(()) } else { Err(ScenarioError::Invalid { path: path.to_owned(), problems }) }
}

/// The shortest context that an engine allocates.
fn shortest_allocated(file: &ScenarioFile) -> u64 {
    let contexts = file.backends.iter().filter_map(|backend| backend.engine.limits().context().allocated());
    contexts.min().unwrap_or(u64::MAX)
}

/// Tokens of the texts that may not fit into a context, by scenario. No token stands for less than a byte, so the others
/// fit and need not be counted, which takes a tokenizer.
fn long_texts(file: &ScenarioFile, model: &model::ModelSource, context: u64) -> BTreeMap<String, u32> {
    let may_exceed = |scenario: &&Scenario| {
        let bytes = match &scenario.prompt {
            Prompt::Text(text) => text.len(),
            Prompt::Texts { texts, .. } => texts.iter().map(String::len).max().unwrap_or(0),
            Prompt::Tokens(_) | Prompt::File { .. } => 0,
        };
        let steps = scenario.gen_tokens.iter().max().copied().unwrap_or(0);
        // BOS, and the token that a server returns last.
        bytes > 0 && bytes as u64 + u64::from(steps) + 2 > context
    };
    let counted = file.scenarios.iter().filter(may_exceed);
    counted.filter_map(|scenario| Some((scenario.name.clone(), text_tokens(scenario, model)?))).collect()
}

/// Half of the memory this process may use in whole GiB, so that equal machines plan alike; at least 1 GiB.
fn half_of_memory() -> Result<Bytes, CommandError> {
    machine_memory().map(half)
}

/// The memory this process may use.
///
/// # Errors
/// The system does not tell.
pub fn machine_memory() -> Result<Bytes, CommandError> {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(memory).map_err(|why| MemoryUnknown(why.to_string()))?;
    let granted = memory_limit().map_or(u64::MAX, |limit| limit.0);
    Ok(Bytes(system.total_memory().min(granted)))
}

fn half(memory: Bytes) -> Bytes {
    Bytes((memory.0 >> 31).max(1) << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_is_whole_and_never_nothing() {
        for (memory, half_of_it) in [(24 << 30, 12 << 30), ((2 << 30) - 1, 1 << 30), (0, 1 << 30), (7 << 30, 3 << 30)] {
            assert_eq!(half(Bytes(memory)), Bytes(half_of_it));
        }
    }
}
