//! The copy itself, in this process.

use std::ffi::OsStr;
use std::time::Duration;

use super::driver::{Buffers, Context, Device, Driver, DriverError};
use crate::terms::BoardSpeed;
use crate::units::Bytes;

/// How many times a board's last cache a buffer is at least, so that it is not copied within it.
const BEYOND_CACHE: u64 = 4;
/// The largest buffer; of a board that does not tell its cache also the smallest.
const LARGEST: u64 = 1 << 30;
/// A buffer takes at most this part of the memory that is free, and there are two of them.
const OF_FREE: u64 = 4;
/// Buffers are whole multiples of this.
const PIECE: u64 = 2 << 20;
/// Most copies in a row: of the smallest buffer they take the fastest of boards a tenth of a second.
const MOST_TIMES: u32 = 1 << 17;

/// Why a board has no figure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum NoFigure {
    /// The driver's words.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// Its memory is in use.
    #[error("a buffer of {needed} is needed twice ({why}), and {free} are free")]
    NoRoom {
        /// Size of the smallest buffer.
        needed: Bytes,
        /// Where that comes from.
        why: &'static str,
        /// What is free.
        free: Bytes,
    },
    /// The times that the driver tells are none.
    #[error("{times} copies of {bytes} took {ms} ms by the driver's events, which is no time")]
    NoTime {
        /// Copies in a row.
        times: u32,
        /// Size of the buffer.
        bytes: Bytes,
        /// What the driver says.
        ms: String,
    },
}

/// Every board that the driver library shows. Where there is none to measure, one entry that says why.
#[must_use]
pub fn measure(library: &OsStr, repetitions: u32, time: Duration) -> Vec<BoardSpeed> {
    let opened = Driver::open(library).and_then(|driver| Ok((driver.devices()?, driver)));
    let (devices, driver) = match opened {
        Ok(opened) => opened,
        Err(why) => return vec![BoardSpeed::unreached(why.to_string())],
    };
    if devices.is_empty() {
        return vec![BoardSpeed::unreached("the NVIDIA driver shows no board".to_owned())];
    }
    devices.into_iter().map(|device| of_board(&driver, device, repetitions, time)).collect()
}

fn of_board(driver: &Driver, device: Device, repetitions: u32, time: Duration) -> BoardSpeed {
    let l2 = driver.l2(device);
    let board = BoardSpeed {
        uuid: driver.uuid(device),
        name: driver.name(device),
        l2_bytes: l2.map(Bytes),
        ..BoardSpeed::default()
    };
    match rates(driver, device, l2, repetitions, time) {
        Ok((buffer, per_second)) => BoardSpeed { buffer_bytes: Some(buffer), per_second, ..board },
        Err(why) => BoardSpeed { not_measured: Some(why.to_string()), ..board },
    }
}

/// Size of the buffer, and what each repetition came to.
fn rates(
    driver: &Driver,
    device: Device,
    l2: Option<u64>,
    repetitions: u32,
    time: Duration,
) -> Result<(Bytes, Vec<f64>), NoFigure> {
    let context = driver.use_board(device)?;
    let (bytes, buffers) = buffers(&context, l2)?;
    // The first wakes the board up: its clocks are low at rest.
    let mut last = long_enough(&buffers, bytes, 1, time)?;
    let mut rates = Vec::new();
    for _ in 0..repetitions {
        last = long_enough(&buffers, bytes, last.times, time)?;
        // Every byte is read once and written once.
        #[expect(clippy::cast_precision_loss, reason = "a gibibyte at most")]
        let moved = 2.0 * bytes.0 as f64 * f64::from(last.times);
        rates.push(moved / (last.ms / 1e3));
    }
    Ok((bytes, rates))
}

/// Copies in a row and what they took.
#[derive(Debug, Clone, Copy)]
struct Timed {
    times: u32,
    ms: f64,
}

/// The largest buffers that the board has room for.
fn buffers<'a>(context: &'a Context<'_>, l2: Option<u64>) -> Result<(Bytes, Buffers<'a>), NoFigure> {
    let free = context.free_memory()?;
    let needed = l2.map_or(LARGEST, |l2| l2.saturating_mul(BEYOND_CACHE)).next_multiple_of(PIECE);
    let why = if l2.is_some() { "four times its L2 cache" } else { "it does not tell its L2 cache" };
    let mut bytes = (free / OF_FREE).min(LARGEST) / PIECE * PIECE;
    while bytes >= needed {
        match context.buffers(usize::try_from(bytes).unwrap_or(usize::MAX)) {
            Ok(buffers) => return Ok((Bytes(bytes), buffers)),
            // What is free may lie in pieces, or be taken meanwhile.
            Err(error) if error.is_out_of_memory() => bytes = bytes / 2 / PIECE * PIECE,
            Err(error) => return Err(error.into()),
        }
    }
    Err(NoFigure::NoRoom { needed: Bytes(needed), why, free: Bytes(free) })
}

/// As many copies in a row as take the time that is wanted, from so many on.
fn long_enough(buffers: &Buffers<'_>, bytes: Bytes, from: u32, wanted: Duration) -> Result<Timed, NoFigure> {
    let wanted = wanted.as_secs_f64() * 1e3;
    let mut times = from;
    loop {
        let ms = buffers.copy(times)?;
        if ms.is_finite() && ms >= wanted {
            return Ok(Timed { times, ms });
        }
        if !ms.is_finite() || ms <= 0.0 || times >= MOST_TIMES {
            return Err(NoFigure::NoTime { times, bytes, ms: ms.to_string() });
        }
        // A tenth more than it takes: boards become faster as they wake up.
        let factor = (1.1 * wanted / ms).max(1.1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive number; larger ones saturate"
        )]
        let more = (f64::from(times) * factor).ceil() as u32;
        times = more.min(MOST_TIMES);
    }
}
