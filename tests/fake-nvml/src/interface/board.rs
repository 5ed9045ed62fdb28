//! The functions about the board's registers and states.

use std::ffi::c_void;

use super::{Handle, ask, calendar_us, number_of, put, tell};
use crate::Ns;
use crate::device::{self, Device};
use crate::layout::{self, FieldValue, Memory, Process, Refusal, Value, Violation, code, field};
use crate::session;
use crate::simulated::Load;

/// A board whose plain power is an average is a Hopper (9), otherwise a Volta (5).
///
/// # Safety
/// `architecture` is null or valid for writing.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn nvmlDeviceGetArchitecture(board: Handle, architecture: *mut u32) -> u32 {
    // SAFETY: as the caller promises.
    unsafe { tell(board, architecture, |device, _, _| Ok(if device.averages() { 9 } else { 5 })) }
}

/// # Safety
/// `milliwatts` is null or valid for writing.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn nvmlDeviceGetPowerUsage(board: Handle, milliwatts: *mut u32) -> u32 {
    // SAFETY: as the caller promises.
    unsafe { tell(board, milliwatts, |device, load, now| device.power_usage(load, now)) }
}

/// # Safety
/// `millijoules` is null or valid for writing.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn nvmlDeviceGetTotalEnergyConsumption(board: Handle, millijoules: *mut u64) -> u32 {
    // SAFETY: as the caller promises.
    unsafe { tell(board, millijoules, Device::counter) }
}

/// All values are of one moment; each says for itself whether there is one.
///
/// # Safety
/// `values` is null or valid for reading and writing `count` values.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn nvmlDeviceGetFieldValues(board: Handle, count: i32, values: *mut FieldValue) -> u32 {
    code(ask(board, |device, load, now| {
        let count = usize::try_from(count).map_err(|_| Refusal::InvalidArgument)?;
        if values.is_null() {
            return Err(Refusal::InvalidArgument);
        }
        for index in 0..count {
            // SAFETY: not null, and so valid for as many values as there are. A caller need only have set these two.
            let (field, scope) = unsafe { ((*values.add(index)).field, (*values.add(index)).scope) };
            let answered = value_of(device, load, now, field, scope);
            // SAFETY: as above.
            unsafe { values.add(index).write(answered) };
        }
        Ok(())
    }))
}

fn value_of(device: &mut Device, load: &Load, now: Ns, field: u32, scope: u32) -> FieldValue {
    let nothing = Value { unsigned_long_long: 0 };
    let small = |number| {
        let mut value = nothing;
        value.unsigned_int = number;
        (layout::UNSIGNED_INT, value)
    };
    let large = |number| (layout::UNSIGNED_LONG_LONG, Value { unsigned_long_long: number });
    let answer = match (scope, field) {
        (0, field::TOTAL_ENERGY | field::ENERGY) => device.counter(load, now).map(large),
        (0, field::POWER_AVERAGE) => device.average(load, now).map(small),
        (0, field::POWER_INSTANT) => device.instant(load, now).map(small),
        (0, field::MEMORY_TEMPERATURE) => Ok(small(device::MEMORY_TEMPERATURE)),
        _ => Err(Refusal::NotSupported),
    };
    let (value_type, value) = answer.unwrap_or((layout::UNSIGNED_INT, nothing));
    let timestamp = i64::try_from(calendar_us()).unwrap_or(i64::MAX);
    FieldValue { field, scope, timestamp, latency: 0, value_type, code: code(answer.map(drop)), value }
}

/// # Safety
/// `degrees` is null or valid for writing.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn nvmlDeviceGetTemperature(board: Handle, sensor: u32, degrees: *mut u32) -> u32 {
    let answer =
        |_: &mut Device, _: &Load, _| if sensor == 0 { Ok(device::TEMPERATURE) } else { Err(Refusal::InvalidArgument) };
    // SAFETY: as the caller promises.
    unsafe { tell(board, degrees, answer) }
}

/// # Safety
/// `megahertz` is null or valid for writing.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn nvmlDeviceGetClockInfo(board: Handle, clock: u32, megahertz: *mut u32) -> u32 {
    let answer = |_: &mut Device, _: &Load, _| match clock {
        // Graphics, multiprocessors.
        0 | 1 => Ok(device::CHIP_CLOCK),
        // Memory.
        2 => Ok(device::MEMORY_CLOCK),
        // Video.
        3 => Err(Refusal::NotSupported),
        _ => Err(Refusal::InvalidArgument),
    };
    // SAFETY: as the caller promises.
    unsafe { tell(board, megahertz, answer) }
}

/// # Safety
/// `state` is null or valid for writing.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn nvmlDeviceGetPerformanceState(board: Handle, state: *mut u32) -> u32 {
    // SAFETY: as the caller promises.
    unsafe { tell(board, state, |device, _, now| Ok(device.performance_state(now))) }
}

/// # Safety
/// `reasons` is null or valid for writing.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn nvmlDeviceGetCurrentClocksThrottleReasons(board: Handle, reasons: *mut u64) -> u32 {
    // SAFETY: as the caller promises.
    unsafe { tell(board, reasons, |device, _, _| Ok(device.settings().reasons)) }
}

/// The newer name of the same.
///
/// # Safety
/// `reasons` is null or valid for writing.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn nvmlDeviceGetCurrentClocksEventReasons(board: Handle, reasons: *mut u64) -> u32 {
    // SAFETY: as the caller promises.
    unsafe { tell(board, reasons, |device, _, _| Ok(device.settings().reasons)) }
}

/// Power and heat are told; other causes are not.
///
/// # Safety
/// `violation` is null or valid for writing.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn nvmlDeviceGetViolationStatus(
    board: Handle,
    policy: u32,
    violation: *mut Violation,
) -> u32 {
    let answer = |device: &mut Device, _: &Load, now| {
        let violation_ns = match policy {
            0 => device.power_violation(now),
            1 => device.heat_violation(now),
            _ => return Err(Refusal::NotSupported),
        };
        Ok(Violation { reference_us: calendar_us(), violation_ns })
    };
    // SAFETY: as the caller promises.
    unsafe { tell(board, violation, answer) }
}

/// # Safety
/// `milliwatts` is null or valid for writing.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn nvmlDeviceGetEnforcedPowerLimit(board: Handle, milliwatts: *mut u32) -> u32 {
    // SAFETY: as the caller promises.
    unsafe { tell(board, milliwatts, |device, _, _| Ok(device.limit())) }
}

/// # Safety
/// `current` and `pending` are each null or valid for writing.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn nvmlDeviceGetMigMode(board: Handle, current: *mut u32, pending: *mut u32) -> u32 {
    code(ask(board, |device, _, _| {
        let divided = u32::from(device.settings().divided);
        // SAFETY: as the caller promises.
        unsafe { put(current, divided) }?;
        // SAFETY: as the caller promises.
        unsafe { put(pending, divided) }
    }))
}

/// Always on.
///
/// # Safety
/// `state` is null or valid for writing.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn nvmlDeviceGetPersistenceMode(board: Handle, state: *mut u32) -> u32 {
    // SAFETY: as the caller promises.
    unsafe { tell(board, state, |_, _, _| Ok(1)) }
}

/// `count` says for how many there is room, and then how many there are.
///
/// # Safety
/// `count` is null or valid for reading and writing, and `processes` null or valid for writing as many as it says.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    board: Handle,
    count: *mut u32,
    processes: *mut Process,
) -> u32 {
    code(session::ask(|device, _, now| {
        let number = number_of(board, device.settings().boards)?;
        if count.is_null() {
            return Err(Refusal::InvalidArgument);
        }
        let pids = device.processes(number, now);
        let all = u32::try_from(pids.len()).map_err(|_| Refusal::Unknown)?;
        // SAFETY: not null, and so valid for reading.
        let room = unsafe { count.read() };
        if room >= all && all > 0 && processes.is_null() {
            return Err(Refusal::InvalidArgument);
        }
        // SAFETY: not null, and so valid for writing.
        unsafe { count.write(all) };
        if room < all {
            return Err(Refusal::InsufficientSize);
        }
        for (index, &pid) in pids.iter().enumerate() {
            let process = Process { pid, memory: u64::MAX, gpu_instance: u32::MAX, compute_instance: u32::MAX };
            // SAFETY: not null, and there is room for all.
            unsafe { processes.add(index).write(process) };
        }
        Ok(())
    }))
}

/// # Safety
/// `memory` is null or valid for reading and writing.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(board: Handle, memory: *mut Memory) -> u32 {
    code(ask(board, |_, _, _| {
        if memory.is_null() {
            return Err(Refusal::InvalidArgument);
        }
        // SAFETY: not null, and so valid for reading. A caller need only have set this one.
        let version = unsafe { (*memory).version };
        if version != layout::MEMORY_VERSION {
            return Err(Refusal::ArgumentVersionMismatch);
        }
        let (total, used) = (device::MEMORY, device::MEMORY_USED);
        // SAFETY: as above.
        unsafe { memory.write(Memory { version, total, reserved: 0, free: total - used, used }) };
        Ok(())
    }))
}

/// The driver's own record of power is not simulated.
#[unsafe(no_mangle)]
pub(super) extern "C" fn nvmlDeviceGetSamples(
    board: Handle,
    _kind: u32,
    _last_seen_us: u64,
    _value_type: *mut u32,
    _count: *mut u32,
    _samples: *mut c_void,
) -> u32 {
    code(ask(board, |_, _, _| Err(Refusal::NotSupported)))
}
