//! Shared libraries that tests write in C.

use std::path::Path;
use std::process::Command;

/// Compiles a source, named from the project's root, into a library.
pub fn compile(source: &str, into: &Path, arguments: impl IntoIterator<Item = String>) {
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(into).arg(source).args(arguments);
    let output = compiler.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
