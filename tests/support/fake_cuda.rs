//! NVIDIA's driver library without a driver: see `tests/fake-cuda/libcuda.c`.

use std::path::Path;
use std::process::Command;

/// The first board's id.
pub const UUID: &str = "GPU-abababab-abab-abab-abab-ababababab00";

/// Compiles it into a folder under the name that programs load, with what the test wants of it.
pub fn compile(into: &Path, wanted: &[&str]) {
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(into.join("libcuda.so.1")).arg("tests/fake-cuda/libcuda.c");
    compiler.args(wanted.iter().map(|define| format!("-D{define}"))).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = compiler.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
