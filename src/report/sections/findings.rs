//! The first screen: the questions that a report answers before anything else.

mod calls;
mod caution;
mod compiling;
mod engines;
mod growth;
mod next_step;
mod placement;
mod roof;
mod share;
mod speed;
mod steadiness;
mod within;

use crate::report::document::Finding;

use super::ReportedRun;
use super::names::Names;

pub(super) use calls::call_counts;
pub(super) use growth::headlines;
pub(super) use next_step::next_step;
pub(super) use steadiness::{drifts, timed_summaries};
pub(super) use within::cell_findings;

/// Every question, in the order of the screen: which engine is faster, how fast each is or how it scales, what a cache,
/// grouped heads and compiling did, then how far they may be trusted.
/// Each gives a finding per backend or mode that it can be asked of.
const QUESTIONS: &[fn(&ReportedRun<'_>, &Names) -> Vec<Finding>] = &[
    engines::findings,
    growth::findings,
    within::findings,
    compiling::findings,
    roof::findings,
    calls::findings,
    steadiness::findings,
    placement::findings,
];

/// The answers.
pub(super) fn findings(run: &ReportedRun<'_>, names: &Names) -> Vec<Finding> {
    QUESTIONS.iter().flat_map(|question| question(run, names)).collect()
}

/// Which engine is faster, and how fast each is where too few sizes were measured to ask how it scales.
pub(super) fn speeds(run: &ReportedRun<'_>, names: &Names) -> Vec<Finding> {
    [engines::findings(run, names), growth::speeds(run, names)].concat()
}

/// All but how fast each is.
pub(super) fn beside_speeds(run: &ReportedRun<'_>, names: &Names) -> Vec<Finding> {
    let speeds = growth::speeds(run, names);
    findings(run, names).into_iter().filter(|finding| !speeds.contains(finding)).collect()
}
