//! Pricing and workload files: the shipped ones, what every key means, and what is told of wrong ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use phasebench::scenario::pricing::{self, HardwarePrice, Pricing, Tier};
use phasebench::scenario::workload::{self, Latency, LogFile, LogFormat, Requests, Slo, Workload};

use super::schema::{as_json, obeys};
use super::yaml_files;

fn prices(text: &str) -> Result<Pricing, String> {
    pricing::parse(text, Path::new("p.yaml")).map_err(|error| error.to_string())
}

fn work(text: &str) -> Result<Workload, String> {
    workload::parse(text, Path::new("w.yaml"), Path::new("folder")).map_err(|error| error.to_string())
}

#[test]
fn shipped_files_are_good_and_obey_their_schemas() {
    let (pricing_files, workloads) = (yaml_files("scenarios/pricing"), yaml_files("scenarios/workloads"));
    assert_eq!((pricing_files.len(), workloads.len()), (2, 4));
    for path in pricing_files {
        let found = pricing::read(&path).unwrap();
        assert_eq!(found.name, super::stem(&path));
        assert!(obeys(&as_json(&fs::read_to_string(&path).unwrap()), &pricing::schema()), "{}", path.display());
    }
    for path in workloads {
        let found = workload::read(&path).unwrap();
        assert_eq!(found.name, super::stem(&path).replace('_', "-"));
        assert!(obeys(&as_json(&fs::read_to_string(&path).unwrap()), &workload::schema()), "{}", path.display());
    }
}

/// The rates and shares are those of the reports' tables.
#[test]
fn shipped_files_say_what_was_published() {
    let published: Vec<f64> = include_str!("../data/golden/tr123_pricing_tiers.csv")
        .lines()
        .skip(1)
        .map(|line| line.rsplit_once(',').unwrap().1.parse().unwrap())
        .collect();
    let tr123 = pricing::read(Path::new("scenarios/pricing/tr123.yaml")).unwrap();
    assert_eq!(tr123.tiers.iter().map(|tier| tier.per_hour).collect::<Vec<_>>(), published);
    let blends = workload::read(Path::new("scenarios/workloads/blends.yaml")).unwrap();
    let Requests::Blends(blends) = blends.requests else { panic!("no blends") };
    let shares: Vec<(f64, f64)> = blends.iter().map(|blend| (100.0 * blend.input, 100.0 * blend.output)).collect();
    let published: Vec<(f64, f64)> = include_str!("../data/golden/tr123_blend_profiles.csv")
        .lines()
        .skip(1)
        .map(|line| line.split_once(',').unwrap().1.split_once(',').unwrap())
        .map(|(input, output)| (input.parse().unwrap(), output.parse().unwrap()))
        .collect();
    assert_eq!(shares, published);
}

#[test]
fn every_key_is_understood() {
    let found = prices(
        "version: 1\nname: mine\ncurrency: EUR\nper_kwh: 0.3\ngco2e_per_kwh: 400\nidle_watts: 15\nutilisation: 0.8\n\
         tiers: [{ name: hired, per_hour: 1.5 }, { name: own, per_hour: 0.1, owned: true }]\n\
         hardware: { price: 1000, months: 24, resale: 100, share_of_use: 0.5 }\n",
    );
    let expected = Pricing {
        name: "mine".to_owned(),
        currency: "EUR".to_owned(),
        per_kwh: 0.3,
        gco2e_per_kwh: Some(400.0),
        tiers: vec![
            Tier { name: "hired".to_owned(), per_hour: 1.5, owned: false },
            Tier { name: "own".to_owned(), per_hour: 0.1, owned: true },
        ],
        hardware: Some(HardwarePrice { price: 1000.0, months: 24.0, resale: 100.0, share_of_use: 0.5 }),
        idle_watts: Some(15.0),
        utilisation: 0.8,
    };
    assert_eq!(found, Ok(expected));
    let least = prices("version: 1\nname: least\nper_kwh: 0\ntiers: [{ name: t, per_hour: 0 }]\n").unwrap();
    assert_eq!((least.currency.as_str(), least.utilisation.to_bits()), ("USD", 1.0_f64.to_bits()));
    assert_eq!((least.gco2e_per_kwh, least.idle_watts, least.hardware), (None, None, None));

    let found = work(
        "version: 1\nname: mine\nrequests_per_second: 2.5\nburst_factor: 3\nlongest_context: 4096\n\
         slo: [{ of: ttft, within: 500ms, percentile: 95 }]\n\
         log: { file: a.txt, format: jsonl, prompt: usage.p, gen: usage.g }\n",
    )
    .unwrap();
    let log = LogFile {
        file: PathBuf::from("folder/a.txt"),
        format: LogFormat::Jsonl,
        prompt: "usage.p".to_owned(),
        generated: "usage.g".to_owned(),
    };
    let slo = Slo { of: Latency::Ttft, within: Duration::from_millis(500), percentile: 95.0 };
    let expected = Workload {
        name: "mine".to_owned(),
        requests: Requests::Log(log),
        requests_per_second: Some(2.5),
        burst: 3.0,
        slos: vec![slo],
        longest_context: Some(4096),
    };
    assert_eq!(found, expected);
}

/// Half of the load in one hour of 24: that hour has 12 times the mean.
#[test]
fn a_burst_factor_follows_from_the_hours() {
    let hours = |busiest: &str| format!("[{busiest}{}]", ", 1".repeat(23));
    let of = |hourly: &str| {
        work(&format!("version: 1\nname: w\nmix: [{{ name: a, share: 1, prompt: 8, gen: 8 }}]\nhourly: {hourly}\n"))
    };
    assert!((of(&hours("23")).unwrap().burst - 12.0).abs() < 1e-12);
    assert!((of(&hours("1")).unwrap().burst - 1.0).abs() < 1e-12);
    assert!(of("[1, 2]").unwrap_err().contains("`hourly` has 2 items, needed: at least 24"));
    assert!(of(&format!("[0{}]", ", 0".repeat(23))).unwrap_err().contains("`hourly` has no load in any hour"));
}

#[test]
fn every_problem_of_a_pricing_file_is_told_at_its_place() {
    let told = prices(
        "version: 1\nname: a b\nper_kwh: -1\ntiers:\n  - { name: t, per_hour: one }\n  - { name: t, perhour: 2 }\n\
         hardware: { price: 10, months: 0, resale: 20 }\nutilization: 0.5\n",
    )
    .unwrap_err();
    insta::assert_snapshot!("pricing", told);
}

#[test]
fn every_problem_of_a_workload_file_is_told_at_its_place() {
    let told = work(
        "version: 1\nname: w\nmix:\n  - { name: a, share: 0, prompt: 8, gen: 8 }\n  - { name: a, share: 1, prompt: 0, gen: x }\n\
         blends: [{ name: b, input: 0.5, output: 0.6 }]\nburst_factor: 0.5\nhourly: [1]\n\
         slo: [{ of: first, within: 5, percentile: 100 }]\n",
    )
    .unwrap_err();
    insta::assert_snapshot!("workload", told);
    let log = work("version: 1\nname: w\nlog: { file: requests.log, prompt: p, gen: g }\n").unwrap_err();
    insta::assert_snapshot!("workload_log", log);
    insta::assert_snapshot!("workload_nothing", work("version: 1\nname: w\n").unwrap_err());
}

#[test]
fn files_that_cannot_be_read_are_named_for_what_they_are() {
    let told = |error: phasebench::scenario::ScenarioError| error.to_string();
    let prices = told(pricing::read(Path::new("no/p.yaml")).unwrap_err());
    assert!(prices.starts_with("error: cannot read pricing file no/p.yaml: "), "{prices}");
    let work = told(workload::read(Path::new("no/w.yaml")).unwrap_err());
    assert!(work.starts_with("error: cannot read workload file no/w.yaml: "), "{work}");
}
