//! What README and the pages print: every command can be typed, those that need neither hardware nor minutes are run as they
//! stand there, and what is printed below them is what comes out.

mod commands;
mod place;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::Parser as _;
use phasebench::cli::Cli;

use commands::{Printed, forms, printed_commands};
use place::Place;

/// Commands that no test runs, by how they begin, each with the reason.
const NOT_RUN: &[(&str, &str)] = &[
    ("scripts/quickstart", "builds a release and measures for minutes; scripts/check runs it"),
    ("scripts/check", "is what runs this test"),
    ("cargo test", "is what runs this test"),
    ("cargo install", "downloads and compiles a fuzzer for minutes; scripts/check replays what it found"),
    ("scripts/fuzz", "runs for minutes; what it found is replayed in tests/strangers"),
    ("INSTA_UPDATE=always cargo test", "writes into the repository"),
    ("mkdir my-engine", "copies into a folder of its own what tests/engines/worker does"),
    ("python3 -m", "downloads, and makes what tests/engines/worker makes"),
    ("sudo ", "writes into the system; what it installs is tested in tests/program/upgrade_check.rs"),
    ("phasebench setup ", "downloads; with a pip that downloads nothing in tests/program/front.rs"),
    ("phasebench calibrate", "needs a power sensor; on a scripted one in tests/energy"),
    ("phasebench machine", "measures the whole memory for a while; tests/program/machine.rs does it"),
    ("phasebench worker ", "serves until it is ended, or needs a worker; tests/engines/worker does it"),
    ("phasebench supervise", "serves until it is ended; tests/engines/worker does it"),
    ("phasebench models pull", "needs a server; against a scripted one in tests/engines/ollama"),
    ("phasebench models prune", "needs a server; against a scripted one in tests/engines/ollama"),
    (
        "phasebench models verify",
        "needs a server, a worker or a reference; tests/engines and tests/program/front.rs do it",
    ),
    ("phasebench rerun results/BEFORE --slowdown", "measures a run twice; tests/program/rerun.rs does it"),
    ("phasebench bench", "needs ONNX Runtime and a minute; tests/program/bench.rs does it"),
    ("phasebench compare RUN --null", "simulates for a while; tests/numbers/compare.rs does what it does"),
    ("phasebench compare RUN --between", "wants a run of two engines; tests/program/compare.rs has one"),
];

/// Pages and scenario files, by path in the repository, with their text.
fn pages(folders: &[&str], extension: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|found| found == extension) {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn reason(command: &str) -> Option<&'static str> {
    NOT_RUN.iter().find(|(begin, _)| command.starts_with(begin)).map(|(_, reason)| *reason)
}

#[test]
fn every_command_that_is_printed_can_be_typed() {
    let texts = [pages(&[".", "docs"], "md"), pages(&["scenarios"], "yaml")].concat();
    let (mut typed, mut wrong) = (0, Vec::new());
    for (page, text) in &texts {
        for printed in printed_commands(text) {
            for form in forms(&printed.command).iter().filter(|form| form.starts_with("phasebench ")) {
                typed += 1;
                let Err(error) = Cli::try_parse_from(place::typed(form)) else { continue };
                if printed.is_whole || !only_lacks_arguments(&error) {
                    wrong.push(format!("{page}:{}: {form}\n{error}", printed.line));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(typed > 100, "{typed} commands");
}

/// Whether a command, or an option of one, is only named, without all that is typed with it.
fn only_lacks_arguments(error: &clap::Error) -> bool {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => true,
        ErrorKind::InvalidValue => error.to_string().contains("a value is required"),
        _ => false,
    }
}

#[test]
fn commands_that_need_neither_hardware_nor_minutes_run_as_they_are_printed() {
    let mut reasons = BTreeSet::new();
    let mut ran = 0;
    let pages = pages(&[".", "docs"], "md").into_iter();
    for (page, text) in pages.filter(|(page, _)| page == "README.md" || page.starts_with("docs/")) {
        let mut place: Option<Place> = None;
        let all = printed_commands(&text).into_iter().flat_map(|printed| {
            let forms = forms(&printed.command);
            forms.into_iter().map(move |command| Printed { command, ..printed.clone() })
        });
        for Printed { line, command, is_whole } in all {
            if let Some(reason) = reason(&command) {
                reasons.insert(format!("{command}: {reason}"));
                continue;
            }
            if !is_whole && Cli::try_parse_from(place::typed(&command)).is_err() {
                continue;
            }
            let place = place.get_or_insert_with(Place::new);
            place.prepare(&command);
            let output = place.run(&command);
            let said = String::from_utf8_lossy(&output.stderr);
            // 8: a comparison of two short runs need not decide everything.
            let compares = command.contains(" compare ") || command.contains(" rerun ");
            let good: &[i32] = if compares { &[0, 8] } else { &[0] };
            assert!(output.status.code().is_some_and(|code| good.contains(&code)), "{page}:{line}: {command}\n{said}");
            ran += 1;
        }
    }
    for reason in &reasons {
        println!("not run: {reason}");
    }
    assert!(ran > 20, "{ran} commands ran");
    let unused = NOT_RUN.iter().find(|(begin, _)| !reasons.iter().any(|reason| reason.starts_with(begin)));
    assert_eq!(unused, None, "no page prints it");
}

/// A text with its figures replaced, so that two of the same shape are equal.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' if shape.ends_with('#') => {}
            '0'..='9' => shape.push('#'),
            '.' if shape.ends_with('#') => {}
            c => shape.push(c),
        }
    }
    shape
}

fn readme() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()
}

/// The printed block that begins so.
fn block<'a>(text: &'a str, begin: &str) -> &'a str {
    let (_, block) = text.split_once(&format!("```\n{begin}")).unwrap();
    block.split_once("```").unwrap().0
}

#[test]
fn the_end_of_the_quickstart_is_as_the_readme_prints_it() {
    let readme = readme();
    let place = Place::new();
    for command in ["phasebench run mine.yaml --out mine", "phasebench report mine"] {
        assert_eq!(place.run(command).status.code(), Some(0), "{command}");
    }
    let checked = place.run("phasebench validate mine");
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    let printed = format!("28 {}", block(&readme, "28 "));
    let (passed, report) = printed.trim_end().split_once("\n…\n").unwrap();
    assert_eq!(shape(checked.lines().last().unwrap()), shape(passed));
    // Each of these lines is the script's own: `report: $report   (the same as text: …)`.
    let script = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/quickstart")).unwrap();
    let line = script.lines().find_map(|line| line.trim().strip_prefix("echo \"report: ")).unwrap();
    let (before, after) = line.split_once("$report").unwrap();
    let between = after.split_once('$').unwrap().0;
    let printed = report.strip_prefix("report: ").unwrap();
    assert!(printed.starts_with(before) && printed.contains(between), "{printed} is not {line}");
}

#[test]
fn mistakes_are_told_by_the_program_as_the_readme_prints_them() {
    let readme = readme();
    let place = Place::new();
    let printed = format!("error: {}", block(&readme, "error: "));
    let mut file = readme.split_once("```yaml\n").unwrap().1.split_once("```").unwrap().0.to_owned();
    for (right, wrong) in [("interleaved", "interleavd"), ("n_head: 8", "n_head: 5"), ("threads: 2", "thread: 2")] {
        assert!(readme.contains(&format!("`{wrong}` in line")), "{wrong}");
        file = file.replacen(right, wrong, 1);
    }
    place.write("mine.yaml", &file);
    let output = place.run("phasebench plan mine.yaml");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&output.stderr), printed);
}

#[test]
fn an_upgrade_is_told_in_the_words_of_the_readme() {
    let readme = readme();
    let place = Place::new();
    let sessions =
        place.read("mine.yaml").replace("version: 1\n", "version: 1\nsessions: 5\nrepetitions: { fixed: 25 }\n");
    place.write("mine.yaml", &sessions);
    assert_eq!(place.run("phasebench run mine.yaml --out before").status.code(), Some(0));
    place.write("mine.yaml", &sessions.replace("base: 300us", "base: 600us"));
    assert_eq!(place.run("phasebench run mine.yaml --out after").status.code(), Some(0));
    let output = place.run("phasebench compare before after");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(5), "{said}");
    let (_, printed) = readme.split_once("*Decode on ollama is ").unwrap();
    let printed = shape(printed.split_once(" cells; …").unwrap().0);
    assert!(shape(&said).contains(&format!("Decode on ort-cpu is {printed} cells")), "{printed}\n{said}");
}

#[test]
fn what_the_readme_found_stands_in_the_example_s_report() {
    let report = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/results/example/report.md")).unwrap();
    let found = readme().split_once("**Found here:**").unwrap().1.split_once("<img").unwrap().0.to_owned();
    let intervals: Vec<&str> = found.split('[').skip(1).filter_map(|rest| Some(rest.split_once(']')?.0)).collect();
    let figures: Vec<&&str> = intervals.iter().filter(|text| text.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert_eq!(figures.len(), 2, "{found}");
    for figure in figures {
        assert!(report.contains(&format!("[{figure}] the time")), "{figure}");
    }
}
