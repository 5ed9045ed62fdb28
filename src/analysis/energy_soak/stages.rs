//! The stages of a run: stretches left alone, calls that follow each other, loops for the sensor.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::record::{CallRecord, IdleRecord, IdleWhen, Line, LoadRecord, LoopRecord};
use crate::store::Recording;
use crate::units::Nanos;

/// Stretch over which a steady load must stand still, divided into three blocks.
pub const STEADY_S: f64 = 30.0;

/// Blocks whose mean powers are compared.
pub(super) const BLOCKS: usize = 3;

/// Longest pause between two calls of one stage.
const LONGEST_PAUSE: Nanos = Nanos(1_000_000_000);

/// What went on in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Left alone before anything was loaded.
    IdleBefore,
    /// Left alone with a model loaded.
    IdleLoaded,
    /// Calls, one after the other.
    Calls,
    /// One procedure repeated without pause.
    Loop,
    /// Left alone after the last call, everything freed.
    IdleAfter,
}

/// A stage before a sensor is asked about it.
pub(super) struct Stretch<'a> {
    pub(super) epoch: u32,
    pub(super) stage: Stage,
    pub(super) models: BTreeSet<&'a str>,
    pub(super) scenarios: BTreeSet<&'a str>,
    /// Calls, or the loop. Empty: idle.
    pub(super) ids: Vec<&'a str>,
    pub(super) begin: Nanos,
    pub(super) end: Nanos,
    /// Where it may be cut without cutting a call. Empty: anywhere.
    pub(super) cuts: Vec<Nanos>,
}

/// The stages of a record in its order.
pub(super) fn stretches(recording: &Recording) -> Vec<Stretch<'_>> {
    let mut stages = Stages::default();
    for line in &recording.lines {
        match line {
            Line::Call(call) => stages.call(call),
            Line::Loop(looped) => stages.looped(looped),
            Line::Idle(idle) => stages.idle(idle),
            Line::Load(load) => stages.load(load),
            Line::Opened(_) => stages.goes_on = false,
            Line::Reference(_) => stages.goes_on = false,
            Line::Header(_) | Line::Imported(_) | Line::Stated(_) | Line::Decision(_) | Line::Finished(_) => {}
        }
    }
    stages.found
}

/// The stages of the lines so far.
#[derive(Default)]
struct Stages<'a> {
    found: Vec<Stretch<'a>>,
    /// Whether the last one is of calls, which a call right after it belongs to.
    goes_on: bool,
    /// Models by the loads that brought them in.
    loaded: BTreeMap<u32, &'a str>,
}

impl<'a> Stages<'a> {
    fn call(&mut self, call: &'a CallRecord) {
        let end = call.begin_ns + call.total_wall_ns;
        let last = self.found.last().filter(|last| self.goes_on && last.epoch == call.epoch);
        if last.is_none_or(|last| call.begin_ns.since(last.end) > LONGEST_PAUSE) {
            self.found.push(Stretch::new(call.epoch, Stage::Calls, call.begin_ns, end));
        }
        if let Some(last) = self.found.last_mut() {
            last.end = end;
            last.cuts.push(call.begin_ns);
            last.ids.push(&call.call_id);
            last.models.insert(&call.session.model);
            last.scenarios.insert(&call.scenario);
        }
        self.goes_on = true;
    }

    fn looped(&mut self, looped: &'a LoopRecord) {
        let mut stretch = Stretch::new(looped.epoch, Stage::Loop, looped.begin_ns, looped.end_ns);
        stretch.ids.push(&looped.loop_id);
        stretch.models.insert(&looped.session.model);
        stretch.scenarios.insert(&looped.scenario);
        self.found.push(stretch);
        self.goes_on = false;
    }

    fn idle(&mut self, idle: &IdleRecord) {
        let stage = match idle.when {
            IdleWhen::Before => Stage::IdleBefore,
            IdleWhen::Loaded => Stage::IdleLoaded,
            IdleWhen::After => Stage::IdleAfter,
        };
        let mut stretch = Stretch::new(idle.epoch, stage, idle.begin_ns, idle.end_ns);
        stretch.models.extend(idle.load_index.and_then(|load| self.loaded.get(&load)));
        self.found.push(stretch);
        self.goes_on = false;
    }

    fn load(&mut self, load: &'a LoadRecord) {
        self.loaded.insert(load.load_index, &load.session.model);
        self.goes_on = false;
    }
}

impl Stretch<'_> {
    pub(super) fn new(epoch: u32, stage: Stage, begin: Nanos, end: Nanos) -> Self {
        let (models, scenarios) = (BTreeSet::new(), BTreeSet::new());
        Self { epoch, stage, models, scenarios, ids: Vec::new(), begin, end, cuts: Vec::new() }
    }

    /// First or last part that its ends are told from.
    pub(super) fn part(&self) -> Nanos {
        Nanos((self.end.since(self.begin).0 / 3).min(10_000_000_000))
    }

    /// Ends of the last [`BLOCKS`] blocks, each at least a third of [`STEADY_S`] long and of whole calls. `None`: it is too
    /// short for that.
    pub(super) fn blocks(&self) -> Option<Vec<Nanos>> {
        let block = Nanos(10_000_000_000);
        let mut ends = vec![self.end];
        for _ in 0..BLOCKS {
            let latest = Nanos(ends.last()?.0.checked_sub(block.0)?);
            let cut = if self.cuts.is_empty() {
                Some(latest).filter(|&at| at >= self.begin)
            } else {
                self.cuts.iter().copied().rfind(|&at| at <= latest)
            };
            ends.push(cut?);
        }
        ends.reverse();
        Some(ends)
    }
}
