//! Energy in money: counted where every cell has a figure of the device's own sensor, else nothing, and never 0.

use std::path::Path;

use phasebench::analysis::energy::EnergyScope;
use phasebench::analysis::{EnergyEventRow, EnergySummaryRow, Flags, SummaryRow, Tables};
use phasebench::cost::bill::{Bill, Order, of_run};
use phasebench::economics::price::Scope;
use phasebench::scenario::{pricing, workload};
use phasebench::terms::energy::Grade;
use phasebench::terms::{Mode, Phase, Role};

use crate::analysis::run::{Run, model, shape};

const PRICES: &str = "version: 1\nname: p\nper_kwh: 0.36\ngco2e_per_kwh: 500\ntiers: [{ name: t, per_hour: 0 }]\n";
const ASKED: &str = "version: 1\nname: w\nmix: [{ name: a, share: 1, prompt: 16, gen: 32 }]\nrequests_per_second: 1\n";

/// 2 J per prompt token, 5 J per token written, known to 1 %.
fn figure(row: &SummaryRow, sensor: &str) -> EnergySummaryRow {
    let joules = if row.mode == Mode::Prefill { 2.0 } else { 5.0 };
    EnergySummaryRow {
        key: row.key.clone(),
        params_millions: None,
        mode: row.mode,
        scope: EnergyScope::Natural,
        sensor: Some(sensor.to_owned()),
        simulated: Some(false),
        calls: 8,
        throttled: 0,
        graded: 8,
        grade: Some(Grade::B),
        energy_j: Some(1.0),
        energy_low_j: None,
        energy_high_j: None,
        energy_net_j: None,
        energy_net_low_j: None,
        energy_net_high_j: None,
        idle_kind: String::new(),
        power_w: None,
        j_per_token: Some(joules),
        j_per_token_low: None,
        j_per_token_high: None,
        u_stat: Some(0.01),
        u_net: None,
        updates: Some(30),
        methods: String::new(),
        reasons: String::new(),
    }
}

fn measured(sensor: &str) -> (Run, Tables) {
    let shapes = [shape("short", 16, 1, 32), shape("long", 256, 1, 32)];
    let wobble = |call: u32| [0.99, 1.0, 1.01, 1.0][call as usize % 4];
    let run = Run::measured(&[model("m", 4.0, 2)], &shapes, 8, |_, shape, call| {
        (f64::from(shape.prompt) * wobble(call), 64.0 * wobble(call))
    });
    let mut tables = run.tables();
    let phases = tables.summary.iter().filter(|row| row.mode != Mode::E2eKv);
    tables.energy_summary = phases.map(|row| figure(row, sensor)).collect();
    (run, tables)
}

fn bill(run: &Run, tables: &Tables) -> Bill {
    let pricing = pricing::parse(PRICES, Path::new("p.yaml")).unwrap();
    let workload = workload::parse(ASKED, Path::new("w.yaml"), Path::new("")).unwrap();
    let bins = workload.requests.bins().unwrap();
    let asked = Some((&workload, bins.as_ref()));
    of_run(
        tables,
        &run.manifest,
        &run.plan,
        Order { pricing: &pricing, workload: asked, months: 12.0, scenario: "", success: &[] },
    )
}

/// 16 × 2 J and 32 × 5 J at 0.36 a kilowatt-hour, which is a ten-millionth a joule.
#[test]
fn graded_energy_is_charged_with_its_sensors_gain() {
    let (run, tables) = measured("rapl");
    let bill = bill(&run, &tables);
    let joules = bill.requests[0].joules.unwrap();
    assert!((joules.value - 192.0).abs() < 1e-9, "{joules:?}");
    // The gain is known to 5 % and is the same in all figures, so that none of it averages out: ±9.8 %.
    let half_width = (joules.high.unwrap() - joules.low.unwrap()) / 2.0 / joules.value;
    assert!((0.092..0.106).contains(&half_width), "{half_width}");
    let cost = bill.thousands[0].cost;
    assert_eq!(cost.scope, Scope::WithEnergy);
    assert!((cost.total.value - 192.0 * 1000.0 * 1e-7).abs() < 1e-12, "{cost:?}");
    assert!((cost.carbon_g.unwrap().value - 192_000.0 / 3.6e6 * 500.0).abs() < 1e-9);
    let phase = |name: &str| bill.phases.iter().find(|row| row.phase == name).unwrap().cost;
    assert!((phase("prefill").energy.unwrap().value - 0.2).abs() < 1e-12);
    assert!((phase("decode").energy.unwrap().value - 0.5).abs() < 1e-12);
    assert_eq!(bill.months[0].scope, Scope::WithEnergy);
    assert!((bill.months[0].hired.value / (192.0 * 2_592_000.0 * 1e-7) - 1.0).abs() < 1e-9);
}

#[test]
fn one_cell_without_a_figure_leaves_the_machine_alone() {
    let (run, mut tables) = measured("rapl");
    let row = tables.energy_summary.last_mut().unwrap();
    (row.j_per_token, row.grade, row.reasons) = (None, None, "too_short".to_owned());
    let bill = bill(&run, &tables);
    let cost = bill.thousands[0].cost;
    assert_eq!((cost.energy, cost.carbon_g, cost.scope), (None, None, Scope::InfrastructureOnly));
    assert_eq!(bill.requests[0].joules, None);
    assert_eq!(bill.requests[0].no_energy.as_deref(), Some("kv_decode of long has no graded figure (too_short)"));
    assert!(bill.phases.iter().all(|row| row.cost.scope == Scope::InfrastructureOnly), "the same in every table");
}

/// A phase of a cell with 5 J a token, known to 20 %: of grade D.
fn uncertain(row: &SummaryRow) -> EnergyEventRow {
    EnergyEventRow {
        call_id: "c".to_owned(),
        key: row.key.clone(),
        phase: Phase::KvDecode,
        role: Some(Role::Timed),
        scope: EnergyScope::Natural,
        repeats: 1,
        busy: None,
        sensor: Some("rapl".to_owned()),
        simulated: Some(false),
        begin_ns: 0,
        end_ns: 1,
        epoch: 0,
        energy_j: Some(160.0),
        energy_net_j: None,
        u_net: None,
        idle_kind: None,
        power_w: None,
        j_per_token: Some(5.0),
        u_stat: Some(0.2),
        u_shared: None,
        u_sys: Some(0.05),
        method: None,
        updates: Some(2),
        grade: Some(Grade::D),
        reason: None,
        legacy_gate_j: None,
        calibration_id: None,
        flags: Flags::default(),
    }
}

/// Decode is known to within a factor only: its energy is an interval, and nothing of it is in any figure.
#[test]
fn energy_of_grade_d_is_an_interval_and_no_figure() {
    let (run, mut tables) = measured("rapl");
    let decodes: Vec<SummaryRow> = tables.summary.iter().filter(|row| row.mode == Mode::KvDecode).cloned().collect();
    for row in tables.energy_summary.iter_mut().filter(|row| row.mode == Mode::KvDecode) {
        (row.j_per_token, row.grade, row.reasons) = (None, None, "grade_d".to_owned());
    }
    assert_eq!(bill(&run, &tables).thousands[0].cost.energy_at_least, None, "without a figure there is no interval");
    tables.energy_events = decodes.iter().map(uncertain).collect();
    let bill = bill(&run, &tables);
    let cost = bill.thousands[0].cost;
    assert_eq!((cost.energy, cost.carbon_g, cost.scope), (None, None, Scope::InfrastructureOnly));
    assert_eq!(cost.total.value.to_bits(), 0.0_f64.to_bits(), "the machine is free");
    // 16 × 2 J known to 1 % and 32 × 5 J known to 20 %, the gain of both to 5 %, twice.
    let (of_prefill, of_decode) = (2.0 * 0.01_f64.hypot(0.05), 2.0 * 0.2_f64.hypot(0.05));
    let expected =
        [-1.0, 1.0].map(|sign| (32.0 * (1.0 + sign * of_prefill) + 160.0 * (1.0 + sign * of_decode)) * 1000.0 * 1e-7);
    let found = [cost.energy_at_least, cost.energy_at_most].map(Option::unwrap);
    assert!(found.iter().zip(expected).all(|(found, expected)| (found / expected - 1.0).abs() < 1e-9), "{found:?}");
    let phase = |name: &str| bill.phases.iter().find(|row| row.phase == name).unwrap().cost;
    assert!((phase("decode").energy_at_most.unwrap() - 0.5 * (1.0 + of_decode)).abs() < 1e-9);
    assert!((phase("prefill").energy_at_least.unwrap() - 0.2 * (1.0 - of_prefill)).abs() < 1e-9);
    assert!(bill.requests.iter().all(|row| row.joules.is_none()));
}

#[test]
fn a_processors_requests_are_not_charged_with_a_gpus_idle_power() {
    let (run, tables) = measured("nvml:0");
    let bill = bill(&run, &tables);
    assert_eq!(bill.thousands[0].cost.energy, None);
    let why = bill.requests[0].no_energy.as_deref().unwrap();
    assert_eq!(why, "nvml:0 is a GPU's sensor, and the processor computed: its energy is that of its package");
}
