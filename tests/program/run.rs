//! The program as its users run it, on a simulated engine whose every time and fault is scripted.

mod before;
mod cleaning;
mod disturbed;
mod early_stop;
mod faults;
pub mod fixture;
mod given_up;
mod killed;
mod missing;
mod order;
mod resume;
mod script;
mod stopping;
mod words;
