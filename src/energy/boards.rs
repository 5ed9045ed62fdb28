//! Which board work ran on, where a machine has several.

use std::collections::BTreeMap;

use crate::terms::sensor::Sensor;
use crate::terms::{Attribution, OnBoard, SensorKind};

/// What is known of the boards of a process of the run.
#[derive(Debug, Clone, Copy)]
pub struct Boards<'a> {
    /// Every sensor.
    pub sensors: &'a [Sensor],
    /// Whether there are boards of which no sensor is known.
    pub unopened: bool,
    /// Sensors of boards by the number under which CUDA shows them, as far as that is known.
    pub cuda: &'a BTreeMap<u32, String>,
}

impl<'a> Boards<'a> {
    /// The sensor of the board that work is proven to have run on: it names the board, or only there does a process of
    /// ours compute, or CUDA's number for it is known, or there is no other. `None`: nothing proves one.
    #[must_use]
    pub fn of(&self, attribution: &Attribution, beside: &[OnBoard]) -> Option<&'a Sensor> {
        let kind = |kind| self.sensors.iter().filter(move |sensor| sensor.kind == kind);
        let named = |uuid: &str| self.sensors.iter().find(|sensor| sensor.uuid.as_deref() == Some(uuid));
        if let Some(uuid) = &attribution.evidence.device_uuid {
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

    #[test]
    fn one_of_several_boards_is_taken_only_where_it_is_proven() {
        let sensors = [Sensor::board(0), Sensor::board(1), Sensor::board(2)];
        let numbers = BTreeMap::from([(0, "nvml:2".to_owned())]);
        let boards = Boards { sensors: &sensors, unopened: false, cuda: &numbers };
        let on = |number: u32, ours| OnBoard {
            uuid: format!("GPU-{number}-abcd"),
            ours,
            foreign: Some(3),
            clock_reasons: None,
        };
        let of = |actual: &str, evidence: &[(&str, &str)], beside: &[OnBoard]| {
            let evidence: BTreeMap<_, _> =
                evidence.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let attribution =
                Attribution { requested: String::new(), actual: Some(actual.to_owned()), evidence: evidence.into() };
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
