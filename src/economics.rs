//! What time and energy cost: plain numbers in, money out.
//!
//! - [`price`]: what a million tokens, a blend and a request cost on a tier.
//! - [`capacity`]: how many workers a load needs, and how long requests wait for one.
//! - [`figures`]: measured figures, what is made of them, and the joint draws that give intervals.
//! - [`request_time`]: a request between the lengths that were measured.
//! - [`break_even`]: when a better model, or a machine of one's own, pays.
//!
//! Money has no currency here; whoever prints it knows the label. Energy that nobody measured is `None`, and whatever
//! contains it is [`Scope::InfrastructureOnly`](price::Scope): it is never 0 watts.

pub mod break_even;
pub mod capacity;
pub mod figures;
pub mod price;
pub mod request_time;
