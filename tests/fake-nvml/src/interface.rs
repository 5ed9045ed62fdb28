//! NVML's functions. Each checks that the library is open, then what it was given, then asks the board.

use std::ffi::{CStr, c_char, c_void};
use std::time::SystemTime;

use crate::Ns;
use crate::device::Device;
use crate::layout::{self, Refusal, code};
use crate::session;
use crate::simulated::Load;

mod board;

/// A board as programs hold it.
type Handle = *mut c_void;

/// What every name of this library says.
const VERSION: &CStr = c"simulated-1.0";

/// Its address is the board's handle.
static BOARD: u8 = 0;

fn handle() -> Handle {
    (&raw const BOARD).cast_mut().cast()
}

/// Writes what the caller asked for.
///
/// # Safety
/// `to` is null or valid for writing.
unsafe fn put<T>(to: *mut T, value: T) -> Result<(), Refusal> {
    if to.is_null() {
        return Err(Refusal::InvalidArgument);
    }
    // SAFETY: not null, and so valid for writing.
    unsafe { to.write(value) };
    Ok(())
}

/// Writes a text with its end.
///
/// # Safety
/// `to` is null or valid for writing `length` characters.
unsafe fn put_text(to: *mut c_char, length: u32, text: &CStr) -> Result<(), Refusal> {
    let text = text.to_bytes_with_nul();
    if to.is_null() {
        return Err(Refusal::InvalidArgument);
    }
    if usize::try_from(length).unwrap_or(usize::MAX) < text.len() {
        return Err(Refusal::InsufficientSize);
    }
    // SAFETY: not null, and so valid for writing as many characters as the text has.
    unsafe { to.copy_from_nonoverlapping(text.as_ptr().cast(), text.len()) };
    Ok(())
}

/// Asks the board that the caller means.
fn ask<T>(board: Handle, answer: impl FnOnce(&mut Device, &Load, Ns) -> Result<T, Refusal>) -> Result<T, Refusal> {
    session::ask(
        |device, load, now| {
            if board == handle() { answer(device, load, now) } else { Err(Refusal::InvalidArgument) }
        },
    )
}

/// Asks the board, and writes the answer.
///
/// # Safety
/// `to` is null or valid for writing.
unsafe fn tell<T>(board: Handle, to: *mut T, answer: impl FnOnce(&mut Device, &Load, Ns) -> Result<T, Refusal>) -> u32 {
    // SAFETY: as the caller promises.
    code(ask(board, answer).and_then(|value| unsafe { put(to, value) }))
}

/// Writes what needs no board.
///
/// # Safety
/// `to` is null or valid for writing.
unsafe fn tell_of_library<T>(to: *mut T, value: T) -> u32 {
    // SAFETY: as the caller promises.
    code(session::is_open().and_then(|()| unsafe { put(to, value) }))
}

/// Microseconds since 1970.
fn calendar_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> u32 {
    code(session::open())
}

/// The flags are about boards that are missing, which this one never is.
#[unsafe(no_mangle)]
extern "C" fn nvmlInitWithFlags(_flags: u32) -> u32 {
    code(session::open())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> u32 {
    code(session::close())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlErrorString(result: u32) -> *const c_char {
    layout::meaning(result).as_ptr()
}

/// # Safety
/// `version` is null or valid for writing `length` characters.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetDriverVersion(version: *mut c_char, length: u32) -> u32 {
    // SAFETY: as the caller promises.
    code(session::is_open().and_then(|()| unsafe { put_text(version, length, VERSION) }))
}

/// # Safety
/// `version` is null or valid for writing `length` characters.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetNVMLVersion(version: *mut c_char, length: u32) -> u32 {
    // SAFETY: as the caller promises.
    code(session::is_open().and_then(|()| unsafe { put_text(version, length, VERSION) }))
}

/// # Safety
/// `version` is null or valid for writing.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetCudaDriverVersion(version: *mut i32) -> u32 {
    // SAFETY: as the caller promises. There is no CUDA here, hence version 0.
    unsafe { tell_of_library(version, 0) }
}

/// # Safety
/// `version` is null or valid for writing.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetCudaDriverVersion_v2(version: *mut i32) -> u32 {
    // SAFETY: as the caller promises. There is no CUDA here, hence version 0.
    unsafe { tell_of_library(version, 0) }
}

/// # Safety
/// `count` is null or valid for writing.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut u32) -> u32 {
    // SAFETY: as the caller promises.
    unsafe { tell_of_library(count, 1) }
}

/// # Safety
/// `board` is null or valid for writing.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: u32, board: *mut Handle) -> u32 {
    let answer = |_: &mut Device, _: &Load, _| if index == 0 { Ok(handle()) } else { Err(Refusal::InvalidArgument) };
    // SAFETY: as the caller promises.
    unsafe { tell(handle(), board, answer) }
}

/// # Safety
/// `name` is null or valid for writing `length` characters.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetName(board: Handle, name: *mut c_char, length: u32) -> u32 {
    // SAFETY: as the caller promises.
    code(ask(board, |_, _, _| unsafe { put_text(name, length, c"phasebench simulated GPU") }))
}

/// # Safety
/// `uuid` is null or valid for writing `length` characters.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetUUID(board: Handle, uuid: *mut c_char, length: u32) -> u32 {
    // SAFETY: as the caller promises.
    code(ask(board, |_, _, _| unsafe { put_text(uuid, length, c"GPU-SIMULATED-0000") }))
}

#[cfg(test)]
mod tests;
