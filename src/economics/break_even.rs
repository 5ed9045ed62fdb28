//! When a better model pays, and when a machine of one's own does.

/// How much better a dearer model must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SuccessRate {
    /// How many times as much it costs.
    pub ratio: f64,
    /// Success rate it needs for the same cost per success; above 1 there is none.
    pub needed: f64,
}

impl SuccessRate {
    /// For costs per request, and the cheaper model's success rate.
    ///
    /// Source: TR121, `p_big = p_small × C_big / C_small`.
    #[must_use]
    pub fn of(dearer: f64, cheaper: f64, success_of_cheaper: f64) -> Self {
        let ratio = dearer / cheaper;
        Self { ratio, needed: success_of_cheaper * ratio }
    }

    /// Whether a success rate can be as high.
    #[must_use]
    pub fn feasible(self) -> bool {
        self.needed <= 1.0
    }
}

/// What a failure must cost for the dearer model to pay: `(C_big − C_small) ÷ (p_big − p_small)`, from the costs of request
/// and failures being equal. `None`: the dearer model succeeds no more often, and never pays.
#[must_use]
pub fn value_of_failure(dearer: f64, cheaper: f64, success_of_dearer: f64, success_of_cheaper: f64) -> Option<f64> {
    let gained = success_of_dearer - success_of_cheaper;
    (gained > 0.0).then(|| (dearer - cheaper) / gained)
}

/// A machine that is bought.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hardware {
    /// Unit: money.
    pub price: f64,
    /// How long it is used. Unit: months.
    pub months: f64,
    /// What it is sold for after that. Unit: money.
    pub resale: f64,
    /// Share of it that this work pays for, above 0 and up to 1.
    pub share_of_use: f64,
}

/// Money against time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Monthly {
    /// Once for the machines. Unit: money.
    pub once: f64,
    /// Unit: money per month.
    pub month: f64,
}

impl Monthly {
    /// Machines that are bought, charged once: their price is in no hourly rate besides.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of machines")]
    pub fn bought(hardware: Hardware, machines: u64, running: f64) -> Self {
        let each = (hardware.price - hardware.resale) * hardware.share_of_use;
        Self { once: each * machines as f64, month: running }
    }

    /// Machines that are hired.
    #[must_use]
    pub fn hired(month: f64) -> Self {
        Self { once: 0.0, month }
    }

    /// Total cost of so many months; machines are bought again when their time is over.
    #[must_use]
    pub fn over(self, months: f64, life: f64) -> f64 {
        self.once * (months / life).ceil().max(1.0) + self.month * months
    }

    /// Months after which this has become cheaper than `other`. `None`: it never does.
    #[must_use]
    pub fn months_until_cheaper_than(self, other: Self) -> Option<f64> {
        let (more, less) = (self.once - other.once, other.month - self.month);
        if more <= 0.0 && less >= 0.0 {
            return Some(0.0);
        }
        (less > 0.0).then(|| more / less)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const CARD: Hardware = Hardware { price: 1200.0, months: 36.0, resale: 200.0, share_of_use: 0.5 };

    /// The published break-even charges the price as a sum and again in the hourly rate; then it never pays, or late.
    #[test]
    fn hardware_is_paid_once() {
        let (bought, hired) = (Monthly::bought(CARD, 2, 30.0), Monthly::hired(130.0));
        assert!((bought.once - 1000.0).abs() < 1e-12);
        assert!((bought.months_until_cheaper_than(hired).unwrap() - 10.0).abs() < 1e-12);
        let twice = Monthly { month: 30.0 + 2.0 * 0.5 * (1200.0 - 200.0) / 36.0, ..bought };
        assert!(twice.months_until_cheaper_than(hired).unwrap() > 13.0, "what paying twice would say");
        assert!((bought.over(36.0, CARD.months) - 2080.0).abs() < 1e-9);
        assert!((bought.over(37.0, CARD.months) - 3110.0).abs() < 1e-9, "bought again");
    }

    /// More load needs more machines, each of which is paid.
    #[test]
    fn capacity_is_respected() {
        let one = Monthly::bought(CARD, 1, 10.0);
        let ten = Monthly::bought(CARD, 10, 100.0);
        assert!((ten.once - 10.0 * one.once).abs() < 1e-9);
    }

    #[test]
    fn what_runs_dearer_never_pays() {
        assert_eq!(Monthly::bought(CARD, 1, 50.0).months_until_cheaper_than(Monthly::hired(40.0)), None);
        let free = Monthly { once: 0.0, month: 1.0 };
        assert_eq!(free.months_until_cheaper_than(Monthly::hired(2.0)), Some(0.0));
    }

    #[test]
    fn failures_have_a_value_at_which_the_better_model_pays() {
        assert!((value_of_failure(2.0, 1.0, 0.9, 0.7).unwrap() - 5.0).abs() < 1e-12);
        assert_eq!(value_of_failure(2.0, 1.0, 0.7, 0.7), None);
    }
}
