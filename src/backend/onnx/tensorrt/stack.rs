//! What TensorRT's engines depend on beside model and settings: its version, and the boards.

use std::fs;
use std::path::{Path, PathBuf};

use libloading::Library;

/// Where NVIDIA's kernel module tells of itself.
const DRIVER: &str = "/proc/driver/nvidia";

/// Variables that decide which board an index means, and whether TensorRT may compute f32 in TF32.
const VARIABLES: [&str; 3] = ["CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_TF32_OVERRIDE"];

/// Version of the TensorRT that this process has loaded, which the provider does as it is first asked for. `None`: none, or it
/// does not tell.
pub(in crate::backend::onnx) fn version() -> Option<String> {
    of_library(&mapped(&fs::read_to_string("/proc/self/maps").ok()?)?)
}

/// The library that holds TensorRT, as a list of mapped files names it.
fn mapped(maps: &str) -> Option<PathBuf> {
    let files = maps.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])));
    let is_tensorrt = |path: &&Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // Beside it lie libnvinfer_plugin and the like.
        name.starts_with("libnvinfer.so")
    };
    files.into_iter().find(is_tensorrt).map(Path::to_owned)
}

/// Asks a library that is loaded already.
fn of_library(path: &Path) -> Option<String> {
    // SAFETY: the library is mapped into this process, so that its initialisers have run; nothing but a count goes up.
    let library = unsafe { Library::new(path) }.ok()?;
    // SAFETY: the function has this signature in every TensorRT that exports its name (NvInferRuntimeBase.h).
    let version = unsafe { library.get::<unsafe extern "C" fn() -> i32>("getInferLibVersion") }.ok()?;
    // SAFETY: it takes nothing and returns a number.
    let version = unsafe { version() };
    // The library stays with the provider.
    std::mem::forget(library);
    Some(written(version))
}

/// `10.9.0` of 100900, as from version 10 on; `8.6.1` of 8601, as before.
fn written(number: i32) -> String {
    let (major, minor) = if number >= 100_000 { (10_000, 100) } else { (1000, 100) };
    format!("{}.{}.{}", number / major, number % major / minor, number % minor)
}

/// Driver, boards and variables that decide how they are used, in one line.
///
/// # Errors
/// The system does not tell.
pub(super) fn boards() -> Result<String, String> {
    boards_below(Path::new(DRIVER), |name| std::env::var(name).unwrap_or_default())
}

fn boards_below(driver: &Path, variable: impl Fn(&str) -> String) -> Result<String, String> {
    let read = |path: &Path| fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let version = read(&driver.join("version"))?;
    let folder = driver.join("gpus");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut boards = Vec::new();
    for entry in entries.flatten() {
        boards.push(of_board(&read(&entry.path().join("information"))?)?);
    }
    if boards.is_empty() {
        return Err(format!("{} lists no board", folder.display()));
    }
    boards.sort();
    let variables = VARIABLES.map(|name| format!("{name}={}", variable(name)));
    let version = version.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(format!("{}; {}; {version}", boards.join(", "), variables.join(" ")))
}

/// A board's model and id: its model decides the compute capability.
fn of_board(information: &str) -> Result<String, String> {
    let told = |name: &str| {
        let line = information.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
        line.map(str::trim).filter(|value| !value.is_empty())
    };
    let (model, uuid) = (told("Model"), told("GPU UUID"));
    let both = model.zip(uuid).ok_or("the driver tells no model or id of a board")?;
    Ok(format!("{} {}", both.0, both.1))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn versions_are_written_as_people_do() {
        for (number, version) in [(100_900, "10.9.0"), (101_304, "10.13.4"), (8601, "8.6.1"), (8400, "8.4.0")] {
            assert_eq!(written(number), version);
        }
    }

    #[test]
    fn the_library_is_the_one_that_is_mapped_and_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let (source, library) = (folder.path().join("nvinfer.c"), folder.path().join("libnvinfer.so.10"));
        fs::write(&source, "int getInferLibVersion(void) { return 101304; }\n").unwrap();
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status().unwrap();
        assert!(compiled.success());
        let plugin = folder.path().join("libnvinfer_plugin.so.10");
        let line = |path: &Path| format!("7f00-7f01 r--p 00000000 08:01 7    {}\n", path.display());
        let maps = format!("7ffe-7fff rw-p 00000000 00:00 0    [stack]\n{}{}", line(&plugin), line(&library));
        let found = mapped(&maps).unwrap();
        assert_eq!(found, library);
        assert_eq!(of_library(&found).as_deref(), Some("10.13.4"));
        assert_eq!((mapped(&line(&plugin)), of_library(&plugin)), (None, None));
    }

    #[test]
    fn boards_are_told_by_the_kernel_module_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let of = |variable: &str| boards_below(root.path(), |name| format!("{name}-{variable}"));
        assert!(of("").unwrap_err().contains("version: No such file"));
        fs::write(root.path().join("version"), "NVRM version: NVIDIA  580.82\nGCC version: 13\n").unwrap();
        fs::create_dir(root.path().join("gpus")).unwrap();
        assert!(of("").unwrap_err().ends_with("lists no board"));
        let board = |place: &str, text: &str| {
            let folder = root.path().join("gpus").join(place);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("information"), text).unwrap();
        };
        board("0000:02:00.0", "Model: \t\t NVIDIA H200\nIRQ: 7\nGPU UUID: \t GPU-2\n");
        board("0000:01:00.0", "Model: \t\t NVIDIA A100\nGPU UUID: \t GPU-1\n");
        assert_eq!(
            of("x").unwrap(),
            "NVIDIA A100 GPU-1, NVIDIA H200 GPU-2; CUDA_VISIBLE_DEVICES=CUDA_VISIBLE_DEVICES-x \
             CUDA_DEVICE_ORDER=CUDA_DEVICE_ORDER-x NVIDIA_TF32_OVERRIDE=NVIDIA_TF32_OVERRIDE-x; NVRM version: NVIDIA 580.82"
        );
        board("0000:03:00.0", "Model: \t\t NVIDIA H200\n");
        assert_eq!(of("x"), Err("the driver tells no model or id of a board".to_owned()));
    }
}
