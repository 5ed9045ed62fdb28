//! What it costs to keep a model loaded, and what a cold start costs instead.

use serde::{Deserialize, Serialize};

use crate::analysis::cold_starts::{ColdStart, Prompt, cold_starts};
use crate::analysis::columns::nested::{one_cell, rows};
use crate::analysis::energy::U_SYS;
use crate::analysis::{BaselineRow, LoadRow, Tables};
use crate::cost::engines::owned;
use crate::economics::capacity::SECONDS_PER_MONTH;
use crate::economics::figures::Uncertain;
use crate::economics::price::{JOULES_PER_KWH, Work};
use crate::record::IdleWhen;
use crate::scenario::Pricing;

use super::money::rates;

rows! {
    /// One warm instance of a model on a backend, against its cold starts with one prompt.
    #[derive(Debug, Serialize)]
    pub struct WarmRow {
        /// Model name.
        pub model: String,
        /// Backend name.
        pub backend: String,
        /// The scenario whose prompt it is, of cold and warm alike.
        pub scenario: String,
        /// Rows at once.
        pub batch: u32,
        /// Loads after which the prompt came first, of which the figures are the medians.
        pub loads: usize,
        /// The quickest load of the model, by itself.
        pub load_ms: f64,
        /// Until the first token is known where the model must be loaded first. Null: the prompt came first after no load.
        pub cold_ms: Option<f64>,
        /// The same where it is loaded and warm.
        pub warm_ms: f64,
        /// Whether a cold start takes more than ten warm prefills. Null: loads differ in that; or the prompt came first after none, and
        /// the load alone does not take as long.
        pub long: Option<bool>,
        /// How much the engine's process grew by loading it. Null: not measurable, or it did not grow.
        pub host_bytes: Option<u64>,
        /// Device memory that it took. Null: no device, or not measurable.
        pub device_bytes: Option<u64>,
        /// Power of the device while the model is loaded and nothing runs. Null: neither measured nor in the pricing file.
        /// Unit: watts.
        pub idle_watts: Option<Uncertain>,
        /// Where that is from. Null: it is not known.
        pub idle_from: Option<IdleFrom>,
        /// Energy of a month of it. Null: as above, or there are no prices.
        /// Unit: money.
        pub idle_month: Option<Uncertain>,
        /// The machine's time that a cold start takes more than a warm call, on the first tier; its energy is in no figure. Null: no
        /// prices, or no cold start.
        /// Unit: money.
        pub cold_start: Option<f64>,
        /// Cold starts a month from which on the idle month costs less than they do. Null: either is not known.
        /// Unit: cold starts.
        pub pays_from: Option<Uncertain>,
    }
}

one_cell!(IdleFrom);

/// Where idle power is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdleFrom {
    /// Stretches of this run in which the model was loaded and quiet.
    Measured,
    /// The pricing file.
    PricingFile,
}

impl IdleFrom {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::PricingFile => "of the pricing file",
        }
    }
}

impl WarmRow {
    /// The prompt that cold and warm are of.
    #[must_use]
    pub fn prompt(&self) -> Prompt {
        Prompt { scenario: self.scenario.clone(), batch: self.batch }
    }

    /// How much longer a cold start takes than a warm call; at least, where there is none with this prompt. Unit: milliseconds.
    #[must_use]
    pub fn longer_ms(&self) -> f64 {
        self.cold_ms.map_or(self.load_ms, |cold_ms| cold_ms - self.warm_ms)
    }
}

/// A row for every prompt of every model and backend that was loaded, those of a model beside each other. Without `pricing` no money
/// is told.
#[must_use]
pub fn warm_pools(tables: &Tables, pricing: Option<&Pricing>) -> Vec<WarmRow> {
    let starts = cold_starts(&tables.load_breakdown, &tables.metrics, &tables.summary);
    rows(&starts, &tables.load_breakdown, &tables.baselines, pricing)
}

fn rows(starts: &[ColdStart], loads: &[LoadRow], baselines: &[BaselineRow], pricing: Option<&Pricing>) -> Vec<WarmRow> {
    let of_a_pool = |a: &ColdStart, b: &ColdStart| a.model == b.model && a.backend == b.backend;
    let of_pool = |starts: &[ColdStart]| {
        let own = loads.iter().filter(|load| load.model == starts[0].model && load.backend == starts[0].backend);
        let pool = Pool::of(&own.collect::<Vec<_>>(), baselines, pricing);
        starts.iter().map(|start| row(start, &pool, pricing)).collect::<Vec<_>>()
    };
    starts.chunk_by(of_a_pool).flat_map(of_pool).collect()
}

/// What keeping a model loaded takes, whatever is asked of it.
struct Pool {
    host_bytes: Option<u64>,
    device_bytes: Option<u64>,
    idle_watts: Option<Uncertain>,
    idle_from: Option<IdleFrom>,
    idle_month: Option<Uncertain>,
}

impl Pool {
    fn of(loads: &[&LoadRow], baselines: &[BaselineRow], pricing: Option<&Pricing>) -> Self {
        let measured = idle(loads, baselines);
        let of_file = pricing.and_then(|prices| prices.idle_watts).map(Uncertain::bare);
        let (idle_watts, idle_from) = match (measured, of_file) {
            (Some(watts), _) => (Some(watts), Some(IdleFrom::Measured)),
            (None, Some(watts)) => (Some(watts), Some(IdleFrom::PricingFile)),
            (None, None) => (None, None),
        };
        let month = |prices: &Pricing| Some(idle_watts?.times(SECONDS_PER_MONTH / JOULES_PER_KWH * prices.per_kwh));
        Self {
            host_bytes: largest(loads, |load| load.host_rss_growth_bytes.and_then(|bytes| u64::try_from(bytes).ok())),
            device_bytes: largest(loads, |load| load.device_bytes),
            idle_watts,
            idle_from,
            idle_month: pricing.and_then(month),
        }
    }
}

fn row(start: &ColdStart, pool: &Pool, pricing: Option<&Pricing>) -> WarmRow {
    let cost = |prices: &Pricing| {
        let more = Work { seconds: (start.cold_ms? - start.warm_ms) / 1e3, kwh: None };
        Some(more.cost(rates(prices, &prices.tiers[0])).infrastructure)
    };
    let cold_start = pricing.and_then(cost);
    let each = cold_start.filter(|each| *each > 0.0);
    WarmRow {
        model: start.model.clone(),
        backend: start.backend.clone(),
        scenario: start.prompt.scenario.clone(),
        batch: start.prompt.batch,
        loads: start.loads,
        load_ms: start.load_ms,
        cold_ms: start.cold_ms,
        warm_ms: start.warm_ms,
        long: start.is_long(),
        host_bytes: pool.host_bytes,
        device_bytes: pool.device_bytes,
        idle_watts: pool.idle_watts,
        idle_from: pool.idle_from,
        idle_month: pool.idle_month,
        cold_start,
        pays_from: pool.idle_month.zip(each).map(|(month, each)| month.times(each.recip())),
    }
}

/// Of several loads the one that took most: a pool must hold any of them. `None`: none of them tells, or it is nothing.
fn largest(loads: &[&LoadRow], of: fn(&LoadRow) -> Option<u64>) -> Option<u64> {
    loads.iter().filter_map(|load| of(load)).max().filter(|bytes| *bytes > 0)
}

/// Power of the device that computes, over the stretches after these loads, with the sensor's gain. `None`: none is valid.
#[expect(clippy::cast_precision_loss, reason = "a count of stretches")]
fn idle(loads: &[&LoadRow], baselines: &[BaselineRow]) -> Option<Uncertain> {
    let of_load = |row: &&BaselineRow| {
        let load = loads.iter().find(|load| row.load_index == Some(load.load_index));
        row.when == IdleWhen::Loaded
            && load.is_some_and(|load| owned(load.actual.as_deref(), Some(&row.sensor)).is_ok())
    };
    let stretches: Vec<&BaselineRow> = baselines.iter().filter(of_load).collect();
    // One sensor: another one may be of a part of the same device.
    let sensor = &stretches.first()?.sensor;
    let valid = stretches.iter().filter(|row| row.sensor == *sensor).filter_map(|row| row.idle.as_ref());
    let valid: Vec<_> = valid.filter(|idle| idle.invalid.is_none()).collect();
    let n = valid.len() as f64;
    let watts = valid.iter().map(|idle| idle.watts).sum::<f64>() / n;
    let chance = valid.iter().map(|idle| idle.u_watts.powi(2)).sum::<f64>().sqrt() / n;
    let half_width = 2.0 * chance.hypot(U_SYS * watts);
    (!valid.is_empty()).then(|| Uncertain {
        value: watts,
        low: Some((watts - half_width).max(0.0)),
        high: Some(watts + half_width),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::scenario::pricing;

    /// A cold start of 2 s, 20 ms when warm.
    fn start() -> ColdStart {
        ColdStart {
            model: "m".to_owned(),
            backend: "eng".to_owned(),
            prompt: Prompt { scenario: "short".to_owned(), batch: 1 },
            loads: 2,
            load_ms: 1900.0,
            cold_ms: Some(2000.0),
            warm_ms: 20.0,
            ratios: vec![100.0, 100.0],
        }
    }

    /// A load of 1.9 s with a first call of 0.1 s, 20 ms when warm.
    fn load(load_index: u32) -> LoadRow {
        LoadRow {
            first_call_ms: Some(100.0),
            warm_call_ms: Some(20.0),
            cold_start_ratio: Some(100.0),
            host_rss_growth_bytes: Some(300 << 20),
            ..LoadRow::bare(load_index, 1900.0)
        }
    }

    fn stretch(sensor: &str, watts: f64, invalid: Option<&str>) -> BaselineRow {
        BaselineRow {
            sensor: sensor.to_owned(),
            simulated: false,
            epoch: 0,
            when: IdleWhen::Loaded,
            load_index: Some(0),
            idle: serde_json::from_value(json!({
                "kind": "idle_ctx", "watts": watts, "u_watts": 0.1, "seconds": 60.0, "registers_differ": null,
                "invalid": invalid
            }))
            .unwrap(),
        }
    }

    fn prices(more: &str) -> Pricing {
        let text = format!("version: 1\nname: p\nper_kwh: 0.25\ntiers: [{{ name: t, per_hour: 3.6 }}]\n{more}");
        pricing::parse(&text, Path::new("p.yaml")).unwrap()
    }

    /// 10 W over 720 hours are 7.2 kWh, or 1.80; 1.98 s at a thousandth a second are 0.00198, so that it pays from 909 cold
    /// starts on.
    #[test]
    fn a_warm_instance_costs_its_idle_power_and_saves_cold_starts() {
        let baselines =
            vec![stretch("nvml:0", 30.0, None), stretch("rapl", 10.0, None), stretch("rapl", 90.0, Some("x"))];
        // A longer prompt that came first after no load has the same pool, and no cold start of its own.
        let long = Prompt { scenario: "long".to_owned(), batch: 1 };
        let long = ColdStart { prompt: long, loads: 0, cold_ms: None, warm_ms: 300.0, ratios: Vec::new(), ..start() };
        let pools = rows(&[start(), long], &[load(0), load(1)], &baselines, Some(&prices("idle_watts: 50\n")));
        let [row, long] = &pools[..] else { panic!("{pools:?}") };
        assert_eq!((row.loads, row.host_bytes, row.device_bytes), (2, Some(300 << 20), None));
        assert_eq!((row.prompt().to_string().as_str(), row.cold_ms, row.long), ("short", Some(2000.0), Some(true)));
        assert_eq!((long.prompt().to_string().as_str(), long.cold_ms, long.long), ("long", None, None));
        assert_eq!((long.idle_watts, long.host_bytes), (row.idle_watts, row.host_bytes));
        assert_eq!((long.cold_start, long.pays_from, long.longer_ms(), row.longer_ms()), (None, None, 1900.0, 1980.0));
        let watts = row.idle_watts.unwrap();
        assert_eq!(row.idle_from, Some(IdleFrom::Measured), "the processor's own, not the GPU's beside it");
        // 0.1 W of chance and a gain known to 5 %, twice.
        assert!((watts.value - 10.0).abs() < 1e-9 && (watts.high.unwrap() - 11.0198).abs() < 1e-4, "{watts:?}");
        assert!((row.idle_month.unwrap().value - 1.8).abs() < 1e-9);
        assert!((row.cold_start.unwrap() - 0.00198).abs() < 1e-12);
        assert!((row.pays_from.unwrap().value - 1.8 / 0.00198).abs() < 1e-6);
    }

    #[test]
    fn idle_power_that_nobody_knows_costs_nothing_that_is_said() {
        let of = |pricing: Option<&Pricing>| rows(&[start()], &[load(0)], &[], pricing).remove(0);
        let of_file = of(Some(&prices("idle_watts: 50\n")));
        assert_eq!((of_file.idle_from, of_file.idle_watts), (Some(IdleFrom::PricingFile), Some(Uncertain::bare(50.0))));
        let unknown = of(Some(&prices("")));
        assert_eq!((unknown.idle_watts, unknown.idle_month, unknown.pays_from), (None, None, None));
        assert!(unknown.cold_start.is_some());
        assert_eq!(of(None).cold_start, None);
        // Without a warm prefill there is nothing to hold a load against.
        let tables = Tables { load_breakdown: vec![load(0)], ..Tables::default() };
        assert!(warm_pools(&tables, None).is_empty());
    }
}
