//! Which board work ran on, where a machine has several: CUDA numbers them otherwise than the driver's own library, and a
//! program may be shown some of them only.

use std::collections::BTreeMap;

use crate::terms::SensorKind;
use crate::terms::sensor::Sensor;

/// Bits by which NVIDIA's driver says that heat or a brake lowered the clocks: hardware slowdown, software thermal,
/// hardware thermal, power brake.
pub const THROTTLED: u64 = 0x8 | 0x20 | 0x40 | 0x80;

/// The bit by which it says that the power limit did.
pub const POWER_CAPPED: u64 = 0x4;

/// Variables of the environment that decide how CUDA numbers boards for this process and those that inherit them.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `CUDA_VISIBLE_DEVICES`. `None`: all are shown.
    pub visible: Option<String>,
    /// `CUDA_DEVICE_ORDER`. `None`: an order that only CUDA knows.
    pub order: Option<String>,
}

impl Environment {
    /// This process's.
    #[must_use]
    pub fn own() -> Self {
        Self { visible: std::env::var("CUDA_VISIBLE_DEVICES").ok(), order: std::env::var("CUDA_DEVICE_ORDER").ok() }
    }
}

/// Sensors of NVIDIA's boards by the number under which CUDA shows them, as far as that is known: with one board it is,
/// with several only where boards are named by UUID or `CUDA_DEVICE_ORDER` is `PCI_BUS_ID`, the library's own order.
///
/// `unopened`: there are boards of which no sensor is known.
#[must_use]
pub fn cuda(sensors: &[Sensor], unopened: bool, environment: &Environment) -> BTreeMap<u32, String> {
    let boards: Vec<&Sensor> = sensors.iter().filter(|sensor| sensor.kind == SensorKind::Nvml).collect();
    let ordered = environment.order.as_deref() == Some("PCI_BUS_ID");
    let at = |number: u32| match boards.as_slice() {
        [only] if !unopened && number == 0 => Some(*only),
        _ if ordered => boards.iter().copied().find(|board| index(board) == Some(number)),
        _ => None,
    };
    let Some(visible) = &environment.visible else {
        let end = boards.iter().filter_map(|board| index(board)).max().map_or(0, |last| last + 1);
        return (0..end).filter_map(|number| Some((number, at(number)?.id.clone()))).collect();
    };
    let named = |entry: &str| {
        let mut found = boards.iter().filter(|board| board.uuid.as_deref().is_some_and(|uuid| uuid.starts_with(entry)));
        found.next().filter(|_| found.next().is_none()).copied()
    };
    let entries = visible.split(',').map(str::trim);
    // What CUDA does not understand ends the list.
    let entries = entries.take_while(|entry| entry.starts_with("GPU-") || entry.parse::<u32>().is_ok());
    let shown = (0..).zip(entries).filter_map(|(number, entry)| {
        let board = entry.parse().map_or_else(|_| named(entry), at)?;
        Some((number, board.id.clone()))
    });
    shown.collect()
}

/// Number of a board in the driver's library, as its sensor's name says it.
fn index(board: &Sensor) -> Option<u32> {
    board.id.rsplit_once(':').and_then(|(_, number)| number.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A board of this number in the driver's library; it has no registers.
    fn board(number: u32) -> Sensor {
        let uuid = Some(format!("GPU-{number}-abcd"));
        Sensor { uuid, ..Sensor::new(format!("nvml:{number}"), SensorKind::Nvml, "a board".to_owned()) }
    }

    fn environment(visible: Option<&str>, order: Option<&str>) -> Environment {
        Environment { visible: visible.map(str::to_owned), order: order.map(str::to_owned) }
    }

    #[test]
    fn cudas_numbers_are_known_where_something_says_them() {
        const PCI: Option<&str> = Some("PCI_BUS_ID");
        let many: Vec<Sensor> = (0..12).map(board).collect();
        let of = |boards: &[Sensor], unopened, visible, order| {
            let found = cuda(boards, unopened, &environment(visible, order));
            found.into_iter().map(|(number, id)| format!("{number}={id}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(&many[..1], false, None, None), "0=nvml:0");
        assert_eq!(of(&many[..1], true, None, None), "", "another that is not known may be the first");
        assert_eq!(of(&many[..2], false, None, None), "", "only CUDA knows which is the fastest");
        assert_eq!(of(&many[..2], false, None, PCI), "0=nvml:0 1=nvml:1");
        assert_eq!(of(&many[1..2], true, None, PCI), "1=nvml:1", "the first could not be opened");
        assert_eq!(of(&many, false, Some("10,2"), PCI), "0=nvml:10 1=nvml:2");
        assert_eq!(of(&many, false, Some("GPU-3,5,GPU-7-abcd"), None), "0=nvml:3 2=nvml:7");
        assert_eq!(of(&many, false, Some("GPU-1"), None), "", "three boards begin so");
        assert_eq!(of(&many, false, Some("2,-1,3"), PCI), "0=nvml:2");
        assert_eq!(of(&many[..1], false, Some(""), None), "");
    }
}
