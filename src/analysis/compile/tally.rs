//! What a compiler did, added up over calls and compile steps.

use std::iter::Sum;
use std::ops::{Add, AddAssign};

use crate::terms::CompileEvidence;
use crate::units::Nanos;

/// Counts and times of several pieces of evidence; see [`CompileEvidence`] for each.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) calls: u64,
    pub(super) executions: u64,
    pub(super) unique_graphs: u64,
    pub(super) graph_breaks: u64,
    pub(super) recompiles: u64,
    pub(super) guard_failures: u64,
    pub(super) cache_hits: u64,
    pub(super) cache_misses: u64,
    pub(super) compile_time: Nanos,
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            executions: self.executions.saturating_add(other.executions),
            unique_graphs: self.unique_graphs.saturating_add(other.unique_graphs),
            graph_breaks: self.graph_breaks.saturating_add(other.graph_breaks),
            recompiles: self.recompiles.saturating_add(other.recompiles),
            guard_failures: self.guard_failures.saturating_add(other.guard_failures),
            cache_hits: self.cache_hits.saturating_add(other.cache_hits),
            cache_misses: self.cache_misses.saturating_add(other.cache_misses),
            compile_time: self.compile_time + other.compile_time,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Self::add)
    }
}

impl From<&CompileEvidence> for Tally {
    fn from(evidence: &CompileEvidence) -> Self {
        Self {
            calls: evidence.calls,
            executions: evidence.executions,
            unique_graphs: evidence.unique_graphs,
            graph_breaks: evidence.graph_breaks,
            recompiles: evidence.recompiles,
            guard_failures: evidence.guard_failures,
            cache_hits: evidence.cache_hits,
            cache_misses: evidence.cache_misses,
            compile_time: evidence.compile_ns,
        }
    }
}
