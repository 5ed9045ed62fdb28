//! How many workers a load needs.

/// Days that a month is reckoned with, as the published reports do.
pub const DAYS_PER_MONTH: f64 = 30.0;
/// Unit: hours.
pub const HOURS_PER_MONTH: f64 = DAYS_PER_MONTH * 24.0;
/// Unit: seconds.
pub const SECONDS_PER_MONTH: f64 = HOURS_PER_MONTH * 3600.0;

/// So much a month, spread evenly. Unit: what is counted, per second.
#[must_use]
pub fn per_second(per_month: f64) -> f64 {
    per_month / SECONDS_PER_MONTH
}

/// What arrives, and how much of a worker it may fill.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    /// Mean load. Unit: what is counted, per second.
    pub per_second: f64,
    /// The busiest moment's load ÷ the mean; 1: even.
    pub burst: f64,
    /// Share of a worker's time that may be filled, above 0 and up to 1.
    pub utilisation: f64,
}

impl Demand {
    /// Workers as a fraction, for a worker that does so many per second.
    ///
    /// Source: the white paper's `load ÷ rate`, here over what of a worker may be filled, and times the burst factor.
    #[must_use]
    pub fn workers_exactly(self, worker_per_second: f64) -> f64 {
        self.per_second / (worker_per_second * self.utilisation) * self.burst
    }

    /// The same as whole workers: rounded up, and one at least where there is any load. As one server without queueing this
    /// is a lower bound. `None`: a worker does nothing, or the number is out of all reason.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the bounds checked before it")]
    pub fn workers(self, worker_per_second: f64) -> Option<u64> {
        let exactly = self.workers_exactly(worker_per_second);
        // What is whole but for the last digits of a division is whole.
        let whole = (exactly * (1.0 - 1e-12)).ceil();
        (0.0..1e15).contains(&whole).then_some(whole as u64)
    }
}

/// How long requests hold a worker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Service {
    /// Mean. Unit: seconds.
    pub mean_s: f64,
    /// Mean of the squares. Unit: seconds squared.
    pub mean_square_s2: f64,
}

impl Service {
    /// Of times with their weights. `None`: no weight.
    #[must_use]
    pub fn of(times: impl IntoIterator<Item = (f64, f64)>) -> Option<Self> {
        let (mut weights, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for (seconds, weight) in times {
            weights += weight;
            sum += weight * seconds;
            squares += weight * seconds * seconds;
        }
        (weights > 0.0).then(|| Self { mean_s: sum / weights, mean_square_s2: squares / weights })
    }

    /// Share of their time that so many workers are busy, at requests per second over all of them.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of workers")]
    pub fn busy(self, requests_per_s: f64, workers: u64) -> f64 {
        requests_per_s / workers as f64 * self.mean_s
    }

    /// Mean time that a request waits for its worker, if requests arrive at random and are dealt out evenly. A model, no
    /// measurement. Unit: seconds. `None`: workers cannot keep up, and the wait grows without end.
    ///
    /// Source: Pollaczek and Khinchine, `λ E[S²] / (2 (1 − ρ))` of an M/G/1 queue, one per worker.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of workers")]
    pub fn mean_wait_s(self, requests_per_s: f64, workers: u64) -> Option<f64> {
        let busy = self.busy(requests_per_s, workers);
        let arrivals = requests_per_s / workers as f64;
        (workers > 0 && busy < 1.0).then(|| arrivals * self.mean_square_s2 / (2.0 * (1.0 - busy)))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const EVEN: Demand = Demand { per_second: 1.0, burst: 1.0, utilisation: 1.0 };

    /// The published tables print 2.22 workers as 2, which is a tenth too few.
    #[test]
    fn workers_are_rounded_up() {
        let load = per_second(1e9);
        let of = |rate: f64| Demand { per_second: load, ..EVEN }.workers(rate).unwrap();
        assert_eq!((of(174.0), of(141.3), of(52.4)), (3, 3, 8));
        assert_eq!(EVEN.workers(0.2), Some(5), "a whole number is not one more");
        assert_eq!(Demand { per_second: 0.3, ..EVEN }.workers(0.1), Some(3));
        assert_eq!(EVEN.workers(1e9), Some(1), "any load needs a worker");
        assert_eq!(EVEN.workers(0.0), None);
    }

    #[test]
    fn bursts_and_headroom_need_more() {
        assert_eq!(Demand { burst: 5.0, ..EVEN }.workers(1.0), Some(5));
        assert_eq!(Demand { utilisation: 0.5, ..EVEN }.workers(1.0), Some(2));
    }

    /// Two textbook cases: exponential service waits twice as long as constant service.
    #[test]
    fn waiting_follows_pollaczek_and_khinchine() {
        let constant = Service { mean_s: 1.0, mean_square_s2: 1.0 };
        let exponential = Service { mean_s: 1.0, mean_square_s2: 2.0 };
        assert!((constant.mean_wait_s(0.5, 1).unwrap() - 0.5).abs() < 1e-12);
        assert!((exponential.mean_wait_s(0.5, 1).unwrap() - 1.0).abs() < 1e-12);
        assert!((exponential.mean_wait_s(1.0, 2).unwrap() - 1.0).abs() < 1e-12, "two workers share the load");
        assert_eq!(constant.mean_wait_s(1.0, 1), None, "no wait is long enough");
        assert_eq!(constant.mean_wait_s(1.0, 0), None);
        let mixed = Service::of([(1.0, 3.0), (5.0, 1.0)]).unwrap();
        assert_eq!(mixed, Service { mean_s: 2.0, mean_square_s2: 7.0 });
        assert_eq!(Service::of([]), None);
    }
}
