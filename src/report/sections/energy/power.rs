//! Power as it was recorded.

use crate::record::manifest::PowerEntry;
use crate::report::document::Text;
use crate::report::sections::ReportedRun;

/// Registers that tell power, with what their line is called.
pub(super) const POWERS: [(&str, &str); 2] =
    [("instant", "power reading"), ("average", "its average over a longer time")];

/// Registers that count energy, with what the power between their changes is called.
pub(super) const COUNTERS: [(&str, &str); 2] =
    [("counter", "from the energy counter"), ("package-0", "from the energy counter of package-0")];

/// How power was recorded, by every process that did.
pub(super) fn recorded<'a>(run: &ReportedRun<'a>) -> impl Iterator<Item = &'a PowerEntry> {
    run.manifest.epochs.iter().filter_map(|epoch| epoch.power.as_ref())
}

/// What must stand above every number where a sensor is scripted.
pub(in crate::report::sections) fn warning(run: &ReportedRun<'_>) -> Option<Text> {
    let mut names: Vec<&str> = recorded(run)
        .flat_map(|entry| &entry.found.sensors)
        .filter(|sensor| sensor.simulated)
        .map(|sensor| sensor.id.as_str())
        .collect();
    names.dedup();
    let first = names.first()?;
    Some(Text::plain("SIMULATED power: ").code(*first).and(
        " is a scripted sensor. No energy in this report is a measurement; it shows what a report with a real sensor \
         looks like.",
    ))
}

/// What a title adds where a sensor is scripted.
pub(super) fn simulated(run: &ReportedRun<'_>) -> &'static str {
    if warning(run).is_some() { " (SIMULATED)" } else { "" }
}

/// Distances between readings that two changes are apart at least, where a counter stands still between them: a change
/// is then seen up to one distance late.
const READINGS_APART: f64 = 5.0;

/// Mean power between changes of a counter that are at least some seconds apart: where two look close together because
/// one was seen late, the power between them would be anything.
pub(super) fn slopes(points: &[(f64, f64)], apart_s: f64) -> Vec<(f64, f64)> {
    let apart_s = apart_s.max(READINGS_APART * seen_late(points).unwrap_or(0.0));
    let mut changes: Vec<(f64, f64)> = Vec::new();
    let mut value = points.first().map(|point| point.1);
    for &(at, joules) in points {
        // Before the first change nothing tells when the value began.
        let changed = value.is_some_and(|value| value.to_bits() != joules.to_bits());
        value = Some(joules);
        if changed && changes.last().is_none_or(|last| at - last.0 >= apart_s) {
            changes.push((at, joules));
        }
    }
    let pairs = changes.windows(2);
    pairs.map(|pair| (pair[1].0, (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0))).collect()
}

/// How late a change is seen at most, about: the median distance between readings, in seconds. `None`: the counter changes
/// with every reading.
fn seen_late(points: &[(f64, f64)]) -> Option<f64> {
    let stands = points.windows(2).any(|pair| pair[0].1.to_bits() == pair[1].1.to_bits());
    let mut distances: Vec<f64> = points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    distances.sort_by(f64::total_cmp);
    distances.get(distances.len() / 2).copied().filter(|_| stands)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A counter that grows by 1 J every 10 ms, of which one update is seen 9 ms late.
    #[test]
    fn an_update_seen_late_makes_no_peak() {
        let seen = |i: u32| f64::from(i) * 0.01 + if i == 50 { 0.009 } else { 0.0 };
        let points: Vec<(f64, f64)> = (0..100).map(|i| (seen(i), f64::from(i))).collect();
        let highest = |apart| slopes(&points, apart).iter().map(|point| point.1).fold(0.0, f64::max);
        assert!(highest(0.0) > 900.0 && highest(0.1) < 115.0, "{} {}", highest(0.0), highest(0.1));
        assert_eq!(slopes(&points[..2], 0.0), [], "one change is no stretch");
    }

    /// A counter that grows by 14 J every 100 ms, read every 60 ms: changes look 60 or 120 ms apart.
    #[test]
    fn a_counter_read_in_between_makes_no_peaks() {
        let points: Vec<(f64, f64)> =
            (0..200).map(|i| f64::from(i) * 0.06).map(|at| (at, 14.0 * (at / 0.1).floor())).collect();
        let powers = slopes(&points, 0.01);
        assert!(powers.len() > 20, "{}", powers.len());
        assert!(powers.iter().all(|point| (point.1 - 140.0).abs() < 0.25 * 140.0), "{powers:?}");
    }
}
