//! The first screen: the questions that a report answers before anything else.

mod calls;
mod caution;
mod compiling;
mod growth;
mod placement;
mod share;
mod steadiness;

use crate::report::document::Finding;

use super::ReportedRun;
use super::names::Names;

pub(super) use calls::call_counts;
pub(super) use growth::headlines;
pub(super) use steadiness::{drifts, timed_summaries};

/// Every question, in the order of the screen: what scales how, what compiling did, then how far they may be trusted.
/// Each gives a finding per backend or mode that it can be asked of.
const QUESTIONS: &[fn(&ReportedRun<'_>, &Names) -> Vec<Finding>] =
    &[growth::findings, compiling::findings, calls::findings, steadiness::findings, placement::findings];

/// The answers.
pub(super) fn findings(run: &ReportedRun<'_>, names: &Names) -> Vec<Finding> {
    QUESTIONS.iter().flat_map(|question| question(run, names)).collect()
}
