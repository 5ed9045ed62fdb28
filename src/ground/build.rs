//! Tells the program what compiles it and for what, and builds it nowhere but where it can run.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let (system, processor) = (variable("CARGO_CFG_TARGET_OS"), variable("CARGO_CFG_TARGET_ARCH"));
    if system != "linux" || !["x86_64", "aarch64"].contains(&processor.as_str()) {
        println!("cargo::error=phasebench runs on Linux on x86-64 and arm64, and is built for {system} on {processor}");
        return;
    }
    println!("cargo:rustc-env=PHASEBENCH_RUSTC={}", compiler());
    println!("cargo:rustc-env=PHASEBENCH_PROFILE={}", variable("PROFILE"));
    println!("cargo:rustc-env=PHASEBENCH_TARGET={}", variable("TARGET"));
    println!("cargo:rustc-env=PHASEBENCH_TARGET_FEATURES={}", variable("CARGO_CFG_TARGET_FEATURE"));
}

/// The compiler's version, in its own words.
fn compiler() -> String {
    let output = Command::new(variable("RUSTC")).arg("--version").output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// A variable that cargo sets for build scripts.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}
