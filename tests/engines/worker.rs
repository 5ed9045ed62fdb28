//! Engines behind the worker protocol: one contract for every engine wherever it runs, and what may happen to a worker.
//!
//! ONNX Runtime comes from `PHASEBENCH_ONNXRUNTIME` or from the user's cache; without one these tests fail. The real
//! torch worker takes part where `PHASEBENCH_TEST_TORCH` is set (after `phasebench setup torch`), and in a container where
//! `PHASEBENCH_TEST_DOCKER` is (after `phasebench setup torch --docker`).

mod boards;
mod checked;
mod claims;
mod clients;
mod compiling;
mod contract;
mod engines;
mod fake;
mod faults;
pub mod fixture;
mod lifetime;
mod protocol;
mod security;
mod sessions;
mod stacks;
mod torch;
