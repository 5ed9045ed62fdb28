//! The interface of whichever ONNX Runtime is loaded, as the `ort` crate wants it.
//!
//! The crate is compiled against one version of the interface, [`NEWEST`], and refuses libraries that offer less. A library
//! keeps every function of the versions before its own at its place, so the newest version that both know is asked for
//! ([`version`]), and its table is completed to the crate's length: what the crate cannot do without is computed from older
//! functions, all else answers with an error.

use std::cell::RefCell;
use std::ffi::c_void;
use std::mem::{MaybeUninit, offset_of};
use std::ptr;

use ort::sys::{
    ONNXTensorElementDataType, ORT_API_VERSION, OrtApi, OrtCompileApi, OrtDeviceMemoryType, OrtEpApi, OrtErrorCode,
    OrtInteropApi, OrtMemoryInfo, OrtModelEditorApi, OrtModelPackageApi, OrtSession, OrtStatusPtr,
    OrtTensorTypeAndShapeInfo, OrtValue,
};

/// Oldest version whose libraries are used: before it, packages for Python hold no library of its own.
pub const OLDEST: u32 = 20;

/// Newest version that this program knows.
pub const NEWEST: u32 = ORT_API_VERSION;

/// Version from which a session tells where its nodes were assigned.
pub const TELLS_ASSIGNMENT: u32 = 24;

/// The version to ask of a library: the newest that both know. `None`: it offers none that this program can use.
///
/// ```
/// # use phasebench_live::backend::onnx::api::{NEWEST, version};
/// assert_eq!(version("1.24.4"), Some(24));
/// assert_eq!(version("1.99.0"), Some(NEWEST));
/// assert_eq!(version("1.19.2"), None);
/// ```
#[must_use]
pub fn version(library: &str) -> Option<u32> {
    let mut numbers = library.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(1)), Some(Ok(minor))) if minor >= OLDEST => Some(minor.min(NEWEST)),
        _ => None,
    }
}

/// The last function of each version that added some.
macro_rules! lengths {
    ($($version:literal: $last:ident),+ $(,)?) => {
        [$(($version, offset_of!(OrtApi, $last) + size_of::<*const c_void>())),+]
    };
}

/// Length of the table by version, where it grew. Unit: bytes.
const LENGTHS: [(u32, usize); 10] = lengths![
    20: SetEpDynamicOptions,
    22: GetEpApi,
    23: CreateExternalInitializerInfo,
    24: GetTensorElementTypeAndShapeDataReference,
    25: SetPerSessionThreadPoolCallbacks,
    27: SessionReleaseCapturedGraph,
    28: KernelContext_GetSyncStream,
    29: SessionOptionsSetWeightlessSourceModelBuffer,
    30: KernelContext_GetPreallocatedOutput,
    31: GetModelPackageApi,
];

/// Length of a version's table. Unit: bytes.
pub(super) fn length(version: u32) -> usize {
    LENGTHS.iter().rev().find(|(since, _)| *since <= version).map_or(0, |&(_, length)| length)
}

/// A library's table, completed.
///
/// # Safety
/// `offered` points to the table that the library returned for `version`, which is from [`OLDEST`] to [`NEWEST`].
pub(super) unsafe fn completed(offered: *const OrtApi, version: u32) -> OrtApi {
    let mut table = MaybeUninit::<OrtApi>::uninit();
    let slots = table.as_mut_ptr().cast::<*const c_void>();
    for slot in 0..size_of::<OrtApi>() / size_of::<*const c_void>() {
        // SAFETY: the table is nothing but pointers to functions, and `slot` is below their number.
        unsafe { slots.add(slot).write(missing as *const c_void) };
    }
    // SAFETY: the caller promises a table of this version, which has this length; ours is at least as long.
    unsafe { ptr::copy_nonoverlapping(offered.cast::<u8>(), table.as_mut_ptr().cast::<u8>(), length(version)) };
    // SAFETY: every slot was written.
    let mut table = unsafe { table.assume_init() };
    // The crate lets the runtime choose devices by itself unless it is told not to. Versions differ in what comes of that,
    // and the provider is named anyway.
    table.SessionOptionsSetEpSelectionPolicy = choose_nothing;
    if version < 22 {
        table.GetModelEditorApi = no_editor;
        table.GetCompileApi = no_compiler;
        table.GetEpApi = no_providers;
    }
    if version < 23 {
        table.MemoryInfoGetDeviceMemType = default_memory;
        table.SessionGetMemoryInfoForInputs = host_memory;
        table.SessionGetMemoryInfoForOutputs = host_memory;
    }
    if version < 24 {
        table.GetTensorElementTypeAndShapeDataReference = shape_from_info;
        table.GetInteropApi = no_interop;
    }
    if version < 31 {
        table.GetModelPackageApi = no_packages;
    }
    table
}

/// In place of every function that a library is too old for and that returns a status. The others take what only such a
/// function makes, so that nobody gets to call them.
unsafe extern "system" fn missing() -> OrtStatusPtr {
    not_implemented()
}

unsafe extern "system" fn choose_nothing(
    _: *mut ort::sys::OrtSessionOptions,
    _: ort::sys::OrtExecutionProviderDevicePolicy,
) -> OrtStatusPtr {
    not_implemented()
}

fn not_implemented() -> OrtStatusPtr {
    let words = c"this version of ONNX Runtime cannot do it";
    // SAFETY: the function is in every version, and copies the words.
    unsafe { (ort::api().CreateStatus)(OrtErrorCode::ORT_NOT_IMPLEMENTED, words.as_ptr()) }
}

unsafe extern "system" fn no_editor() -> *const OrtModelEditorApi {
    ptr::null()
}

unsafe extern "system" fn no_compiler() -> *const OrtCompileApi {
    ptr::null()
}

unsafe extern "system" fn no_providers() -> *const OrtEpApi {
    ptr::null()
}

unsafe extern "system" fn no_interop() -> *const OrtInteropApi {
    ptr::null()
}

unsafe extern "system" fn no_packages() -> *const OrtModelPackageApi {
    ptr::null()
}

/// Before version 23 memory that the host reaches was of kind CPU; nothing else had to be asked.
unsafe extern "system" fn default_memory(_: *const OrtMemoryInfo) -> OrtDeviceMemoryType {
    OrtDeviceMemoryType::OrtDeviceMemoryType_DEFAULT
}

/// Where a session wants its inputs or has its outputs, before it could be asked: said to be the host. The crate goes by it
/// when it binds inputs alone: it then copies those of the host, as it did in those versions.
unsafe extern "system" fn host_memory(
    _: *const OrtSession,
    memory: *mut *const OrtMemoryInfo,
    count: usize,
) -> OrtStatusPtr {
    let api = ort::api();
    let (mut allocator, mut host) = (ptr::null_mut(), ptr::null());
    // SAFETY: the out-pointer is valid. The allocator is the runtime's own and lives as long as it does.
    let status = unsafe { (api.GetAllocatorWithDefaultOptions)(&raw mut allocator) };
    if !status.0.is_null() {
        return status;
    }
    // SAFETY: as above; what describes the allocator lives as long.
    let status = unsafe { (api.AllocatorGetInfo)(allocator, &raw mut host) };
    if status.0.is_null() {
        for place in 0..count {
            // SAFETY: the caller gives an array of `count` pointers.
            unsafe { memory.add(place).write(host) };
        }
    }
    status
}

/// Element type and shape of a tensor, from the description that the library makes of it. The shape is valid until the next
/// call on the same thread: the crate copies it at once.
unsafe extern "system" fn shape_from_info(
    value: *const OrtValue,
    element: *mut ONNXTensorElementDataType,
    shape: *mut *const i64,
    count: *mut usize,
) -> OrtStatusPtr {
    thread_local! {
        static SHAPE: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
    }
    let api = ort::api();
    let mut info = ptr::null_mut();
    // SAFETY: the caller gives a tensor; the out-pointer is valid.
    let status = unsafe { (api.GetTensorTypeAndShape)(value, &raw mut info) };
    if !status.0.is_null() {
        return status;
    }
    let status = SHAPE.with_borrow_mut(|kept| {
        // SAFETY: `info` was made above; the caller's out-pointers are valid.
        let status = unsafe { read_shape(info, element, kept) };
        // SAFETY: as above. The pointer stays valid while nobody else writes the thread's buffer.
        unsafe { (shape.write(kept.as_ptr()), count.write(kept.len())) };
        status
    });
    // SAFETY: released once.
    unsafe { (api.ReleaseTensorTypeAndShapeInfo)(info) };
    status
}

/// # Safety
/// `info` describes a tensor, and `element` can be written.
unsafe fn read_shape(
    info: *const OrtTensorTypeAndShapeInfo,
    element: *mut ONNXTensorElementDataType,
    shape: &mut Vec<i64>,
) -> OrtStatusPtr {
    let api = ort::api();
    let mut count = 0;
    // SAFETY: the caller promises it.
    let status = unsafe { (api.GetTensorElementType)(info, element) };
    if !status.0.is_null() {
        return status;
    }
    // SAFETY: as above.
    let status = unsafe { (api.GetDimensionsCount)(info, &raw mut count) };
    if !status.0.is_null() {
        return status;
    }
    shape.clear();
    shape.resize(count, 0);
    // SAFETY: as above, and the buffer has room for `count` numbers.
    unsafe { (api.GetDimensions)(info, shape.as_mut_ptr(), count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_grows_from_version_to_version_and_ends_with_the_newest() {
        let pointer = size_of::<*const c_void>();
        let slots: Vec<_> = (OLDEST..=NEWEST).map(|version| length(version) / pointer).collect();
        assert!(slots.is_sorted(), "{slots:?}");
        // As many as the headers of these versions declare.
        assert_eq!((slots[0], length(22) / pointer, length(24) / pointer), (285, 318, 415));
        assert_eq!(length(NEWEST), size_of::<OrtApi>());
    }

    #[test]
    fn the_newest_version_that_both_know_is_asked_for() {
        for (library, asked) in [
            ("1.20.1", Some(20)),
            ("1.21.0", Some(21)),
            ("1.31.1", Some(31)),
            ("1.40.0", Some(NEWEST)),
            ("1.19.2", None),
            ("2.40.0", None),
            ("1", None),
            ("nightly", None),
        ] {
            assert_eq!(version(library), asked, "{library}");
        }
    }
}
