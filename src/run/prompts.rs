//! Prompts as token ids, made before the run so that no tokeniser works while an engine is timed.

use std::collections::{BTreeMap, BTreeSet};

use crate::backend::Call;
use crate::hash::seeded;
use crate::model::{self, Form, ModelSource, prompt};
use crate::record::plan::{Cell, Plan};
use crate::scenario::{Problem, Prompt, Scenario, ScenarioFile};
use crate::terms::model::Architecture;

/// Why the prompt of one scenario for one model cannot be made.
#[derive(Debug, thiserror::Error)]
enum PromptError {
    /// The model's tokenizer or the prompt file does not give it.
    #[error(transparent)]
    Model(#[from] Box<model::Error>),
    /// A row has a token that the model does not know.
    #[error("row {row} of the batch: {source}")]
    Row {
        /// Which row, from 1.
        row: usize,
        /// What the model layer says.
        source: Box<model::Error>,
    },
    /// A row is longer than all rows are to be.
    #[error("a row has {tokens} tokens, more than `pad_to: {pad_to}`")]
    LongerThanPadding {
        /// Tokens of the row.
        tokens: usize,
        /// The length asked for.
        pad_to: u32,
    },
}

impl From<model::Error> for PromptError {
    fn from(error: model::Error) -> Self {
        Self::Model(Box::new(error))
    }
}

/// The rows of one scenario for one model.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rows {
    ids: Vec<Vec<u32>>,
    texts: Option<Vec<String>>,
    padded_to: u32,
}

/// Every prompt of a plan.
#[derive(Debug, Clone, Default)]
pub struct Prompts {
    rows: BTreeMap<(String, String), Rows>,
}

impl Prompts {
    /// Makes the prompts that the plan's cells need.
    ///
    /// # Errors
    /// Every prompt that cannot be made, at the place of its scenario.
    pub fn build(file: &ScenarioFile, plan: &Plan) -> Result<Self, Vec<Problem>> {
        let (mut rows, mut problems) = (BTreeMap::new(), Vec::new());
        let needed: BTreeSet<(&str, &str)> =
            plan.cells.iter().map(|cell| (cell.scenario.as_str(), cell.session.model.as_str())).collect();
        for (scenario, &at) in file.scenarios.iter().zip(&file.scenario_places) {
            for model in &file.models {
                if !needed.contains(&(scenario.name.as_str(), model.name.as_str())) {
                    continue;
                }
                match build_rows(file.seed, scenario, model) {
                    Ok(made) => drop(rows.insert((scenario.name.clone(), model.name.clone()), made)),
                    Err(why) => {
                        let message = format!("scenario `{}` for model `{}`: {why}", scenario.name, model.name);
                        problems.push(Problem::new(at, message));
                    }
                }
            }
        }
        if problems.is_empty() { Ok(Self { rows }) } else { Err(problems) }
    }

    /// Longest row of a cell after padding. `None`: the cell's prompt was never made.
    #[must_use]
    pub fn padded_to(&self, cell: &Cell) -> Option<u32> {
        self.rows.get(&(cell.scenario.clone(), cell.session.model.clone())).map(|rows| rows.padded_to)
    }

    /// The call a cell makes, but for index and seed.
    #[must_use]
    pub fn call(&self, cell: &Cell) -> Call {
        let rows = self.rows.get(&(cell.scenario.clone(), cell.session.model.clone()));
        Call {
            procedure: cell.procedure,
            scenario: cell.scenario.clone(),
            prompts: rows.map(|r| r.ids.clone()).unwrap_or_default(),
            texts: rows.and_then(|r| r.texts.clone()),
            padded_to: rows.map_or(0, |r| r.padded_to),
            steps: cell.gen_tokens,
            index: 0,
            attempt: 0,
            seed: 0,
        }
    }
}

/// Tokens of the longest row of a scenario that gives text. `None`: it does not, or the model's tokenizer does not tell.
#[must_use]
pub fn text_tokens(scenario: &Scenario, model: &ModelSource) -> Option<u32> {
    match (&scenario.prompt, &model.form) {
        (_, Form::Served(_)) | (Prompt::Tokens(_) | Prompt::File { .. }, _) => None,
        (Prompt::Text(_) | Prompt::Texts { .. }, _) => build_rows(0, scenario, model).ok().map(|rows| rows.padded_to),
    }
}

/// Rows of a model whose tokenizer only its server has: without ids, by count or by text.
fn served_rows(scenario: &Scenario) -> Rows {
    let batch = scenario.batch as usize;
    let (texts, padded_to) = match &scenario.prompt {
        Prompt::Tokens(tokens) | Prompt::File { tokens, .. } => (None, *tokens),
        Prompt::Text(text) => (Some(vec![text.clone(); batch]), 0),
        Prompt::Texts { texts, .. } => (Some(texts.iter().cycle().take(batch).cloned().collect()), 0),
    };
    Rows { ids: vec![Vec::new(); batch], texts, padded_to }
}

fn build_rows(seed: u64, scenario: &Scenario, model: &ModelSource) -> Result<Rows, PromptError> {
    if matches!(model.form, Form::Served(_)) {
        return Ok(served_rows(scenario));
    }
    let architecture = model::architecture(&model.form)?;
    let bos = architecture.bos_id;
    let batch = scenario.batch as usize;
    let (ids, texts, pad_to) = match &scenario.prompt {
        Prompt::Tokens(tokens) => {
            let row = |i: usize| {
                let seed = seeded(seed, &["prompt", &scenario.name, &i.to_string()]);
                prompt::random_ids(&architecture, *tokens as usize, seed)
            };
            ((0..batch).map(row).collect::<Result<Vec<_>, _>>()?, None, None)
        }
        Prompt::Text(text) => {
            let tokenizer = model::tokenizer(&model.form)?;
            let row = prompt::from_text(&tokenizer, bos, text)?;
            (vec![row; batch], Some(vec![text.clone(); batch]), None)
        }
        Prompt::Texts { texts, pad_to } => {
            let tokenizer = model::tokenizer(&model.form)?;
            let chosen: Vec<String> = texts.iter().cycle().take(batch).cloned().collect();
            let ids = chosen.iter().map(|text| prompt::from_text(&tokenizer, bos, text));
            (ids.collect::<Result<Vec<_>, _>>()?, Some(chosen), *pad_to)
        }
        Prompt::File { path, tokens } => {
            let tokenizer = model::tokenizer(&model.form)?;
            let row = prompt::from_file(&tokenizer, bos, path, *tokens as usize)?;
            (vec![row; batch], None, None)
        }
    };
    if !matches!(scenario.prompt, Prompt::Tokens(_)) {
        rows_in_vocabulary(model, &architecture, &ids)?;
    }
    let longest = ids.iter().map(Vec::len).max().unwrap_or(0);
    if let Some(pad_to) = pad_to.filter(|&pad| longest > pad as usize) {
        return Err(PromptError::LongerThanPadding { tokens: longest, pad_to });
    }
    let padded_to = pad_to.unwrap_or_else(|| u32::try_from(longest).unwrap_or(u32::MAX));
    Ok(Rows { ids, texts, padded_to })
}

/// Refuses a row with a token that the model has no row for, before an engine is asked.
fn rows_in_vocabulary(model: &ModelSource, architecture: &Architecture, rows: &[Vec<u32>]) -> Result<(), PromptError> {
    let known = |ids: &Vec<u32>| ids.iter().all(|&id| (id as usize) < architecture.vocab);
    let Some(row) = rows.iter().position(|ids| !known(ids)) else {
        return Ok(());
    };
    let checked = model::tokenizer(&model.form)
        .and_then(|tokenizer| prompt::within_vocabulary(&tokenizer, architecture, &rows[row]));
    checked.map_err(|source| PromptError::Row { row: row + 1, source: Box::new(source) })
}
