//! Which board work ran on, where a machine has several: CUDA numbers them otherwise than the driver's own library, and a
//! program may be shown some of them only.

use std::collections::BTreeMap;

use super::sensor::Sensor;
use crate::terms::{Attribution, OnBoard, SensorKind};

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

/// What is known of the boards of a process of the run.
#[derive(Debug, Clone, Copy)]
pub struct Boards<'a> {
    /// Every sensor.
    pub sensors: &'a [Sensor],
    /// Whether there are boards of which no sensor is known.
    pub unopened: bool,
    /// See [`cuda`].
    pub cuda: &'a BTreeMap<u32, String>,
}

impl<'a> Boards<'a> {
    /// The sensor of the board that work is proven to have run on: it names the board, or only there does a process of
    /// ours compute, or CUDA's number for it is known, or there is no other. `None`: nothing proves one.
    #[must_use]
    pub fn of(&self, attribution: &Attribution, beside: &[OnBoard]) -> Option<&'a Sensor> {
        let kind = |kind| self.sensors.iter().filter(move |sensor| sensor.kind == kind);
        let named = |uuid: &str| self.sensors.iter().find(|sensor| sensor.uuid.as_deref() == Some(uuid));
        if let Some(uuid) = attribution.evidence.get(Attribution::DEVICE_UUID) {
            return named(uuid);
        }
        let mut ours = beside.iter().filter(|board| board.ours > 0);
        if let (Some(board), None) = (ours.next(), ours.next()) {
            return named(&board.uuid);
        }
        let number = attribution.cuda_number();
        if let Some(id) = number.and_then(|number| self.cuda.get(&number)) {
            return self.sensors.iter().find(|sensor| sensor.id == *id);
        }
        let first = if kind(SensorKind::Nvml).next().is_some() { SensorKind::Nvml } else { SensorKind::Hwmon };
        let mut boards = kind(first);
        let only = boards.next().filter(|_| boards.next().is_none() && !self.unopened);
        only.filter(|_| number.unwrap_or(0) == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(number: u32) -> Sensor {
        Sensor {
            id: format!("nvml:{number}"),
            kind: SensorKind::Nvml,
            device: "a board".to_owned(),
            uuid: Some(format!("GPU-{number}-abcd")),
            driver: None,
            simulated: false,
            limit_w: None,
            divided: None,
            persistence: None,
            field_ids: None,
            registers: Vec::new(),
            missing: BTreeMap::new(),
        }
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

    #[test]
    fn one_of_several_boards_is_taken_only_where_it_is_proven() {
        let sensors = [board(0), board(1), board(2)];
        let numbers = BTreeMap::from([(0, "nvml:2".to_owned())]);
        let boards = Boards { sensors: &sensors, unopened: false, cuda: &numbers };
        let on = |number: u32, ours| OnBoard { uuid: format!("GPU-{number}-abcd"), ours, foreign: Some(3) };
        let of = |actual: &str, evidence: &[(&str, &str)], beside: &[OnBoard]| {
            let evidence = evidence.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let attribution = Attribution { requested: String::new(), actual: Some(actual.to_owned()), evidence };
            boards.of(&attribution, beside).map(|sensor| sensor.id.clone())
        };
        assert_eq!(of("gpu", &[], &[]), None);
        assert_eq!(of("gpu", &[], &[on(0, 0), on(1, 1)]).as_deref(), Some("nvml:1"));
        assert_eq!(of("gpu", &[], &[on(0, 1), on(1, 1)]), None, "two of ours");
        assert_eq!(of("cuda:0", &[], &[on(0, 1), on(1, 1)]).as_deref(), Some("nvml:2"));
        assert_eq!(of("CUDAExecutionProvider", &[("device", "cuda:0")], &[]).as_deref(), Some("nvml:2"));
        assert_eq!(of("CUDAExecutionProvider", &[("device", "cuda:1")], &[]), None, "nobody knows which that is");
        assert_eq!(of("cuda:0", &[("device.uuid", "GPU-1-abcd")], &[]).as_deref(), Some("nvml:1"));
        let none = BTreeMap::new();
        let one = |unopened| Boards { sensors: &sensors[1..2], unopened, cuda: &none };
        let gpu = Attribution { actual: Some("gpu".to_owned()), ..Attribution::default() };
        assert_eq!(one(false).of(&gpu, &[]).map(|sensor| sensor.id.as_str()), Some("nvml:1"));
        assert!(one(true).of(&gpu, &[]).is_none());
    }
}
