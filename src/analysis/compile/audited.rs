//! A cell in one mode with what its calls prove of a compiler.

use crate::analysis::groups::Group;
use crate::analysis::metrics::MetricRow;
use crate::record::CallRecord;
use crate::terms::CompileEvidence;

/// A cell's rows in one mode with what the compiler did in each.
pub(super) struct Audited<'a> {
    pub(super) group: Group<'a>,
    pub(super) calls: Vec<(&'a MetricRow, &'a CallRecord, &'a CompileEvidence)>,
    /// The compiler that its session's load asked for. `None`: none, or no load says.
    pub(super) asked: Option<&'a str>,
}

impl Audited<'_> {
    /// What was asked for.
    pub(super) fn requested(&self) -> &str {
        let asked = self.asked.unwrap_or(CompileEvidence::EAGER);
        self.calls.first().map_or(asked, |(.., evidence)| &evidence.backend_requested)
    }

    /// Whether a compiler was asked for.
    pub(super) fn compiles(&self) -> bool {
        self.requested() != CompileEvidence::EAGER
    }
}
