//! Tests that cannot be tried on this machine, told so that they do not pass for tried.

use std::fs::OpenOptions;
use std::io::Write;

/// The file that lists them, one `what: why` a line; `scripts/check` sets it and shows them as not run.
const LIST: &str = "PHASEBENCH_NOT_RUN";

/// Says that something was not tried, past the test harness, which keeps what passing tests print.
pub fn not_run(what: &str, why: &str) {
    drop(writeln!(std::io::stderr(), "not run: {what}: {why}"));
    if let Some(list) = std::env::var_os(LIST) {
        // One write of one line, so that tests at work together do not mix theirs.
        let mut list = OpenOptions::new().create(true).append(true).open(list).unwrap();
        list.write_all(format!("{what}: {why}\n").as_bytes()).unwrap();
    }
}
