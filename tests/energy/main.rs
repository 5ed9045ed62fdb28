//! Power beside a run of the program itself: through the real driver wrapper on a driver library whose board is scripted,
//! from a folder that looks like the kernel's, and where there is nothing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod absent;
mod boards;
mod calibrated;
mod caps;
mod driver;
mod faults;
mod fixture;
mod frozen;
mod labels;
mod looped;
mod mistakes;
#[path = "../support/not_run.rs"]
mod not_run;
mod processor;
