//! No circle between files: what a file uses never uses it, however far round.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module of the crate: one file, and the names by which other modules may reach what is in it.
#[derive(Debug, Default)]
struct Module {
    /// Below `src`.
    file: String,
    /// What the file says, without comments and without the tests inside it.
    code: String,
    /// Items the file defines.
    defined: BTreeSet<String>,
    /// Modules it declares.
    children: BTreeSet<String>,
    /// Names it brings in, each with the path as written; `*` of a glob.
    imported: Vec<(String, Vec<String>)>,
    /// Whether it is compiled for tests alone.
    test: bool,
}

/// The crate's modules by their paths, `crate` itself as the empty one.
type Modules = BTreeMap<Vec<String>, Module>;

/// Every file below a folder, by its path there, with what it says.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    super::files(folder, &mut files);
    let read = |file: PathBuf| (file.strip_prefix(folder).unwrap().to_owned(), fs::read_to_string(&file).unwrap());
    files.into_iter().map(read).collect()
}

/// Crates over this folder, taken as one: each declares modules, and one hands on those of another under the same paths.
const ROOTS: [&str; 4] = ["lib", "ground", "live", "derived"];

impl Module {
    /// Adds what another root of a crate says.
    fn join(&mut self, other: Self) {
        self.code.push_str(&other.code);
        self.defined.extend(other.defined);
        self.children.extend(other.children);
        self.imported.extend(other.imported);
    }
}

fn modules(sources: &[(PathBuf, String)]) -> Modules {
    let mut found = Modules::new();
    for (file, text) in sources {
        let steps = file.with_extension("");
        let mut path: Vec<String> = steps.iter().map(|step| step.to_str().unwrap().to_owned()).collect();
        if path == ["main"] {
            continue;
        }
        if matches!(&path[..], [root] if ROOTS.contains(&root.as_str())) {
            path.clear();
        }
        let code = code(text);
        let module = Module {
            file: file.display().to_string(),
            defined: defined(&code),
            children: children(&code, "mod "),
            imported: imported(&code),
            code,
            test: false,
        };
        match found.get_mut(&path) {
            Some(whole) => whole.join(module),
            None => drop(found.insert(path, module)),
        }
    }
    if let Some(whole) = found.get_mut(&Vec::new()) {
        // One crate hands on modules of another, which are looked at where they are.
        whole.imported.retain(|(name, _)| !whole.children.contains(name));
    }
    let below = |(path, module): (&Vec<String>, &Module)| {
        let tests = children(&module.code, "#[cfg(test)] mod ").into_iter();
        tests.map(|child| path.iter().cloned().chain([child]).collect()).collect::<Vec<Vec<String>>>()
    };
    let tests: Vec<Vec<String>> = found.iter().flat_map(below).collect();
    for (path, module) in &mut found {
        module.test = tests.iter().any(|test| path.starts_with(test));
    }
    found
}

/// A file's lines without comments and without test modules inside it; attributes stand on the line of what they are of.
fn code(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut inside = false;
    let mut attribute = String::new();
    for line in text.lines() {
        if inside {
            inside = line != "}";
            continue;
        }
        let bare = line.trim_start();
        if bare.starts_with("//") {
            continue;
        }
        if line.starts_with("#[cfg(test)]") || (!attribute.is_empty() && line.starts_with("#[")) {
            attribute = "#[cfg(test)] ".to_owned();
            continue;
        }
        if !attribute.is_empty() && line.ends_with('{') {
            inside = true;
            attribute.clear();
            continue;
        }
        lines.push(format!("{attribute}{}", without_comment(line)));
        attribute.clear();
    }
    lines.join("\n")
}

fn without_comment(line: &str) -> &str {
    line.split(" // ").next().unwrap_or_default()
}

const ITEMS: [&str; 9] = ["struct ", "enum ", "trait ", "fn ", "const ", "static ", "type ", "union ", "macro_rules! "];

fn defined(code: &str) -> BTreeSet<String> {
    let names = code.lines().filter_map(|line| {
        let line = visible(line);
        let line = line.strip_prefix("unsafe ").unwrap_or(line);
        let line = line.strip_prefix("async ").unwrap_or(line);
        let line = line.strip_prefix("const fn ").map_or(line, |_| &line["const ".len()..]);
        ITEMS.iter().find_map(|item| line.strip_prefix(item)).map(name)
    });
    names.collect()
}

/// A line without the `pub` it begins with.
fn visible(line: &str) -> &str {
    let Some(rest) = line.strip_prefix("pub") else { return line };
    let rest = if rest.starts_with('(') { rest.split_once(')').map_or(rest, |(_, rest)| rest) } else { rest };
    rest.trim_start()
}

fn name(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn children(code: &str, how: &str) -> BTreeSet<String> {
    let declared = code.lines().filter_map(|line| {
        let line = if how == "mod " { visible(line.strip_prefix("#[cfg(test)] ").unwrap_or(line)) } else { line };
        let line = line.strip_prefix(how)?;
        line.ends_with(';').then(|| name(line))
    });
    declared.collect()
}

/// Every name that `use` brings in, at any depth of the file.
fn imported(code: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some((before, after)) = rest.split_once("use ") {
        let starts = before.rsplit('\n').next().unwrap_or_default();
        let Some((statement, next)) = after.split_once(';') else { break };
        if visible(starts.trim_start().trim_start_matches("#[cfg(test)] ")).is_empty() {
            spread(&statement.replace('\n', " "), &[], &mut found);
            rest = next;
        } else {
            rest = after;
        }
    }
    found
}

/// Takes `a::{b, c::d as e}` apart.
fn spread(tree: &str, before: &[String], found: &mut Vec<(String, Vec<String>)>) {
    let tree = tree.trim();
    if let Some((head, body)) = tree.split_once('{') {
        let path: Vec<String> = before.iter().cloned().chain(segments(head)).collect();
        let body = &body[..body.rfind('}').unwrap_or(body.len())];
        let (mut depth, mut start) = (0_i32, 0);
        for (at, c) in body.char_indices().chain([(body.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    if !body[start..at].trim().is_empty() {
                        spread(&body[start..at], &path, found);
                    }
                    start = at + 1;
                }
                _ => {}
            }
        }
        return;
    }
    let (path, alias) =
        tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias.trim().to_owned())));
    let mut path: Vec<String> = before.iter().cloned().chain(segments(path)).collect();
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    if let Some(last) = path.last().cloned() {
        found.push((alias.unwrap_or(last), path));
    }
}

fn segments(path: &str) -> Vec<String> {
    path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// Where a path as written in a module begins, seen from the crate's root. `None`: in another crate.
fn absolute(at: &[String], path: &[String], modules: &Modules) -> Option<Vec<String>> {
    let first = path.first()?;
    match first.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some(at.iter().chain(&path[1..]).cloned().collect()),
        "super" => {
            let (parent, mut rest) = (at.split_last()?.1.to_vec(), path[1..].to_vec());
            if rest.first().is_some_and(|first| first == "super") {
                absolute(&parent, &rest, modules)
            } else {
                Some(parent.into_iter().chain(rest.drain(..)).collect())
            }
        }
        _ => {
            let own = modules.get(at)?;
            own.children.contains(first).then(|| at.iter().chain(path).cloned().collect())
        }
    }
}

/// The module in whose file the item of an absolute path is defined, through whatever re-exports it. `None`: nowhere here.
fn home(path: &[String], modules: &Modules, depth: u32) -> Option<Vec<String>> {
    if depth == 0 {
        return None;
    }
    let mut at: Vec<String> = Vec::new();
    for (place, step) in path.iter().enumerate() {
        let module = modules.get(&at)?;
        if module.children.contains(step) {
            let below: Vec<String> = at.iter().cloned().chain([step.clone()]).collect();
            if modules.contains_key(&below) {
                at = below;
                continue;
            }
        }
        if module.defined.contains(step) {
            return Some(at);
        }
        for (name, written) in &module.imported {
            if name == step || name == "*" {
                let mut target = absolute(&at, written, modules).or_else(|| through(&at, written, modules))?;
                if name == "*" {
                    target.pop();
                    target.push(step.clone());
                }
                target.extend(path[place + 1..].iter().cloned());
                if target == path {
                    continue;
                }
                if let Some(found) = home(&target, modules, depth - 1) {
                    return Some(found);
                }
            }
        }
        return None;
    }
    Some(at)
}

/// A path that begins with a name the module itself brought in.
fn through(at: &[String], path: &[String], modules: &Modules) -> Option<Vec<String>> {
    let own = modules.get(at)?;
    let (_, written) = own.imported.iter().find(|(name, written)| Some(name) == path.first() && written != path)?;
    let mut target = absolute(at, written, modules)?;
    target.extend(path[1..].iter().cloned());
    Some(target)
}

/// Paths in code, `use` left out.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for line in code.lines() {
        // What may see an item is no use of it.
        let line = line.replace("pub(in crate", "pub(in");
        let mut rest = line.as_str();
        while let Some(at) = rest.find("::") {
            let before = &rest[..at];
            let start = before
                .rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
                .map_or(0, |at| at + before[at..].chars().next().unwrap().len_utf8());
            let end = rest[at..]
                .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
                .map_or(rest.len(), |end| at + end);
            found.push(segments(&rest[start..end]));
            rest = &rest[end.max(at + 2)..];
        }
    }
    found
}

/// What each file uses: the files in which the items are defined that it names, each with one such name.
fn uses(modules: &Modules) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut graph: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (at, module) in modules.iter().filter(|(_, module)| !module.test) {
        let edges = graph.entry(module.file.clone()).or_default();
        let mut add = |path: &[String]| {
            if let Some(target) = home(path, modules, 8).and_then(|home| modules.get(&home))
                && target.file != module.file
                && !target.test
            {
                edges.entry(target.file.clone()).or_insert_with(|| path.join("::"));
            }
        };
        // Re-exports are names for others, not uses of this file's own.
        let own = without_reexports(&module.code);
        let brought = imported(&own);
        let written = paths(&without_uses(&own));
        for (name, path) in &brought {
            let Some(path) = absolute(at, path, modules).or_else(|| through(at, path, modules)) else { continue };
            if name == "*" {
                add(&path[..path.len() - 1]);
                continue;
            }
            if modules.contains_key(&path) {
                // A module: what matters is what is taken out of it.
                for inside in written.iter().filter(|inside| inside.first() == Some(name) && inside.len() > 1) {
                    add(&path.iter().chain(&inside[1..2]).cloned().collect::<Vec<_>>());
                }
            } else {
                add(&path);
            }
        }
        for path in &written {
            if let Some(path) = absolute(at, path, modules) {
                add(&path);
            }
        }
    }
    graph
}

fn without_reexports(code: &str) -> String {
    strip(code, |visibility| !visibility.is_empty())
}
fn without_uses(code: &str) -> String {
    strip(code, |_| true)
}

fn strip(code: &str, which: impl Fn(&str) -> bool) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some((before, after)) = rest.split_once("use ") {
        let starts = before.rsplit('\n').next().unwrap_or_default();
        let bare = starts.trim_start();
        if visible(bare).is_empty() && which(bare) {
            kept.push_str(&before[..before.len() - starts.len()]);
            rest = after.split_once(';').map_or("", |(_, next)| next);
        } else {
            kept.push_str(before);
            kept.push_str("use ");
            rest = after;
        }
    }
    kept.push_str(rest);
    kept
}

/// Groups of files that use each other, however far round.
fn circles(graph: &BTreeMap<String, BTreeMap<String, String>>) -> Vec<Vec<String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> = graph
        .keys()
        .map(|from| {
            let mut seen = BTreeSet::new();
            let mut next: Vec<&String> = graph[from].keys().collect();
            while let Some(at) = next.pop() {
                if seen.insert(at) {
                    next.extend(graph.get(at).into_iter().flat_map(BTreeMap::keys));
                }
            }
            (from, seen)
        })
        .collect();
    let mut groups: BTreeSet<Vec<String>> = BTreeSet::new();
    for (from, seen) in &reach {
        if seen.contains(from) {
            groups.insert(
                reach
                    .iter()
                    .filter(|(other, back)| seen.contains(*other) && back.contains(from))
                    .map(|(other, _)| (*other).clone())
                    .collect(),
            );
        }
    }
    groups.into_iter().collect()
}

/// What is in a circle, with each use that keeps it closed.
fn told(sources: &[(PathBuf, String)]) -> String {
    let graph = uses(&modules(sources));
    let mut told = String::new();
    for group in circles(&graph) {
        told.push_str("in a circle:\n");
        for from in &group {
            for (to, what) in graph[from].iter().filter(|(to, _)| group.contains(to)) {
                told.push_str(&format!("  {from} uses {what} of {to}\n"));
            }
        }
    }
    told
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let uses: usize = uses(&modules(&sources)).values().map(BTreeMap::len).sum();
    assert!(sources.len() > 200 && uses > 800, "{} files, {uses} uses", sources.len());
    let told = told(&sources);
    assert!(told.is_empty(), "{told}");
}

#[test]
fn a_circle_is_found_through_what_hands_names_on() {
    let of = |files: &[(&str, &str)]| {
        let files: Vec<_> = files.iter().map(|(file, text)| (PathBuf::from(file), (*text).to_owned())).collect();
        told(&files)
    };
    let parent = ("a.rs", "mod b;\nmod c;\npub use b::B;\npub use c::{C, c};\n");
    let lib = ("lib.rs", "pub mod a;\n");
    let below = |b, c| of(&[lib, parent, ("a/b.rs", b), ("a/c.rs", c)]);
    assert_eq!(below("pub struct B;\n", "use super::B;\npub struct C(B);\npub fn c() {}\n"), "");
    let found = below("pub struct B;\nfn b() {\n    crate::a::c();\n}\n", "use super::B;\npub fn c(_: B) {}\n");
    assert_eq!(found, "in a circle:\n  a/b.rs uses a::c of a/c.rs\n  a/c.rs uses a::B of a/b.rs\n");
    let tested = "use super::B;\npub struct C(B);\n";
    assert_eq!(below("pub struct B;\n\n#[cfg(test)]\nmod tests {\n    use super::super::C;\n}\n", tested), "");
    let parents = of(&[
        lib,
        ("a.rs", "mod b;\npub struct A;\nfn f() {\n    b::g();\n}\n"),
        ("a/b.rs", "use super::A;\npub fn g() {}\n"),
    ]);
    assert_eq!(parents, "in a circle:\n  a.rs uses a::b::g of a/b.rs\n  a/b.rs uses a::A of a.rs\n");
}
