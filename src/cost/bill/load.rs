//! What a load needs and costs: workers, months, buying against hiring.

use serde::Serialize;

use super::money::{Drawn, Money, count, rates};
use crate::analysis::columns::nested::rows;
use crate::economics::break_even::{Hardware, Monthly};
use crate::economics::capacity::{Demand, HOURS_PER_MONTH, SECONDS_PER_MONTH, Service};
use crate::economics::figures::Uncertain;
use crate::economics::price::{Scope, Work};
use crate::scenario::pricing::{HardwarePrice, Pricing, Tier};
use crate::scenario::workload::Workload;

use crate::cost::engines::EngineName;

rows! {
    /// Workers for a load.
    #[derive(Debug, Serialize)]
    pub struct CapacityRow {
        /// The engine.
        pub engine: EngineName,
        /// Share of the workload that was measured; the rest is taken to be as the mean of it.
        /// Unit: fraction.
        pub coverage: f64,
        /// Mean load.
        /// Unit: requests per second.
        pub requests_per_s: f64,
        /// The busiest moment's load ÷ the mean.
        /// Unit: ratio.
        pub burst: f64,
        /// Share of a worker's time that load may fill.
        /// Unit: fraction.
        pub utilisation: f64,
        /// As a fraction.
        /// Unit: workers.
        pub workers_exactly: f64,
        /// Rounded up: a lower bound, for nobody waits in it.
        /// Unit: workers.
        pub workers: Uncertain,
        /// Share of their time that these are busy at the mean load. Null: there are none.
        /// Unit: fraction.
        pub busy: Option<f64>,
        /// Mean time that a request waits for a worker, by the model of an M/G/1 queue at the mean load; no measurement. Null:
        /// requests are batched, which the model does not know.
        /// Unit: seconds.
        pub mean_wait_model_s: Option<f64>,
    }

    /// A month of the load on a tier.
    #[derive(Debug, Serialize)]
    pub struct MonthRow {
        /// The engine.
        pub engine: EngineName,
        /// Share of the workload that was measured; the rest is taken to be as the mean of it.
        /// Unit: fraction.
        pub coverage: f64,
        /// Name of the tier.
        pub tier: String,
        /// Requests of 30 days.
        /// Unit: requests.
        pub requests: f64,
        /// For the time that requests take, as if every second could be hired.
        pub for_work: Money,
        /// For whole workers, hired for every hour; the work's energy included where it is counted.
        /// Unit: money.
        pub hired: Uncertain,
        /// Energy of the time in which workers are not busy, which is in neither. Null: no idle power was given, or the work's
        /// energy is not counted.
        /// Unit: money.
        pub idle_energy: Option<Uncertain>,
        /// What the totals are of.
        pub scope: Scope,
    }

    /// Buying against hiring on a tier.
    #[derive(Debug, Serialize)]
    pub struct BreakEvenRow {
        /// The engine.
        pub engine: EngineName,
        /// Share of the workload that was measured; the rest is taken to be as the mean of it.
        /// Unit: fraction.
        pub coverage: f64,
        /// Name of the tier that is hired.
        pub tier: String,
        /// Machines that the load needs, bought or hired.
        /// Unit: machines.
        pub machines: Uncertain,
        /// Price of the machines bought, less what they are sold for; charged once.
        /// Unit: money.
        pub once: Uncertain,
        /// What these cost per month besides: energy, that of idle time included, where the work's is counted; else nothing.
        /// Unit: money.
        pub bought_month: Uncertain,
        /// What the hired ones cost per month.
        /// Unit: money.
        pub hired_month: Uncertain,
        /// Months after which buying is cheaper. Null: never.
        /// Unit: months.
        pub months: Option<Uncertain>,
        /// Whether that is within the machine's life.
        pub pays: bool,
        /// What the figures are of.
        pub scope: Scope,
    }

    /// Total cost over months.
    #[derive(Debug, Serialize)]
    pub struct TcoRow {
        /// The engine.
        pub engine: EngineName,
        /// Share of the workload that was measured; the rest is taken to be as the mean of it.
        /// Unit: fraction.
        pub coverage: f64,
        /// Name of the tier that is hired; `bought` for the machine of the pricing file.
        pub tier: String,
        /// How long.
        /// Unit: months.
        pub months: f64,
        /// All of it; energy, that of a bought machine's idle time included, where the work's is counted.
        /// Unit: money.
        pub total: Uncertain,
        /// What the total is of.
        pub scope: Scope,
    }
}

/// What a month needs, in one draw.
#[derive(Debug, Clone, Copy)]
struct Month {
    machines: u64,
    /// Energy of the work. Unit: money. 0 where it is not counted, which the scope tells.
    work_energy: f64,
    /// Energy of idle time. Unit: money.
    idle_energy: f64,
}

#[derive(Clone, Copy)]
struct Load<'a> {
    pricing: &'a Pricing,
    requests_per_s: f64,
    demand: Demand,
    counts_energy: bool,
}

impl Load<'_> {
    /// `work` is that of one request.
    #[expect(clippy::cast_precision_loss, reason = "a count of machines")]
    fn month(&self, work: Work) -> Month {
        let machines = self.demand.workers(1.0 / work.seconds).unwrap_or_default();
        let requests = self.requests_per_s * SECONDS_PER_MONTH;
        let idle_s = (machines as f64 * SECONDS_PER_MONTH - requests * work.seconds).max(0.0);
        let watts = self.pricing.idle_watts.filter(|_| self.counts_energy).unwrap_or_default();
        Month {
            machines,
            work_energy: work.kwh.unwrap_or_default() * requests * self.pricing.per_kwh,
            idle_energy: idle_s * watts / 3.6e6 * self.pricing.per_kwh,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of machines")]
    fn hired(&self, work: Work, per_hour: f64) -> Monthly {
        let month = self.month(work);
        Monthly::hired(month.machines as f64 * HOURS_PER_MONTH * per_hour + month.work_energy)
    }

    fn bought(&self, work: Work, hardware: Hardware) -> Monthly {
        let month = self.month(work);
        Monthly::bought(hardware, month.machines, month.work_energy + month.idle_energy)
    }
}

/// An engine that is to carry a load.
#[derive(Clone, Copy)]
pub(super) struct Carrier<'a> {
    pub(super) engine: &'a EngineName,
    /// Share of the workload that was measured.
    pub(super) coverage: f64,
    /// How long requests hold a worker. `None`: nothing was measured.
    pub(super) service: Option<Service>,
    /// The mean request.
    pub(super) request: &'a Drawn,
}

/// What a load needs on one engine.
pub(super) struct Rows {
    pub(super) capacity: CapacityRow,
    pub(super) months: Vec<MonthRow>,
    pub(super) break_even: Vec<BreakEvenRow>,
    pub(super) tco: Vec<TcoRow>,
}

/// What a workload's load needs on an engine. `None`: the workload does not tell its load.
pub(super) fn rows(of: Carrier<'_>, pricing: &Pricing, workload: &Workload, over_months: f64) -> Option<Rows> {
    let requests_per_s = workload.requests_per_second?;
    let demand = Demand { per_second: requests_per_s, burst: workload.burst, utilisation: pricing.utilisation };
    let load = Load { pricing, requests_per_s, demand, counts_energy: of.request.has_energy() };
    Some(Rows {
        capacity: capacity(of, load),
        months: months(of, load),
        break_even: pricing.hardware.map(|hardware| break_even(of, load, hardware)).unwrap_or_default(),
        tco: tco(of, load, over_months),
    })
}

#[expect(clippy::cast_precision_loss, reason = "a count of workers")]
fn machines(drawn: &Drawn, load: Load<'_>) -> Uncertain {
    let (value, draws) = drawn.draws_of(|work| load.month(work).machines as f64);
    count(value, &draws)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of workers")]
fn capacity(of: Carrier<'_>, load: Load<'_>) -> CapacityRow {
    let workers = machines(of.request, load);
    let whole = workers.value as u64;
    let service = of.service.filter(|_| whole > 0);
    let alone = of.engine.batch == 1;
    CapacityRow {
        engine: of.engine.clone(),
        coverage: of.coverage,
        requests_per_s: load.requests_per_s,
        burst: load.demand.burst,
        utilisation: load.demand.utilisation,
        workers_exactly: load.demand.workers_exactly(1.0 / of.request.seconds().value),
        workers,
        busy: service.map(|service| service.busy(load.requests_per_s, whole)),
        mean_wait_model_s: service.filter(|_| alone).and_then(|s| s.mean_wait_s(load.requests_per_s, whole)),
    }
}

fn months(of: Carrier<'_>, load: Load<'_>) -> Vec<MonthRow> {
    let requests = load.requests_per_s * SECONDS_PER_MONTH;
    let idle = load.pricing.idle_watts.filter(|_| load.counts_energy);
    let row = |tier: &Tier| {
        let for_work = of.request.times(requests).cost(rates(load.pricing, tier), load.pricing.gco2e_per_kwh.is_some());
        MonthRow {
            engine: of.engine.clone(),
            coverage: of.coverage,
            tier: tier.name.clone(),
            requests,
            for_work,
            hired: of.request.uncertain(|work| load.hired(work, tier.per_hour).month),
            idle_energy: idle.map(|_| of.request.uncertain(|work| load.month(work).idle_energy)),
            scope: for_work.scope,
        }
    };
    load.pricing.tiers.iter().map(row).collect()
}

fn hardware(of: HardwarePrice) -> Hardware {
    Hardware { price: of.price, months: of.months, resale: of.resale, share_of_use: of.share_of_use }
}

fn scope(load: Load<'_>) -> Scope {
    if load.counts_energy { Scope::WithEnergy } else { Scope::InfrastructureOnly }
}

/// Tiers that are a machine of one's own spread over its life are no hire: against them hardware would be paid twice.
fn break_even(of: Carrier<'_>, load: Load<'_>, price: HardwarePrice) -> Vec<BreakEvenRow> {
    let hardware = hardware(price);
    let hired = load.pricing.tiers.iter().filter(|tier| !tier.owned);
    hired
        .map(|tier| {
            let until = |work| {
                let bought = load.bought(work, hardware);
                // Draws in which it never pays stand behind all others.
                bought.months_until_cheaper_than(load.hired(work, tier.per_hour)).unwrap_or(f64::MAX)
            };
            let months = of.request.uncertain(until);
            let months = (months.value < f64::MAX)
                .then_some(Uncertain { high: months.high.filter(|high| *high < f64::MAX / 2.0), ..months });
            BreakEvenRow {
                engine: of.engine.clone(),
                coverage: of.coverage,
                tier: tier.name.clone(),
                machines: machines(of.request, load),
                once: of.request.uncertain(|work| load.bought(work, hardware).once),
                bought_month: of.request.uncertain(|work| load.bought(work, hardware).month),
                hired_month: of.request.uncertain(|work| load.hired(work, tier.per_hour).month),
                pays: months.is_some_and(|months| months.value <= hardware.months),
                months,
                scope: scope(load),
            }
        })
        .collect()
}

fn tco(of: Carrier<'_>, load: Load<'_>, months: f64) -> Vec<TcoRow> {
    let row = |tier: &str, total: Uncertain| TcoRow {
        engine: of.engine.clone(),
        coverage: of.coverage,
        tier: tier.to_owned(),
        months,
        total,
        scope: scope(load),
    };
    let hired =
        load.pricing.tiers.iter().filter(|tier| !tier.owned).map(|tier| {
            row(&tier.name, of.request.uncertain(|work| load.hired(work, tier.per_hour).over(months, months)))
        });
    let bought = load.pricing.hardware.map(hardware).map(|hardware| {
        row("bought", of.request.uncertain(|work| load.bought(work, hardware).over(months, hardware.months)))
    });
    hired.chain(bought).collect()
}
