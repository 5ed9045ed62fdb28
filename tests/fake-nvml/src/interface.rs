//! NVML's functions. Each checks that the library is open, then what it was given, then asks the board.

use std::ffi::{CStr, c_char, c_void};
use std::time::SystemTime;

use crate::Ns;
use crate::device::Device;
use crate::layout::{self, Refusal, code};
use crate::session;
use crate::settings::MOST_BOARDS;
use crate::simulated::Load;

mod board;

/// A board as programs hold it.
type Handle = *mut c_void;

/// What every name of this library says.
const VERSION: &CStr = c"simulated-1.0";

/// The address of each is a board's handle.
static BOARDS: [u8; MOST_BOARDS as usize] = [0; MOST_BOARDS as usize];

/// What the boards' UUIDs say.
const UUIDS: [&CStr; MOST_BOARDS as usize] = [
    c"GPU-SIMULATED-0000",
    c"GPU-SIMULATED-0001",
    c"GPU-SIMULATED-0002",
    c"GPU-SIMULATED-0003",
    c"GPU-SIMULATED-0004",
    c"GPU-SIMULATED-0005",
    c"GPU-SIMULATED-0006",
    c"GPU-SIMULATED-0007",
];

/// The handle of the board of a number. `None`: there are never so many.
fn handle_of(number: u32) -> Option<Handle> {
    let board = BOARDS.get(usize::try_from(number).ok()?)?;
    Some((&raw const *board).cast_mut().cast())
}

/// The number of a board.
fn number_of(board: Handle, boards: u32) -> Result<u32, Refusal> {
    (0..boards).find(|number| handle_of(*number) == Some(board)).ok_or(Refusal::InvalidArgument)
}

/// The first board.
#[cfg(test)]
fn handle() -> Handle {
    handle_of(0).unwrap_or(std::ptr::null_mut())
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
    session::ask(|device, load, now| {
        number_of(board, device.settings().boards)?;
        answer(device, load, now)
    })
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
    code(session::boards().and_then(|boards| unsafe { put(count, boards) }))
}

/// # Safety
/// `board` is null or valid for writing.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: u32, board: *mut Handle) -> u32 {
    let answer = |device: &mut Device, _: &Load, _| {
        let handle = handle_of(index).filter(|_| index < device.settings().boards).ok_or(Refusal::InvalidArgument)?;
        // SAFETY: as the caller promises.
        unsafe { put(board, handle) }
    };
    code(session::ask(answer))
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
    code(session::ask(|device, _, _| {
        let number = number_of(board, device.settings().boards)?;
        let text = usize::try_from(number).ok().and_then(|number| UUIDS.get(number)).ok_or(Refusal::Unknown)?;
        // SAFETY: as the caller promises.
        unsafe { put_text(uuid, length, text) }
    }))
}

#[cfg(test)]
mod tests;
