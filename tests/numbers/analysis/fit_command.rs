//! `phasebench fit` on published and on broken tables.

use std::fs;
use std::path::{Path, PathBuf};

use phasebench::cli::FitArgs;
use phasebench::commands::fit;
use phasebench::exit::Exit;
use serde_json::Value;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden/tr121_agg_hf_cpu_fp32.csv")
}

fn args(table: &Path, x: &str, y: &str) -> FitArgs {
    FitArgs { table: table.to_owned(), x: x.to_owned(), y: y.to_owned(), x2: None, group: None, json: true }
}

fn json(args: &FitArgs) -> Vec<Value> {
    let mut out = Vec::new();
    fit::execute(args, &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn error(args: &FitArgs) -> String {
    let error = fit::execute(args, &mut Vec::new()).unwrap_err();
    assert_eq!(Exit::from(&error), Exit::Usage);
    error.to_string()
}

fn table(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn published_fits_are_found_again() {
    for (column, slope, r2) in [("prefill_ms", 0.281, 0.873), ("kv_decode_ms", 0.291, 0.848)] {
        let fits = json(&args(&golden(), "params_millions", column));
        let law = &fits[0];
        assert_eq!((law["form"].as_str(), law["n"].as_u64()), (Some("power_law"), Some(7)));
        assert!((law["slope"].as_f64().unwrap() - slope).abs() < 0.0005, "{law}");
        assert!((law["r2"].as_f64().unwrap() - r2).abs() < 0.0006, "{law}");
        assert_eq!((law["actionable"].as_bool(), &law["reason"]), (Some(true), &Value::Null));
        assert_eq!(law["bootstrap"], "exact");
        let forms: Vec<&str> = fits.iter().filter_map(|fit| fit["form"].as_str()).collect();
        assert_eq!(forms, ["power_law", "affine", "rank"]);
    }
    let mut printed = Vec::new();
    let text = FitArgs { json: false, ..args(&golden(), "params_millions", "prefill_ms") };
    fit::execute(&text, &mut printed).unwrap();
    let printed = String::from_utf8(printed).unwrap();
    assert!(printed.contains("prefill_ms = 7.81 * params_millions^0.281, R² 0.873"), "{printed}");
    assert!(printed.contains(": actionable\n"), "{printed}");
}

#[test]
fn values_too_small_to_square_are_called_so_and_no_figure_has_hundreds_of_digits() {
    let rows: String = (1..9).map(|n| format!("{n}e-300,{}\n", 2 * n)).collect();
    let (_folder, path) = table(&format!("x,y\n{rows}"));
    let mut printed = Vec::new();
    fit::execute(&FitArgs { json: false, ..args(&path, "x", "y") }, &mut printed).unwrap();
    let printed = String::from_utf8(printed).unwrap();
    assert!(printed.contains("y = 2.00e300 * x^1.00"), "{printed}");
    let why = "not identifiable: values of column `x` differ by less than 1e-152, whose squares are 0: give them in a smaller unit";
    assert!(printed.contains(why) && !printed.contains("equal"), "{printed}");
}

/// 1e600 is no number that a program can hold: the law is told all the same.
#[test]
fn a_coefficient_beyond_all_numbers_is_a_power_of_e() {
    let rows: String = (1..9).map(|n| format!("{n}e-300,{}\n", n * n)).collect();
    let (_folder, path) = table(&format!("x,y\n{rows}"));
    let mut printed = Vec::new();
    fit::execute(&FitArgs { json: false, ..args(&path, "x", "y") }, &mut printed).unwrap();
    let printed = String::from_utf8(printed).unwrap();
    assert!(printed.contains("y = e^138") && printed.contains(" * x^2.00") && !printed.contains("inf"), "{printed}");
}

#[test]
fn every_interval_is_an_ordered_pair() {
    let fits = json(&args(&golden(), "params_millions", "prefill_ms"));
    for key in ["ci_t", "ci_bootstrap"] {
        let ends: Vec<f64> = fits[0][key].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
        assert!(ends.len() == 2 && ends[0] < ends[1], "{key}: {ends:?}");
    }
}

#[test]
fn two_predictors_and_groups() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden/tr121_hf_architecture.csv");
    let both = FitArgs { x2: Some("n_layer".to_owned()), ..args(&path, "params_millions", "n_embd") };
    let fits = json(&both);
    let plane = fits.iter().find(|fit| fit["form"] == "multivariate").unwrap();
    assert!(plane["slope"].as_f64().is_some() && plane["slope_x2"].as_f64().is_some(), "{plane}");
    assert!(plane["condition_number"].as_f64().unwrap() > 1.0, "{plane}");

    let rows: String = [("q", 1.0), ("p", 2.0)]
        .iter()
        .flat_map(|(group, slope)| [1.0_f64, 2.0, 4.0, 8.0].map(|x| format!("{group},{x},{}\n", 3.0 * x.powf(*slope))))
        .collect();
    let (_folder, path) = table(&format!("who,size,ms\n{rows}"));
    let fits = json(&FitArgs { group: Some("who".to_owned()), ..args(&path, "size", "ms") });
    let laws = fits.iter().filter(|fit| fit["form"] == "power_law");
    let found: Vec<_> = laws.map(|l| (l["group"].as_str().unwrap(), l["slope"].as_f64().unwrap().round())).collect();
    assert_eq!(found, [("q", 1.0), ("p", 2.0)]);
}

#[test]
fn empty_cells_are_left_out_and_said_to_be() {
    let (_folder, path) = table("x,y\n1,2\n2,\n4,4\n8,6\n");
    assert_eq!(json(&args(&path, "x", "y"))[0]["n"], 3);
    let mut out = Vec::new();
    fit::execute(&FitArgs { json: false, ..args(&path, "x", "y") }, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.ends_with("1 row without a value is left out\n"), "{text}");
}

#[test]
fn a_fit_that_cannot_be_made_has_its_reason() {
    let (_folder, path) = table("x,y\n3,2\n3,4\n3,9\n3,7\n");
    let fits = json(&args(&path, "x", "y"));
    let law = &fits[0];
    assert_eq!((&law["slope"], &law["actionable"]), (&Value::Null, &Value::Bool(false)));
    assert_eq!(law["reason"], "all values of column `x` are equal");
    assert_eq!(json(&args(&golden(), "params_millions", "params_millions"))[2]["rho"], 1.0);
}

#[test]
fn mistakes_are_named_with_file_line_and_column() {
    let found = error(&args(&golden(), "params_milions", "prefill_ms"));
    assert!(found.contains("csv:1: unknown column `params_milions`, did you mean `params_millions`?"), "{found}");
    assert!(found.contains("\n  known: model, params_millions, prefill_ms"), "{found}");
    let found = error(&args(&golden(), "params_millions", "model"));
    assert!(found.contains("csv:2: column `model`: `models/tiny-gpt2` is no number"), "{found}");
    for ending in ["\n", "\r\n"] {
        let text = ["x,y", "1,2", "", "\"2\",3", "4,NaN"].join(ending);
        let (_folder, path) = table(&text);
        let found = error(&args(&path, "x", "y"));
        assert!(found.contains("csv:5: column `y`: `NaN` is no number"), "{ending:?}: {found}");
    }
    let (_folder, path) = table("x,y,x\n1,2,3\n");
    assert!(error(&args(&path, "x", "y")).contains("column `x` stands there 2 times"));
    let (_folder, path) = table("x,y\n1,2\n3\n");
    assert!(error(&args(&path, "x", "y")).contains("found record with 1 fields"));
    assert!(error(&args(Path::new("nowhere.csv"), "x", "y")).starts_with("nowhere.csv: "));
}

/// A value that no fit can take is named as the file has it: by column and line, blank and empty ones counted.
#[test]
fn a_value_that_cannot_be_fitted_is_named_by_column_and_line() {
    let (_folder, path) = table("size,ms\n1,2\n\n2,\n4,-3\n8,6\n16,9\n32,1\n");
    let fits = json(&args(&path, "size", "ms"));
    assert_eq!(fits[0]["reason"], "column `ms` in line 5 is -3, a logarithm needs positive values");
    assert!(fits[1]["slope"].is_number(), "a line needs no logarithm");
    let digits = "9".repeat(300);
    let (_folder, path) = table(&format!("size,ms\n1,2\n{digits},4\n3,5\n4,6\n"));
    for fit in &json(&args(&path, "size", "ms"))[..2] {
        assert_eq!(fit["reason"], "column `size` in line 3 is 1e300, only finite values up to 1e140 can be used");
    }
    let (_folder, path) = table("size,deep,ms\n1,2,3\n2,2,4\n3,2,5\n4,2,7\n");
    let fits = json(&FitArgs { x2: Some("deep".to_owned()), ..args(&path, "size", "ms") });
    assert_eq!(fits[3]["reason"], "all values of column `deep` are equal");
    let (_folder, path) = table(&format!("size,ms\n1,x{digits}\n"));
    assert!(error(&args(&path, "size", "ms")).len() < 200);
}
