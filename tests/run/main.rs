//! The program as its users run it, on a simulated engine whose every time and fault is scripted.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod before;
mod early_stop;
mod faults;
mod fixture;
mod given_up;
mod missing;
#[path = "../support/not_run.rs"]
mod not_run;
mod order;
mod resume;
mod script;
mod stopping;
