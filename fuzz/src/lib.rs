//! The fuzz targets of `fuzz_targets`: `strangers` behind libFuzzer.

// A module of `tests/strangers.rs` too, from where the files beside it are found in the same way.
#[path = "strangers.rs"]
pub mod strangers;

pub use libfuzzer_sys;

/// A target of this name: libFuzzer's bytes through the function of the same name, and every second mutation by
/// [`strangers::mutation`], which knows what numbers and lines are.
#[macro_export]
macro_rules! fuzz {
    ($name:ident) => {
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            $crate::strangers::within_limits($crate::strangers::$name::read, data);
        });

        $crate::libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, most: usize, seed: u32| {
            if seed % 2 == 0 {
                return $crate::libfuzzer_sys::fuzzer_mutate(data, size, most);
            }
            $crate::changed(data, size, most, u64::from(seed))
        });
    };
}

/// Changes the first `size` bytes of `data`, up to `most`; how many there are now.
pub fn changed(data: &mut [u8], size: usize, most: usize, seed: u64) -> usize {
    let changed = strangers::mutation::of(&data[..size.min(data.len())], &[], seed);
    let size = changed.len().min(most).min(data.len());
    data[..size].copy_from_slice(&changed[..size]);
    size
}
