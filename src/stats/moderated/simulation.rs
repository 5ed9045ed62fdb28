//! What intervals from sessions promise, checked against simulated truth. Every run is seeded by its number.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "tests")]

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::{SessionLocation, Sessions, locations};
use crate::stats::LEVEL;

const MEDIAN: f64 = 12.5;
/// Calls of a session.
const CALLS: usize = 20;
/// What calls of one session vary by, and how much each repeats the one before.
const WITHIN: f64 = 0.05;
const WITHIN_RHO: f64 = 0.3;

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(rng)
}

/// How sessions of simulated cells differ.
#[derive(Clone, Copy)]
struct Truth<'a> {
    /// Standard deviation of the sessions of each cell.
    between: &'a [f64],
    sessions: u32,
    /// How much a session repeats the one before.
    between_rho: f64,
    /// Whether all cells have the sessions' differences in common.
    together: bool,
}

impl Truth<'_> {
    fn draw(&self, seed: u64) -> Vec<Sessions> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let common = self.levels(&mut rng);
        let cells = self.between.iter().map(|sd| {
            let levels = if self.together { common.clone() } else { self.levels(&mut rng) };
            let session = |(index, level): (u32, f64)| (index, calls(sd * level, &mut rng));
            (0..self.sessions).zip(levels).map(session).collect()
        });
        cells.collect()
    }

    fn levels(&self, rng: &mut ChaCha8Rng) -> Vec<f64> {
        series(self.sessions as usize, self.between_rho, rng)
    }

    /// Share of all intervals that cover, and of those of the cells whose sessions differ most; mean half-width.
    fn covered(&self, runs: u64) -> (f64, f64, f64) {
        let most = self.between.iter().copied().fold(0.0, f64::max);
        let (mut all, mut of_most, mut cells_of_most, mut widths) = (0, 0, 0, 0.0);
        for seed in 0..runs {
            for (found, sd) in locations(&self.draw(seed)).iter().zip(self.between) {
                let found = found.as_ref().unwrap();
                let covers = usize::from(found.location.interval(LEVEL).unwrap().contains(MEDIAN));
                all += covers;
                widths += found.relative_half_width(LEVEL).unwrap();
                if *sd >= most {
                    (of_most, cells_of_most) = (of_most + covers, cells_of_most + 1);
                }
            }
        }
        let cells = runs as f64 * self.between.len() as f64;
        (all as f64 / cells, of_most as f64 / f64::from(cells_of_most), widths / cells)
    }
}

/// AR(1) values of unit variance.
fn series(n: usize, rho: f64, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let mut state = normal(rng);
    let mut values = Vec::with_capacity(n);
    for _ in 0..n {
        values.push(state);
        state = rho * state + (1.0 - rho * rho).sqrt() * normal(rng);
    }
    values
}

/// Calls of a session that lies off the median by `level`, on logarithms.
fn calls(level: f64, rng: &mut ChaCha8Rng) -> Vec<f64> {
    series(CALLS, WITHIN_RHO, rng).iter().map(|e| MEDIAN * (level + WITHIN * e).exp()).collect()
}

/// Runs enough for two thousand intervals, and for what cells have in common to average out.
fn runs(cells: usize) -> u64 {
    (2000 / cells as u64).max(60)
}

/// 93 to 97 %; a share of two thousand is known to half a per cent.
const COVERED: std::ops::RangeInclusive<f64> = 0.925..=0.975;

/// Where the calls within already imply more than sessions differ by, intervals are what those imply or wider.
const COVERED_AT_FLOOR: std::ops::RangeInclusive<f64> = 0.925..=0.982;

#[test]
fn intervals_from_sessions_cover_the_truth() {
    println!(
        "sessions  cells  sd between sessions  covered  half-width  ({CALLS} calls a session, 5 % within, rho 0.3)"
    );
    for sessions in [3, 5, 10] {
        for cells in [1, 8, 40] {
            for between in [0.0, 0.01, 0.03, 0.10] {
                let truth = Truth { between: &vec![between; cells], sessions, between_rho: 0.0, together: false };
                let (covered, _, width) = truth.covered(runs(cells));
                println!(
                    "{sessions:>8}  {cells:>5}  {:>17} %    {covered:.3}    ±{:.1} %",
                    100.0 * between,
                    100.0 * width
                );
                let what = format!("{sessions} sessions, {cells} cells, {between}, seeds 0..{}", runs(cells));
                // One session mean's error from its calls is 1.5 % here.
                let promised = if between < 0.015 { COVERED_AT_FLOOR } else { COVERED };
                assert!(promised.contains(&covered), "{what}: {covered}");
            }
        }
    }
}

#[test]
fn cells_that_vary_most_are_covered_too() {
    println!("sessions  cells  covered  quarter that varies most  half-width  (sd between sessions 1, 2, 3 and 10 %)");
    for sessions in [3, 5, 10] {
        for cells in [8, 40] {
            let between: Vec<f64> = [0.01, 0.02, 0.03, 0.10].into_iter().cycle().take(cells).collect();
            let truth = Truth { between: &between, sessions, between_rho: 0.0, together: false };
            let (covered, quarter, width) = truth.covered(2 * runs(cells));
            println!(
                "{sessions:>8}  {cells:>5}  {covered:.3}    {quarter:.3}                     ±{:.1} %",
                100.0 * width
            );
            let what = format!("{sessions} sessions, {cells} cells, seeds 0..{}", 2 * runs(cells));
            assert!(COVERED.contains(&covered) && quarter >= 0.90, "{what}: {covered} {quarter}");
        }
    }
}

/// Cells of one model share its processes: together they know no more of those than one of them does.
#[test]
fn cells_measured_in_the_same_processes_count_once() {
    println!("sessions  cells  covered  (all cells have their sessions in common, sd 5 %)");
    for sessions in [3, 5, 10] {
        for cells in [4, 12] {
            let between = vec![0.05; cells];
            let truth = Truth { between: &between, sessions, between_rho: 0.0, together: true };
            let (covered, ..) = truth.covered(500);
            println!("{sessions:>8}  {cells:>5}  {covered:.3}");
            assert!(covered >= 0.93, "{sessions} sessions, {cells} cells, seeds 0..500: {covered}");
        }
    }
}

/// What no session knows of itself is known of many: that those which follow each other are alike.
#[test]
fn sessions_alike_in_time_widen_the_interval() {
    println!("sessions  cells  rho between sessions  covered  half-width");
    for (sessions, cells) in [(5, 8), (10, 1), (10, 8)] {
        let between = vec![0.05; cells];
        let width = |between_rho: f64| {
            let truth = Truth { between: &between, sessions, between_rho, together: false };
            let (covered, _, width) = truth.covered(runs(cells));
            println!("{sessions:>8}  {cells:>5}  {between_rho:>20.1}  {covered:.3}    ±{:.1} %", 100.0 * width);
            (covered, width)
        };
        let ((white, narrow), (alike, wide)) = (width(0.0), width(0.4));
        assert!(
            COVERED.contains(&white) && wide > narrow,
            "{sessions} sessions of {cells} cells: {white} {narrow} {wide}"
        );
        assert!(alike >= if cells > 1 { 0.90 } else { 0.85 }, "{sessions} sessions of {cells} cells: {alike}");
    }
}

fn of(values: &[&[f64]]) -> Sessions {
    (0..).zip(values.iter().map(|session| session.to_vec())).collect()
}

fn located(cells: &[Sessions]) -> Vec<SessionLocation> {
    locations(cells).into_iter().map(Result::unwrap).collect()
}

#[test]
fn a_session_counts_once_however_many_calls_it_made() {
    let cell = of(&[&[10.0; 50], &[20.0; 3], &[40.0; 4]]);
    let found = located(&[cell])[0];
    assert!((found.location.value() - 20.0).abs() < 1e-9);
    assert_eq!((found.sessions, found.calls, found.within_sd_ln.map(|sd| sd < 1e-12)), (3, 57, Some(true)));
    assert!((found.between_sd_ln - 2.0_f64.ln()).abs() < 1e-12 && (found.location.df - 2.0).abs() < 1e-12);
    assert!((found.location.standard_error - 2.0_f64.ln() / 3.0_f64.sqrt()).abs() < 1e-12);
}

#[test]
fn sessions_that_agree_better_than_their_calls_do_are_as_sure_as_those() {
    let noisy: [f64; 8] = [9.0, 11.0, 10.0, 12.0, 8.5, 10.5, 9.5, 11.5];
    let found = located(&[of(&[&noisy, &noisy, &noisy])])[0];
    let within = found.within_sd_ln.unwrap();
    assert!(found.between_sd_ln == 0.0 && within > 0.1);
    assert!(found.location.standard_error > within / 24.0_f64.sqrt() && found.location.df > 10.0, "{found:?}");
}

#[test]
fn what_cannot_be_used_is_said_of_its_cell_alone() {
    let good = of(&[&[10.0, 10.1], &[11.0, 10.9], &[10.5, 10.4]]);
    let found = locations(&[of(&[&[1.0, 2.0]]), good.clone(), of(&[&[1.0], &[0.0]]), of(&[&[1.0], &[]])]);
    let errors: Vec<String> = found.iter().filter_map(|one| one.as_ref().err().map(ToString::to_string)).collect();
    assert_eq!(
        errors,
        [
            "1 points, at least 2 are needed",
            "values[0] is 0, a logarithm needs positive values",
            "0 points, at least 1 are needed"
        ]
    );
    assert_eq!(found[1], locations(&[good])[0]);
    assert!(locations(&[]).is_empty());
}

#[test]
fn one_call_a_session_is_enough_for_a_location() {
    let found = located(&[of(&[&[10.0], &[11.0], &[12.0]])])[0];
    assert_eq!((found.within_sd_ln, found.calls), (None, 3));
    let same = located(&[of(&[&[10.0], &[10.0]]), of(&[&[7.0], &[7.0]])])[1];
    assert!(same.location.standard_error == 0.0 && same.relative_half_width(LEVEL) == Some(0.0));
}
