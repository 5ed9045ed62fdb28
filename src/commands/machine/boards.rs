//! What `phasebench machine` and `doctor` say of NVIDIA's boards.

use std::time::Duration;

use serde::Serialize;

use crate::manifest;
use crate::report::format;
use crate::speed::board;
use crate::stats::LEVEL;
use crate::stats::median::located;
use crate::terms::{BoardSpeed, Kernel};
use crate::units::{Bytes, significant};

/// One board, as `machine --json` prints it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct BoardRow {
    kernel: Kernel,
    unit: &'static str,
    /// What tells it from others. Null: not told, or no board was reached.
    uuid: Option<String>,
    name: Option<String>,
    /// Cache of the second level. Null: not told.
    l2_bytes: Option<Bytes>,
    /// Size of the buffer that is copied. Null: not measured.
    buffer_bytes: Option<Bytes>,
    /// Median, bytes read and bytes written together. Null: not measured.
    per_second: Option<f64>,
    /// Lower end of its 95 % interval. Null: too few repetitions.
    low: Option<f64>,
    /// Upper end.
    high: Option<f64>,
    /// Every repetition, in order.
    repetitions: Vec<f64>,
    /// Why there is no figure. Null: there is.
    not_measured: Option<String>,
}

/// Every board, where the management library lists one: without it nothing is asked.
pub(super) fn measured(repetitions: u32, time: Duration) -> Vec<BoardRow> {
    if manifest::gpu::collect().devices.is_empty() {
        return Vec::new();
    }
    board::measure_apart(repetitions, time).into_iter().map(BoardRow::of).collect()
}

impl BoardRow {
    fn of(board: BoardSpeed) -> Self {
        let found = located(&board.per_second, LEVEL);
        let interval = found.and_then(|found| found.interval);
        Self {
            kernel: Kernel::DeviceCopy,
            unit: Kernel::DeviceCopy.unit(),
            uuid: board.uuid,
            name: board.name,
            l2_bytes: board.l2_bytes,
            buffer_bytes: board.buffer_bytes,
            per_second: found.map(|found| found.value),
            low: interval.map(|interval| interval.low),
            high: interval.map(|interval| interval.high),
            repetitions: board.per_second,
            not_measured: board.not_measured,
        }
    }

    /// What a person calls it.
    fn called(&self) -> String {
        match (&self.name, &self.uuid) {
            (Some(name), Some(uuid)) => format!("{name} ({uuid})"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => "NVIDIA boards".to_owned(),
        }
    }

    /// The figure, or why there is none.
    pub(super) fn sentence(&self) -> String {
        let Some(per_second) = self.per_second else {
            let why = self.not_measured.as_deref().unwrap_or("it did not tell");
            return format!("{}: not measured, because {why}", self.called());
        };
        let bounds = self.low.zip(self.high).map(|(low, high)| (low / 1e9, high / 1e9));
        format!(
            "{}: copies within its memory at {} {}, read and written bytes counted; a decode step there that reads 1 GB of weights \
             takes {} ms or more",
            self.called(),
            format::interval(per_second / 1e9, bounds),
            self.unit,
            significant(1e12 / per_second, 3)
        )
    }

    /// The same for one line among others.
    pub(super) fn brief(&self) -> String {
        match (self.per_second, &self.not_measured) {
            (Some(per_second), _) => {
                format!("{}: {} {} {}", self.called(), self.kernel, significant(per_second / 1e9, 3), self.unit)
            }
            (None, why) => {
                format!("{}: not measured, because {}", self.called(), why.as_deref().unwrap_or("it did not tell"))
            }
        }
    }

    /// Whether there is a figure.
    pub(super) fn is_measured(&self) -> bool {
        self.per_second.is_some()
    }
}
