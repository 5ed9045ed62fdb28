//! Whether a cell takes further calls.

use super::enough::{self, Stop};
use super::order::Ordering;
use super::recorded::{CellState, Recorded};
use super::task::MOST_LOAD_FAILURES;
use crate::record::plan::Plan;
use crate::record::{Decision, Rule};

/// So often a session that a cell's calls have ended is started again for it; after that the cell is given up.
const MOST_RESTARTS: u32 = 1;

/// Whether a cell is to take no further calls, and by which rule.
pub(super) fn verdict(plan: &Plan, ordering: &Ordering, recorded: &Recorded, cell: usize) -> Option<Decision> {
    let state = recorded.cell(cell);
    let load_failures = recorded.load_failures(ordering.session_of(cell));
    let enough = || match plan.division() {
        division if division.sessions.is_several() => enough::by_sessions(division, state.timed, state.sessions_ci),
        _ => state.enough.clone(),
    };
    let stop = broken(state, load_failures).or_else(enough)?;
    let cell_id = plan.cells[cell].id.clone();
    Some(Decision { cell_id, rule: stop.rule, calls_ok: state.good, relative_ci: stop.relative_ci, why: stop.why })
}

/// A cell whose session cannot be loaded, or does not survive its calls.
fn broken(state: &CellState, load_failures: u32) -> Option<Stop> {
    if load_failures >= MOST_LOAD_FAILURES {
        let why = format!("its session failed to load {load_failures} times in a row");
        return Some(Stop { rule: Rule::LoadFailed, relative_ci: None, why });
    }
    if state.losses > MOST_RESTARTS {
        let why = format!("its calls ended the session {} times", state.losses);
        return Some(Stop { rule: Rule::SessionLost, relative_ci: None, why });
    }
    None
}
