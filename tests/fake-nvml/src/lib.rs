//! A driver library without a driver: NVML's C interface over a sensor whose truth is known.
//!
//! Programs open it in place of NVIDIA's library: put a link `libnvidia-ml.so.1` to `libfake_nvml.so` into a folder,
//! and that folder first into `LD_LIBRARY_PATH`. `FAKE_NVML` names a file of settings, of which `src/settings.rs` has a
//! table; without it the board follows the processor time of the process that opened it.
//!
//! There is one board. Nothing it says can be taken for a measurement: the board, its driver and its id are called
//! simulated. Time begins when the library is opened and nobody has it open; the counter then begins at 0, unlike a
//! real one, which goes on until the driver is loaded again.

mod device;
mod interface;
mod layout;
mod load;
mod session;
mod settings;
pub mod simulated;

/// Nanoseconds; as a moment, since the library was opened.
type Ns = u64;
