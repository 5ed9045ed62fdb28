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

/// What a plan is made for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// To be looked at: the weights of its models may lie elsewhere.
    Look,
    /// To be measured: what is wrong with weights is told with all else that is wrong.
    Measure {
        /// The program's cache folder.
        cache: &'a Path,
    },
}

/// Reads and expands a scenario file; `only` is the command line's filter.
///
/// # Errors
/// Every problem of the file, a filter that selects nothing that exists, a model folder whose configuration
/// cannot be read.
pub fn load(path: &Path, only: &[String], purpose: Purpose<'_>) -> Result<Loaded, CommandError> {
    of_text(scenario::read_text(path)?, path, only, purpose)
}

/// As [`load`], of a scenario file that need not exist: `path` is what it is called and where its relative paths start.
///
/// # Errors
/// As [`load`].
pub fn of_text(text: String, path: &Path, only: &[String], purpose: Purpose<'_>) -> Result<Loaded, CommandError> {
    let file = scenario::parse(&text, path, folder_of(path))?;
    let only = Only::parse(only, &file)?;
    let (facts, mut problems) = facts(&file);
    let [workload, stated] = named_texts(&file, &mut problems);
    let budget = match file.limits.memory {
        Some(given) => given,
        None => half_of_memory()?,
    };
    let planned = plan::expand(&file, &facts, budget, &only);
    if !problems.is_empty() {
        if let (Purpose::Measure { cache }, Ok(plan)) = (purpose, &planned) {
            add_weight_problems(&file, plan, cache, &mut problems);
        }
        problems.sort_by_key(|problem| problem.at);
        return Err(ScenarioError::Invalid { path: path.to_owned(), problems }.into());
    }
    let workload = workload.map(|(text, path)| planned_workload(text, path)).transpose()?;
    let stated = stated.map(|(text, path)| claims::parse(&text, path)).transpose()?;
    let claims = stated.map(|file| file.claims).unwrap_or_default();
    let plan = Plan { workload, claims, ..planned? };
    Ok(Loaded { path: path.to_owned(), text, file, facts, plan })
}

/// The texts of the workload file and of the claims file that a scenario file names, as they are now, with their paths. One that
/// cannot be read is a problem at the place where it is named.
fn named_texts<'f>(file: &'f ScenarioFile, problems: &mut Vec<Problem>) -> [Option<(String, &'f Path)>; 2] {
    let named = [(&file.workload, "workload file"), (&file.claims, "claims file")];
    named.map(|(named, what)| {
        let named = named.as_ref()?;
        match text_of(named, what) {
            Ok(text) => Some((text, named.path.as_path())),
            Err(problem) => {
                problems.push(problem);
                None
            }
        }
    })
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

/// What the file's models are, and what is wrong with those that cannot be told: of these nothing is known, so that the others
/// can be planned.
fn facts(file: &ScenarioFile) -> (Vec<ModelFacts>, Vec<Problem>) {
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
        facts.push(fact(source).unwrap_or_else(|why| {
            problems.push(Problem::new(at, format!("model `{}`: {}", source.name, why)));
            ModelFacts::unknown(&source.name)
        }));
    }
    (facts, problems)
}

/// Holds what lies on disk of the models that a plan measures against their configurations, before any of them is made
/// ready, which takes minutes. Numbers are not read.
///
/// # Errors
/// Every model whose weights are missing, damaged, or another model's, at its place in the file at `path`.
pub fn check_weights(file: &ScenarioFile, plan: &Plan, path: &Path, cache: &Path) -> Result<(), ScenarioError> {
    let problems = weight_problems(file, plan, cache);
    if problems.is_empty() { Ok(()) } else { Err(ScenarioError::Invalid { path: path.to_owned(), problems }) }
}

/// Tells of every model whose weights a run would refuse: a plan needs none, and may be made where they are not.
pub fn warn_of_weights(loaded: &Loaded) {
    let path = loaded.path.display();
    for Problem { at, message, .. } in weight_problems(&loaded.file, &loaded.plan, &crate::cache::root()) {
        let Position { line, column } = at;
        crate::terminal::warn(&format!("{path}:{line}:{column}: cannot be run as it is: {message}"));
    }
}

/// Adds what is wrong with weights to other problems, but for models that have one already.
fn add_weight_problems(file: &ScenarioFile, plan: &Plan, cache: &Path, problems: &mut Vec<Problem>) {
    let told: Vec<Position> = problems.iter().map(|problem| problem.at).collect();
    let of_weights = weight_problems(file, plan, cache);
    problems.extend(of_weights.into_iter().filter(|problem| !told.contains(&problem.at)));
}

/// What is wrong with the weights of the models that a plan has read.
fn weight_problems(file: &ScenarioFile, plan: &Plan, cache: &Path) -> Vec<Problem> {
    let reads = |name: &str| file.backends.iter().any(|of| of.name == name && of.engine.limits().reads_weights());
    let is_read = |name: &str| plan.sessions.iter().any(|of| of.key.model == name && reads(&of.key.backend));
    let folders = file.models.iter().zip(&file.model_places).filter_map(|(source, &at)| match &source.form {
        model::Form::Folder(folder) if is_read(&source.name) => Some((&source.name, at, folder)),
        _ => None,
    });
    let problems = folders.filter_map(|(name, at, folder)| {
        let why = model::Folder::open(folder, cache).err()?;
        Some(Problem::new(at, format!("model `{name}`: {why}")))
    });
    problems.collect()
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
