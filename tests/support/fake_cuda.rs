//! NVIDIA's driver library without a driver: see `tests/fake-cuda/libcuda.c`.

use std::path::Path;

use crate::c_library;

/// The first board's id.
pub const UUID: &str = "GPU-abababab-abab-abab-abab-ababababab00";

/// Compiles it into a folder under the name that programs load, with what the test wants of it.
pub fn compile(into: &Path, wanted: &[&str]) {
    let wanted = wanted.iter().map(|define| format!("-D{define}"));
    c_library::compile("tests/fake-cuda/libcuda.c", &into.join("libcuda.so.1"), wanted);
}
