//! The wheels that `phasebench setup` fetches, each with its hash.
//!
//! All are the builds for CPython 3.11 or for any Python: only shared libraries are taken out of them, so the
//! Python that runs pip may be another, and one hash serves everybody.

use crate::backend::onnx::library::PINNED;
use crate::backend::onnx::library::build::Build;
use crate::units::Bytes;

/// One wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wheel<'a> {
    /// Project on the package index.
    pub project: &'static str,
    /// Version.
    pub version: &'a str,
    /// SHA-256 of the file. `None`: it is not pinned; its members are held against its own record.
    pub sha256: Option<&'static str>,
    /// Size of the file; about, where it is not pinned.
    pub size: Bytes,
    /// Size of what is taken out of it.
    pub unpacked: Bytes,
    /// Which members are taken, as patterns on their path; their folders are not kept.
    pub take: &'static [&'static str],
    /// Members left where a pattern of `take` would have them.
    pub leave: &'static [&'static str],
    /// Folder below the runtime's that they go to; empty for the runtime's own.
    pub into: &'static str,
}

const CPU_TAKE: &[&str] = &["onnxruntime/capi/libonnxruntime*", "onnxruntime/LICENSE", "onnxruntime/ThirdParty*"];
const OPENVINO_TAKE: &[&str] = &["onnxruntime/capi/lib*", "onnxruntime/LICENSE", "onnxruntime/ThirdParty*"];
const CUDA_TAKE: &[&str] = &["nvidia/*/lib/lib*.so*"];

const CPU_X86_64: Wheel<'static> = Wheel {
    project: "onnxruntime",
    version: PINNED,
    sha256: Some("5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f"),
    size: Bytes(23_753_652),
    unpacked: Bytes(29_700_000),
    take: CPU_TAKE,
    leave: &[],
    into: "",
};

const CPU_AARCH64: Wheel<'static> = Wheel {
    sha256: Some("da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3"),
    size: Bytes(21_413_526),
    unpacked: Bytes(25_800_000),
    ..CPU_X86_64
};

const fn nvidia(
    project: &'static str,
    version: &'static str,
    sha256: &'static str,
    size: u64,
    unpacked: u64,
) -> Wheel<'static> {
    Wheel {
        project,
        version,
        sha256: Some(sha256),
        size: Bytes(size),
        unpacked: Bytes(unpacked),
        take: CUDA_TAKE,
        leave: &["*.alt.so*", "*/libnvblas*", "*/libcufftw*"],
        into: "nvidia",
    }
}

/// ONNX Runtime with CUDA 13, and the NVIDIA libraries its provider loads.
const CUDA_X86_64: &[Wheel<'static>] = &[
    Wheel {
        project: "onnxruntime-gpu",
        version: PINNED,
        sha256: Some("e26c475fe361b2015f45b4b824bd13f0bb20204e59b62814e6f0acd5f3d491a6"),
        size: Bytes(255_560_985),
        unpacked: Bytes(314_000_000),
        take: CPU_TAKE,
        leave: &[],
        into: "",
    },
    nvidia(
        "nvidia-cuda-runtime",
        "13.0.96",
        "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
        2_243_632,
        800_000,
    ),
    nvidia(
        "nvidia-cublas",
        "13.0.2.14",
        "0cf238ffdbe46c00cb9aa98e7bca745c223a5ca5a53e686ac8b3e5a08fe80d6c",
        420_882_912,
        594_100_000,
    ),
    nvidia(
        "nvidia-curand",
        "10.4.5.25",
        "22bb226a857e5888fe6b54ae465fc4371296bcff13a35f79e19691bcf454f529",
        77_113_015,
        104_900_000,
    ),
    nvidia(
        "nvidia-cufft",
        "12.0.0.61",
        "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3",
        214_085_489,
        286_600_000,
    ),
    nvidia(
        "nvidia-cuda-nvrtc",
        "13.0.88",
        "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
        90_215_200,
        113_800_000,
    ),
    nvidia(
        "nvidia-cudnn-cu13",
        "9.28.0.42",
        "7358353c75bb121a58e5f7712fe6d588883dc1df8ba00f428237e44e97543c4d",
        516_782_127,
        940_200_000,
    ),
];

/// Version with OpenVINO that is fetched where none is asked for.
pub const OPENVINO: &str = "1.24.1";

/// The wheel of a version that is not pinned. `None`: of this build only the pinned one is fetched.
#[must_use]
pub fn unpinned(version: &str, build: Build) -> Option<Wheel<'_>> {
    let (project, size, unpacked) = match build {
        Build::Cpu => ("onnxruntime", Bytes(30_000_000), Bytes(40_000_000)),
        Build::Openvino => ("onnxruntime-openvino", Bytes(90_000_000), Bytes(300_000_000)),
        Build::Cuda => return None,
    };
    let take = if build == Build::Openvino { OPENVINO_TAKE } else { CPU_TAKE };
    Some(Wheel { project, version, sha256: None, size, unpacked, take, ..CPU_X86_64 })
}

/// The pinned wheels of one build. `None`: there are none for this system.
#[must_use]
pub fn wheels(os: &str, arch: &str, cuda: bool) -> Option<&'static [Wheel<'static>]> {
    match (os, arch, cuda) {
        ("linux", "x86_64", false) => Some(&[CPU_X86_64]),
        ("linux", "aarch64", false) => Some(&[CPU_AARCH64]),
        ("linux", "x86_64", true) => Some(CUDA_X86_64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pin_is_a_hash() {
        for (arch, cuda) in [("x86_64", false), ("aarch64", false), ("x86_64", true)] {
            let wheels = wheels("linux", arch, cuda).unwrap_or_default();
            assert!(!wheels.is_empty());
            for wheel in wheels {
                let sha256 = wheel.sha256.unwrap_or_default();
                let hex = sha256.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
                assert!(sha256.len() == 64 && hex, "{wheel:?}");
            }
        }
        assert_eq!(wheels("linux", "aarch64", true), None);
        assert_eq!(wheels("macos", "aarch64", false), None);
    }
}
