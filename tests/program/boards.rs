//! The memory of NVIDIA boards, measured by the program itself through a driver library of our own: see `tests/fake-cuda` and
//! `tests/fake-nvml`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::fake_cuda::{self, UUID};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A folder with both of NVIDIA's libraries, the one that copies compiled with what the test wants of it. `None`: without that.
fn driver(at: &Path, wanted: Option<&[&str]>) {
    for name in ["libnvidia-ml.so", "libnvidia-ml.so.1"] {
        std::os::unix::fs::symlink(management_library(), at.join(name)).unwrap();
    }
    match wanted {
        Some(wanted) => fake_cuda::compile(at, wanted),
        // Found before a real driver's library, and not one.
        None => std::fs::write(at.join("libcuda.so.1"), "").unwrap(),
    }
}

/// Cargo builds it beside the tests, because they depend on it.
fn management_library() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let folder = tests.parent().unwrap();
    let found = ["libfake_nvml.so", "deps/libfake_nvml.so"]
        .map(|name| folder.join(name))
        .into_iter()
        .find(|path| path.exists());
    found.unwrap_or_else(|| panic!("no libfake_nvml.so in {}", folder.display()))
}

fn program(driver: &Path, arguments: &[&str]) -> std::io::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
    command.args(arguments).env("LD_LIBRARY_PATH", driver).env_remove("FAKE_NVML").output()
}

/// What `machine --json` tells of boards.
fn boards(driver: &Path) -> Result<Vec<Value>, Box<dyn std::error::Error>> {
    let output = program(driver, &["machine", "--threads", "1", "--json"])?;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout)?;
    assert!(found["speeds"].as_array().is_some_and(|speeds| speeds.len() == 3), "{found:#}");
    Ok(found["boards"].as_array().ok_or("no boards")?.clone())
}

#[test]
fn boards_are_measured_beside_the_processor_and_told() -> Outcome {
    let folder = tempfile::tempdir()?;
    driver(folder.path(), Some(&["BOARDS=2", "RATE=2e12"]));
    let boards = boards(folder.path())?;
    assert_eq!(boards.len(), 2);
    for (number, board) in boards.iter().enumerate() {
        assert_eq!(board["uuid"], format!("{}{number}", &UUID[..UUID.len() - 1]));
        assert_eq!((board["kernel"].as_str(), board["unit"].as_str()), (Some("device_copy"), Some("GB/s")));
        let median = board["per_second"].as_f64().ok_or("no median")?;
        assert!((median / 2e12 - 1.0).abs() < 1e-5, "{board}");
        assert!(board["low"].as_f64() <= Some(median) && board["high"].as_f64() >= Some(median), "{board}");
    }
    let doctor = String::from_utf8(program(folder.path(), &["doctor"])?.stdout)?;
    assert!(
        doctor.contains("fake board 1 (GPU-abababab-abab-abab-abab-ababababab01): device_copy 2000 GB/s"),
        "{doctor}"
    );
    Ok(())
}

/// Whatever is wrong with the driver, the processor's figures come out, and the board's place holds the reason.
#[test]
fn a_board_that_cannot_be_measured_is_a_reason_and_nothing_else() -> Outcome {
    for (wanted, why) in [
        (None, "the NVIDIA driver library cannot be loaded: "),
        (Some(&["OLD"][..]), "the NVIDIA driver is too old: its library has no cuEventElapsedTime"),
        (
            Some(&["FREE_BYTES=(64ULL<<20)"][..]),
            "a buffer of 128 MiB is needed twice (four times its L2 cache), and 64.0 MiB are free",
        ),
        (Some(&["CRASHES"][..]), "the process that asked the driver ended with signal: 11"),
    ] {
        let folder = tempfile::tempdir()?;
        driver(folder.path(), wanted);
        let boards = boards(folder.path())?;
        let told = boards[0]["not_measured"].as_str().ok_or("no reason")?;
        assert!(boards.len() == 1 && told.starts_with(why), "{wanted:?}: {boards:?}");
        assert!(boards[0]["per_second"].is_null());
    }
    Ok(())
}
