//! A cell on both sides, as it is written.

use serde::Serialize;

use crate::analysis::columns::nested::{Cells, CsvFile, Row, one_cell, rows};
use crate::analysis::columns::{Column, Description};
use crate::terms::Mode;

use super::Comparison;
use super::effect::Basis;
use super::verdict::Verdict;

one_cell!(Basis, Verdict);

rows! {
    /// One cell in one mode on both sides. `None` in a figure: not compared.
    #[derive(Debug, Clone, PartialEq, Serialize)]
    pub struct CellRow {
        /// Backend, the baseline's where two backends are compared.
        pub backend: String,
        /// The candidate's backend, where it is another one.
        pub backend_b: Option<String>,
        /// Model.
        pub model: String,
        /// Scenario.
        pub scenario: String,
        /// Rows decoded together.
        pub batch: u32,
        /// Timed decode steps.
        pub gen_tokens: u32,
        /// What is timed.
        pub mode: Mode,
        /// What is said of it.
        pub verdict: Verdict,
        /// Why nothing else is said. `None`: the figures say it.
        pub reason: Option<String>,
        /// Time of the candidate ÷ time of the baseline.
        /// Unit: ratio.
        pub ratio: Option<f64>,
        /// Lower end of its 95 % interval, for this cell alone, with what the machine may have done meanwhile.
        /// Unit: ratio.
        pub ratio_low: Option<f64>,
        /// Upper end.
        /// Unit: ratio.
        pub ratio_high: Option<f64>,
        /// What the baseline takes.
        pub location_a_ms: Option<f64>,
        /// What the candidate takes.
        pub location_b_ms: Option<f64>,
        /// What the candidate takes more per decode step, or per prefill.
        pub difference_ms: Option<f64>,
        /// What the ratio rests on.
        pub basis: Option<Basis>,
        /// Sessions of the baseline.
        pub sessions_a: usize,
        /// Sessions of the candidate.
        pub sessions_b: usize,
        /// Calls of the baseline that may be compared.
        pub calls_a: usize,
        /// Calls of the candidate that may be compared.
        pub calls_b: usize,
        /// Standard deviation between sessions of one side, or of a block's differences, after what other cells
        /// tell. `None`: one session a side.
        /// Unit: natural logarithm.
        pub session_sd_ln: Option<f64>,
        /// p of both taking the same time.
        /// Unit: probability.
        pub p: Option<f64>,
        /// The same, corrected for all cells that are judged (Holm).
        /// Unit: probability.
        pub p_holm: Option<f64>,
        /// The same, as a share of false alarms (Benjamini and Hochberg).
        /// Unit: fraction.
        pub q: Option<f64>,
        /// Smallest ratio that would have been told from 1 in 95 of 100 runs like these.
        /// Unit: ratio.
        pub detectable_ratio: Option<f64>,
        /// Sessions a side that would decide at this noise in 80 of 100 runs. `None`: decided, more than 100, it rests on runs, or the
        /// machine is in doubt.
        pub sessions_to_decide: Option<u32>,
        /// Whether the machine itself may have moved as far, so that how far the cell did is open.
        pub doubted: bool,
        /// Of those of the baseline, how many something disturbed from outside.
        pub disturbed_a: u64,
        /// The same of the candidate.
        pub disturbed_b: u64,
        /// Timed calls of the baseline that do not count.
        pub degraded_a: u64,
        /// Timed calls of the candidate that do not count.
        pub degraded_b: u64,
        /// p of the candidate failing no more often, corrected for all cells.
        /// Unit: probability.
        pub p_failing: Option<f64>,
        /// Sessions that fall into a fast and a slow group, on either side, in words. `None`: none do.
        pub clusters: Option<String>,
    }
}

/// A cell with the sides that it belongs to.
#[derive(Serialize)]
struct BetweenSides<'a> {
    baseline: &'a str,
    candidate: &'a str,
    #[serde(flatten)]
    cell: &'a CellRow,
}

impl Row for BetweenSides<'_> {
    const ABOUT: &'static [&'static str] = CellRow::ABOUT;

    fn columns() -> Vec<Column<String>> {
        [
            String::columns_of("baseline", &["Folder of the baseline."]),
            String::columns_of("candidate", &["Folder of the candidate."]),
            <CellRow as Row>::columns(),
        ]
        .concat()
    }
}

const FILE: &str = "comparison.csv";

/// What the file holds, without a comparison.
#[must_use]
pub fn descriptions() -> Vec<Description> {
    vec![Description::of_rows::<BetweenSides<'_>>(FILE)]
}

/// Every figure of every cell of comparisons, as a CSV file.
///
/// # Errors
/// Never for rows of plain values.
pub fn csv_file(comparisons: &[Comparison]) -> Result<CsvFile, serde_json::Error> {
    let mut rows = Vec::new();
    for Comparison { baseline, candidate, cells, .. } in comparisons {
        rows.extend(cells.iter().map(|cell| BetweenSides { baseline, candidate, cell }));
    }
    CsvFile::of(FILE, &rows)
}
