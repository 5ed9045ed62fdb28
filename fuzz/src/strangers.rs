//! What strangers can send, as functions of bytes. Each reads its bytes as the program would, and goes on with what it read
//! as far as the program would; for none may it panic, take longer than a second or more than [`MOST_MEMORY`].
//!
//! Fuzzers call them (`fuzz/fuzz_targets`), and so does `tests/strangers.rs` on the ordinary toolchain.

pub mod imported_file;
mod measured;
pub mod memory;
pub mod model_folder;
pub mod mutation;
mod parts;
pub mod run_record;
pub mod scenario_file;
mod scratch;
pub mod streams;
pub mod worker_messages;

/// Most memory that one input may take. Unit: bytes.
pub const MOST_MEMORY: usize = 1 << 30;

/// Takes an input.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: [(&str, Target); 6] = [
    ("imported_file", imported_file::read),
    ("model_folder", model_folder::read),
    ("run_record", run_record::read),
    ("scenario_file", scenario_file::read),
    ("streams", streams::read),
    ("worker_messages", worker_messages::read),
];

/// Runs a target; the most memory it held at once. Unit: bytes.
///
/// # Panics
/// It took more than [`MOST_MEMORY`], or the target itself panics.
pub fn within_limits(target: Target, data: &[u8]) -> usize {
    let before = memory::begin();
    target(data);
    let most = memory::most().saturating_sub(before);
    assert!(most <= MOST_MEMORY, "{most} bytes of memory at once, {MOST_MEMORY} are allowed");
    most
}
