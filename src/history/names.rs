//! What the cells of a history are called: as short as may be, and no two alike.

use std::collections::BTreeMap;

use crate::comparison::CellName;

/// One thing that a cell is, in words.
type Aspect = fn(&CellName) -> String;

/// What [`CellName::words`] leaves out where it tells nothing to most readers.
const ASPECTS: [Aspect; 9] = [
    |cell| format!("prompt tokens: {}", cell.told_prompt()),
    |cell| format!("{} steps", cell.gen_tokens),
    |cell| format!("weights {:.12}", cell.weights_id),
    |cell| cell.dtype.clone(),
    CellName::measured_by,
    |cell| if cell.scripted { "scripted".to_owned() } else { "not scripted".to_owned() },
    |cell| format!("clock: {}", cell.told_clock()),
    early_stop,
    |cell| format!("timed: {}", cell.boundary.as_deref().unwrap_or("not told")),
];

fn early_stop(cell: &CellName) -> String {
    let Some(rule) = cell.early_stop else { return "no rule for calls that end early".to_owned() };
    let scaled = if rule.scale { format!("scaled from {} steps on", rule.min_steps) } else { "not scaled".to_owned() };
    format!("calls that end early: made again {} times at most, {scaled}", rule.retries)
}

/// A name for each cell, in their order. Those that have the same words have what tells them apart behind these.
pub(super) fn names(cells: &[CellName]) -> Vec<String> {
    let mut alike: BTreeMap<String, Vec<&CellName>> = BTreeMap::new();
    for cell in cells {
        alike.entry(cell.words()).or_default().push(cell);
    }
    cells.iter().map(|cell| name(cell, &alike[&cell.words()])).collect()
}

fn name(cell: &CellName, alike: &[&CellName]) -> String {
    let told = ASPECTS.into_iter().filter(|aspect| alike.iter().any(|&other| aspect(other) != aspect(cell)));
    let apart: Vec<String> = told.map(|aspect| aspect(cell)).collect();
    if apart.is_empty() { cell.words() } else { format!("{} ({})", cell.words(), apart.join(", ")) }
}

#[cfg(test)]
mod tests {
    use crate::comparison::PromptTokens;
    use crate::terms::Mode;

    use super::*;

    fn cell(scenario: &str, prompt: f64, clock: Option<&str>) -> CellName {
        CellName {
            backend: "b".to_owned(),
            model: "m".to_owned(),
            weights_id: "0123456789abcdef".to_owned(),
            dtype: "f32".to_owned(),
            scenario: scenario.to_owned(),
            batch: 1,
            prompt_tokens: Some(PromptTokens(prompt)),
            gen_tokens: 8,
            mode: Mode::Prefill,
            early_stop: None,
            scripted: false,
            clock: clock.map(str::to_owned),
            boundary: None,
            imported_from: None,
        }
    }

    #[test]
    fn cells_that_would_be_called_alike_are_told_apart_by_what_differs() {
        let cells = [cell("s", 9.0, None), cell("t", 9.0, None), cell("s", 17.0, None), cell("s", 17.0, Some("cuda"))];
        let expected = [
            "b · m · s · prefill (prompt tokens: 9, clock: not told)",
            "b · m · t · prefill",
            "b · m · s · prefill (prompt tokens: 17, clock: not told)",
            "b · m · s · prefill (prompt tokens: 17, clock: cuda)",
        ];
        assert_eq!(names(&cells), expected);
    }
}
