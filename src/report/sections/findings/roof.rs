//! How near the machine's roofs the largest model comes.

use crate::analysis::RooflineRow;
use crate::report::document::{Assurance, Finding};
use crate::report::format;
use crate::report::sections::ReportedRun;
use crate::report::sections::names::Names;
use crate::report::sections::roofline::sentence;
use crate::terms::Mode;

/// Others' share of the processors beside the reference kernels above which the roofs are too low to be quoted.
const DISTURBED: f64 = 0.05;

/// One for each backend whose decode of its largest model has a roof. None: the machine was not measured.
pub(super) fn findings(run: &ReportedRun<'_>, names: &Names) -> Vec<Finding> {
    names.backends().iter().filter_map(|backend| finding(run, names, backend)).collect()
}

fn finding(run: &ReportedRun<'_>, names: &Names, backend: &str) -> Option<Finding> {
    let decodes = run.tables.roofline.iter().filter(|row| row.key.backend == backend && row.mode == Mode::KvDecode);
    let largest: &RooflineRow =
        decodes.filter(|row| row.held_by.is_some()).max_by(|a, b| a.weights_bytes.total_cmp(&b.weights_bytes))?;
    let foreign = run.tables.machine.iter().filter_map(|row| row.foreign_cpu).fold(0.0, f64::max);
    let quiet = foreign <= DISTURBED;
    let grounds = match quiet {
        true => "The machine's own speed was measured in this run.".to_owned(),
        false => format!(
            "The machine's own speed was measured beside other programs, which used up to {} of the processors: the ceiling may be too low.",
            format::percent(foreign)
        ),
    };
    Some(Finding {
        question: format!("Could decode be faster{}?", names.on(backend)),
        assurance: if quiet { Assurance::Holds } else { Assurance::Caution },
        answer: sentence(largest, names)?,
        grounds: grounds.into(),
    })
}
