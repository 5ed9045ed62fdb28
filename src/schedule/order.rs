//! The three orders: what ranks a cell's next timed call, and which sessions are resident for it. Where cells are measured in
//! several sessions, the order holds within each of the `passes`.

use std::collections::{BTreeMap, BTreeSet};

use crate::hash::seeded;
use crate::record::plan::{Plan, SessionKey};
use crate::terms::{Division, Order, Repetitions};
use crate::units::Bytes;

use super::passes;

/// A rank: compared element by element.
pub type Key = [u64; 4];

/// The seeded order of a plan, worked out once.
#[derive(Debug, Clone)]
pub struct Ordering {
    order: Order,
    division: Division,
    /// For each pass the places of what is measured together: sessions, residency groups or cells. Empty where cells are
    /// measured in one session.
    passes: Vec<Vec<u64>>,
    /// Session of each cell.
    sessions: Vec<usize>,
    /// Rank of each session, pass by pass; one pass where cells are measured in one session.
    session_ranks: Vec<Vec<u64>>,
    /// Rank of each cell, pass by pass.
    cell_ranks: Vec<Vec<u64>>,
    /// Residency group of each session; all 0 but for `interleaved`.
    groups: Vec<usize>,
    group_count: usize,
    /// For each cell the ranks of its repetitions, ascending.
    repetitions: Vec<Vec<Key>>,
}

impl Ordering {
    /// Works out the order.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let index: BTreeMap<_, _> = plan.sessions.iter().enumerate().map(|(i, s)| (&s.key, i)).collect();
        let sessions: Vec<usize> =
            plan.cells.iter().map(|c| index.get(&c.session).copied().unwrap_or_default()).collect();
        let several = plan.session_count.is_several();
        let pass_count = if several { plan.session_count.max } else { 1 };
        let (session_ranks, cell_ranks) = (session_ranks(plan, pass_count), cell_ranks(plan, pass_count));
        let groups = match plan.order {
            Order::Interleaved => residency_groups(plan),
            Order::Blocked | Order::Shuffled => vec![0; plan.sessions.len()],
        };
        let group_count = groups.iter().max().map_or(1, |g| g + 1);
        let units = match plan.order {
            Order::Blocked => plan.sessions.len(),
            Order::Interleaved => group_count,
            Order::Shuffled => plan.cells.len(),
        };
        let passes = if several { passes::places(plan.seed, pass_count, units) } else { Vec::new() };
        let mut ordering = Self {
            order: plan.order,
            division: plan.division(),
            passes,
            sessions,
            session_ranks,
            cell_ranks,
            groups,
            group_count,
            repetitions: Vec::new(),
        };
        ordering.repetitions = (0..plan.cells.len()).map(|c| ordering.keys(plan, c)).collect();
        ordering
    }

    /// Rank of the call that follows a cell's first `done` timed calls.
    #[must_use]
    pub fn key(&self, cell: usize, done: u32) -> Key {
        let keys = &self.repetitions[cell];
        keys.get(done as usize).or(keys.last()).copied().unwrap_or_default()
    }

    /// Which of a cell's sessions the call after its first `done` timed calls belongs to.
    #[must_use]
    pub fn session_index(&self, done: u32) -> u32 {
        self.division.session_of(done)
    }

    /// The sessions to keep loaded for a call of this cell.
    #[must_use]
    pub fn resident_for(&self, cell: usize) -> BTreeSet<usize> {
        let own = self.sessions[cell];
        match self.order {
            Order::Blocked | Order::Shuffled => BTreeSet::from([own]),
            Order::Interleaved => (0..self.groups.len()).filter(|&s| self.groups[s] == self.groups[own]).collect(),
        }
    }

    /// Index of a cell's session.
    #[must_use]
    pub fn session_of(&self, cell: usize) -> usize {
        self.sessions[cell]
    }

    /// How often everything is loaded anew: once, or for each of a cell's sessions.
    #[must_use]
    pub fn pass_count(&self) -> usize {
        self.session_ranks.len()
    }

    /// Place of a session in the order of loads of a pass.
    #[must_use]
    pub fn session_rank(&self, session: usize, pass: usize) -> u64 {
        self.session_ranks[pass][session]
    }

    /// Place of a cell in the order of warmups of a pass.
    #[must_use]
    pub fn warmup_rank(&self, cell: usize, pass: usize) -> u64 {
        self.cell_ranks[pass][cell]
    }

    /// Ranks of a cell's repetitions, ascending.
    fn keys(&self, plan: &Plan, cell: usize) -> Vec<Key> {
        let calls = 0..self.division.most_calls();
        let mut keys: Vec<Key> = if self.passes.is_empty() {
            calls.map(|repetition| self.key_of_one(plan, cell, repetition)).collect()
        } else {
            calls.map(|repetition| self.key_of_several(plan, cell, repetition)).collect()
        };
        keys.sort_unstable();
        keys
    }

    /// Where a cell is measured in one session.
    fn key_of_one(&self, plan: &Plan, cell: usize, repetition: u32) -> Key {
        let session = self.sessions[cell];
        let draw = draw(plan, cell, repetition);
        match self.order {
            Order::Blocked => {
                // One random permutation of cells × repetitions; past the fewest calls, a round each.
                let block = match plan.repetitions {
                    Repetitions::Fixed(_) => 0,
                    Repetitions::Adaptive { .. } => u64::from((repetition + 1).saturating_sub(plan.repetitions.min())),
                };
                [self.session_ranks[0][session], block, draw, 0]
            }
            Order::Interleaved => {
                // Groups take turns at being first, so that none is always measured last.
                let turn = (self.groups[session] + repetition as usize) % self.group_count;
                [u64::from(repetition), turn as u64, draw, 0]
            }
            Order::Shuffled => [self.cell_ranks[0][cell], u64::from(repetition), 0, 0],
        }
    }

    /// Where it is measured in several: pass, place of what is measured together, and the order within that.
    fn key_of_several(&self, plan: &Plan, cell: usize, repetition: u32) -> Key {
        let pass = self.division.session_of(repetition);
        let (session, places) = (self.sessions[cell], &self.passes[pass as usize]);
        let draw = draw(plan, cell, repetition);
        match self.order {
            Order::Blocked => [u64::from(pass), places[session], draw, 0],
            Order::Interleaved => [u64::from(pass), places[self.groups[session]], u64::from(repetition), draw],
            Order::Shuffled => [u64::from(pass), places[cell], u64::from(repetition), 0],
        }
    }
}

/// Which session is loaded first may decide how fast it is for as long as it lives: in twelve sessions of two equal ONNX
/// Runtimes in turns, the one that was always loaded second was 6 % faster in each.
fn session_ranks(plan: &Plan, passes: u32) -> Vec<Vec<u64>> {
    passes::there_and_back(passes, |pair| {
        let keys = plan.sessions.iter().map(|session| &session.key);
        let drawn = keys.map(|key| drawn_for(plan, &["session", &key.backend, &key.model], pair));
        ranks(&drawn.collect::<Vec<_>>())
    })
}

fn cell_ranks(plan: &Plan, passes: u32) -> Vec<Vec<u64>> {
    passes::there_and_back(passes, |pair| {
        let drawn = plan.cells.iter().map(|cell| drawn_for(plan, &["cell", &cell.id.0, ""], pair));
        ranks(&drawn.collect::<Vec<_>>())
    })
}

/// A random number for a pair of passes.
fn drawn_for(plan: &Plan, name: &[&str], pair: u32) -> u64 {
    match pair {
        0 => seeded(plan.seed, name),
        later => seeded(plan.seed, &[name, &[&later.to_string()]].concat()),
    }
}

/// A random place for a timed call.
fn draw(plan: &Plan, cell: usize, repetition: u32) -> u64 {
    seeded(plan.seed, &["timed", &plan.cells[cell].id.0, &repetition.to_string()])
}

/// Which sessions are resident together: residency groups of the interleaved order, else each session by itself.
#[must_use]
pub fn residency(plan: &Plan) -> Vec<Vec<SessionKey>> {
    let groups = match plan.order {
        Order::Interleaved => residency_groups(plan),
        Order::Blocked | Order::Shuffled => (0..plan.sessions.len()).collect(),
    };
    let count = groups.iter().max().map_or(0, |g| g + 1);
    let mut sets = vec![Vec::new(); count];
    for (session, group) in groups.into_iter().enumerate() {
        sets[group].push(plan.sessions[session].key.clone());
    }
    sets
}

/// Sessions that fit into the memory budget and their backends' limits together. Sessions of one model are kept
/// together where they fit, since they are what is compared.
fn residency_groups(plan: &Plan) -> Vec<usize> {
    let mut order: Vec<usize> = (0..plan.sessions.len()).collect();
    order.sort_by_key(|&s| {
        let key = &plan.sessions[s].key;
        (seeded(plan.seed, &["group", &key.model]), seeded(plan.seed, &["group", &key.model, &key.backend]))
    });
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for session in order {
        let candidate = &plan.sessions[session];
        let fits = |members: &Vec<usize>| {
            let resident = || members.iter().map(|&m| plan.sessions[m].resident_bytes);
            let beside = members.iter().filter(|&&m| plan.sessions[m].key.backend == candidate.key.backend).count();
            resident().chain([candidate.resident_bytes]).sum::<Bytes>() <= plan.memory_budget_bytes
                && candidate.max_resident.is_none_or(|most| beside < most as usize)
        };
        match groups.iter_mut().find(|members| fits(members)) {
            Some(members) => members.push(session),
            None => groups.push(vec![session]),
        }
    }
    let mut group_of = vec![0; plan.sessions.len()];
    for (group, members) in groups.iter().enumerate() {
        for &member in members {
            group_of[member] = group;
        }
    }
    group_of
}

/// Places in ascending order of the values.
fn ranks(values: &[u64]) -> Vec<u64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by_key(|&i| (values[i], i));
    let mut ranks = vec![0; values.len()];
    for (rank, &i) in order.iter().enumerate() {
        ranks[i] = rank as u64;
    }
    ranks
}
