//! `--only key=value[,key=value…]`: the part of the matrix that is measured.

use std::fmt;

use crate::record::plan::Cell;
use crate::scenario::{ScenarioFile, nearest};

/// Which cells are kept. The default keeps all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Only {
    backends: Vec<String>,
    models: Vec<String>,
    scenarios: Vec<String>,
}

/// Why a filter makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OnlyError {
    /// A part that is not `key=value`.
    #[error("--only: `{0}` is not key=value, known keys: backend, model, scenario")]
    Syntax(String),
    /// A key that cells do not have.
    #[error("--only: unknown key `{0}`, known: backend, model, scenario")]
    Key(String),
    /// A name that the scenario file does not have.
    #[error("--only: there is no {key} `{value}`, known: {}{}", known.join(", "), near(nearest.as_deref()))]
    Value {
        /// The key.
        key: &'static str,
        /// The name.
        value: String,
        /// The names there are.
        known: Vec<String>,
        /// The one that was perhaps meant.
        nearest: Option<String>,
    },
}

fn near(nearest: Option<&str>) -> String {
    nearest.map(|n| format!("; nearest: {n}")).unwrap_or_default()
}

impl Only {
    /// Reads a filter's `key=value` parts. A key that is given several times keeps any of its values; none keep every cell.
    ///
    /// # Errors
    /// A part that is not `key=value`, an unknown key, a name that `file` does not have.
    pub fn parse(parts: &[impl AsRef<str>], file: &ScenarioFile) -> Result<Self, OnlyError> {
        let mut only = Self::default();
        for part in parts.iter().map(|part| part.as_ref().trim()) {
            let Some((key, value)) = part.split_once('=') else {
                return Err(OnlyError::Syntax(part.to_owned()));
            };
            let (key, values, known): (_, _, Vec<&str>) = match key.trim() {
                "backend" => ("backend", &mut only.backends, file.backends.iter().map(|b| b.name.as_str()).collect()),
                "model" => ("model", &mut only.models, file.models.iter().map(|m| m.name.as_str()).collect()),
                "scenario" => {
                    ("scenario", &mut only.scenarios, file.scenarios.iter().map(|s| s.name.as_str()).collect())
                }
                other => return Err(OnlyError::Key(other.to_owned())),
            };
            let value = value.trim();
            if !known.contains(&value) {
                return Err(OnlyError::Value {
                    key,
                    value: value.to_owned(),
                    nearest: nearest(value, &known).map(str::to_owned),
                    known: known.into_iter().map(str::to_owned).collect(),
                });
            }
            values.push(value.to_owned());
        }
        Ok(only)
    }

    /// Whether a cell is kept.
    #[must_use]
    pub fn keeps(&self, cell: &Cell) -> bool {
        let keeps = |names: &[String], name: &String| names.is_empty() || names.contains(name);
        keeps(&self.backends, &cell.session.backend)
            && keeps(&self.models, &cell.session.model)
            && keeps(&self.scenarios, &cell.scenario)
    }
}

/// As it is written on the command line.
impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axes = [("backend", &self.backends), ("model", &self.models), ("scenario", &self.scenarios)];
        let parts = axes.iter().flat_map(|(key, names)| names.iter().map(move |n| format!("{key}={n}")));
        f.write_str(&parts.collect::<Vec<_>>().join(","))
    }
}
