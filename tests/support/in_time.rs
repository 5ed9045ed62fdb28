//! What must be heard at once, told apart from what a busy machine makes of it.

use std::time::Duration;

/// So many attempts may be late.
const ATTEMPTS: usize = 6;

/// Holds if one of several attempts takes no longer than this. A machine whose processors are all busy may hold up any of
/// them; a program that does not listen is late each time.
#[track_caller]
pub fn once_within(longest: Duration, mut attempt: impl FnMut() -> Duration) {
    let mut took = Vec::new();
    for _ in 0..ATTEMPTS {
        took.push(attempt());
        if took.last().is_some_and(|took| *took <= longest) {
            return;
        }
    }
    panic!("never within {longest:?}: {took:?}");
}
