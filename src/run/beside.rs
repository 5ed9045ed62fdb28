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
    rested: Option<(Nanos, Nanos)>,
}

/// A stretch in which everything was left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) begin: Nanos,
    pub(super) end: Nanos,
    /// Whether this process had worked on no device before it.
    pub(super) untouched: bool,
}

impl PowerBeside {
    /// Power as `power` records it. `rested`: when everything was left alone already, before this process worked on any
    /// device.
    #[must_use]
    pub const fn new(power: Power, rested: Option<(Nanos, Nanos)>) -> Self {
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
        let Some((begin, end)) = earlier.or_else(|| power.leave_alone(clock, cancel)) else { return Ok(None) };
        power.write_readings()?;
        Ok(Some(Stretch { begin, end, untouched: earlier.is_some() }))
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
