//! The few functions of NVIDIA's driver library that a copy takes. They are looked up when the program runs, so that it is
//! built without CUDA and runs without a driver. Names, arguments and numbers are those of `cuda.h`; a function that was
//! changed is asked for under the name of its later form (`_v2`), as that header's own macros have it.

use std::error::Error as _;
use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_void};
use std::ptr;

use libloading::Library;

/// `CUdeviceptr`: an address in a board's memory.
type Address = u64;

/// `CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE`. Unit of its value: bytes.
const L2_CACHE_SIZE: c_int = 38;
/// `CUDA_ERROR_OUT_OF_MEMORY`.
const OUT_OF_MEMORY: c_int = 2;
/// `CU_STREAM_NON_BLOCKING`: does not wait for the legacy stream.
const NON_BLOCKING: c_uint = 1;
/// `CU_EVENT_DEFAULT`: holds a time.
const TIMED: c_uint = 0;

/// Why the driver cannot be used, or what it refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DriverError {
    /// The system's loader finds none, or refuses it.
    #[error("the NVIDIA driver library cannot be loaded: {0}")]
    NoLibrary(String),
    /// It lacks a function.
    #[error("the NVIDIA driver is too old: its library has no {0}")]
    TooOld(&'static str),
    /// A function answered with an error.
    #[error("{function} failed: {words} (CUDA error {status})")]
    Refused {
        /// The function.
        function: &'static str,
        /// `CUresult`.
        status: c_int,
        /// What the driver calls it.
        words: String,
    },
}

impl DriverError {
    /// Whether it is for want of the board's memory.
    pub(super) fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Refused { status: OUT_OF_MEMORY, .. })
    }
}

/// What the system's loader says; the crate's own error says only that it failed.
fn loader_words(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |words| words.to_string())
}

/// Declares the functions as fields, and how they are found.
macro_rules! functions {
    ($($field:ident = $name:literal ($($argument:ty),*)),+ $(,)?) => {
        /// The library, loaded.
        pub(super) struct Driver {
            $($field: unsafe extern "C" fn($($argument),*) -> c_int,)+
            /// Holds what the pointers point into.
            library: Library,
        }

        impl Driver {
            /// Loads a library; nothing of it is called but what it does as it is loaded.
            ///
            /// # Errors
            /// It is not there, or lacks a function.
            pub(super) fn open(library: &OsStr) -> Result<Self, DriverError> {
                // SAFETY: loading runs the library's initialisers, which are those of the machine's own driver.
                let library = unsafe { Library::new(library) };
                let library = library.map_err(|error| DriverError::NoLibrary(loader_words(&error)))?;
                Ok(Self {
                    $($field: {
                        // SAFETY: the function has these arguments in every driver that exports this name.
                        let found = unsafe { library.get::<unsafe extern "C" fn($($argument),*) -> c_int>($name) };
                        *found.map_err(|_| DriverError::TooOld($name))?
                    },)+
                    library,
                })
            }
        }
    };
}

functions! {
    init = "cuInit"(c_uint),
    error_string = "cuGetErrorString"(c_int, *mut *const c_char),
    device_count = "cuDeviceGetCount"(*mut c_int),
    device = "cuDeviceGet"(*mut c_int, c_int),
    device_name = "cuDeviceGetName"(*mut c_char, c_int, c_int),
    device_uuid = "cuDeviceGetUuid_v2"(*mut [u8; 16], c_int),
    device_attribute = "cuDeviceGetAttribute"(*mut c_int, c_int, c_int),
    retain = "cuDevicePrimaryCtxRetain"(*mut *mut c_void, c_int),
    release = "cuDevicePrimaryCtxRelease_v2"(c_int),
    set_current = "cuCtxSetCurrent"(*mut c_void),
    memory = "cuMemGetInfo_v2"(*mut usize, *mut usize),
    allocate = "cuMemAlloc_v2"(*mut Address, usize),
    free = "cuMemFree_v2"(Address),
    copy = "cuMemcpyDtoDAsync_v2"(Address, Address, usize, *mut c_void),
    create_stream = "cuStreamCreate"(*mut *mut c_void, c_uint),
    destroy_stream = "cuStreamDestroy_v2"(*mut c_void),
    create_event = "cuEventCreate"(*mut *mut c_void, c_uint),
    destroy_event = "cuEventDestroy_v2"(*mut c_void),
    record = "cuEventRecord"(*mut c_void, *mut c_void),
    synchronize = "cuEventSynchronize"(*mut c_void),
    elapsed = "cuEventElapsedTime"(*mut f32, *mut c_void, *mut c_void),
}

/// A board by its handle in the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Device(c_int);

impl Driver {
    /// Starts the driver and lists the boards that it shows this process.
    ///
    /// # Errors
    /// The driver's words.
    pub(super) fn devices(&self) -> Result<Vec<Device>, DriverError> {
        // SAFETY: takes flags, of which there are none.
        self.check("cuInit", unsafe { (self.init)(0) })?;
        let mut count = 0;
        // SAFETY: the out-pointer is valid.
        self.check("cuDeviceGetCount", unsafe { (self.device_count)(&raw mut count) })?;
        (0..count).map(|number| self.numbered(number)).collect()
    }

    fn numbered(&self, number: c_int) -> Result<Device, DriverError> {
        let mut device = 0;
        // SAFETY: the out-pointer is valid.
        self.check("cuDeviceGet", unsafe { (self.device)(&raw mut device, number) })?;
        Ok(Device(device))
    }

    /// Product name. `None`: not told.
    pub(super) fn name(&self, device: Device) -> Option<String> {
        const LENGTH: c_int = 256;
        let mut text = [0_u8; 256];
        // SAFETY: the buffer has this length; what is written into it ends with a zero within it.
        let status = unsafe { (self.device_name)(text.as_mut_ptr().cast(), LENGTH, device.0) };
        self.check("cuDeviceGetName", status).ok()?;
        let name = CStr::from_bytes_until_nul(&text).ok()?.to_string_lossy().into_owned();
        (!name.is_empty()).then_some(name)
    }

    /// As the management library writes it. `None`: not told.
    pub(super) fn uuid(&self, device: Device) -> Option<String> {
        let mut bytes = [0; 16];
        // SAFETY: the out-pointer is valid, and 16 bytes are written to it.
        self.check("cuDeviceGetUuid_v2", unsafe { (self.device_uuid)(&raw mut bytes, device.0) }).ok()?;
        let kind = if self.uuid_of_whole(device).is_none_or(|whole| whole == bytes) { "GPU" } else { "MIG" };
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let groups = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        Some(format!("{kind}-{}", groups.join("-")))
    }

    /// The earlier form of the function tells the board, also where the later one tells the part of it that is shown. `None`:
    /// not told.
    fn uuid_of_whole(&self, device: Device) -> Option<[u8; 16]> {
        type Function = unsafe extern "C" fn(*mut [u8; 16], c_int) -> c_int;
        let mut bytes = [0; 16];
        // SAFETY: the function has these arguments in every driver that exports this name.
        let earlier = unsafe { self.library.get::<Function>("cuDeviceGetUuid") }.ok()?;
        // SAFETY: the out-pointer is valid, and 16 bytes are written to it.
        self.check("cuDeviceGetUuid", unsafe { earlier(&raw mut bytes, device.0) }).ok()?;
        Some(bytes)
    }

    /// Cache of the second level. Unit: bytes. `None`: not told.
    pub(super) fn l2(&self, device: Device) -> Option<u64> {
        let mut bytes = 0;
        // SAFETY: the out-pointer is valid.
        let status = unsafe { (self.device_attribute)(&raw mut bytes, L2_CACHE_SIZE, device.0) };
        self.check("cuDeviceGetAttribute", status).ok()?;
        u64::try_from(bytes).ok().filter(|bytes| *bytes > 0)
    }

    /// Has this thread work on a board until what is returned is dropped.
    ///
    /// # Errors
    /// The driver's words.
    pub(super) fn use_board(&self, device: Device) -> Result<Context<'_>, DriverError> {
        let mut context = ptr::null_mut();
        // SAFETY: the out-pointer is valid.
        self.check("cuDevicePrimaryCtxRetain", unsafe { (self.retain)(&raw mut context, device.0) })?;
        let used = Context { driver: self, device };
        // SAFETY: the context was retained above, and is released only when `used` is dropped.
        self.check("cuCtxSetCurrent", unsafe { (self.set_current)(context) })?;
        Ok(used)
    }

    fn check(&self, function: &'static str, status: c_int) -> Result<(), DriverError> {
        if status == 0 {
            return Ok(());
        }
        let mut text = ptr::null();
        // SAFETY: the out-pointer is valid; for a number that it does not know the driver writes null.
        unsafe { (self.error_string)(status, &raw mut text) };
        let words = match text.is_null() {
            true => "unknown error".to_owned(),
            // SAFETY: a null-terminated string of the library's.
            false => unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned(),
        };
        Err(DriverError::Refused { function, status, words })
    }
}

/// A board in use by this thread.
pub(super) struct Context<'a> {
    driver: &'a Driver,
    device: Device,
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        // SAFETY: retained once, released once; what was made in it is gone. A failure is not ours to act on.
        unsafe { (self.driver.release)(self.device.0) };
    }
}

impl Context<'_> {
    /// Memory that is free on the board. Unit: bytes.
    ///
    /// # Errors
    /// The driver's words.
    pub(super) fn free_memory(&self) -> Result<u64, DriverError> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: both out-pointers are valid.
        let status = unsafe { (self.driver.memory)(&raw mut free, &raw mut total) };
        self.driver.check("cuMemGetInfo_v2", status)?;
        Ok(u64::try_from(free).unwrap_or(u64::MAX))
    }

    /// Two buffers of so many bytes, with what it takes to copy one to the other and to time it on the board.
    ///
    /// # Errors
    /// The driver's words; see [`DriverError::is_out_of_memory`].
    pub(super) fn buffers(&self, bytes: usize) -> Result<Buffers<'_>, DriverError> {
        Ok(Buffers {
            bytes,
            from: Memory::new(self.driver, bytes)?,
            to: Memory::new(self.driver, bytes)?,
            begin: Event::new(self.driver)?,
            end: Event::new(self.driver)?,
            stream: Stream::new(self.driver)?,
            driver: self.driver,
        })
    }
}

/// What is copied, where to, and how it is timed.
pub(super) struct Buffers<'a> {
    driver: &'a Driver,
    bytes: usize,
    from: Memory<'a>,
    to: Memory<'a>,
    begin: Event<'a>,
    end: Event<'a>,
    stream: Stream<'a>,
}

impl Buffers<'_> {
    /// Copies so many times in a row; the time from before the first to after the last, on the board's own clock. Unit:
    /// milliseconds, in steps of about half a microsecond.
    ///
    /// # Errors
    /// The driver's words.
    pub(super) fn copy(&self, times: u32) -> Result<f64, DriverError> {
        let (driver, stream) = (self.driver, self.stream.handle);
        // SAFETY: event and stream are of this context and alive.
        driver.check("cuEventRecord", unsafe { (driver.record)(self.begin.handle, stream) })?;
        for _ in 0..times {
            // SAFETY: both buffers have this length and are alive; they are freed only after the stream was waited for.
            let status = unsafe { (driver.copy)(self.to.address, self.from.address, self.bytes, stream) };
            driver.check("cuMemcpyDtoDAsync_v2", status)?;
        }
        // SAFETY: as above.
        driver.check("cuEventRecord", unsafe { (driver.record)(self.end.handle, stream) })?;
        // SAFETY: as above.
        driver.check("cuEventSynchronize", unsafe { (driver.synchronize)(self.end.handle) })?;
        let mut milliseconds = 0.0;
        // SAFETY: the out-pointer is valid; both events are recorded and over.
        let status = unsafe { (driver.elapsed)(&raw mut milliseconds, self.begin.handle, self.end.handle) };
        driver.check("cuEventElapsedTime", status)?;
        Ok(f64::from(milliseconds))
    }
}

/// Memory of the board in use.
struct Memory<'a> {
    driver: &'a Driver,
    address: Address,
}

impl<'a> Memory<'a> {
    fn new(driver: &'a Driver, bytes: usize) -> Result<Self, DriverError> {
        let mut address = 0;
        // SAFETY: the out-pointer is valid.
        driver.check("cuMemAlloc_v2", unsafe { (driver.allocate)(&raw mut address, bytes) })?;
        Ok(Self { driver, address })
    }
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        // SAFETY: allocated once, freed once; the driver waits for copies that are under way.
        unsafe { (self.driver.free)(self.address) };
    }
}

/// A queue of work of its own.
struct Stream<'a> {
    driver: &'a Driver,
    handle: *mut c_void,
}

impl<'a> Stream<'a> {
    fn new(driver: &'a Driver) -> Result<Self, DriverError> {
        let mut handle = ptr::null_mut();
        // SAFETY: the out-pointer is valid.
        driver.check("cuStreamCreate", unsafe { (driver.create_stream)(&raw mut handle, NON_BLOCKING) })?;
        Ok(Self { driver, handle })
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once.
        unsafe { (self.driver.destroy_stream)(self.handle) };
    }
}

/// A moment in a queue.
struct Event<'a> {
    driver: &'a Driver,
    handle: *mut c_void,
}

impl<'a> Event<'a> {
    fn new(driver: &'a Driver) -> Result<Self, DriverError> {
        let mut handle = ptr::null_mut();
        // SAFETY: the out-pointer is valid.
        driver.check("cuEventCreate", unsafe { (driver.create_event)(&raw mut handle, TIMED) })?;
        Ok(Self { driver, handle })
    }
}

impl Drop for Event<'_> {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once.
        unsafe { (self.driver.destroy_event)(self.handle) };
    }
}
