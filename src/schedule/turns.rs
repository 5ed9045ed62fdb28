//! Whose turn it is, without a look at every cell before every call.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::event::Event;
use super::order::{Key, Ordering};
use super::recorded::Recorded;
use super::verdict::verdict;
use crate::record::Decision;
use crate::record::plan::Plan;

/// Where to look first for the next task. It says nothing that plan and record do not: made anew at any time it leads to the
/// same tasks.
#[derive(Debug, Clone)]
pub struct Turns {
    /// Open cells by the rank of their next call, or of an earlier one: a cell's ranks only rise.
    ranked: BinaryHeap<Reverse<(Key, usize)>>,
    /// Cells that a rule may stop now.
    doubtful: BTreeSet<usize>,
    /// Cells of each session, pass by pass in the order of its warmups.
    of_session: Vec<Vec<Vec<usize>>>,
    /// Of each session a load, and how many of its cells are owed no warmup on it any more.
    warmed: Vec<Option<(u32, usize)>>,
    /// Something happened that may change any cell.
    outdated: bool,
}

impl Turns {
    /// As plan and record are now.
    #[must_use]
    pub fn new(plan: &Plan, ordering: &Ordering, recorded: &Recorded) -> Self {
        let mut of_session: Vec<Vec<usize>> = plan.sessions.iter().map(|_| Vec::new()).collect();
        for cell in 0..plan.cells.len() {
            of_session[ordering.session_of(cell)].push(cell);
        }
        let in_pass = |pass: usize| {
            let mut of_session = of_session.clone();
            for cells in &mut of_session {
                cells.sort_by_key(|&cell| ordering.warmup_rank(cell, pass));
            }
            of_session
        };
        let mut turns = Self {
            ranked: BinaryHeap::new(),
            doubtful: BTreeSet::new(),
            warmed: vec![None; plan.sessions.len()],
            of_session: (0..ordering.pass_count()).map(in_pass).collect(),
            outdated: true,
        };
        turns.look_again(plan, ordering, recorded);
        turns
    }

    /// Takes one more event into account; the record has it, or is about to.
    pub fn note(&mut self, event: &Event, recorded: &Recorded) {
        match event {
            // How narrow one cell is may depend on the sessions of all.
            Event::Call { .. } if recorded.is_judged_together() => self.outdated = true,
            Event::Call { cell, .. } => {
                self.doubtful.insert(*cell);
            }
            Event::Opened { .. } | Event::Load { ok: false, .. } => self.outdated = true,
            Event::Load { .. } | Event::Looped { .. } | Event::Referenced | Event::Stopped(_) | Event::Finished => {}
        }
    }

    /// Looks at every cell where that is called for.
    pub(super) fn look_again(&mut self, plan: &Plan, ordering: &Ordering, recorded: &Recorded) {
        if !self.outdated {
            return;
        }
        self.outdated = false;
        self.warmed.fill(None);
        let open = (0..plan.cells.len()).filter(|&cell| recorded.is_open(plan, cell));
        self.ranked = open.clone().map(|cell| Reverse((ordering.key(cell, recorded.cell(cell).timed), cell))).collect();
        self.doubtful = open.filter(|&cell| verdict(plan, ordering, recorded, cell).is_some()).collect();
    }

    /// The first cell that a rule stops now, and why. `None`: none.
    pub(super) fn stopped(&mut self, plan: &Plan, ordering: &Ordering, recorded: &Recorded) -> Option<Decision> {
        while let Some(&cell) = self.doubtful.first() {
            let decision = Some(cell).filter(|&cell| recorded.is_open(plan, cell));
            let decision = decision.and_then(|cell| verdict(plan, ordering, recorded, cell));
            if decision.is_some() {
                return decision;
            }
            self.doubtful.pop_first();
        }
        None
    }

    /// The open cell whose next call has the lowest rank. `None`: none is open.
    pub(super) fn target(&mut self, plan: &Plan, ordering: &Ordering, recorded: &Recorded) -> Option<usize> {
        while let Some(mut first) = self.ranked.peek_mut() {
            let Reverse((rank, cell)) = *first;
            if !recorded.is_open(plan, cell) {
                std::collections::binary_heap::PeekMut::pop(first);
                continue;
            }
            let now = ordering.key(cell, recorded.cell(cell).timed);
            if now == rank {
                return Some(cell);
            }
            *first = Reverse((now, cell));
        }
        None
    }

    /// Cells of a session.
    pub(super) fn of_session(&self, session: usize) -> &[usize] {
        &self.of_session[0][session]
    }

    /// The first cell of a session that is owed a warmup on its present load, which is one of this pass. What is owed none
    /// now is owed none until the next load.
    pub(super) fn warming(
        &mut self,
        session: usize,
        pass: usize,
        load: u32,
        is_owed: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let cells = &self.of_session[pass][session];
        let (_, warmed) = self.warmed[session].filter(|(known, _)| *known == load).unwrap_or((load, 0));
        let next = (warmed..cells.len()).find(|&place| is_owed(cells[place]));
        self.warmed[session] = Some((load, next.unwrap_or(cells.len())));
        next.map(|place| cells[place])
    }
}
