//! Arrows between modules go one way: each may use only what stands in its line here.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "structure/circles.rs"]
mod circles;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Bottom up. `commands` is where layers meet; nothing but `main` may use it or `cli`.
const ALLOWED: &[(&str, &str)] = &[
    ("commit", ""),
    ("exit", ""),
    ("files", ""),
    ("hash", ""),
    ("lock", ""),
    ("secret", ""),
    ("stats", ""),
    ("kernels", ""),
    ("economics", "stats"),
    ("text", ""),
    ("terminal", "secret text"),
    ("units", ""),
    ("process", "units"),
    ("terms", "stats units"),
    ("cache", "lock units"),
    ("kv", "terms"),
    ("roofline", "terms"),
    ("clock", "units"),
    ("record", "terms units"),
    ("model", "files hash terms"),
    ("energy", "record terms units"),
    ("telemetry", "clock terms units"),
    ("scenario", "model terms units"),
    ("plan", "hash model record scenario terms units"),
    ("store", "files hash lock record units"),
    ("import", "files hash plan record stats store terms units"),
    ("speed", "files hash kernels stats terms units"),
    ("schedule", "hash plan record stats terms units"),
    ("backend", "clock files hash lock model process scenario secret stats terms text units"),
    ("signals", "backend exit"),
    ("calibrate", "backend clock energy files hash model process record scenario telemetry terms units"),
    ("manifest", "backend cache hash model process record secret telemetry terms units"),
    ("measure", "backend clock record schedule telemetry terms units"),
    (
        "run",
        "backend clock energy hash kernels measure model record schedule scenario speed store telemetry terms units",
    ),
    ("run_folder", "hash record store"),
    ("analysis", "energy files hash kv record roofline run_folder stats store terms units"),
    ("comparison", "analysis record stats terms"),
    ("cost", "analysis economics record scenario stats terms units"),
    ("report", "analysis comparison cost economics record run_folder stats store terms text units"),
    ("history", "analysis comparison record report run_folder stats store terms"),
    ("cli", "cache import scenario terms units"),
    (
        "commands",
        "analysis backend cache calibrate cli clock comparison cost economics exit files hash history import kernels kv lock manifest model plan record report run run_folder schedule scenario \
         secret signals speed stats store telemetry terminal terms text units",
    ),
];

fn files(at: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(at).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() {
            files(&entry, found);
        } else if entry.extension().is_some_and(|e| e == "rs") {
            found.push(entry);
        }
    }
}

/// Modules of the crate that a file names in code, those that are crates of their own by either name; comments may name
/// what they like.
fn used(text: &str) -> BTreeSet<String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let named = |prefix: &str| -> BTreeSet<String> {
        let rests = code.iter().flat_map(|line| line.split(prefix).skip(1));
        rests.map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()).collect()
    };
    let mut used = named("crate::");
    let members = named("phasebench_").into_iter().filter(|name| ALLOWED.iter().any(|(module, _)| module == name));
    used.extend(members);
    used
}

#[test]
fn modules_use_only_what_they_may() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&source, &mut all);
    assert!(all.len() > 50, "{} files", all.len());
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        ALLOWED.iter().map(|(module, uses)| (*module, uses.split_whitespace().collect())).collect();
    let mut wrong = Vec::new();
    let mut unused = allowed.clone();
    for file in all {
        let relative = file.strip_prefix(&source).unwrap();
        let module =
            relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        // Roots of crates, which say what belongs to them, and their build scripts.
        if matches!(module.as_str(), "main" | "lib" | "ground" | "live" | "derived") {
            continue;
        }
        let (Some(allowed), Some(unused)) = (allowed.get(module.as_str()), unused.get_mut(module.as_str())) else {
            wrong.push(format!("{}: module `{module}` has no line", relative.display()));
            continue;
        };
        for used in used(&fs::read_to_string(&file).unwrap()) {
            unused.remove(used.as_str());
            if used != module && !allowed.contains(used.as_str()) {
                wrong.push(format!("{}: uses {used}", relative.display()));
            }
        }
    }
    // What nobody uses is no arrow: the list says what is so, not what might be.
    let stale =
        unused.iter().flat_map(|(module, uses)| uses.iter().map(move |used| format!("{module}: does not use {used}")));
    wrong.extend(stale);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The list itself has no cycle: whatever a module uses stands above it.
#[test]
fn the_list_goes_one_way() {
    for (place, (module, uses)) in ALLOWED.iter().enumerate() {
        for used in uses.split_whitespace() {
            let above = ALLOWED[..place].iter().any(|(name, _)| *name == used);
            assert!(above, "{module} uses {used}, which does not stand above it");
        }
    }
}

/// Where engines are told apart: the rooms, their registry, and the one place that opens backends.
const NAMES_ENGINES: [&str; 3] = ["scenario/engine.rs", "scenario/engine/", "backend.rs"];

/// Whatever depends on the engine is asked of its limits.
#[test]
fn engines_are_told_apart_in_one_place() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&source, &mut all);
    let (mut allowed, mut wrong) = (BTreeSet::new(), Vec::new());
    for file in all {
        let relative = file.strip_prefix(&source).unwrap().to_str().unwrap();
        let exception = NAMES_ENGINES.iter().find(|exception| relative.starts_with(**exception));
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            if names_an_engine(line) {
                match exception {
                    Some(exception) => drop(allowed.insert(*exception)),
                    None => wrong.push(format!("{relative}:{}: {}", number + 1, line.trim())),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "ask the engine's `limits()` instead:\n{}", wrong.join("\n"));
    assert!(allowed.contains("backend.rs") && allowed.contains("scenario/engine.rs"), "{allowed:?}");
}

/// Whether code names a variant of `Engine`; `DockerEngine` and its like are other types.
fn names_an_engine(line: &str) -> bool {
    let code = line.trim_start();
    !code.starts_with("//")
        && code.match_indices("Engine::").any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric()))
}

/// Pages that say where things are.
const MAPS: [&str; 2] = ["ARCHITECTURE.md", "CONTRIBUTING.md"];

/// Folders and files of this repository begin like this; `NAME` in a path stands for something new.
const OURS: [&str; 9] =
    ["src", "tests", "docs", "scripts", "scenarios", "backends", "results/example", "README.md", "CHANGELOG.md"];

/// What stands between backticks in a page, code blocks aside.
fn in_backticks(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn paths_that_pages_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for page in MAPS {
        let text = fs::read_to_string(root.join(page)).unwrap();
        // `scripts/check --fast` names a path and what it is given.
        let paths: Vec<&str> = (in_backticks(&text).into_iter())
            .filter_map(|code| code.split(' ').next())
            .filter(|path| {
                OURS.iter()
                    .any(|ours| path.strip_prefix(ours).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
            })
            .filter(|path| !path.contains("NAME"))
            .collect();
        assert!(paths.len() > 10, "{page} names {} paths", paths.len());
        wrong.extend(paths.iter().filter(|path| !root.join(path).exists()).map(|path| format!("{page}: {path}")));
    }
    assert!(wrong.is_empty(), "not there:\n{}", wrong.join("\n"));
}

/// Links and pictures of every page lead to files that are there.
#[test]
fn links_of_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.chain(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|page| root.join(page)));
    let mut wrong = Vec::new();
    for page in pages.filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(&page).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        let pictures = text.split("src=\"").skip(1).filter_map(|rest| rest.split_once('"')).map(|(target, _)| target);
        for target in links.chain(pictures).filter(|target| !target.contains("://")) {
            let path = target.split('#').next().unwrap();
            if !path.is_empty() && !page.parent().unwrap().join(path).exists() {
                wrong.push(format!("{}: {target}", page.strip_prefix(root).unwrap().display()));
            }
        }
    }
    assert!(wrong.is_empty(), "not there:\n{}", wrong.join("\n"));
}

/// The check that a line of `scripts/check` makes. `None`: none.
fn check_of(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("step ")?;
    if !["", "if ", "if ! ", "elif ", "elif ! "].contains(&before.trim_start()) {
        return None;
    }
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split(' ').next(),
    }
}

/// What `scripts/check` does not run, because nothing was built or because it is to be fast, is listed as not run.
#[test]
fn checks_that_are_left_out_are_listed() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/check")).unwrap();
    let (_, rest) = text.split_once("\nif step \"build\"").unwrap();
    let (need_the_build, rest) = rest.split_once("\nelse\n").unwrap();
    let (without_it, rest) = rest.split_once("\nfi\n").unwrap();
    let (when_fast, rest) = rest.split_once("\nelse\n").unwrap();
    let (take_long, _) = rest.split_once("\nfi\n").unwrap();
    let mut missing = Vec::new();
    for (made, listed) in [(need_the_build, without_it), (take_long, when_fast)] {
        let checks: Vec<&str> = made.lines().filter_map(check_of).collect();
        assert!(checks.len() > 5, "{checks:?}");
        let is_listed = |name: &str| {
            // Those on the way to Docker stand for it.
            let name = if name.starts_with("Docker ") { "Docker" } else { name };
            listed.contains(&format!("\"{name}\"")) || listed.split_whitespace().any(|word| word == name)
        };
        missing.extend(checks.into_iter().filter(|name| !is_listed(name)));
    }
    assert!(missing.is_empty(), "not listed as not run: {missing:?}");
}
