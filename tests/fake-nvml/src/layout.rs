//! Numbers and layouts of NVML's header that are used here.

use std::ffi::CStr;

/// Why a call is refused. The number is NVML's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Refusal {
    /// The library is not open.
    Uninitialized = 1,
    /// A pointer is null, or something asked for does not exist.
    InvalidArgument = 2,
    /// The board does not have it.
    NotSupported = 3,
    /// The caller's place is too small.
    InsufficientSize = 7,
    /// The board is gone.
    GpuIsLost = 15,
    /// A structure is of another version.
    ArgumentVersionMismatch = 25,
    /// Anything else.
    Unknown = 999,
}

/// The number that NVML returns for it.
pub fn code(result: Result<(), Refusal>) -> u32 {
    result.map_or_else(|refusal| refusal as u32, |()| 0)
}

/// What a returned number means.
pub fn meaning(code: u32) -> &'static CStr {
    const KNOWN: [(Refusal, &CStr); 7] = [
        (Refusal::Uninitialized, c"simulated driver: not opened"),
        (Refusal::InvalidArgument, c"simulated driver: invalid argument"),
        (Refusal::NotSupported, c"simulated driver: not supported"),
        (Refusal::InsufficientSize, c"simulated driver: insufficient size"),
        (Refusal::GpuIsLost, c"simulated driver: the board is lost"),
        (Refusal::ArgumentVersionMismatch, c"simulated driver: structure of another version"),
        (Refusal::Unknown, c"simulated driver: unknown error"),
    ];
    if code == 0 {
        return c"simulated driver: success";
    }
    let known = KNOWN.iter().find(|(refusal, _)| *refusal as u32 == code);
    known.map_or(c"simulated driver: a number that it never returns", |(_, text)| text)
}

/// Numbers of the fields that can be asked for.
pub mod field {
    /// Temperature of the memory, in degrees Celsius.
    pub const MEMORY_TEMPERATURE: u32 = 82;
    /// Energy counter, in millijoules.
    pub const TOTAL_ENERGY: u32 = 83;
    /// Power as an average, in milliwatts.
    pub const POWER_AVERAGE: u32 = 185;
    /// Power over the sensor's own window, in milliwatts.
    pub const POWER_INSTANT: u32 = 186;
    /// The same counter under another number, in millijoules.
    pub const ENERGY: u32 = 191;
}

/// `nvmlValue_t`, in the two forms that are used.
#[derive(Clone, Copy)]
#[repr(C)]
pub union Value {
    /// Type 1.
    pub unsigned_int: u32,
    /// Type 3; first written in any case, so that no byte of it is left undefined.
    pub unsigned_long_long: u64,
}

/// `nvmlFieldValue_t`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct FieldValue {
    /// Which field.
    pub field: u32,
    /// Of what: 0 is the board.
    pub scope: u32,
    /// When it was read, in microseconds since 1970.
    pub timestamp: i64,
    /// How long reading it took, in microseconds.
    pub latency: i64,
    /// Which form of the value.
    pub value_type: u32,
    /// Whether there is a value.
    pub code: u32,
    /// The value.
    pub value: Value,
}

/// `NVML_VALUE_TYPE_UNSIGNED_INT`.
pub const UNSIGNED_INT: u32 = 1;

/// `NVML_VALUE_TYPE_UNSIGNED_LONG_LONG`.
pub const UNSIGNED_LONG_LONG: u32 = 3;

/// `nvmlProcessInfo_t`, as version 3 of the call fills it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Memory it holds, in bytes; all ones: not told.
    pub memory: u64,
    /// Part of a divided board; all ones: none.
    pub gpu_instance: u32,
    /// Part of that part; all ones: none.
    pub compute_instance: u32,
}

/// `nvmlMemory_v2_t`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Memory {
    /// Size of the structure, and 2 in the highest byte.
    pub version: u32,
    /// Bytes there are.
    pub total: u64,
    /// Bytes the driver keeps.
    pub reserved: u64,
    /// Bytes nobody has.
    pub free: u64,
    /// Bytes in use.
    pub used: u64,
}

/// What [`Memory::version`] must be.
pub const MEMORY_VERSION: u32 = 0x0200_0028;
const _: () = assert!(size_of::<Memory>() == 0x28);

/// `nvmlViolationTime_t`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Violation {
    /// When it was read, in microseconds since 1970.
    pub reference_us: u64,
    /// How long clocks were lowered, in nanoseconds.
    pub violation_ns: u64,
}
