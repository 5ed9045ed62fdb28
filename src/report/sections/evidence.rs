//! What proves where loads or calls ran, many of them in one line.

use std::collections::{BTreeMap, BTreeSet};

use crate::terms::Evidence;

/// Every name with the values under it: `nodes.CPU = 96 to 312, threads = 2`. Empty: there is no evidence.
pub(super) fn in_one_line<'a>(all: impl IntoIterator<Item = &'a Evidence>) -> String {
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut last: Option<&Evidence> = None;
    for evidence in all {
        // Calls share their evidence: what was just looked at says nothing new.
        if last.is_some_and(|last| std::ptr::eq(last, evidence)) {
            continue;
        }
        last = Some(evidence);
        for (name, value) in evidence.texts() {
            found.entry(name).or_default().insert(value);
        }
    }
    let lines = found.iter().map(|(name, values)| format!("{name} = {}", range(values)));
    lines.collect::<Vec<_>>().join(", ")
}

/// `3 to 5` where all values are numbers that differ; of others the only one, or how many there are.
fn range(values: &BTreeSet<&str>) -> String {
    let numbers: Option<Vec<u64>> = values.iter().map(|value| value.parse().ok()).collect();
    let ends = numbers.as_deref().and_then(|numbers| numbers.iter().min().zip(numbers.iter().max()));
    match (ends, values.first()) {
        (Some((low, high)), _) if low != high => format!("{low} to {high}"),
        (_, Some(only)) if values.len() == 1 => (*only).to_owned(),
        _ => format!("{} different values", values.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(texts: &[(&str, &str)]) -> Evidence {
        let texts = texts.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Evidence::from(texts.collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn numbers_are_a_range_and_others_are_counted() {
        let all = [
            evidence(&[("nodes.CPU", "96"), ("nonce", "a7"), ("threads", "2")]),
            evidence(&[("nodes.CPU", "312"), ("nonce", "c1"), ("threads", "2")]),
            evidence(&[("nodes.CPU", "100"), ("device", "cpu")]),
        ];
        let line = in_one_line(&all);
        assert_eq!(line, "device = cpu, nodes.CPU = 96 to 312, nonce = 2 different values, threads = 2");
        assert_eq!(in_one_line(&[]), "");
    }
}
