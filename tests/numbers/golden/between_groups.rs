//! Tests between groups against SciPy and statsmodels, on the inputs of `scripts/verify_tests.py`.

use phasebench::stats::LEVEL;
use phasebench::stats::compare::{self, Anova, Group};
use phasebench::stats::interval::Interval;
use phasebench::stats::kruskal::kruskal_wallis;
use phasebench::stats::mann_whitney::mann_whitney;
use phasebench::stats::multiplicity::{benjamini_hochberg, holm};
use serde_json::Value;

use crate::golden::case::{Case, column};

#[test]
fn scipy_and_statsmodels_values() {
    let file: Value = serde_json::from_str(include_str!("../../data/golden/tests.json")).unwrap();
    let (mut counted_out, mut without_interval, mut tied) = (0, 0, 0);
    let cases = file["cases"].as_array().unwrap();
    for whole in cases {
        let id = whole["id"].as_str().unwrap();
        let case = Case { id, inputs: &whole["inputs"], expected: &whole["expected"], whole };
        let groups: Vec<Vec<f64>> = case.inputs["groups"].as_array().unwrap().iter().map(column).collect();
        moments(&case, &groups);
        by_order(&case, &groups);
        many_at_once(&case);
        counted_out += usize::from(case.expected["by_order"]["exact"] == true);
        without_interval += usize::from(case.expected["by_order"]["interval"].is_null());
        tied += usize::from(case.expected["by_order"]["exact"] == false);
    }
    let nasty = cases.iter().filter(|case| !case["id"].as_str().unwrap().starts_with("random/")).count();
    println!(
        "tests.json: {} inputs, {nasty} of them nasty; p counted out in {counted_out}, approximated in {tied}; no interval of \
         the shift in {without_interval}",
        cases.len()
    );
    assert_eq!((cases.len(), nasty), (220, 20));
    assert!(counted_out > 40 && tied > 100 && without_interval > 5);
}

fn moments(case: &Case, groups: &[Vec<f64>]) {
    let plain: Vec<Group> = groups.iter().map(|values| Group::of(values).unwrap()).collect();
    let logs: Vec<Group> = groups.iter().map(|values| Group::of_logs(values).unwrap()).collect();
    for (name, anova, groups) in [("plain", "anova", &plain), ("logs", "anova_logs", &logs)] {
        two_groups(case, name, &groups[0], &groups[1]);
        variance(case, anova, compare::anova(groups));
    }
}

fn two_groups(case: &Case, name: &str, first: &Group, second: &Group) {
    let expected = &case.expected[name];
    let welch = compare::welch(first, second);
    assert_eq!(welch.is_none(), expected.is_null(), "{}: {name} {welch:?}", case.id);
    let Some(welch) = welch else { return };
    case.same(&format!("{name}: t"), welch.t, &expected["t"]);
    case.same(&format!("{name}: df"), welch.df, &expected["df"]);
    case.same(&format!("{name}: Welch p"), welch.p, &expected["welch_p"]);
    case.same(&format!("{name}: Student p"), compare::student(first, second).unwrap().p, &expected["student_p"]);
    case.same(&format!("{name}: d"), compare::cohen_d(first, second).unwrap(), &expected["cohen_d"]);
}

fn variance(case: &Case, name: &str, found: Option<Anova>) {
    let expected = &case.expected[name];
    assert_eq!(found.is_none(), expected.is_null(), "{}: {name} {found:?}", case.id);
    let Some(found) = found else { return };
    case.same(&format!("{name}: F"), found.f, &expected["f"]);
    case.same(&format!("{name}: p"), found.p, &expected["p"]);
}

fn by_order(case: &Case, groups: &[Vec<f64>]) {
    let expected = &case.expected["by_order"];
    let found = mann_whitney(&groups[0], &groups[1], LEVEL).unwrap();
    assert_eq!(Some(found.exact), expected["exact"].as_bool(), "{}", case.id);
    case.same("U", found.u, &expected["u"]);
    case.same("p of U", found.p, &expected["p"]);
    case.same("shift", found.shift, &expected["shift"]);
    match found.shift_interval {
        Some(Interval { low, high }) => {
            case.same("lower end of the shift", low, &expected["interval"][0]);
            case.same("upper end of the shift", high, &expected["interval"][1]);
        }
        None => assert!(expected["interval"].is_null(), "{}", case.id),
    }
    let all: Vec<&[f64]> = groups.iter().map(Vec::as_slice).collect();
    match kruskal_wallis(&all).unwrap() {
        Some(found) => {
            case.same("H", found.h, &case.expected["kruskal"]["h"]);
            case.same("p of H", found.p, &case.expected["kruskal"]["p"]);
        }
        None => assert!(case.expected["kruskal"].is_null(), "{}", case.id),
    }
}

fn many_at_once(case: &Case) {
    let p = case.column("p");
    for (name, found) in [("holm", holm(&p)), ("benjamini_hochberg", benjamini_hochberg(&p))] {
        for (place, found) in found.unwrap().into_iter().enumerate() {
            case.same(&format!("{name} {place}"), found, &case.expected[name][place]);
        }
    }
}
