//! `--gate key=value[,key=value…]`: the cells that decide the exit code.

use std::collections::BTreeSet;

use crate::comparison::{CellRow, Comparison, Gate};
use crate::terms::Mode;

/// Why a gate makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// A part that is not `key=value`, or of a key that cells do not have.
    #[error("--gate: `{0}` is not key=value, known keys: backend, model, scenario, mode")]
    Syntax(String),
    /// A name that no cell has.
    #[error("--gate: there is no {key} `{value}`, known: {}", known.join(", "))]
    Value {
        /// The key.
        key: &'static str,
        /// The name.
        value: String,
        /// The names there are.
        known: Vec<String>,
    },
}

/// Reads a gate. A key that is given several times lets any of its values in.
pub(super) fn parse(text: &str, comparisons: &[Comparison]) -> Result<Gate, GateError> {
    let cells: Vec<&CellRow> = comparisons.iter().flat_map(|comparison| &comparison.cells).collect();
    let mut gate = Gate::default();
    for part in text.split(',').map(str::trim) {
        let (key, value) = part.split_once('=').ok_or_else(|| GateError::Syntax(part.to_owned()))?;
        let value = value.trim().to_owned();
        match key.trim() {
            "backend" => {
                let known = cells.iter().flat_map(|cell| [Some(cell.backend.as_str()), cell.backend_b.as_deref()]);
                gate.backends.push(known_value("backend", value, known.flatten())?);
            }
            "model" => gate.models.push(known_value("model", value, cells.iter().map(|cell| cell.model.as_str()))?),
            "scenario" => {
                gate.scenarios.push(known_value("scenario", value, cells.iter().map(|cell| cell.scenario.as_str()))?);
            }
            "mode" => {
                let name = known_value("mode", value, cells.iter().map(|cell| cell.mode.as_str()))?;
                gate.modes.extend(Mode::ALL.iter().copied().filter(|mode| mode.as_str() == name));
            }
            _ => return Err(GateError::Syntax(part.to_owned())),
        }
    }
    Ok(gate)
}

fn known_value<'a>(
    key: &'static str,
    value: String,
    known: impl Iterator<Item = &'a str>,
) -> Result<String, GateError> {
    let known: BTreeSet<&str> = known.collect();
    if known.contains(value.as_str()) {
        return Ok(value);
    }
    Err(GateError::Value { key, value, known: known.into_iter().map(str::to_owned).collect() })
}
