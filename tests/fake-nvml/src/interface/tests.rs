//! What a careless caller gets. One test: the library is open or not for the whole process.

use std::ptr;

use super::board::*;
use super::*;
use crate::device;
use crate::layout::{FieldValue, Memory, Value, Violation};

const OK: u32 = 0;
const UNINITIALIZED: u32 = 1;
const INVALID: u32 = 2;
const NOT_SUPPORTED: u32 = 3;
const TOO_SMALL: u32 = 7;
const VERSION_MISMATCH: u32 = 25;

/// Every function that writes, with nothing to write to.
fn with_null(board: Handle) -> Vec<(&'static str, u32)> {
    // SAFETY: null is allowed everywhere.
    unsafe {
        vec![
            ("name", nvmlDeviceGetName(board, ptr::null_mut(), 96)),
            ("uuid", nvmlDeviceGetUUID(board, ptr::null_mut(), 96)),
            ("architecture", nvmlDeviceGetArchitecture(board, ptr::null_mut())),
            ("power", nvmlDeviceGetPowerUsage(board, ptr::null_mut())),
            ("energy", nvmlDeviceGetTotalEnergyConsumption(board, ptr::null_mut())),
            ("fields", nvmlDeviceGetFieldValues(board, 1, ptr::null_mut())),
            ("temperature", nvmlDeviceGetTemperature(board, 0, ptr::null_mut())),
            ("clock", nvmlDeviceGetClockInfo(board, 0, ptr::null_mut())),
            ("state", nvmlDeviceGetPerformanceState(board, ptr::null_mut())),
            ("throttle reasons", nvmlDeviceGetCurrentClocksThrottleReasons(board, ptr::null_mut())),
            ("event reasons", nvmlDeviceGetCurrentClocksEventReasons(board, ptr::null_mut())),
            ("violation", nvmlDeviceGetViolationStatus(board, 0, ptr::null_mut())),
            ("limit", nvmlDeviceGetEnforcedPowerLimit(board, ptr::null_mut())),
            ("division", nvmlDeviceGetMigMode(board, ptr::null_mut(), ptr::null_mut())),
            ("persistence", nvmlDeviceGetPersistenceMode(board, ptr::null_mut())),
            ("processes", nvmlDeviceGetComputeRunningProcesses_v3(board, ptr::null_mut(), ptr::null_mut())),
            ("memory", nvmlDeviceGetMemoryInfo_v2(board, ptr::null_mut())),
        ]
    }
}

/// Those about the library.
fn of_library_with_null() -> Vec<(&'static str, u32)> {
    // SAFETY: null is allowed everywhere.
    unsafe {
        vec![
            ("driver version", nvmlSystemGetDriverVersion(ptr::null_mut(), 80)),
            ("library version", nvmlSystemGetNVMLVersion(ptr::null_mut(), 80)),
            ("old CUDA version", nvmlSystemGetCudaDriverVersion(ptr::null_mut())),
            ("CUDA version", nvmlSystemGetCudaDriverVersion_v2(ptr::null_mut())),
            ("count", nvmlDeviceGetCount_v2(ptr::null_mut())),
            ("handle", nvmlDeviceGetHandleByIndex_v2(0, ptr::null_mut())),
        ]
    }
}

fn all_return(expected: u32, returned: Vec<(&'static str, u32)>) {
    for (name, code) in returned {
        assert_eq!(code, expected, "{name}");
    }
}

fn samples() -> u32 {
    nvmlDeviceGetSamples(handle(), 0, 0, ptr::null_mut(), ptr::null_mut(), ptr::null_mut())
}

#[test]
fn a_careless_caller_gets_a_number_and_never_a_crash() {
    all_return(UNINITIALIZED, with_null(handle()));
    all_return(UNINITIALIZED, of_library_with_null());
    assert_eq!(samples(), UNINITIALIZED);
    assert_eq!(nvmlShutdown(), UNINITIALIZED);

    assert_eq!(session::open_with(None), Ok(()));
    all_return(INVALID, with_null(handle()));
    all_return(INVALID, of_library_with_null());
    assert_eq!(samples(), NOT_SUPPORTED);
    let mut elsewhere = 0_u8;
    for stranger in [ptr::null_mut(), (&raw mut elsewhere).cast()] {
        all_return(INVALID, with_null(stranger));
    }
    what_is_out_of_range_is_refused();
    too_small_a_place_is_not_overrun();
    values_without_a_meaning_are_refused_one_by_one();

    // Open twice, closed twice.
    assert_eq!(nvmlInitWithFlags(1), OK);
    assert_eq!((nvmlShutdown(), samples()), (OK, NOT_SUPPORTED));
    assert_eq!((nvmlShutdown(), samples()), (OK, UNINITIALIZED));
    assert_eq!(nvmlShutdown(), UNINITIALIZED);
}

fn what_is_out_of_range_is_refused() {
    let (mut board, mut number) = (ptr::null_mut(), 0);
    let mut violation = Violation { reference_us: 0, violation_ns: 0 };
    // SAFETY: every pointer is to a variable of its type.
    unsafe {
        assert_eq!(nvmlDeviceGetHandleByIndex_v2(1, &raw mut board), INVALID);
        assert!(board.is_null());
        assert_eq!(nvmlDeviceGetTemperature(handle(), 1, &raw mut number), INVALID);
        assert_eq!(nvmlDeviceGetClockInfo(handle(), 3, &raw mut number), NOT_SUPPORTED);
        assert_eq!(nvmlDeviceGetClockInfo(handle(), 4, &raw mut number), INVALID);
        assert_eq!(nvmlDeviceGetViolationStatus(handle(), 2, &raw mut violation), NOT_SUPPORTED);
        let mut memory = Memory { version: 0x0100_0028, total: 0, reserved: 0, free: 0, used: 0 };
        assert_eq!(nvmlDeviceGetMemoryInfo_v2(handle(), &raw mut memory), VERSION_MISMATCH);
        assert_eq!(memory.total, 0);
    }
    assert_eq!(number, 0);
}

fn too_small_a_place_is_not_overrun() {
    let mut text = [1; 14];
    // SAFETY: never more is said to be there than is.
    unsafe {
        assert_eq!(nvmlSystemGetDriverVersion(text.as_mut_ptr(), 13), TOO_SMALL);
        assert_eq!(text, [1; 14]);
        assert_eq!(nvmlSystemGetDriverVersion(text.as_mut_ptr(), 14), OK);
        assert_eq!(CStr::from_ptr(text.as_ptr()), VERSION);
        assert_eq!(nvmlDeviceGetName(handle(), text.as_mut_ptr(), 14), TOO_SMALL);
    }
}

fn values_without_a_meaning_are_refused_one_by_one() {
    let value = Value { unsigned_long_long: u64::MAX };
    let asked = |field, scope| FieldValue { field, scope, timestamp: 0, latency: 0, value_type: 9, code: 9, value };
    let mut values = [asked(82, 0), asked(82, 1), asked(1, 0), asked(83, 0)];
    // SAFETY: never more are said to be there than are.
    unsafe {
        assert_eq!(nvmlDeviceGetFieldValues(handle(), -1, values.as_mut_ptr()), INVALID);
        assert_eq!(nvmlDeviceGetFieldValues(handle(), 0, values.as_mut_ptr()), OK);
        assert_eq!(values.map(|value| value.code), [9; 4]);
        assert_eq!(nvmlDeviceGetFieldValues(handle(), 3, values.as_mut_ptr()), OK);
    }
    assert_eq!(values.map(|value| value.code), [OK, NOT_SUPPORTED, NOT_SUPPORTED, 9]);
    // SAFETY: all bytes of a value are always set.
    assert_eq!(unsafe { values[0].value.unsigned_long_long }, u64::from(device::MEMORY_TEMPERATURE));
}

#[test]
fn every_number_has_a_text() {
    for (number, text) in [
        (0, "simulated driver: success"),
        (15, "simulated driver: the board is lost"),
        (999, "simulated driver: unknown error"),
        (12345, "simulated driver: a number that it never returns"),
    ] {
        // SAFETY: it is a text that lives as long as the library.
        let told = unsafe { CStr::from_ptr(nvmlErrorString(number)) };
        assert_eq!(told.to_str(), Ok(text));
    }
}
