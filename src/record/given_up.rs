//! Cells that were given up because nothing could be measured on: what became of their loads and sessions.

use std::collections::HashMap;

use crate::record::plan::{Cell, CellId, Plan, SessionKey};
use crate::record::{CallRecord, Decision, Line, Rule};
use crate::terms::Role;

/// A cell that was given up.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenUp<'a> {
    /// The cell.
    pub cell: &'a Cell,
    /// The rule that gave it up.
    pub decision: &'a Decision,
    /// What the engine said last. `None`: nothing.
    pub words: Option<&'a str>,
    /// Timed calls that it was to have at least, and never had.
    pub missing: u32,
}

/// How many timed calls cells have, those that were made again aside.
#[derive(Debug, Default)]
pub struct TimedCalls(HashMap<CellId, u32>);

impl TimedCalls {
    /// Counts one more call.
    pub fn count(&mut self, call: &CallRecord, plan: &Plan) {
        if call.role != Role::Timed || call.is_made_again(plan.retries()) {
            return;
        }
        match self.0.get_mut(&*call.cell_id) {
            Some(count) => *count = count.saturating_add(1),
            None => drop(self.0.insert(CellId::clone(&call.cell_id), 1)),
        }
    }

    fn of(&self, cell: &Cell) -> u32 {
        self.0.get(&cell.id).copied().unwrap_or(0)
    }
}

/// The cells of a plan that were given up, in the plan's order.
#[must_use]
pub fn given_up<'a>(lines: &'a [Line], plan: &'a Plan) -> Vec<GivenUp<'a>> {
    let mut timed = TimedCalls::default();
    calls(lines).for_each(|call| timed.count(call, plan));
    given_up_of(lines, plan, &timed)
}

/// As [`given_up`], of lines from which calls may be missing that did not end their session; `timed` has counted all.
#[must_use]
pub fn given_up_of<'a>(lines: &'a [Line], plan: &'a Plan, timed: &TimedCalls) -> Vec<GivenUp<'a>> {
    let decisions: Vec<&Decision> = standing(lines).collect();
    let of_cell = |cell: &'a Cell| {
        let gives_up = |decision: &&&Decision| matches!(decision.rule, Rule::LoadFailed | Rule::SessionLost);
        let decision = decisions.iter().filter(gives_up).find(|decision| decision.cell_id == cell.id)?;
        let words = match decision.rule {
            Rule::LoadFailed => last_failed_load(lines, &cell.session),
            Rule::SessionLost => last_loss(lines, cell),
            Rule::NarrowEnough | Rule::MaxCalls => None,
        };
        let missing = plan.division().fewest_calls().saturating_sub(timed.of(cell));
        Some(GivenUp { cell, decision, words, missing })
    };
    plan.cells.iter().filter_map(of_cell).collect()
}

/// The decisions that stand: one that gave a cell up since its session did not load is taken back by the next process that
/// takes the run up.
pub fn standing(lines: &[Line]) -> impl Iterator<Item = &Decision> {
    let last_opened = lines.iter().rposition(|line| matches!(line, Line::Opened(_)));
    lines.iter().enumerate().filter_map(move |(at, line)| match line {
        Line::Decision(decision) if decision.rule != Rule::LoadFailed || Some(at) > last_opened => Some(&**decision),
        _ => None,
    })
}

/// The decisions that stand, by their cell.
#[must_use]
pub fn standing_by_cell(lines: &[Line]) -> HashMap<&CellId, Vec<&Decision>> {
    let mut by_cell: HashMap<&CellId, Vec<&Decision>> = HashMap::new();
    for decision in standing(lines) {
        by_cell.entry(&decision.cell_id).or_default().push(decision);
    }
    by_cell
}

/// Sessions of a plan that have no cell left, in the plan's order.
#[must_use]
pub fn sessions_given_up<'a>(given_up: &[GivenUp<'_>], plan: &'a Plan) -> Vec<&'a SessionKey> {
    let gone = |key: &SessionKey| {
        let own = || plan.cells.iter().filter(|cell| cell.session == *key);
        own().count() > 0 && own().all(|cell| given_up.iter().any(|given_up| given_up.cell.id == cell.id))
    };
    plan.sessions.iter().map(|session| &session.key).filter(|key| gone(key)).collect()
}

fn last_failed_load<'a>(lines: &'a [Line], session: &SessionKey) -> Option<&'a str> {
    let loads = lines.iter().rev().filter_map(|line| match line {
        Line::Load(load) => Some(&**load),
        _ => None,
    });
    let mut failed = loads.filter(|load| load.session == *session && !load.status.is_ok());
    failed.find_map(|load| load.detail.as_deref())
}

fn last_loss<'a>(lines: &'a [Line], cell: &Cell) -> Option<&'a str> {
    let lost = |call: &&CallRecord| call.cell_id == cell.id && call.session_lost;
    calls(lines).rev().filter(lost).find_map(|call| call.detail.as_deref())
}

fn calls(lines: &[Line]) -> impl DoubleEndedIterator<Item = &CallRecord> {
    lines.iter().filter_map(|line| match line {
        Line::Call(call) => Some(&**call),
        _ => None,
    })
}
