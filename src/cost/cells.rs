//! What figures and words of economics are in a CSV file.

use crate::analysis::columns::Column;
use crate::analysis::columns::nested::{Cells, one_cell};
use crate::economics::figures::Uncertain;
use crate::economics::price::Scope;
use crate::economics::request_time::Reach;
use crate::scenario::workload::Latency;

one_cell!(Latency, Reach, Scope);

/// The columns of [`Uncertain`], as it names them in JSON.
impl Cells for Uncertain {
    fn columns_of(field: &str, lines: &[&'static str]) -> Vec<Column<String>> {
        let end =
            |name: &str, what: &'static str| f64::columns_of(&format!("{field}_{name}"), &[lines, &[what]].concat());
        [
            end("value", "The estimate."),
            end("low", "Lower end of its 95 % interval. `None`: nothing tells how sure it is."),
            end("high", "Upper end. `None`: the same."),
        ]
        .concat()
    }
}
