//! What it costs to keep a model loaded, and what a cold start costs instead.

use serde::Serialize;

use crate::analysis::energy::U_SYS;
use crate::analysis::{BaselineRow, LoadRow, Tables};
use crate::cost::engines::owned;
use crate::economics::capacity::SECONDS_PER_MONTH;
use crate::economics::figures::Uncertain;
use crate::economics::price::{JOULES_PER_KWH, Work};
use crate::record::IdleWhen;
use crate::scenario::Pricing;
use crate::stats::summary::median;

use super::money::rates;

/// One warm instance of a model on a backend, against its cold starts.
#[derive(Debug, Serialize)]
pub struct WarmRow {
    /// Model name.
    pub model: String,
    /// Backend name.
    pub backend: String,
    /// Loads with a first call that the figures are the medians of.
    pub loads: usize,
    /// Until the first token is known where the model must be loaded first. Unit: milliseconds.
    pub cold_ms: f64,
    /// The same where it is loaded and warm. Unit: milliseconds.
    pub warm_ms: f64,
    /// How much the engine's process grew by loading it. Null: not measurable, or it did not grow. Unit: bytes.
    pub host_bytes: Option<u64>,
    /// Device memory that it took. Null: no device, or not measurable. Unit: bytes.
    pub device_bytes: Option<u64>,
    /// Power of the device while the model is loaded and nothing runs. Null: neither measured nor in the pricing file.
    pub idle_watts: Option<Uncertain>,
    /// Where that is from. Null: it is not known.
    pub idle_from: Option<IdleFrom>,
    /// Energy of a month of it. Unit: money. Null: as above, or there are no prices.
    pub idle_month: Option<Uncertain>,
    /// The machine's time that a cold start takes more than a warm call, on the first tier. Unit: money. Null: no prices.
    pub cold_start: Option<f64>,
    /// Cold starts a month from which on the idle month costs less than they do. Null: either is not known.
    pub pays_from: Option<Uncertain>,
}

/// Where idle power is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
    /// How many warm calls a cold start takes as long as.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.cold_ms / self.warm_ms
    }
}

/// A row for every model and backend with a load that a warm call can be held against. Without `pricing` no money is told.
#[must_use]
pub fn warm_pools(tables: &Tables, pricing: Option<&Pricing>) -> Vec<WarmRow> {
    let mut pools: Vec<(&str, &str)> = Vec::new();
    for load in &tables.load_breakdown {
        let pool = (load.model.as_str(), load.backend.as_str());
        if !pools.contains(&pool) {
            pools.push(pool);
        }
    }
    let row = |(model, backend): &(&str, &str)| {
        let own = tables.load_breakdown.iter().filter(|load| load.model == *model && load.backend == *backend);
        let own: Vec<&LoadRow> = own.filter(|load| load.cold_start_ratio.is_some()).collect();
        of_pool(&own, &tables.baselines, pricing)
    };
    pools.iter().filter_map(row).collect()
}

/// `None`: no load has a warm call.
fn of_pool(loads: &[&LoadRow], baselines: &[BaselineRow], pricing: Option<&Pricing>) -> Option<WarmRow> {
    let first = loads.first()?;
    let of =
        |value: fn(&LoadRow) -> Option<f64>| median(&loads.iter().filter_map(|load| value(load)).collect::<Vec<_>>());
    let cold_ms = of(|load| Some(load.duration_ms + load.first_call_ms?))?;
    let warm_ms = of(|load| load.warm_call_ms)?;
    let measured = idle(loads, baselines);
    let of_file = pricing.and_then(|prices| prices.idle_watts).map(Uncertain::bare);
    let (idle_watts, idle_from) = match (measured, of_file) {
        (Some(watts), _) => (Some(watts), Some(IdleFrom::Measured)),
        (None, Some(watts)) => (Some(watts), Some(IdleFrom::PricingFile)),
        (None, None) => (None, None),
    };
    let month = |prices: &Pricing| Some(idle_watts?.times(SECONDS_PER_MONTH / JOULES_PER_KWH * prices.per_kwh));
    let idle_month = pricing.and_then(month);
    let more = Work { seconds: (cold_ms - warm_ms) / 1e3, kwh: None };
    let cold_start = pricing.map(|prices| more.cost(rates(prices, &prices.tiers[0])).infrastructure);
    let pays_from =
        idle_month.zip(cold_start.filter(|each| *each > 0.0)).map(|(month, each)| month.times(each.recip()));
    Some(WarmRow {
        model: first.model.clone(),
        backend: first.backend.clone(),
        loads: loads.len(),
        cold_ms,
        warm_ms,
        host_bytes: largest(loads, |load| load.host_rss_growth_bytes.and_then(|bytes| u64::try_from(bytes).ok())),
        device_bytes: largest(loads, |load| load.device_bytes),
        idle_watts,
        idle_from,
        idle_month,
        cold_start,
        pays_from,
    })
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
    use crate::analysis::Standing;
    use crate::scenario::pricing;
    use crate::terms::Regime;

    /// A load of 1.9 s with a first call of 0.1 s, 20 ms when warm.
    fn load(load_index: u32) -> LoadRow {
        LoadRow {
            load_index,
            backend: "eng".to_owned(),
            model: "m".to_owned(),
            weights_id: None,
            regime: Regime::ColdProcess,
            status: Standing::Ok,
            degraded_kind: None,
            detail: None,
            residency_id: 0,
            n_evicted: 0,
            begin_ms: 0.0,
            duration_ms: 1900.0,
            parts_ms: None,
            first_call_ms: Some(100.0),
            first_call_phase: None,
            first_call_id: None,
            warm_call_ms: Some(20.0),
            cold_start_ratio: Some(100.0),
            host_rss_before_bytes: None,
            host_rss_after_bytes: None,
            host_rss_growth_bytes: Some(300 << 20),
            device_bytes: None,
            requested: "cpu".to_owned(),
            actual: Some("cpu".to_owned()),
            planned_resident_bytes: 0,
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
        let tables = Tables { load_breakdown: vec![load(0), load(1)], baselines, ..Tables::default() };
        let pools = warm_pools(&tables, Some(&prices("idle_watts: 50\n")));
        let [row] = &pools[..] else { panic!("{pools:?}") };
        assert_eq!((row.loads, row.host_bytes, row.device_bytes), (2, Some(300 << 20), None));
        assert!((row.cold_ms - 2000.0).abs() < 1e-9 && (row.ratio() - 100.0).abs() < 1e-9, "{row:?}");
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
        let tables = Tables { load_breakdown: vec![load(0)], ..Tables::default() };
        let of_file = warm_pools(&tables, Some(&prices("idle_watts: 50\n")));
        assert_eq!(
            (of_file[0].idle_from, of_file[0].idle_watts),
            (Some(IdleFrom::PricingFile), Some(Uncertain::bare(50.0)))
        );
        let unknown = warm_pools(&tables, Some(&prices("")));
        assert_eq!((unknown[0].idle_watts, unknown[0].idle_month, unknown[0].pays_from), (None, None, None));
        assert!(unknown[0].cold_start.is_some());
        assert_eq!(warm_pools(&tables, None)[0].cold_start, None);
        let never_warm = LoadRow { warm_call_ms: None, cold_start_ratio: None, ..load(0) };
        let tables = Tables { load_breakdown: vec![never_warm], ..Tables::default() };
        assert!(warm_pools(&tables, None).is_empty());
    }
}
