//! Workers in containers of a real Docker engine: what they may do, how they end, what is left of them.
//!
//! `PHASEBENCH_TEST_DOCKER=1` runs these, after `phasebench setup torch --docker`, on the image that made; any other value
//! is the name of an image with `python3` in it, for those that need no torch. The engine is the one that Docker's client
//! would ask.

mod ending;
mod engine_lost;
mod fixture;
mod inside;
mod leftovers;
mod others;
mod run;
