//! Tables as files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use phasebench::analysis::{derive, descriptions, files, write};
use phasebench::record::manifest::BackendEntry;
use phasebench::terms::Degraded;

use crate::analysis::run::{FOUR, Run, degrade, shape};

fn some_run() -> Run {
    let shapes = [shape("s", 8, 1, 50), shape("t", 8, 4, 50)];
    let mut run = Run::measured(&FOUR, &shapes, 3, |m, s, i| (m.millions.sqrt() + f64::from(i), f64::from(s.batch)));
    let call = run.find("b-t-4-50-timed-0001");
    degrade(call, Degraded::Crashed, "said \"no\", and left\nfor good");
    call.spans.clear();
    run
}

/// A table's cell by column, in the row where another column has this value.
fn field(text: &[u8], column: &str, at: (&str, &str), mode: &str) -> String {
    let mut reader = csv::Reader::from_reader(text);
    let header = reader.headers().unwrap().clone();
    let place = |name: &str| header.iter().position(|found| found == name).unwrap();
    let (column, key, modes) = (place(column), place(at.0), place("mode"));
    let found = reader.records().map(Result::unwrap).find(|row| &row[key] == at.1 && &row[modes] == mode);
    found.unwrap()[column].to_owned()
}

#[test]
fn what_is_not_there_is_an_empty_field() {
    let files = files(&some_run().tables()).unwrap();
    let metrics = &files[Path::new("metrics.csv")];
    let lost = |column| field(metrics, column, ("call_id", "b-t-4-50-timed-0001"), "prefill");
    for column in ["latency_ms", "tokens", "tokens_per_s", "ms_per_token", "power_mean_w", "kv_bytes", "client_cpu_ms"]
    {
        assert_eq!(lost(column), "", "{column}");
    }
    assert_eq!((lost("status"), lost("degraded_kind")), ("degraded".to_owned(), "crashed".to_owned()));
    let summary = &files[Path::new("analysis/summary_by_model_backend_mode.csv")];
    let cell = |column| field(summary, column, ("cell_id", "b-t-4-50"), "kv_decode");
    assert_eq!((cell("n"), cell("n_degraded")), ("2".to_owned(), "1".to_owned()));
    for column in ["p95_ms", "ci_low_ms", "rho1", "drift_p", "outliers"] {
        assert_eq!(cell(column), "", "{column}");
    }
    assert!(cell("median_ms") == "4.0" && cell("dtype") == "f32" && cell("attribution") == "attributed");
}

/// Tables hold no word on where their times come from, so a file beside them does.
#[test]
fn what_is_scripted_is_said_beside_the_tables() {
    let mut run = some_run();
    let notice = Path::new("analysis/SIMULATED.txt");
    assert!(!files(&run.tables()).unwrap().contains_key(notice), "everything was measured");
    run.manifest.stack.backends.insert("eng".to_owned(), scripted());
    let files = files(&run.tables()).unwrap();
    let text = String::from_utf8(files[notice].clone()).unwrap();
    assert!(text.starts_with("SIMULATED: ") && text.contains("says nothing about any machine: eng.\n"), "{text}");
    let first = files.keys().find(|path| path.starts_with("analysis"));
    assert_eq!(first.map(|path| path.as_path()), Some(notice), "a listing shows it first");
}

/// A backend whose clock is a script's.
fn scripted() -> BackendEntry {
    BackendEntry {
        engine: "simulated".to_owned(),
        version: None,
        facts: BTreeMap::new(),
        boundary: BTreeMap::new(),
        procedures: Vec::new(),
        max_resident: None,
        token_times: false,
        virtual_clock: true,
    }
}

#[test]
fn numbers_keep_their_digits() {
    let tables = some_run().tables();
    let files = files(&tables).unwrap();
    let text = &files[Path::new("analysis/scaling_fits.csv")];
    let fit = &tables.scaling_fits[0];
    let written: f64 = field(text, "slope", ("fit_id", &fit.key.fit_id), "prefill").parse().unwrap();
    assert_eq!(Some(written), fit.slope);
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let run = some_run();
    let (once, again) = (run.tables(), run.tables());
    assert_eq!(once, again);
    assert_eq!(files(&once).unwrap(), files(&again).unwrap());
    let order: Vec<_> = once.summary.iter().map(|row| row.key.cell_id.as_str()).step_by(3).collect();
    let planned: Vec<_> = run.plan.cells.iter().map(|cell| cell.id.0.as_str()).collect();
    assert_eq!(order, planned);
}

#[test]
fn a_run_without_a_call_has_headers_only() {
    let mut run = some_run();
    run.lines.truncate(1);
    let tables = derive(&run.recording(), &run.plan, &run.manifest, &[]);
    let files = files(&tables).unwrap();
    // All but the one that only a run with power has.
    assert_eq!(files.len(), descriptions().len() - 1);
    for (path, bytes) in &files {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let described = [
            "degraded.csv",
            "early_stop_summary.csv",
            "kv_crossover_points.csv",
            "kv_memory_theoretical.csv",
            "model_architecture.csv",
            "recommendations.csv",
        ];
        let described = described.iter().any(|name| path.ends_with(name));
        assert_eq!(text.lines().count() == 1, !described, "{}: {text}", path.display());
        assert!(text.contains(','), "{}: {text}", path.display());
    }
}

#[test]
fn files_are_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let tables = some_run().tables();
    let written = write(&tables, folder.path()).unwrap();
    fs::write(folder.path().join("metrics.csv"), "stale").unwrap();
    assert_eq!(write(&tables, folder.path()).unwrap(), written);
    for (path, bytes) in files(&tables).unwrap() {
        assert_eq!(fs::read(folder.path().join(&path)).unwrap(), bytes, "{}", path.display());
    }
    let found = fs::read_dir(folder.path().join("analysis")).unwrap().count();
    assert_eq!(found, written.len() - 1);
}
