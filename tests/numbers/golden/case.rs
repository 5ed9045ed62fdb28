//! Reading and walking a golden file.

use std::collections::BTreeMap;

use phasebench::stats::interval::Interval;
use serde_json::Value;

/// One case of a golden file.
pub struct Case<'a> {
    pub id: &'a str,
    pub inputs: &'a Value,
    pub expected: &'a Value,
    /// The case with everything else it holds.
    pub whole: &'a Value,
}

impl Case<'_> {
    pub fn column(&self, key: &str) -> Vec<f64> {
        column(&self.inputs[key])
    }

    pub fn number(&self, key: &str) -> f64 {
        self.inputs[key].as_f64().unwrap_or_else(|| panic!("{}: no input {key}", self.id))
    }

    pub fn interval(&self, key: &str) -> Interval {
        let ends = self.column(key);
        Interval { low: ends[0], high: ends[1] }
    }

    /// Relative 1e-9, the files' tolerance.
    pub fn same(&self, what: &str, found: f64, expected: &Value) {
        let expected = expected.as_f64().unwrap_or_else(|| panic!("{}: no expected {what}", self.id));
        let difference = (found - expected).abs();
        assert!(difference <= 1e-9 * expected.abs(), "{}: {what} is {found}, not {expected}", self.id);
    }

    pub fn same_option(&self, what: &str, found: Option<f64>, expected: &Value) {
        match found {
            None => assert!(expected.is_null(), "{}: {what} is missing, not {expected}", self.id),
            Some(found) => self.same(what, found, expected),
        }
    }

    pub fn same_interval(&self, what: &str, found: Interval, expected: &Value) {
        self.same(what, found.low, &expected[0]);
        self.same(what, found.high, &expected[1]);
    }
}

pub fn column(values: &Value) -> Vec<f64> {
    let values = values.as_array().unwrap_or_else(|| panic!("{values} is not a list"));
    values.iter().map(|v| v.as_f64().unwrap()).collect()
}

pub type Check = fn(&Case);

/// Runs every case whose family (the id up to its first `/`) has a check, prints how many of each, and
/// fails if a check met no case.
pub fn walk(file: &str, cases: &Value, checks: &[(&str, Check)]) -> usize {
    let mut counts: BTreeMap<&str, usize> = checks.iter().map(|(family, _)| (*family, 0)).collect();
    let mut others = 0;
    for whole in cases.as_array().unwrap() {
        let id = whole["id"].as_str().unwrap();
        let family = id.split('/').next().unwrap();
        let case = Case { id, inputs: &whole["inputs"], expected: &whole["expected"], whole };
        match checks.iter().find(|(name, _)| *name == family) {
            Some((_, check)) => {
                check(&case);
                *counts.entry(family).or_default() += 1;
            }
            None => others += 1,
        }
    }
    println!("{file}: {counts:?}, {others} of other families");
    for (family, count) in counts {
        assert!(count > 0, "{file} has no case of `{family}`");
    }
    others
}
