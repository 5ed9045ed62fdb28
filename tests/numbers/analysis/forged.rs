//! A report that was changed after it was made fails; one of another version is not judged.

use std::fs;
use std::path::Path;

use phasebench::analysis::write;
use phasebench::cli::{ReportArgs, RunFolderArgs};
use phasebench::commands;
use phasebench::exit::Exit;
use tempfile::TempDir;

use crate::analysis::run::{FOUR, Run, shape};

const CHECK: &str = "report is what the record gives";

/// Words of the check's detail, and what was done to the run.
type Forgery = (&'static str, fn(&Path));

/// A run with tables and report.
fn reported() -> TempDir {
    let shapes = [shape("s", 8, 1, 50)];
    let run = Run::measured(&FOUR, &shapes, 3, |model, _, i| (model.millions + f64::from(i), 10.0));
    let folder = tempfile::tempdir().unwrap();
    run.write(folder.path());
    write(&run.tables(), folder.path()).unwrap();
    let args =
        ReportArgs { run: vec![folder.path().to_owned()], pricing: None, workload: None, out: None, json: false };
    assert_eq!(commands::report::execute(&args, &mut Vec::new()).unwrap(), Exit::Good);
    folder
}

/// Exit, and the outcome and detail of the check.
fn judged(run: &Path) -> (Exit, String, String) {
    let mut out = Vec::new();
    let exit = commands::validate::execute(&RunFolderArgs { run: run.to_owned(), json: true }, &mut out).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let check = json["checks"].as_array().unwrap().iter().find(|check| check["name"] == CHECK).unwrap();
    (exit, check["outcome"].as_str().unwrap().to_owned(), check["detail"].as_str().unwrap().to_owned())
}

fn change(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} is not in {}", path.display());
    fs::write(path, text.replace(from, to)).unwrap();
}

/// The first chart of the run.
fn chart(run: &Path) -> std::path::PathBuf {
    let mut charts: Vec<_> = fs::read_dir(run.join("plots")).unwrap().map(|entry| entry.unwrap().path()).collect();
    charts.sort();
    charts.remove(0)
}

#[test]
fn an_untouched_report_passes() {
    let run = reported();
    let (exit, outcome, detail) = judged(run.path());
    assert_eq!((exit, outcome.as_str()), (Exit::Good, "pass"), "{detail}");
    assert!(detail.ends_with("files, byte for byte"), "{detail}");
}

#[test]
fn a_forged_figure_fails() {
    let forgeries: [Forgery; 6] = [
        ("report.md differs", |run| change(&run.join("report.md"), "10", "11")),
        ("report.html differs", |run| change(&run.join("report.html"), "10", "11")),
        ("plots/", |run| fs::write(chart(run), "x").unwrap()),
        ("plots/", |run| fs::remove_file(chart(run)).unwrap()),
        ("plots/more.svg is not of this report", |run| fs::write(run.join("plots/more.svg"), "<svg/>").unwrap()),
        // A report of another version would not be looked at, and one of the two files still says whose it is.
        ("report.md differs", |run| change(&run.join("report.md"), "Made by phasebench", "Made by phasebench 9")),
    ];
    for (words, forge) in forgeries {
        let run = reported();
        forge(run.path());
        let (exit, outcome, detail) = judged(run.path());
        assert_eq!((exit, outcome.as_str()), (Exit::CheckFailed, "fail"), "{words}: {detail}");
        assert!(detail.contains(words), "{words}: {detail}");
    }
}

#[test]
fn a_report_of_another_version_is_not_checked() {
    let run = reported();
    for name in ["report.md", "report.html"] {
        change(&run.path().join(name), "Made by phasebench", "Made by phasebench 9");
    }
    change(&run.path().join("report.md"), "10", "11");
    let (exit, outcome, detail) = judged(run.path());
    assert_eq!((exit, outcome.as_str()), (Exit::Good, "skip"), "{detail}");
    assert!(detail.contains("made by another version"), "{detail}");
}

#[test]
fn without_a_report_there_is_nothing_to_check() {
    let run = reported();
    for name in ["report.md", "report.html"] {
        fs::remove_file(run.path().join(name)).unwrap();
    }
    assert_eq!(judged(run.path()).1, "skip");
}
