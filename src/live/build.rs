//! Has what the program carries carried anew when it changes.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The macro that reads the worker's package does not watch it.
    println!("cargo:rerun-if-changed=../../backends/torch/phasebench_torch");
}
