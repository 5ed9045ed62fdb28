//! A sensor's timing, found from what it said about a load whose times are known.

use serde::{Deserialize, Serialize};

use crate::energy::edges::{Edges, changes};
use crate::energy::{Coverage, Sample};
use crate::units::Nanos;

/// Changes of a register below which its period is not told.
const FEWEST_CHANGES: usize = 8;

/// Stretches in which a load ran, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Work(pub Vec<(Nanos, Nanos)>);

impl Work {
    /// Seconds of work before a time.
    fn before(&self, at: f64) -> f64 {
        let done = self.0.iter().map(|(begin, end)| (at.min(end.as_secs()) - begin.as_secs()).max(0.0));
        done.sum()
    }

    /// Share of a stretch that was work.
    #[must_use]
    pub fn share(&self, begin: f64, end: f64) -> f64 {
        if end <= begin { 0.0 } else { (self.before(end) - self.before(begin)) / (end - begin) }
    }
}

/// Time between a register's updates: median spacing of its changes, made exact by counting updates from the first to
/// the last. `None`: too few changes.
///
/// Equal values in a row hide updates, so the load must vary; a hidden one is counted where it makes a gap of twice the
/// median.
#[must_use]
pub fn period(samples: &[Sample]) -> Option<Nanos> {
    let changes = changes(samples);
    if changes.len() < FEWEST_CHANGES {
        return None;
    }
    let gaps: Vec<f64> = changes.windows(2).map(|pair| pair[1].since(pair[0]).as_secs()).collect();
    let mut sorted = gaps.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[sorted.len() / 2];
    let updates: f64 = gaps.iter().map(|gap| (gap / median).round().max(1.0)).sum();
    Some(nanos(gaps.iter().sum::<f64>() / updates))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times of at most some seconds")]
fn nanos(seconds: f64) -> Nanos {
    Nanos((seconds.max(0.0) * 1e9).round() as u64)
}

/// Smallest step of a counter in joules: what all its differences are multiples of, in whole microjoules. `None`: it
/// did not move.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "microjoules")]
pub fn resolution(counter: &[Sample]) -> Option<f64> {
    let told: Vec<f64> = counter.iter().filter_map(|sample| sample.value).collect();
    let steps = told.windows(2).map(|pair| ((pair[1] - pair[0]) * 1e6).round()).filter(|step| *step > 0.0);
    steps.map(|step| step as u64).reduce(common_divisor).map(|step| step as f64 / 1e6)
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// How a power register follows a load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// Stretch that a reading is the mean of.
    pub window_ns: Nanos,
    /// Time from the end of that stretch until the update that shows it.
    pub delay_ns: Nanos,
    /// Time from 10 % to 90 % of the longest step up, updates included. `None`: no step that long.
    pub rise_ns: Option<Nanos>,
    /// Power without the load, in watts.
    pub idle_w: f64,
    /// Power with all of it, in watts.
    pub busy_w: f64,
    /// What the fit leaves, root mean square, relative to the step.
    pub residual: f64,
}

/// Longest window that is tried, in seconds: drivers average over a second.
const LONGEST_WINDOW: f64 = 1.5;

/// Longest delay that is tried, in seconds.
const LONGEST_DELAY: f64 = 0.2;

/// Updates that a fit uses.
const MOST_UPDATES: usize = 200;

/// Fits window and delay of a power register by least squares to aperiodic steps of a load.
///
/// Source: the boxcar model of arXiv 2312.02741: a reading that appears at *u* is the mean of [*u* − δ − W, *u* − δ].
/// `None`: too few updates, or they do not follow the load.
#[must_use]
pub fn response(power: &[Sample], work: &Work) -> Option<Response> {
    let updates = updates(power);
    if updates.len() < FEWEST_CHANGES {
        return None;
    }
    // Every one of a fast sensor's would cost time and tell no more.
    let some: Vec<(f64, f64)> = updates.iter().copied().step_by(updates.len().div_ceil(MOST_UPDATES)).collect();
    let fit = |window: f64, delay: f64| Fit::of(&some, work, window, delay);
    let coarse: Vec<f64> = std::iter::successors(Some(0.002), |window| Some(window * 1.15))
        .take_while(|window| *window <= LONGEST_WINDOW)
        .collect();
    let delays = |from: f64, step: f64, n: u32| (0..=n).map(move |i| from + step * f64::from(i)).filter(|d| *d >= 0.0);
    let better = |best: Option<Fit>, next: Option<Fit>| match (best, next) {
        (Some(best), Some(next)) => Some(if next.error < best.error { next } else { best }),
        (best, next) => best.or(next),
    };
    let tried = coarse.iter().flat_map(|&window| delays(0.0, LONGEST_DELAY / 25.0, 25).map(move |d| (window, d)));
    let first = tried.map(|(window, delay)| fit(window, delay)).reduce(better)??;
    let near = (0..=30).map(|i| first.window * (0.85 + 0.01 * f64::from(i)));
    let near = near.flat_map(|window| delays(first.delay - 0.008, 0.001, 16).map(move |d| (window, d)));
    let best = near.map(|(window, delay)| fit(window, delay)).fold(Some(first), better)?;
    let step = best.step;
    if step <= 0.0 {
        return None;
    }
    Some(Response {
        window_ns: nanos(best.window),
        delay_ns: nanos(best.delay),
        rise_ns: rise(&updates, work, best.idle, step),
        idle_w: best.idle,
        busy_w: best.idle + step,
        residual: best.error / step,
    })
}

/// When a register showed another value than before, in seconds, and that value.
fn updates(samples: &[Sample]) -> Vec<(f64, f64)> {
    let told: Vec<(f64, f64)> = samples.iter().filter_map(|s| Some((s.at().as_secs(), s.value?))).collect();
    let pairs = told.windows(2).filter(|pair| pair[0].1.to_bits() != pair[1].1.to_bits());
    pairs.map(|pair| (f64::midpoint(pair[0].0, pair[1].0), pair[1].1)).collect()
}

#[derive(Debug, Clone, Copy)]
struct Fit {
    window: f64,
    delay: f64,
    idle: f64,
    step: f64,
    /// Root mean square of what is left, in watts.
    error: f64,
}

impl Fit {
    /// Least squares of the readings on the share of work in their windows. `None`: the share never changes.
    #[expect(clippy::cast_precision_loss, reason = "counts of updates")]
    fn of(updates: &[(f64, f64)], work: &Work, window: f64, delay: f64) -> Option<Self> {
        let n = updates.len() as f64;
        let points: Vec<(f64, f64)> =
            updates.iter().map(|(at, watts)| (work.share(at - delay - window, at - delay), *watts)).collect();
        let (mx, my) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / n, y + point.1 / n));
        let (sxx, sxy) =
            points.iter().fold((0.0, 0.0), |(xx, xy), (x, y)| (xx + (x - mx) * (x - mx), xy + (x - mx) * (y - my)));
        if sxx <= 0.0 {
            return None;
        }
        let step = sxy / sxx;
        let idle = my - step * mx;
        let error = (points.iter().map(|(x, y)| (y - idle - step * x).powi(2)).sum::<f64>() / n).sqrt();
        Some(Self { window, delay, idle, step, error })
    }
}

/// Time from 10 % to 90 % in the longest stretch of work.
fn rise(updates: &[(f64, f64)], work: &Work, idle: f64, step: f64) -> Option<Nanos> {
    let (begin, end) = work.0.iter().max_by_key(|(begin, end)| end.since(*begin))?;
    let inside = || updates.iter().filter(|(at, _)| (begin.as_secs()..=end.as_secs()).contains(at));
    let first = inside().find(|(_, watts)| *watts >= idle + 0.1 * step)?.0;
    let last = inside().find(|(_, watts)| *watts >= idle + 0.9 * step)?.0;
    Some(nanos(last - first))
}

/// A counter's slope while pulses came at one phase of its updates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseSlope {
    /// Place of the pulses in the update period, 0 to 1.
    pub phase: f64,
    /// Share of the time that was work.
    pub share: f64,
    /// Mean power by the counter, in watts.
    pub watts: f64,
    /// Energy by which the second half of the pulses differs from the first, relative to the mean: chance, not phase.
    pub halves_differ: f64,
}

/// A counter between its first and its last update in a stretch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// The first update.
    pub begin: Nanos,
    /// The last one.
    pub end: Nanos,
    /// Mean power between them, in watts.
    pub watts: f64,
}

/// What a counter says of a stretch. `None`: fewer than three updates.
#[must_use]
pub fn slope(counter: &[Sample], poll: Nanos, begin: Nanos, end: Nanos) -> Option<Slope> {
    let edges = Edges::of(counter, poll);
    let inside = edges.inside(begin, end);
    let (first, last) = (inside.first()?, inside.last()?);
    let watts = (last.joules - first.joules) / last.at.since(first.at).as_secs();
    (inside.len() >= 3).then_some(Slope { begin: first.at, end: last.at, watts })
}

/// Largest difference of what pulses take at different phases, relative to the mean, above which a counter does not see
/// all of the time.
const LARGEST_SPREAD: f64 = 0.05;

/// Largest difference of what pulses take at different phases, in standard deviations of what they differ by chance,
/// that is put down to chance: the range of eight normal values exceeds 4.3 of them once in twenty times.
const LARGEST_CHANCE: f64 = 4.3;

/// Whether a counter sees all of the time: short pulses then take the same energy wherever in its update period they
/// come. `None`: nothing was measured, pulses make no difference to it, or the load itself was too uneven to tell.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "eight phases")]
pub fn coverage(phases: &[PhaseSlope], idle_w: f64) -> Option<Coverage> {
    let each: Vec<f64> = phases.iter().filter(|p| p.share > 0.0).map(|p| (p.watts - idle_w) / p.share).collect();
    let mean = each.iter().sum::<f64>() / each.len().max(1) as f64;
    if each.len() < 4 || mean <= 0.0 {
        return None;
    }
    let (least, most) = each.iter().fold((f64::MAX, f64::MIN), |(least, most), &e| (least.min(e), most.max(e)));
    let spread = (most - least) / mean;
    // A mean of two halves scatters by half of what the halves differ by.
    let chance = (phases.iter().map(|p| (p.halves_differ / 2.0).powi(2)).sum::<f64>() / phases.len() as f64).sqrt();
    if spread < LARGEST_SPREAD {
        Some(Coverage::Full)
    } else if spread > LARGEST_CHANCE * chance {
        Some(Coverage::Partial)
    } else {
        None
    }
}

/// Power by a counter while it was read at one pace, under a steady load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaceSlope {
    /// Time between two readings.
    pub poll_ns: Nanos,
    /// Mean power by the counter, in watts.
    pub watts: f64,
    /// Power by which the second half of the time differs from the first, relative to the mean: chance, not pace.
    pub halves_differ: f64,
}

/// Largest difference from the slowest pace that is put down to chance, relative.
const LARGEST_DISTURBANCE: f64 = 0.01;

/// Fastest pace at which reading a counter does not change it: that, and every slower one, agrees with the slowest.
/// `None`: fewer than two paces, or the load was too uneven to tell.
#[must_use]
pub fn safe_poll(paces: &[PaceSlope]) -> Option<Nanos> {
    let mut slowest_first = paces.to_vec();
    slowest_first.sort_by_key(|pace| std::cmp::Reverse(pace.poll_ns));
    let (slowest, rest) = slowest_first.split_first().filter(|(_, rest)| !rest.is_empty())?;
    if paces.iter().any(|pace| pace.halves_differ.abs() > 2.0 * LARGEST_DISTURBANCE) {
        return None;
    }
    let agrees = |pace: &&PaceSlope| (pace.watts / slowest.watts - 1.0).abs() <= LARGEST_DISTURBANCE;
    Some(rest.iter().take_while(agrees).last().unwrap_or(slowest).poll_ns)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use fake_nvml::simulated::{Counter, Errors, Load, Sensor, Timing};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const MS: u64 = 1_000_000;
    const POLL: u64 = 2 * MS;
    const IDLE_W: f64 = 80.0;
    const BUSY_W: f64 = 400.0;

    /// A load of these pulses.
    fn load(pulses: &[(u64, u64)]) -> (Load, Work) {
        let mut load = Load::new(IDLE_W);
        pulses.iter().for_each(|&(begin, end)| load.pulse(begin, end, BUSY_W));
        (load, Work(pulses.iter().map(|&(begin, end)| (Nanos(begin), Nanos(end))).collect()))
    }

    /// Steps of irregular length, one of them long, up to about ten seconds.
    fn steps(random: &mut ChaCha8Rng) -> Vec<(u64, u64)> {
        let (mut pulses, mut at) = (vec![(MS * 500, MS * 2500)], MS * 4000);
        while at < MS * 10_000 {
            let (on, off) = (random.random_range(200..700) * MS, random.random_range(200..700) * MS);
            pulses.push((at, at + on));
            at += on + off;
        }
        pulses
    }

    fn sensor(timing: Timing, counter: Counter) -> Sensor {
        Sensor::new(timing, counter, Errors { noise_w: 1.0, seed: 3, ..Errors::default() })
    }

    fn read(sensor: &mut Sensor, load: &Load, end: u64) -> (Vec<Sample>, Vec<Sample>) {
        let sample = |at, value| Sample { begin: Nanos(at), end: Nanos(at), value: Some(value) };
        let ticks = (0..end).step_by(usize::try_from(POLL).unwrap());
        ticks.map(|at| (sample(at, sensor.energy(load, at)), sample(at, sensor.power(load, at)))).unzip()
    }

    #[test]
    fn timing_is_found_whatever_it_is() {
        for seed in 0..12 {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let period_ns = random.random_range(15..120) * MS;
            let window = [period_ns, period_ns / 4, 1000 * MS][usize::try_from(seed).unwrap() % 3];
            let timing = Timing {
                period: period_ns,
                phase: random.random_range(0..period_ns),
                window,
                delay: random.random_range(0..40) * MS,
            };
            let (load, work) = load(&steps(&mut random));
            let (counter, power) = read(&mut sensor(timing, Counter::OfEnergy), &load, 11_000 * MS);
            for register in [&counter, &power] {
                let found = period(register).unwrap();
                assert!(found.0.abs_diff(period_ns) * 100 <= period_ns, "seed {seed}: {found} is not {period_ns} ns");
            }
            let found = response(&power, &work).unwrap();
            let near = |found: Nanos, truth: u64, tolerance: u64| found.0.abs_diff(truth) <= tolerance;
            assert!(near(found.window_ns, window, 4 * MS + window / 20), "seed {seed}: {timing:?} {found:?}");
            assert!(near(found.delay_ns, timing.delay, 4 * MS + window / 20), "seed {seed}: {timing:?} {found:?}");
            assert!(
                (found.idle_w - IDLE_W).abs() < 3.0 && (found.busy_w - BUSY_W).abs() < 5.0,
                "seed {seed}: {found:?}"
            );
            let rise = found.rise_ns.unwrap();
            assert!(
                rise.0 <= window + 2 * period_ns && rise.0 + 2 * period_ns >= window * 8 / 10,
                "seed {seed}: {found:?}"
            );
        }
    }

    #[test]
    fn coverage_is_told_from_pulses_at_every_phase() {
        for (counter, window, expected) in [
            (Counter::OfEnergy, 25, Coverage::Full),
            (Counter::OfReadings, 100, Coverage::Full),
            (Counter::OfReadings, 25, Coverage::Partial),
        ] {
            let period = 100 * MS;
            let timing = Timing { period, phase: 13 * MS, window: window * MS, delay: 0 };
            let phases: Vec<PhaseSlope> = (0..8_u32)
                .map(|phase| {
                    let first = 1000 * MS + u64::from(phase) * period / 8;
                    let pulses: Vec<_> =
                        (0..40).map(|i| (first + i * period, first + i * period + period / 4)).collect();
                    let (load, work) = load(&pulses);
                    let (read, _) = read(&mut sensor(timing, counter), &load, 5100 * MS);
                    let (begin, end) = (1000 * MS, 4900 * MS);
                    let found = slope(&read, Nanos(POLL), Nanos(begin), Nanos(end)).unwrap();
                    let share = work.share(found.begin.as_secs(), found.end.as_secs());
                    PhaseSlope { phase: f64::from(phase) / 8.0, share, watts: found.watts, halves_differ: 0.001 }
                })
                .collect();
            assert_eq!(coverage(&phases, IDLE_W), Some(expected), "{counter:?} {window} ms: {phases:?}");
        }
        assert_eq!(coverage(&[], IDLE_W), None);
        // A load as uneven as its differences tells nothing.
        let uneven =
            |i: u32| PhaseSlope { phase: 0.0, share: 0.25, watts: IDLE_W + 80.0 + f64::from(i), halves_differ: 0.08 };
        assert_eq!(coverage(&(0..8).map(uneven).collect::<Vec<_>>(), IDLE_W), None);
    }

    #[test]
    fn steps_of_a_counter_are_multiples_of_its_resolution() {
        let sample = |value| Sample { begin: Nanos(0), end: Nanos(0), value: Some(value) };
        let read: Vec<Sample> = [0.0, 12.005, 12.005, 30.010, 31.015].map(sample).to_vec();
        assert_eq!(resolution(&read), Some(0.005));
        assert_eq!(resolution(&read[..1]), None);
    }

    #[test]
    fn a_pace_that_changes_what_it_reads_is_not_safe() {
        let pace = |ms: u64, watts| PaceSlope { poll_ns: Nanos(ms * MS), watts, halves_differ: 0.002 };
        let paces = [pace(2, 290.0), pace(20, 300.5), pace(50, 301.0), pace(1000, 300.0)];
        assert_eq!(safe_poll(&paces), Some(Nanos(20 * MS)));
        assert_eq!(safe_poll(&paces[3..]), None);
        assert_eq!(safe_poll(&paces.map(|pace| PaceSlope { halves_differ: 0.05, ..pace })), None, "an uneven load");
        assert_eq!(safe_poll(&[pace(2, 200.0), pace(1000, 300.0)]), Some(Nanos(1000 * MS)));
    }
}
