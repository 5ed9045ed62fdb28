#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss, reason = "tests")]

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::stats::summary::median;

fn new(ms: f64) -> Piece {
    Piece { size: 17, ms, asked_before: false }
}

fn again(ms: f64) -> Piece {
    Piece { asked_before: true, ..new(ms) }
}

/// Seen on a server of version 0.33: a stall of a second in the calls 2 and 3 of 12 made ten right ones count for hits.
#[test]
fn two_stalled_prefills_are_no_measure_of_the_others() {
    let times = [5.3, 1009.0, 1009.4, 5.1, 5.2, 5.0, 5.1, 5.3, 5.1, 5.0, 5.2, 5.1];
    let pieces = times.map(new);
    // At every moment of the session, not only at its end.
    for known in 1..=pieces.len() {
        let verdicts = judge(&[4.2], &pieces[..known]);
        assert!(verdicts.iter().all(|verdict| *verdict != Verdict::Reused), "{known}: {verdicts:?}");
    }
    assert_eq!(judge(&[4.2], &pieces), [Verdict::Done; 12], "together they are all right");
}

#[test]
fn what_was_never_asked_for_is_suspect_at_most() {
    let pieces = [100.0, 101.0, 99.0, 2.2, 100.0].map(new);
    let expected = [Verdict::Done, Verdict::Done, Verdict::Done, Verdict::Suspect, Verdict::Done];
    assert_eq!(judge(&[2.0], &pieces), expected);
    assert_eq!(judge(&[], &pieces), [Verdict::Done; 5], "nobody knows how long a hit takes");
    // Fast, and yet far slower than a hit.
    assert_eq!(judge(&[2.0], &[100.0, 101.0, 99.0, 20.0].map(new)), [Verdict::Done; 4]);
}

#[test]
fn what_was_asked_for_before_must_show_that_it_was_done() {
    let fresh = [185.0, 184.0].map(new);
    let verdict = |ms: f64| *judge(&[9.5], &[&fresh[..], &[again(ms)]].concat()).last().unwrap();
    for (ms, expected) in [
        (184.5, Verdict::Done),
        (196.0, Verdict::Done),
        (160.0, Verdict::Done),
        (9.5, Verdict::Reused),
        (15.0, Verdict::Reused),
        (60.0, Verdict::Reused),
        (1200.0, Verdict::Reused),
    ] {
        assert_eq!(verdict(ms), expected, "{ms} ms");
    }
    // Nothing to compare with, or nothing that can be told apart.
    assert_eq!(judge(&[], &[fresh[0], fresh[1], again(184.0)])[2], Verdict::Reused);
    assert_eq!(judge(&[9.5], &[fresh[0], again(184.0)])[1], Verdict::Reused);
    assert_eq!(judge(&[150.0], &[fresh[0], fresh[1], again(184.0)])[2], Verdict::Reused);
}

#[test]
fn a_longer_prompt_takes_no_less_than_a_shorter_one() {
    let shorter = [100.0, 101.0].map(new);
    let longer = Piece { size: 40, ..again(11.0) };
    assert_eq!(judge(&[9.0], &[shorter[0], shorter[1], longer])[2], Verdict::Reused);
}

/// A call as the scripted server made it, and whether it really was found in the server's cache.
struct Scripted {
    piece: Piece,
    hit: bool,
    /// The server says how many tokens it did not evaluate.
    told: bool,
}

/// One model's calls in a run: several loads, stalls, a drifting machine, prompts that come again.
struct History {
    repeats: Vec<f64>,
    calls: Vec<Scripted>,
    /// The median of what the right calls take without their stalls. Unit: milliseconds.
    truth: f64,
}

fn uniform(random: &mut ChaCha8Rng, from: f64, to: f64) -> f64 {
    from + (to - from) * random.random_range(0.0..1.0)
}

/// Evenly spread over orders of magnitude.
fn spread(random: &mut ChaCha8Rng, from: f64, to: f64) -> f64 {
    uniform(random, from.ln(), to.ln()).exp()
}

/// A factor of about 1, log-normal by the sum of twelve.
fn noise(random: &mut ChaCha8Rng, sd: f64) -> f64 {
    let sum: f64 = (0..12).map(|_| uniform(random, -0.5, 0.5)).sum();
    (sd * sum).exp()
}

fn history(random: &mut ChaCha8Rng) -> History {
    let (done, found) = (spread(random, 3.0, 3000.0), spread(random, 1.0, 20.0));
    let done = done.max(found * uniform(random, 1.0, 30.0));
    let sd = uniform(random, 0.002, 0.03);
    let (drift, count) = (uniform(random, -0.08, 0.08), random.random_range(12..60_usize));
    let (stalls, again_share) = (uniform(random, 0.0, 0.2), uniform(random, 0.0, 0.1));
    let (told, restarts) = (random.random_bool(0.3), uniform(random, 0.0, 0.08));
    // Some servers keep the last prompt only, so that one asked before another one is evaluated again.
    let keeps_all = random.random_bool(0.8);
    // The two that poisoned a session before: right after the cold call.
    let early = random.random_bool(0.3);
    let mut history = History { repeats: Vec::new(), calls: Vec::new(), truth: 0.0 };
    let mut plain = Vec::new();
    let (mut of_load, mut left) = (0, count / 5);
    for at in 0..count {
        if of_load > 0 && random.random_bool(restarts) {
            of_load = 0;
        }
        let mut stall = |random: &mut ChaCha8Rng, forced: bool| {
            let stalled = left > 0 && (forced || random.random_bool(stalls));
            left -= usize::from(stalled);
            if stalled { spread(random, 1.0, 2000.0) } else { 0.0 }
        };
        let speed = 1.0 + drift * (at as f64 / count as f64 - 0.5) * 2.0;
        if of_load == 1 {
            history.repeats.push(found * speed * noise(random, sd) + stall(random, false));
        }
        // A fresh process has nothing to find.
        let asked_before = of_load > 1 && random.random_bool(again_share);
        let hit = asked_before && keeps_all;
        let plainly = (if hit { found } else { done }) * speed * noise(random, sd);
        let ms = plainly + stall(random, early && (at == 1 || at == 2));
        if !hit {
            plain.push(plainly);
        }
        history.calls.push(Scripted { piece: Piece { size: 17, ms, asked_before }, hit, told });
        of_load += 1;
    }
    history.truth = median(&plain).unwrap();
    history
}

#[test]
fn a_thousand_histories_are_judged_rightly() {
    const HISTORIES: usize = 1000;
    let seed = 15_001;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut right, mut false_hits, mut hits, mut missed, mut suspects) = (0_usize, 0_usize, 0_usize, 0_usize, 0_usize);
    let (mut furthest, mut furthest_unflagged, mut unavoidable) = (0.0_f64, 0.0_f64, 0.0_f64);
    for number in 0..HISTORIES {
        let history = history(&mut random);
        let pieces: Vec<Piece> = history.calls.iter().map(|call| call.piece).collect();
        // Judged as they come, as the session does it: nothing that is right may go at any moment.
        for known in 1..=pieces.len() {
            let last = &history.calls[known - 1];
            let verdict = judge_one(&history.repeats, &last.piece, &pieces[..known]);
            assert!(
                last.piece.asked_before || verdict != Verdict::Reused,
                "history {number}, call {known} of {pieces:?}"
            );
        }
        let verdicts = judge(&history.repeats, &pieces);
        let is_hit = |(call, verdict): (&Scripted, &Verdict)| call.hit && call.told || *verdict == Verdict::Reused;
        let judged = || history.calls.iter().zip(&verdicts);
        right += judged().filter(|(call, _)| !call.hit).count();
        false_hits += judged().filter(|&both| !both.0.hit && is_hit(both)).count();
        hits += judged().filter(|(call, _)| call.hit).count();
        missed += judged().filter(|&both| both.0.hit && !is_hit(both)).count();
        suspects += judged().filter(|(_, verdict)| **verdict == Verdict::Suspect).count();
        let kept = |flagged: bool| {
            let kept = judged().filter(|&both| !is_hit(both) && (flagged || *both.1 != Verdict::Suspect));
            median(&kept.map(|(call, _)| call.piece.ms).collect::<Vec<_>>()).unwrap()
        };
        let all_right: Vec<f64> = judged().filter(|both| !both.0.hit).map(|both| both.0.piece.ms).collect();
        let off = |median: f64| (median / history.truth - 1.0).abs();
        unavoidable = unavoidable.max(off(median(&all_right).unwrap()));
        furthest = furthest.max(off(kept(true)));
        furthest_unflagged = furthest_unflagged.max(off(kept(false)));
    }
    println!(
        "seed {seed}: {false_hits} of {right} right calls called hits, {missed} of {hits} hits missed, {suspects} suspects; \
         a cell's median off by at most {:.2} %, without the suspects {:.2} %, of all right calls {:.2} %",
        100.0 * furthest,
        100.0 * furthest_unflagged,
        100.0 * unavoidable,
    );
    assert!(hits > 500 && right > 20_000);
    assert!(false_hits * 1000 <= 5 * right, "{false_hits} of {right}");
    assert!(missed * 100 <= hits, "{missed} of {hits}");
    assert!(furthest <= 0.05 && furthest_unflagged <= 0.05, "{furthest} {furthest_unflagged}");
}
