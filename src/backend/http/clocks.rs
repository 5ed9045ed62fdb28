//! A server's durations held against what passed on this side: a server may send anything under the right names.
//!
//! More than passed here is impossible. Far less is suspicious once, since our own side may have stalled, and a
//! contradiction where it happens again and again. Less than a microsecond is nothing that an engine does.

use std::collections::VecDeque;

use crate::units::Nanos;

/// Nothing that an engine evaluates takes less.
const SHORTEST: Nanos = Nanos(1_000);

/// Time may be lost between two readings: the server's clock stops after ours began to run, and neither is exact.
const SLACK_MS: f64 = 1.0;

/// Two clocks of one machine run alike; those of two machines nearly.
const SLACK: f64 = 0.01;

/// Calls in a row, this one included, of which each must lack more than so many milliseconds. One call proves nothing: our
/// own side, or the server's, may have waited for a processor, and beside other programs short calls wait for 15 ms again
/// and again (seen: ten in a row).
const IN_A_ROW: [(usize, f64); 2] = [(3, 30.0), (10, 20.0)];

/// Calls in a row, this one included, that are told in another unit: of each at most this share of the time that passed here is
/// accounted for, a thousandth where microseconds are called nanoseconds, and so many milliseconds lack at least. Short calls
/// that wait for a processor account for more, or not so often in a row.
const ANOTHER_UNIT: (usize, f64, f64) = (30, 0.02, 3.0);

/// Where at least this share of the time that passed here is accounted for, nothing is lacking.
const LEAST_ACCOUNTED: f64 = 0.5;

/// Time before the first line that needs no explanation: the wait for a slot and the first sampling are in it.
const PLAIN_BEFORE_FIRST_MS: f64 = 20.0;

/// What a server says that a request took, and what passed here meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Durations {
    /// The whole request, as the server says. `None`: it does not.
    pub total: Option<Nanos>,
    /// Loading or looking up the model.
    pub load: Option<Nanos>,
    /// The prefill.
    pub prefill: Option<Nanos>,
    /// The decode loop. `None`: no step was made.
    pub decode: Option<Nanos>,
    /// Steps it covers.
    pub steps: u32,
    /// Time of a step that the decode clock leaves out, at most.
    pub left_out_per_step: Nanos,
    /// From sending to the first line, here.
    pub to_first: Nanos,
    /// From sending to the last line, here.
    pub to_last: Nanos,
}

/// The last calls, to tell a stall from a false clock.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Clocks {
    /// What each of the last calls lacks, the newest first.
    lacking: VecDeque<Lacking>,
}

/// What a call's durations do not account for.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Lacking {
    /// Unit: milliseconds.
    ms: f64,
    /// Share of what passed here that is accounted for, 0 to 1.
    accounted: f64,
}

impl Lacking {
    /// Nothing lacks.
    const NOTHING: Self = Self { ms: 0.0, accounted: 1.0 };
}

impl Clocks {
    /// Takes one more call. `Some`: how its durations contradict what passed here, or each other.
    pub fn contradiction(&mut self, call: &Durations) -> Option<String> {
        if let Some(why) = call.impossible() {
            return Some(why);
        }
        let missing = call.missing();
        self.lacking.push_front(missing.as_ref().map_or(Lacking::NOTHING, |(lacking, _)| *lacking));
        self.lacking.truncate(ANOTHER_UNIT.0);
        let (calls, most_accounted, least_ms) = ANOTHER_UNIT;
        let another_unit = self.all_of_last(calls, |call| call.accounted < most_accounted && call.ms > least_ms);
        let lacks = |(calls, most_ms): (usize, f64)| self.all_of_last(calls, |call| call.ms > most_ms);
        missing.filter(|_| another_unit || IN_A_ROW.into_iter().any(lacks)).map(|(_, why)| why)
    }

    /// Whether something holds of each of so many calls, the last ones. Not of fewer.
    fn all_of_last(&self, calls: usize, holds: impl Fn(&Lacking) -> bool) -> bool {
        self.lacking.len() >= calls && self.lacking.iter().take(calls).all(holds)
    }
}

impl Durations {
    /// What cannot be, whatever stalled.
    fn impossible(&self) -> Option<String> {
        let named = [
            ("the whole request", self.total, 1),
            ("the prefill", self.prefill, 1),
            ("a decode step", self.decode, self.steps.max(1)),
        ];
        for (name, time, parts) in named {
            if let Some(time) = time.filter(|time| time.0 / u64::from(parts) < SHORTEST.0) {
                return Some(format!("{name} took {} ns as the server says", time.0 / u64::from(parts)));
            }
        }
        let sum = |parts: &[Option<Nanos>]| parts.iter().flatten().fold(Nanos(0), |sum, part| sum + *part);
        let parts = sum(&[self.load, self.prefill, self.decode]);
        let before_first = sum(&[self.load, self.prefill]);
        let limits = [
            (
                "load, prefill and decode together",
                parts,
                self.total.unwrap_or(parts),
                "the whole request by the same clock",
            ),
            ("the whole request", self.total.unwrap_or_default(), self.to_last, "what passed here"),
            ("load, prefill and decode together", parts, self.to_last, "what passed here"),
            ("load and prefill", before_first, self.to_first, "what passed here before the first line"),
        ];
        limits.into_iter().find(|(_, said, passed, _)| exceeds(*said, *passed)).map(|(name, said, passed, what)| {
            format!("{name} took {said} as the server says, more than {what}: {passed}")
        })
    }

    /// Where far less is accounted for than passed here: what is lacking, and what is wrong.
    fn missing(&self) -> Option<(Lacking, String)> {
        let before_first = self.load.unwrap_or_default() + self.prefill.unwrap_or_default();
        let decode = self.decode.unwrap_or_default() + Nanos(self.left_out_per_step.0 * u64::from(self.steps));
        let compared = [
            ("the whole request", self.total, self.to_last, 0.0),
            ("load and prefill", self.prefill.map(|_| before_first), self.to_first, PLAIN_BEFORE_FIRST_MS),
            ("decode", self.decode.map(|_| decode), self.to_last.since(self.to_first), 0.0),
        ];
        let lacking = compared.into_iter().filter_map(|(name, said, passed, plain)| {
            let (said, passed) = (said?, passed);
            let lacking =
                Lacking { ms: passed.as_ms() - said.as_ms() - plain, accounted: said.as_ms() / passed.as_ms() };
            let why = || format!("{name} took {said} as the server says, and {passed} passed here, call after call");
            (lacking.accounted < LEAST_ACCOUNTED && lacking.ms > 0.0).then(|| (lacking, why()))
        });
        lacking.max_by(|a, b| a.0.ms.total_cmp(&b.0.ms))
    }
}

fn exceeds(said: Nanos, passed: Nanos) -> bool {
    said.as_ms() > passed.as_ms() * (1.0 + SLACK) + SLACK_MS
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn ms(ms: f64) -> Nanos {
        Nanos::from(std::time::Duration::from_secs_f64(ms / 1e3))
    }

    /// 17 tokens of prompt and 32 steps of 3 ms, as a real server answers.
    fn right() -> Durations {
        Durations {
            total: Some(ms(104.0)),
            load: Some(ms(1.5)),
            prefill: Some(ms(5.1)),
            decode: Some(ms(96.0)),
            steps: 32,
            left_out_per_step: Nanos(0),
            to_first: ms(8.5),
            to_last: ms(104.8),
        }
    }

    fn words(calls: &[Durations]) -> Vec<Option<String>> {
        let mut clocks = Clocks::default();
        calls.iter().map(|call| clocks.contradiction(call)).collect()
    }

    #[test]
    fn right_durations_are_believed() {
        assert_eq!(words(&[right(); 5]), vec![None; 5]);
        let prefill_only = Durations { decode: None, steps: 0, total: Some(ms(8.0)), to_last: ms(8.6), ..right() };
        assert_eq!(words(&[prefill_only; 5]), vec![None; 5]);
    }

    #[test]
    fn what_imitates_a_server_is_told_by_what_passed_here() {
        let scaled = |by: f64| {
            let of = |time: Option<Nanos>| time.map(|time| ms(time.as_ms() * by));
            let call = right();
            Durations {
                total: of(call.total),
                load: of(call.load),
                prefill: of(call.prefill),
                decode: of(call.decode),
                ..call
            }
        };
        let one = Some(Nanos(1));
        for (call, expected) in [
            (Durations { total: one, load: one, prefill: one, decode: one, ..right() }, "the whole request took 1 ns"),
            (Durations { prefill: one, ..right() }, "the prefill took 1 ns"),
            (Durations { decode: Some(Nanos(96)), ..right() }, "a decode step took 3 ns"),
            // Milliseconds and microseconds under the name of nanoseconds, and the other way round.
            (scaled(1e-6), "the whole request took 104 ns"),
            (scaled(1e-3), "the whole request took"),
            (scaled(1e3), "more than what passed here"),
            (scaled(0.1), "the whole request took"),
            (scaled(1.5), "more than what passed here"),
            // Constants.
            (
                Durations { decode: Some(ms(10.0)), ..right() },
                "decode took 10.0 ms as the server says, and 96.3 ms passed here",
            ),
            (Durations { decode: Some(ms(150.0)), ..right() }, "more than the whole request by the same clock"),
            (
                Durations { prefill: Some(ms(60.0)), decode: Some(ms(20.0)), ..right() },
                "more than what passed here before the first line",
            ),
            (Durations { prefill: Some(ms(2.0)), to_first: ms(90.0), ..right() }, "load and prefill took"),
        ] {
            // What lacks much is told by the third call, what cannot be by the first.
            for words in words(&[call; 5]).split_off(2) {
                let words = words.unwrap_or_else(|| format!("nothing is said of {call:?}"));
                assert!(words.contains(expected), "{words}, expected `{expected}`");
            }
        }
    }

    #[test]
    fn a_little_that_is_always_lacking_is_told_in_time() {
        let call =
            Durations { total: Some(ms(2.0)), prefill: Some(ms(1.0)), decode: None, steps: 0, load: None, ..right() };
        let call = Durations { to_first: ms(27.0), to_last: ms(27.5), ..call };
        // As on a machine whose processors are all busy, where nothing is wrong.
        let waited = Durations { to_first: ms(14.0), to_last: ms(14.5), ..call };
        assert_eq!(words(&[waited; 12]), vec![None; 12]);
        let told: Vec<bool> = words(&[call; 12]).iter().map(Option::is_some).collect();
        assert_eq!(told.iter().position(|&told| told), Some(9));
        assert!(told[9..].iter().all(|&told| told));
    }

    /// Calls of 15 ms, told in microseconds under the name of nanoseconds.
    #[test]
    fn another_unit_is_told_of_short_calls_too() {
        let call = Durations {
            total: Some(Nanos(15_000)),
            load: None,
            prefill: Some(Nanos(5_000)),
            decode: Some(Nanos(10_000)),
            steps: 8,
            left_out_per_step: Nanos(0),
            to_first: ms(5.0),
            to_last: ms(15.0),
        };
        let told: Vec<bool> = words(&[call; 40]).iter().map(Option::is_some).collect();
        assert_eq!(told.iter().position(|&told| told), Some(29));
        assert!(told[29..].iter().all(|&told| told));
        // Calls of half a millisecond that wait 12 ms for a processor, each of them.
        let waited = Durations { total: Some(ms(0.5)), prefill: Some(ms(0.2)), decode: Some(ms(0.3)), ..call };
        let waited = Durations { to_first: ms(12.2), to_last: ms(12.5), ..waited };
        assert_eq!(words(&[waited; 60]), vec![None; 60]);
    }

    /// Our own side stalled: what the server says is right all the same.
    #[test]
    fn a_stall_on_this_side_is_no_contradiction() {
        let stalled = Durations { to_first: ms(1008.5), to_last: ms(1104.8), ..right() };
        let later = Durations { to_last: ms(1104.8), ..right() };
        assert_eq!(words(&[right(), stalled, later, right(), stalled, right()]), vec![None; 6]);
        // The lines came in one read, after the last was written.
        let at_once = Durations { to_first: ms(104.8), ..right() };
        assert_eq!(words(&[right(), at_once, right()]), vec![None; 3]);
        // A busy machine: short calls wait longer for a processor than they last.
        let short = Durations {
            total: Some(ms(2.6)),
            decode: Some(ms(1.6)),
            prefill: Some(ms(0.5)),
            load: Some(ms(0.5)),
            steps: 8,
            ..right()
        };
        let waits = |by: f64| Durations { to_first: ms(1.5 + by), to_last: ms(2.9 + by), ..short };
        let calls = [10.0, 12.0, 15.0, 11.0, 30.0, 1.0, 30.0, 25.0, 3.0, 12.0].map(waits);
        assert_eq!(words(&calls), vec![None; 10]);
        assert!(words(&[stalled; 3]).last().unwrap().is_some(), "three in a row are no accident");
    }

    #[test]
    fn a_clock_without_sampling_has_its_allowance() {
        let call = Durations { decode: Some(ms(20.0)), left_out_per_step: ms(10.0), ..right() };
        assert_eq!(words(&[call; 3]), vec![None; 3]);
    }
}
