//! What was measured of the machine, in the form that `machine --json` prints.

use std::time::Duration;

use serde::Serialize;

use crate::commands::CommandError;
use crate::commands::scenario::machine_memory;
use crate::kernels;
use crate::manifest;
use crate::record::manifest::{Machine, Tool};
use crate::report::chart::{Interval, RatePoint, RateSeries, Rates};
use crate::speed::{self, Cache, Effort, Speed, caches};
use crate::telemetry::meanwhile::Meanwhile;
use crate::terms::Kernel;
use crate::units::{Bytes, significant};

use super::boards::BoardRow;

/// What was found, as `machine --json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    pub(super) format: u32,
    pub(super) tool: Tool,
    pub(super) machine: Machine,
    /// Processors that this process may use.
    pub(super) usable_processors: f64,
    /// Caches for data. Empty: the system does not tell.
    pub(super) caches: Vec<Cache>,
    /// Width of the vectors that the kernels use.
    pub(super) vector_bits: usize,
    /// Size of the buffer that is read.
    pub(super) buffer_bytes: Bytes,
    /// Share of all processors' time that other programs used meanwhile. Null: not told.
    pub(super) foreign_cpu: Option<f64>,
    /// Share of all processors' time that the hypervisor took away meanwhile. Null: not told.
    pub(super) steal: Option<f64>,
    /// Compute with the most threads ÷ with one: how many processors' work is done. Null: measured with one number of threads.
    pub(super) effective_processors: Option<f64>,
    pub(super) speeds: Vec<SpeedRow>,
    /// NVIDIA's boards. Empty: there is none.
    pub(super) boards: Vec<BoardRow>,
}

/// One kernel with one number of threads.
#[derive(Debug, Clone, Serialize)]
pub(super) struct SpeedRow {
    pub(super) kernel: Kernel,
    pub(super) threads: u32,
    pub(super) unit: &'static str,
    /// Median.
    pub(super) per_second: f64,
    /// Lower end of its 95 % interval. Null: too few repetitions.
    pub(super) low: Option<f64>,
    /// Upper end.
    pub(super) high: Option<f64>,
    /// Every repetition, in order.
    pub(super) repetitions: Vec<f64>,
}

impl Found {
    /// Measures the processor, and looks at what else goes on meanwhile. `threads`: see [`speed::thread_counts`] where there are none.
    pub(super) fn measure(
        threads: Option<Vec<u32>>,
        kernels: Vec<Kernel>,
        repetitions: u32,
        time: Duration,
    ) -> Result<Self, CommandError> {
        let machine = manifest::machine::collect();
        let usable = machine.usable_processors();
        let caches = caches::here();
        let buffer = speed::buffer(&caches, machine_memory().ok());
        let threads = threads.unwrap_or_else(|| speed::thread_counts(usable));
        let beside = Meanwhile::begin();
        let speeds = speed::measure(&Effort { kernels, threads, repetitions, time }, buffer)?;
        let shares = beside.shares();
        Ok(Self {
            format: 1,
            tool: Tool::this(),
            machine,
            usable_processors: usable,
            caches,
            vector_bits: kernels::vector_bits(),
            buffer_bytes: buffer,
            foreign_cpu: shares.map(|shares| shares.foreign),
            steal: shares.map(|shares| shares.steal),
            effective_processors: effective(&speeds),
            speeds: speeds.iter().filter_map(SpeedRow::of).collect(),
            boards: Vec::new(),
        })
    }

    /// The median of a kernel with a number of threads. `None`: not measured.
    pub(super) fn of(&self, kernel: Kernel, threads: u32) -> Option<&SpeedRow> {
        self.speeds.iter().find(|row| row.kernel == kernel && row.threads == threads)
    }

    pub(super) fn thread_counts(&self) -> Vec<u32> {
        let mut counts: Vec<u32> = self.speeds.iter().map(|row| row.threads).collect();
        counts.dedup();
        counts
    }

    /// Every kernel over the threads, as a multiple of what one thread does.
    pub(super) fn chart(&self) -> Rates {
        let series = Kernel::OF_PROCESSOR.into_iter().filter_map(|kernel| {
            let one = self.speeds.iter().find(|row| row.kernel == kernel)?;
            let of_one = |value: f64| value / one.per_second;
            let point = |row: &SpeedRow| RatePoint {
                x: f64::from(row.threads),
                y: of_one(row.per_second),
                interval: row.low.zip(row.high).map(|(low, high)| Interval { low: of_one(low), high: of_one(high) }),
            };
            let points: Vec<RatePoint> = self.speeds.iter().filter(|row| row.kernel == kernel).map(point).collect();
            let name = format!("{} (1.0 is {})", kernel.as_str().replace('_', ", "), one.with_unit());
            Some(RateSeries { name, line: points.iter().map(|point| (point.x, point.y)).collect(), points })
        });
        Rates {
            title: "The machine's own speed over threads".to_owned(),
            x_name: "threads".to_owned(),
            y_name: "times as fast as the fewest threads".to_owned(),
            series: series.collect(),
        }
    }
}

impl SpeedRow {
    /// The median in thousand millions, e.g. `26.8 GB/s`.
    pub(super) fn with_unit(&self) -> String {
        format!("{} {}", significant(self.per_second / 1e9, 3), self.unit)
    }

    fn of(speed: &Speed) -> Option<Self> {
        let found = speed.location()?;
        Some(Self {
            kernel: speed.kernel,
            threads: speed.threads,
            unit: speed.kernel.unit(),
            per_second: found.value,
            low: found.interval.map(|interval| interval.low),
            high: found.interval.map(|interval| interval.high),
            repetitions: speed.per_second.clone(),
        })
    }
}

/// Work of all threads in works of one.
fn effective(speeds: &[Speed]) -> Option<f64> {
    let compute = || speeds.iter().filter(|speed| speed.kernel == Kernel::Compute);
    let one = compute().find(|speed| speed.threads == 1)?.location()?;
    let all = compute().max_by_key(|speed| speed.threads).filter(|speed| speed.threads > 1)?.location()?;
    Some(all.value / one.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_by_their_work() {
        let speed = |threads, rate| Speed { kernel: Kernel::Compute, threads, per_second: vec![rate] };
        assert_eq!(effective(&[speed(1, 10.0), speed(4, 25.0)]), Some(2.5));
        assert_eq!(effective(&[speed(1, 10.0)]), None);
    }
}
