//! Power beside a run: recorded, or not at all.

use crate::backend::CancelToken;
use crate::clock::SharedClock;
use crate::measure::LoopRule;
use crate::record::{IdleWhen, LoopBelow};
use crate::store::StoreError;
use crate::terms::continuity::Continuity;
use crate::terms::{Attribution, Flag, OnBoard};
use crate::units::Nanos;

use super::Power;

/// What is known of power while a run goes on.
#[derive(Debug, Default)]
pub struct PowerBeside {
    /// `None`: nothing is recorded.
    power: Option<Power>,
    /// Everything was left alone then already, before this process worked on any device; until it is used.
    rested: Option<Rested>,
}

/// A stretch in which everything was left alone before this process worked on any device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rested {
    /// When it began, on the run's clock.
    pub begin: Nanos,
    /// When it ended.
    pub end: Nanos,
    /// Time of it for which this program was held. `None`: none.
    pub frozen_ns: Option<Nanos>,
}

/// A stretch in which everything was left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) begin: Nanos,
    pub(super) end: Nanos,
    /// Whether this process had worked on no device before it.
    pub(super) untouched: bool,
    /// Time of it for which this program was held, where that is known already. `None`: none, or not known yet.
    pub(super) frozen_ns: Option<Nanos>,
}

impl PowerBeside {
    /// Power as `power` records it. `rested`: when everything was left alone already, before this process worked on any
    /// device.
    #[must_use]
    pub const fn new(power: Power, rested: Option<Rested>) -> Self {
        Self { power: Some(power), rested }
    }

    /// Phases shorter than this are repeated.
    pub(super) fn loop_below(&self) -> LoopBelow {
        self.power.as_ref().map(Power::loop_below).unwrap_or_default()
    }

    /// How to repeat what is too short for a sensor. `None`: nothing is repeated, or no sensor counts.
    pub(super) fn loop_rule(&self, on_board: Option<bool>) -> Option<LoopRule> {
        self.power.as_ref()?.loop_rule(on_board)
    }

    /// Leaves everything alone, where power is recorded and the scenario asks for it. `None`: it does not, or someone
    /// cancelled.
    pub(super) fn leave_alone(
        &mut self,
        when: IdleWhen,
        clock: &SharedClock,
        cancel: &CancelToken,
    ) -> Result<Option<Stretch>, StoreError> {
        let Some(power) = self.power.as_mut() else { return Ok(None) };
        let earlier = self.rested.take().filter(|_| when == IdleWhen::Before);
        let earlier =
            earlier.map(|Rested { begin, end, frozen_ns }| Stretch { begin, end, untouched: true, frozen_ns });
        let now = || {
            let (begin, end) = power.leave_alone(clock, cancel)?;
            Some(Stretch { begin, end, untouched: false, frozen_ns: None })
        };
        let stretch = earlier.or_else(now);
        power.write_readings()?;
        Ok(stretch)
    }

    /// Writes down what was read so far, and adds to `flags` what the boards did since `begin`.
    pub(super) fn write_and_flag(
        &mut self,
        flags: &mut Vec<Flag>,
        begin: Nanos,
        attribution: &Attribution,
        boards: &[OnBoard],
    ) -> Result<(), StoreError> {
        let Some(power) = self.power.as_mut() else { return Ok(()) };
        power.write_readings()?;
        flags.extend(power.flags(begin, attribution, boards));
        flags.sort_unstable();
        flags.dedup();
        Ok(())
    }

    /// Ends it and tells how it went. `None`: nothing was recorded.
    ///
    /// # Errors
    /// The trace cannot be written.
    pub fn finish(self) -> Result<Option<Continuity>, StoreError> {
        self.power.map(Power::finish).transpose()
    }
}
