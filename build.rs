//! Makes the worker protocol's code, and tells the program what it was built from. Works without git, and in an
//! unpacked archive.

use std::error::Error;
use std::path::Path;
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=backends");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=Cargo.toml");
    println!("cargo:rerun-if-changed=Cargo.lock");
    // Written whenever another commit is checked out or made. A worktree keeps them elsewhere than in `.git`.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file])
            && Path::new(&path).exists()
        {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    set("PHASEBENCH_COMMIT", commit());
    set("PHASEBENCH_RUSTC", output(&variable("RUSTC").unwrap_or_else(|| "rustc".to_owned()), &["--version"]));
    set("PHASEBENCH_PROFILE", variable("PROFILE"));
    set("PHASEBENCH_TARGET", variable("TARGET"));
    set("PHASEBENCH_TARGET_FEATURES", variable("CARGO_CFG_TARGET_FEATURE"));
    protocol()
}

/// Client and server of `worker.proto`, without `protoc`.
fn protocol() -> Result<(), Box<dyn Error>> {
    let descriptors = protox::compile(["worker.proto"], ["backends/proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}

/// The commit, with `-modified` where the sources differ from it.
fn commit() -> Option<String> {
    // An archive unpacked inside somebody else's repository must not take that repository's commit.
    let here = std::fs::canonicalize(".").ok()?;
    let top = std::fs::canonicalize(git(&["rev-parse", "--show-toplevel"])?).ok()?;
    if here != top {
        return None;
    }
    let commit = git(&["rev-parse", "HEAD"])?;
    let changed = output(
        "git",
        // Without the option git would write its index, and a build must not write to the repository.
        &["--no-optional-locks", "status", "--porcelain", "--", "src", "build.rs", "Cargo.toml", "Cargo.lock"],
    );
    Some(match changed.as_deref() {
        Some("") => commit,
        _ => format!("{commit}-modified"),
    })
}

fn git(arguments: &[&str]) -> Option<String> {
    output("git", arguments).filter(|text| !text.is_empty())
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn set(name: &str, value: Option<String>) {
    if let Some(value) = value {
        println!("cargo:rustc-env={name}={value}");
    }
}
