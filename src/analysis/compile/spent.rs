//! What compiling a cell's shape took, in its own steps and inside calls.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::CompileRecord;
use crate::store::Recording;
use crate::terms::CompileEvidence;
use crate::units::Nanos;

use super::audited::Audited;
use super::cache::CacheState;
use super::tally::Tally;

/// What compiling a cell's shape took in one load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    pub(super) in_steps: Nanos,
    pub(super) in_calls: Nanos,
    /// Graphs compiled.
    pub(super) graphs: u64,
    pub(super) cache: CacheState,
}

impl Spent {
    /// The load with the coldest cache, and of these the one that compiled longest.
    pub(super) fn of(cell: &Audited<'_>, steps: &[(u32, &CompileEvidence)]) -> Self {
        let mut in_steps: BTreeMap<u32, Tally> = BTreeMap::new();
        let mut in_calls: BTreeMap<u32, Tally> = BTreeMap::new();
        for &(load, evidence) in steps {
            *in_steps.entry(load).or_default() += evidence.into();
        }
        for call in &cell.calls {
            *in_calls.entry(call.call.load_index).or_default() += call.tally();
        }
        let loads: BTreeSet<u32> = in_steps.keys().chain(in_calls.keys()).copied().collect();
        let spent = loads.into_iter().map(|load| {
            let in_steps = in_steps.get(&load).copied().unwrap_or_default();
            Self::in_load(in_steps, in_calls.get(&load).copied().unwrap_or_default())
        });
        let longest = spent.max_by_key(|spent| (spent.time() > Nanos(0) && spent.cache.is_all_work(), spent.time()));
        longest.unwrap_or_else(|| Self::in_load(Tally::default(), Tally::default()))
    }

    fn in_load(steps: Tally, calls: Tally) -> Self {
        let both = steps + calls;
        Self {
            in_steps: steps.compile_time,
            in_calls: calls.compile_time,
            graphs: both.unique_graphs,
            cache: CacheState::of(both.cache_hits, both.cache_misses),
        }
    }

    fn time(&self) -> Nanos {
        self.in_steps + self.in_calls
    }

    /// Why compiling took no time. `None`: it took some.
    pub(super) fn why_no_time(&self, shares_graph: bool) -> Option<&'static str> {
        let reason = if shares_graph { "another shape's graph serves this one" } else { "nothing was compiled" };
        (self.time() == Nanos(0)).then_some(reason)
    }
}

/// The compile steps of the cell's shape and mode, each with its load.
pub(super) fn steps<'a>(cell: &Audited<'_>, recording: &'a Recording) -> Vec<(u32, &'a CompileEvidence)> {
    let planned = cell.group.cell;
    let padded = cell.calls.first().and_then(|call| call.row.prompt_padded()).or(planned.prompt_tokens);
    let same = |step: &&CompileRecord| {
        step.procedure == planned.procedure
            && (step.batch, Some(step.prompt_tokens), step.steps) == (planned.batch, padded, planned.gen_tokens)
    };
    let loads = recording.loads().filter(|load| load.session == planned.session);
    let steps = loads.flat_map(|load| load.compiled.iter().filter(same).map(|step| (load.load_index, step)));
    let phases = steps.flat_map(|(load, step)| step.phases.iter().map(move |phase| (load, phase)));
    phases.filter(|(_, phase)| phase.phase.mode() == cell.group.mode).collect()
}
